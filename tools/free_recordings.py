"""Write PPG that may be redistributed: HeartPy's recordings (MIT) and synthetic people, to train codecs to be shipped.

    python -m tools.free_recordings OUT [PEOPLE [SECONDS]]

OUT becomes a folder of .npz files, one a person, at 64 Hz: ``data``, ``data2`` and ``data3`` of HeartPy, and 40 people
of 120 s of :mod:`edgecodec.signal.synthetic` unless told otherwise. To train on them, tested on a sensor that is not
trained on:

    edgecodec train --preset 08x_light --data OUT --set "data.split.test=[data2]" \\
        --set "data.split.validation=[synthetic0, synthetic1, synthetic2]" -o run
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from edgecodec.signal.sources import Recording, heartpy_recordings
from edgecodec.signal.synthetic import synthetic_recording
from edgecodec.training.config import SyntheticConfig

RATE_HZ = 64.0


def recordings(people: int, seconds: float) -> dict[str, Recording]:
    """All of them by the name of the person, at 64 Hz."""
    kind = SyntheticConfig()
    made = {
        f"synthetic{person}": synthetic_recording(
            person, seconds, RATE_HZ, seed=1, motion=kind.motion, ectopic=kind.ectopic
        )
        for person in range(people)
    }
    return {**heartpy_recordings(RATE_HZ), **made}


def main(out: Path, people: int, seconds: float) -> None:
    """Write the folder ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    for name, recording in recordings(people, seconds).items():
        subject = np.array([name])
        np.savez_compressed(out / f"{name}.npz", adc=recording.samples[None], subject=subject, rate_hz=RATE_HZ)


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    given = dict(zip(("people", "seconds"), sys.argv[2:], strict=False))
    main(Path(sys.argv[1]), int(given.get("people", 40)), float(given.get("seconds", 120)))
