"""Run many frames through one board and one link: ``python -m tools.soak BUNDLE [--frames 100000] [--board NAME]``.

The frames are the bundle's own, shifted, scaled and with noise, so that none comes twice; each is compared in all
stages, packets too, with the same C on this machine. The board is never started again and the port never opened again.
Exit code 1 when anything differs; a board that falls silent is an error, as ever.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecodec.boards.load import load_board
from edgecodec.boards.schema import Board
from edgecodec.bundle import Bundle
from edgecodec.codec.stages import Stages
from edgecodec.device.connect import Attachment, connected
from edgecodec.firmware.project import make_project
from edgecodec.host.packets import PacketShim
from edgecodec.host.shim import HostShim
from edgecodec.link.costs import LinkStatistics
from edgecodec.verify.compare import NamedStages, compare
from edgecodec.verify.packets import packet_array, statistics_of

BOARD = "mps2-an386"
_PART = 250
"""Frames that are compared at once."""


@dataclass(frozen=True)
class Soaked:
    """What came of it."""

    frames: int
    stages: dict[str, tuple[int, int]]
    """Of each stage, how many values were compared, and how many of them differ."""
    link: LinkStatistics
    growth_kib: int
    """Memory that this process took more at the end than after the first part."""

    @property
    def is_equal(self) -> bool:
        """Whether each stage was compared and nothing differs."""
        return bool(self.stages) and all(compared and not different for compared, different in self.stages.values())


def frames_like(given: npt.NDArray[np.int16], count: int, rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """int16 ``[count, T]`` made of frames ``[N, T]``: shifted in time, of other size and place, with noise."""
    shifts = rng.integers(given.shape[1], size=count)
    chosen = given[rng.integers(len(given), size=count)]
    rolled = np.stack([np.roll(frame, shift) for frame, shift in zip(chosen, shifts, strict=True)])
    scaled = rolled * rng.uniform(0.25, 2.0, (count, 1)) + rng.integers(-2000, 2000, (count, 1))
    noisy = scaled + rng.normal(0.0, 1.0, scaled.shape) * rng.choice([0.0, 2.0, 200.0], (count, 1))
    return np.clip(np.rint(noisy), -32768, 32767).astype(np.int16)


def soak(
    bundle: Bundle,
    board: Board,
    count: int,
    *,
    attachment: Attachment | None = None,
    seed: int = 0,
    goes_on: Callable[[int], bool] = lambda done: True,
) -> Soaked:
    """Run ``count`` frames, or fewer: ``goes_on(done)`` is asked after each part. Raises what a verification does."""
    given, packets = bundle.frames(), bundle.packets()
    assert given is not None
    attached = attachment or Attachment()
    project = make_project(bundle, attached.checked(board))
    shim = HostShim(bundle, project.plan)
    writer = None if packets is None else PacketShim(packets)
    rng = np.random.default_rng(seed)
    found: dict[str, tuple[int, int]] = {}
    first_kib = 0
    with connected(project, attached) as (device, _):
        for start in range(0, count, _PART):
            frames = frames_like(given, min(_PART, count - start), rng)
            want: Stages = shim.stages(frames)
            if writer is not None:
                want = want.changed(packet=packet_array(writer.encode(want.indices, *statistics_of(want))))
            named = (NamedStages("host", want), NamedStages("board", device.stages(frames)))
            for pair in compare(*named, bundle.codec.rvq).pairs:
                compared, different = found.get(pair.stage, (0, 0))
                found[pair.stage] = compared + pair.compared, different + pair.mismatches
            first_kib = first_kib or _memory_kib()
            if not goes_on(start + len(frames)):
                break
        return Soaked(device.statistics.frames, found, device.statistics, _memory_kib() - first_kib)


def _memory_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> int:
    """Run them and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tools.soak", description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end sooner, after so many")
    parser.add_argument("--board", default=BOARD)
    parser.add_argument("--port", help="of a real board that runs the firmware already")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    attachment = Attachment() if options.port is None else Attachment(port=options.port, flash=False)
    start = time.monotonic()

    def goes_on(done: int) -> bool:
        seconds = time.monotonic() - start
        print(f"{done:,} frames, {seconds:.0f} s", file=sys.stderr, flush=True)
        return seconds < options.seconds

    bundle, board = Bundle.load(options.bundle), load_board(options.board)
    result = soak(bundle, board, options.frames, attachment=attachment, seed=options.seed, goes_on=goes_on)
    for stage, (compared, different) in result.stages.items():
        print(f"{stage}: {different:,} of {compared:,} differ")
    verdict, seconds = "equal" if result.is_equal else "different", time.monotonic() - start
    print(
        f"{verdict}: {result.frames:,} frames on {board.name} in {seconds:.0f} s, {result.link.retries} sent again, "
        f"{result.link.bad_messages} damaged, {result.growth_kib:,} KiB more memory"
    )
    return 0 if result.is_equal else 1


if __name__ == "__main__":
    sys.exit(main())
