"""Exit codes of the command line: 0 equal, 1 different or over a limit, 2 for all that is not known."""

from __future__ import annotations

from typing import NoReturn

import numpy as np
import pytest

from edgecodec.bundle import Bundle
from edgecodec.cli.main import main
from edgecodec.codec.arrays import Frames
from edgecodec.codec.stages import Stages
from edgecodec.errors import BuildError, DeviceError, InputError
from edgecodec.firmware.limits import LimitExceededError, SizeLimitError
from edgecodec.verify import run
from edgecodec.verify.compare import Comparison, Pair
from edgecodec.verify.run import VerifyResult


def _verify(monkeypatch: pytest.MonkeyPatch, bundle: Bundle, pairs: tuple[Pair, ...]) -> int:
    """``verify-host`` where the comparison found ``pairs``."""

    def verify_host(loaded: Bundle, frames: Frames, **_: object) -> VerifyResult:
        stages = Stages(indices=np.zeros((len(frames), 1, 1), np.uint16))
        return VerifyResult(loaded.digest, len(frames), Comparison(pairs), (), {"host": stages})

    monkeypatch.setattr(run, "verify_host", verify_host)
    return main(["verify-host", str(bundle.path)])


@pytest.mark.parametrize(
    ("pairs", "code"),
    [
        ([(100, 0), (100, 0)], 0),
        ([(100, 0), (100, 1)], 1),
        ([(100, 1), (0, 0)], 1),
        ([(100, 0), (0, 0)], 2),
        ([], 2),
    ],
    ids=["equal", "different", "different and nothing", "nothing of one stage", "nothing"],
)
def test_of_a_verification(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle, pairs: list[tuple[int, int]], code: int
) -> None:
    found = tuple(Pair("reference", "host", "indices", *counts) for counts in pairs)
    assert _verify(monkeypatch, bundle, found) == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("x"), 2),
        (DeviceError("x"), 2),
        (BuildError("x"), 2),
        (SizeLimitError("larger than the board"), 2),
        (LimitExceededError("larger than asked for"), 1),
        (OSError(28, "No space left on device"), 2),
        (KeyboardInterrupt(), 2),
        (MemoryError(), 2),
        (RuntimeError("a bug"), 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_of_an_error(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle, capsys: pytest.CaptureFixture[str], error: BaseException, code: int
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    monkeypatch.setattr(run, "verify_host", fail)
    assert main(["verify-host", str(bundle.path)]) == code
    assert capsys.readouterr().err.count("edgecodec: error: ") == 1
