"""Train and quantise the bundles that edgecodec ships, on PPG that anybody may pass on.

    python -m tools.bundles OUT [NAME ...]

OUT keeps data, a run and a bundle a preset; what is there already is not made again, and each bundle is copied to
``edgecodec/bundles``. The data are synthetic PPG of 400 people (``edgecodec/signal/synthetic.py``) and HeartPy's
recordings (package ``heartpy``, MIT licence), of which ``data2`` is not trained on: the roundings are chosen on its
first half, and the bundles ship frames of its second to verify with. A preset takes some twenty minutes on one core.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, sosfiltfilt

from edgecodec.files.resources import shipped_dir
from edgecodec.quantization import quantize_run
from edgecodec.quantization.pipeline import Tuning
from edgecodec.signal.sources import heartpy_recordings, invalid_samples
from edgecodec.signal.synthetic import synthetic_ppg
from edgecodec.training.config import load_config, preset_path
from edgecodec.training.run import TrainingRun, train

PRESETS = {"08x_light": 20, "04x_light": 20, "16x_light": 20, "32x_light": 20}
"""Epochs of 500 steps, by preset."""
RATE_HZ, ROW, FRAME = 64.0, 1280, 320
PEOPLE, ROWS_EACH, VALIDATION_PEOPLE = 400, 6, 20
FILTERED_SHARE = 0.75
"""Of the synthetic people, those whose PPG went through a band-pass."""
HEARTPY_ROWS_TWICE = 4
"""How often HeartPy's rows are in the data: they are few, and real."""
FRAMES_SHIPPED = 24


def synthetic_rows(person: int) -> npt.NDArray[np.int16]:
    """Rows of one person, int16 ``[6, 1280]``: any rhythm, calm or moving, filtered or as it comes."""
    rng = np.random.default_rng([7, person])
    made = synthetic_ppg(
        (ROWS_EACH + 2) * ROW / RATE_HZ,
        RATE_HZ,
        seed=person,
        heart_rate_bpm=float(rng.uniform(42.0, 160.0)),
        respiration=float(rng.uniform(0.3, 1.6)),
        wander=float(rng.choice([0.05, 0.15, 0.4])),
        motion=float(rng.choice([0.0, 0.0, 1.0])),
        ectopic=float(rng.choice([0.0, 0.0, 0.05, 0.2, 0.4])),
        noise=float(rng.choice([0.0005, 0.002, 0.005, 0.01])),
        irregular=float(rng.choice([0.02, 0.05, 0.2])),
    )
    samples = made.samples.astype(np.float64)
    if rng.random() < FILTERED_SHARE:
        # Most front ends and nearly all public recordings are band-limited: little below a breath, nothing above 15 Hz.
        band = (rng.uniform(0.2, 0.6), rng.uniform(8.0, 16.0))
        samples = sosfiltfilt(butter(2, band, "bandpass", fs=RATE_HZ, output="sos"), samples)
    # A filter rings at a recording's ends; these are left out.
    inner = samples[ROW:-ROW]
    low, high = inner.min(), inner.max()
    rows: npt.NDArray[np.int16] = np.rint((inner - low) / (high - low) * 4095).astype(np.int16).reshape(ROWS_EACH, ROW)
    return rows


def heartpy_rows(name: str, width: int, hop: int) -> npt.NDArray[np.int16]:
    """Windows of a recording of HeartPy's without a sample that is clipped, flat or missing, int16 ``[N, width]``."""
    samples = heartpy_recordings(RATE_HZ)[name].samples
    windows = np.lib.stride_tricks.sliding_window_view(samples, width)[::hop]
    bad = np.lib.stride_tricks.sliding_window_view(invalid_samples(samples.astype(np.float64), RATE_HZ), width)[::hop]
    return windows[~bad.any(axis=1)]


def write_data(path: Path) -> None:
    """Write all that is trained on: ``adc`` int16 ``[N, 1280]`` and ``subject`` ``[N]``, the last 20 for validation."""
    rows = [synthetic_rows(person) for person in range(PEOPLE)]
    real = np.concatenate([heartpy_rows(name, ROW, ROW) for name in ("data", "data3")])
    # HeartPy's come first: the last people validate.
    rows = [np.tile(real, (HEARTPY_ROWS_TWICE, 1)), *rows]
    subject = np.repeat(np.arange(len(rows)), [len(each) for each in rows])
    np.savez(path, adc=np.concatenate(rows), subject=subject, rate_hz=RATE_HZ)


def _progress(done: int, total: int, figures: dict[str, float]) -> None:
    if done % 500 == 0 or done == total:
        print(done, total, figures, flush=True)


def make_bundle(name: str, data: Path, out: Path) -> Path:
    """Train and quantise a preset, unless it is there, and return its bundle's folder."""
    folder, bundle = out / name / "run", out / name / "bundle"
    if not folder.exists():
        split = (f"data.split.validation=last {VALIDATION_PEOPLE}", "data.split.test=last 5")
        settings = (*split, f"data.epochs={PRESETS[name]}")
        train(load_config(preset_path(name), data=data, settings=settings), folder, progress=_progress, resume=True)
    if not bundle.exists():
        # Roundings are chosen on the half of a sensor's recording, as synthetic PPG is smoother than that.
        frames = heartpy_rows("data2", FRAME, FRAME // 8)
        half = len(frames) // 2
        run, tuning = TrainingRun.load(folder), Tuning(index_frames=True)
        made = quantize_run(run, validation=frames[:half], activations=16, tuning=tuning)
        # The last window of the first half reaches into the second.
        shipped = frames[half + 8 :: 2][:FRAMES_SHIPPED]
        # Where the data lay is nobody's business.
        provenance = json.loads(json.dumps(made.provenance).replace(str(data), data.name))
        replace(made, frames=shipped, provenance=provenance).write(bundle)
    return bundle


def main() -> None:
    """Make what is missing and copy the bundles to where the package looks for them."""
    if len(sys.argv) < 2:
        sys.exit(str(__doc__).strip())
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    data = out / "data.npz"
    if not data.exists():
        write_data(data)
    for name in sys.argv[2:] or PRESETS:
        target, bundle = shipped_dir() / name, make_bundle(name, data, out)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(bundle, target)
        print(f"{name}: {sum(path.stat().st_size for path in target.iterdir()):,} bytes")


if __name__ == "__main__":
    main()
