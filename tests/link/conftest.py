"""Fixtures of the link tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import tools
from tests.link.device import HostServer, compile_host


@pytest.fixture(scope="session")
def host_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tools.require("cc")
    return compile_host(tmp_path_factory.mktemp("link") / "libhost.so", "-shared", "-fPIC")


@pytest.fixture
def server(host_library: Path) -> HostServer:
    return HostServer(host_library)
