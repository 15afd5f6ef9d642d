"""Fixtures of the link tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecodec.codec.numerics import NUMERICS, Numerics
from tests import tools
from tests.link.device import HostServer, activation_flag, compile_host


@pytest.fixture(scope="session")
def host_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tools.require("cc")
    return compile_host(tmp_path_factory.mktemp("link") / "libhost.so", "-shared", "-fPIC")


@pytest.fixture
def server(host_library: Path) -> HostServer:
    return HostServer(host_library)


@pytest.fixture(scope="session", params=NUMERICS.values(), ids=lambda numerics: numerics.name)
def host_of(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Numerics]:
    """The library of a stub codec of each numerics."""
    tools.require("cc")
    out = tmp_path_factory.mktemp("link") / "libhost.so"
    return compile_host(out, "-shared", "-fPIC", activation_flag(request.param)), request.param


@pytest.fixture
def server_of(host_of: tuple[Path, Numerics]) -> HostServer:
    """A server of each numerics."""
    return HostServer(*host_of)
