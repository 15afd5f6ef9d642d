"""The demo: the whole road once, from training on real PPG to indices verified on an emulated board."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecodec.boards.schema import Board
from edgecodec.bundle import Bundle
from edgecodec.device.connect import check
from edgecodec.errors import BundleError, InputError, install_extra
from edgecodec.files.atomic import write_file
from edgecodec.files.limits import DOCUMENT
from edgecodec.files.regular import read_regular
from edgecodec.files.strict_json import parse_json
from edgecodec.host.extension import Compiler
from edgecodec.verify.documents import VerificationDocument
from edgecodec.verify.run import VerifyResult, verify_board

_STAMPS = "stamps.json"
_PACKAGE = Path(__file__).resolve().parent
_TRAINING_SIGNAL = ("normalize.py", "quality.py", "sources.py")
_MODEL_PACKAGES = ("keras", "numpy", "heartpy")
_NEEDED_MODULES = ("tensorflow", "keras", "heartpy", "scipy")

Progress = Callable[..., None]
"""``progress(done, total, detail)``; ``detail`` is a text or figures."""

Step = Callable[[str], AbstractContextManager[Progress]]
"""Opens the display of a named step."""


@dataclass(frozen=True)
class DemoDocument(VerificationDocument):
    """What ``demo --json`` prints: the verification on the board, and the summary of the whole road."""

    SCHEMA = "edgecodec.demo"

    summary: Mapping[str, str]
    """What the demo found, by what it is about."""
    report: Path
    """The report, an HTML page."""


@dataclass(frozen=True)
class DemoResult:
    """What the demo found."""

    bundle: Bundle
    """The codec that was trained and quantised."""
    frames: npt.NDArray[np.int16]
    """Frames that it was verified on, ADC counts ``[N, T]``."""
    decoded: npt.NDArray[np.float32]
    """What the board's packets of them were decoded to, in ADC counts ``[N, T]``."""
    verification: VerifyResult
    """The comparison of the board with all other executors."""
    summary: Mapping[str, str]
    """What was found, by what it is about."""

    @property
    def exit_code(self) -> int:
        """0 only when every comparison was exact."""
        return self.verification.exit_code

    def document(self, report: Path) -> DemoDocument:
        """The demo as ``--json`` prints it, whose page is ``report``."""
        return DemoDocument(**vars(self.verification.document), summary=self.summary, report=report)


def run_demo(out: Path, board: Board, step: Step) -> DemoResult:
    """Train, quantise, build, run on ``board``, verify and decode its packets, in the folder ``out``.

    What has not changed since the last run in ``out`` is reused. Raises EdgecodecError.
    """
    _need_packages()
    # Before minutes of training, all that comes behind it.
    check(board)
    Compiler.find()
    _claim(out)
    bundle = _bundle(out, step)
    frames = _frames(bundle)
    with step(f"verify on {board.name}") as progress:
        result = verify_board(bundle, board, frames, by_part=True, progress=progress)
    decoded, prdn = _decode(bundle, frames, result)
    return DemoResult(bundle, frames, decoded, result, _summary(bundle, result, prdn))


def _need_packages() -> None:
    """Raise InputError where a package that the demo needs is missing."""
    missing = [name for name in _NEEDED_MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"the demo needs packages that are missing: {', '.join(missing)}", hint=install_extra("train"))


def _claim(out: Path) -> None:
    """Refuse a folder of somebody else's."""
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / _STAMPS).exists())):
        raise InputError(f"{out}: exists and is no demo's folder", hint="choose another output")
    if not out.exists():
        write_file(out / _STAMPS, b"{}\n")


def _bundle(out: Path, step: Step) -> Bundle:
    """The trained and quantised codec, made again only when its sources or settings changed."""
    config = _PACKAGE / "presets" / "demo.yaml"
    trained = _digest(_sources("nn"), _sources("training"), _sources("signal", _TRAINING_SIGNAL), [config], _versions())
    run = out / "run"
    if not _reusable(out, "run", trained, run):
        from edgecodec.training.run import train

        with step("train") as progress:
            train(config, run, progress=progress)
        _stamp(out, "run", trained)
    packages = ("quantization", "codec", "entropy")
    quantized = _digest(*map(_sources, packages), [_PACKAGE / "bundle.py"], trained)
    folder = out / "bundle"
    if _reusable(out, "bundle", quantized, folder):
        try:
            return Bundle.load(folder)
        except BundleError:
            pass  # damaged since: make it again
    from edgecodec.quantization import quantize_run

    with step("quantize") as progress:
        quantize_run(run, progress=progress).write(folder)
    _stamp(out, "bundle", quantized)
    return Bundle.load(folder)


