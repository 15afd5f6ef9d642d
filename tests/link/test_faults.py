"""Whatever goes wrong on the line, at whichever byte: never wrong stages, never a long wait."""

from __future__ import annotations

import pytest

from tests.link.device import HostServer
from tests.link.faults import ENDING, FAULTS, attack, bytes_of_a_session


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("out", [True, False], ids=["to", "from"])
def test_fault_at_every_byte(server: HostServer, kind: str, out: bool) -> None:
    size = bytes_of_a_session(server)[out]
    ended = [attack(server, kind, out, at, seed=0)[0] for at in range(size)]
    assert len(ended) > 90
    # That something happened, and at the last byte nothing is left to be lost.
    assert all(ended) == (kind not in ENDING)
