"""A fork ends as a new process does, and one that takes too long leaves nothing for the next."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.cli.fork_server import ForkServer
from tests.cli.run import edgecodec

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks on this system")


@pytest.mark.parametrize("arguments", [["boards", "--json"], ["inspect", "nowhere"]])
def test_the_same_as_a_new_process(arguments: list[str]) -> None:
    forked, new = edgecodec(*arguments), edgecodec(*arguments, env={})
    assert (forked.returncode, forked.stdout, forked.stderr) == (new.returncode, new.stdout, new.stderr)


def test_one_that_takes_too_long() -> None:
    server = ForkServer()
    with pytest.raises(subprocess.TimeoutExpired):
        server.run(["inspect", "08x_light"], None, os.environ, 0.001)
    assert server.run(["boards"], None, os.environ, 60.0).returncode == 0