def _frames(bundle: Bundle) -> npt.NDArray[np.int16]:
    frames = bundle.frames()
    if frames is None:
        raise BundleError(f"{bundle.path}: ships no frames", hint="remove the demo's folder and run it again")
    return frames


def _decode(
    bundle: Bundle, frames: npt.NDArray[np.int16], result: VerifyResult
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Decode the packets that the board made; PPG in ADC counts ``[N, T]`` and PRDN ``[N]``.

    Of a packet that does not decode, which none is where the verdict is equal, the frame is its mean: a PRDN of 100 %.
    """
    from edgecodec.host.streams import stream_of
    from edgecodec.signal.quality import prdn

    packets = result.executor.packet
    assert packets is not None
    decoded = np.repeat(frames.mean(axis=1, keepdims=True, dtype=np.float32), bundle.codec.samples, axis=1)
    for block in stream_of(bundle, [packet for packet in packets if packet is not None]).blocks():
        decoded[block.starts // bundle.codec.samples] = block.counts
    return decoded, prdn(frames, decoded)


def _summary(bundle: Bundle, result: VerifyResult, prdn: npt.NDArray[np.float64]) -> dict[str, str]:
    raw_bits, bits = 16 * bundle.codec.samples, bundle.codec.bits_per_frame
    return {
        "verdict": str(result.verdict),
        "frames": f"{result.frames:,}, each of {bundle.codec.samples} samples, from a recording not trained on",
        "indices compared": f"{result.indices_compared:,}",
        **_mismatches(result),
        "PRDN": f"{prdn.mean():.2f} % mean, {np.median(prdn):.2f} % median, {prdn.max():.2f} % at most, of packets "
        "decoded",
        "bits per frame": f"{bits:,} nominal, {raw_bits / bits:.1f} : 1",
        **on_air(result, raw_bits),
        **_costs(result),
    }


def on_air(result: VerifyResult, raw_bits: int) -> dict[str, str]:
    """What the board's packets take of frames of ``raw_bits``; nothing when the bundle has no packets."""
    bits = result.bits_on_air
    if bits is None:
        return {}
    said = f"{bits.mean / 8:,.1f} bytes mean, {bits.most // 8:,} at most, all included; {raw_bits / bits.mean:.1f} : 1"
    return {"packet on air": said}


def _mismatches(result: VerifyResult) -> dict[str, str]:
    """A line for each pair of executors."""
    stages: dict[str, list[str]] = {}
    for pair in result.comparison.pairs:
        stages.setdefault(f"{pair.a} / {pair.b}", []).append(f"{pair.stage} {pair.mismatches:,}")
    return {name: f"mismatches: {', '.join(counts)}" for name, counts in stages.items()}


def _costs(result: VerifyResult) -> dict[str, str]:
    run = result.run
    if run is None:
        return {}
    parts = ", ".join(f"{name} {value:,.0f}" for name, value in run.breakdown.items())
    return {
        "flash": f"{run.flash_bytes:,} bytes, server and tables included",
        "RAM": f"{run.ram_bytes:,} bytes, link buffers and stack included",
        f"{run.unit} per frame": f"{run.cost_per_frame:,.0f} ({parts})",
    }


def _sources(folder: str, names: Iterable[str] = ("*.py",)) -> list[Path]:
    return [path for name in names for path in sorted((_PACKAGE / folder).glob(name))]


def _versions() -> str:
    return json.dumps({name: importlib.metadata.version(name) for name in _MODEL_PACKAGES})


def _digest(*parts: Iterable[Path] | str) -> str:
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            sha.update(part.encode())
            continue
        for path in part:
            sha.update(path.name.encode() + b"\0" + path.read_bytes())
    return sha.hexdigest()


def _stamps(out: Path) -> dict[str, str]:
    try:
        stamps = parse_json(read_regular(out / _STAMPS, "the stamps of a demo", DOCUMENT))
    except (InputError, ValueError):
        return {}
    return stamps if isinstance(stamps, dict) else {}


def _reusable(out: Path, name: str, digest: str, folder: Path) -> bool:
    return folder.is_dir() and _stamps(out).get(name) == digest


def _stamp(out: Path, name: str, digest: str) -> None:
    stamps = _stamps(out) | {name: digest}
    write_file(out / _STAMPS, (json.dumps(stamps, indent=2) + "\n").encode())
