"""Reports of what commands found: the document, and what its page draws."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec._version import __version__
from edgecodec.boards.schema import Board
from edgecodec.bundle import DECODER, Bundle
from edgecodec.codec.arrays import Frames, Indices, as_frames
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.codec.rvq import IntegerRvq
from edgecodec.codec.stages import Stages
from edgecodec.compile.codebook_search import pack_codebook
from edgecodec.compile.inspect import InspectDocument
from edgecodec.compile.plan import Plan, make_plan
from edgecodec.decoding.decoder import FrameDecoder
from edgecodec.documents import Document
from edgecodec.evaluation.rate_distortion import MODELS, Evaluation
from edgecodec.host.decode import fastest_decoder
from edgecodec.host.encoders import fastest_encoder
from edgecodec.host.oracles import KerasExecutor
from edgecodec.quantization.report import Figures, QuantizationReport
from edgecodec.report.documents import (
    ESTIMATED,
    Attribution,
    FrameQuality,
    Outcome,
    PartCost,
    Quality,
    ReportDocument,
    ReportedBoard,
    ReportedBundle,
    ReportedDivergence,
    StageCount,
)
from edgecodec.report.drawing import Chart, Curves, Map, chart, curves, difference_map
from edgecodec.report.margins import LOOKED_AT, measure_flips, measure_margins
from edgecodec.signal.quality import prdn
from edgecodec.verify.compare import COMPARED, NamedStages, Verdict, difference
from edgecodec.verify.profile import ProfileDocument, ProfileRow, codec_parts
from edgecodec.verify.run import VerifyResult

_DECODED = 256
"""Frames that are decoded to draw the worst, the median and the best, at most."""
_PACKAGES = ("numpy", "ai-edge-litert", "tflite-micro", "tensorflow", "tensorflow-cpu")


@dataclass(frozen=True)
class Origin:
    """The command that a report is of."""

    command: str
    """Its name."""
    repeat: str
    """Its line, for a shell."""


@dataclass(frozen=True)
class Report:
    """A report's document, and what its page has besides."""

    document: ReportDocument
    """What ``report.json`` holds."""
    result: Document
    """The command's own document."""
    counted_in: str = ""
    """Unit of the frames drawn."""
    frames: tuple[tuple[FrameQuality, Curves], ...] = ()
    """The frames drawn, each with its curves."""
    maps: tuple[Map, ...] = ()
    """Where values differ."""
    rate: Chart | None = None
    """PRDN over bits a frame, beside classical codecs."""


def reported_board(board: Board, optimize: str, *, emulate: bool) -> ReportedBoard:
    """A board as reports have it; ``emulate`` says that an emulator stands in for a real one."""
    return ReportedBoard(board.name, board.description, board.core, emulate or not board.is_real, optimize)


def report_verification(
    origin: Origin,
    bundle: Bundle,
    frames: Frames,
    result: VerifyResult,
    *,
    board: ReportedBoard | None = None,
    plan: Plan | None = None,
    decoded: npt.NDArray[np.floating[Any]] | None = None,
    document: Document | None = None,
) -> Report:
    """The report of a verification on ``frames`` int16 ``[N, T]``.

    ``plan`` is that of the firmware; None where another engine runs the encoder, or it was there already. Without a
    board costs are those that the plan of the C on this machine expects. ``decoded`` ``[N, T]`` in ADC counts
    is what the frames' packets were decoded to; without it the reference's indices are decoded. ``document`` takes the
    place of the result's own. Raises BundleError for a decoder that does not fit.
    """
    reference = result.stages[ReferenceExecutor.name]
    decoder = fastest_decoder(bundle) if bundle.file(DECODER) is not None else None
    if decoded is None and decoder is not None:
        decoded = _decode(decoder, reference, np.arange(min(_DECODED, len(frames))), reference.indices[:_DECODED])
        source = "the reference's indices"
    else:
        source = f"the packets of {'this machine' if board is None else board.name}"
    quality, drawn = _quality(frames, decoded, source)
    rvq = bundle.codec.rvq
    assert reference.latent is not None
    found = document or result.document
    if board is None:
        plan = make_plan(bundle.codec)
    unit, parts = _costs(result, bundle, plan)
    made = _document(
        origin,
        bundle,
        Outcome(result.verdict),
        _said(result),
        found,
        board=board,
        attribution=_attribution(result),
        divergence=_divergence(result, frames, rvq, decoder),
        margins=measure_margins(rvq, reference.latent[:LOOKED_AT]) or None,
        flips=None if decoder is None else measure_flips(rvq, decoder, frames, reference) or None,
        quality=quality,
        drawn=tuple(frame for frame, _ in drawn) or None,
        unit=unit,
        parts=parts,
    )
    return Report(made, found, "ADC counts", drawn, _maps(result))


def report_profile(
    origin: Origin, bundle: Bundle, result: ProfileDocument, board: ReportedBoard, plan: Plan | None
) -> Report:
    """The report of a profile; ``plan`` is that of the firmware, None where another engine runs the encoder."""
    memory = (
        ""
        if result.memory is None
        else (f"; {result.memory.flash_bytes:,} bytes of flash, {result.memory.ram_bytes:,} of RAM")
    )
    said = f"{result.cost_per_frame:,.0f} {result.unit} a frame on {result.board}{memory}"
    parts = _measured_parts(result.layers, bundle, plan)
    made = _document(origin, bundle, Outcome.MEASURED, said, result, board=board, unit=result.unit, parts=parts)
    return Report(made, result)


def report_evaluation(origin: Origin, bundle: Bundle, frames: npt.ArrayLike, result: Evaluation) -> Report:
    """The report of an evaluation on ``frames`` int16 ``[N, T]``."""
    bits = result.bits_per_frame[result.best_model]
    said = f"PRDN {result.prdn.mean:.3f} % at {bits:,.1f} bits a frame ({MODELS[result.best_model]})"
    chosen = {"worst": result.worst_frame, "median": result.median_frame, "best": result.best_frame}
    drawn = tuple(FrameQuality(place, **vars(frame)) for place, frame in chosen.items())
    original = as_frames(frames, bundle.codec.samples)[[frame.number for frame in drawn]]
    found = fastest_decoder(bundle).decode(fastest_encoder(bundle).encode(original))
    normalized = bundle.codec.normalizer.normalization.normalize(original)
    pictures = tuple((frame, curves(*pair)) for frame, *pair in zip(drawn, normalized, found, strict=True))
    made = _document(origin, bundle, Outcome.MEASURED, said, result, drawn=drawn)
    return Report(made, result, "normalised", pictures, rate=_rate(result))


def report_quantization(
    origin: Origin,
    bundle: Bundle,
    result: Document,
    inspection: InspectDocument,
    figures: Figures,
    quantization: QuantizationReport,
) -> Report:
    """The report of a bundle made, whose document ``result`` holds the others."""
    said = f"{bundle.name}: {inspection.rate.nominal_bits_per_frame:,} bits a frame, {quantization.chosen}"
    if "prdn_integer" in figures:
        before = f", {figures['prdn_float']:.3f} % in floats" if "prdn_float" in figures else ""
        said += f"; PRDN {figures['prdn_integer']:.3f} % in integers{before}"
    if quantization.shortfalls:
        said += f"; no better than chance: {'; '.join(map(str, quantization.shortfalls))}"
    outputs = {buffer.first_step: buffer.size_bytes for buffer in inspection.plan.buffers}
    flash = inspection.flash
    parts = (
        PartCost("normaliser", inspection.normalizer.kind, None, None, None, None, outputs.get(0)),
        *(
            PartCost(layer.name, layer.c_kernel, layer.macs, None, None, layer.table_bytes, outputs.get(number))
            for number, layer in enumerate(inspection.layers, start=1)
        ),
        PartCost(
            "codebook search",
            inspection.rvq.search,
            inspection.rvq.macs,
            None,
            None,
            flash.codebook_bytes,
            inspection.plan.residual_bytes,
        ),
    )
    return Report(_document(origin, bundle, Outcome.MADE, said, result, parts=parts), result)


def _document(
    origin: Origin, bundle: Bundle, verdict: Outcome, said: str, result: Document, **sections: Any
) -> ReportDocument:
    codec = bundle.codec
    return ReportDocument(
        verdict=verdict,
        headline=said,
        command=origin.command,
        repeat=origin.repeat,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=_versions(),
        bundle=ReportedBundle(bundle.name, bundle.digest, codec.numerics.name, codec.samples, bundle.rate_hz),
        result=result.to_json(),
        **sections,
    )


def _versions() -> Mapping[str, str]:
    found = {"edgecodec": __version__, "Python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # not installed
    return found | {"machine": f"{platform.system()} {platform.machine()}"}


def _said(result: VerifyResult) -> str:
    first = result.comparison.first_divergence
    if first is not None:
        return f"first difference: {first.describe()}"
    names = ", ".join(dict.fromkeys(name for pair in result.comparison.pairs for name in (pair.a, pair.b)))
    compared = sum(pair.compared for pair in result.comparison.pairs)
    if result.verdict == Verdict.EQUAL:
        return f"{names}: all {compared:,} values of {result.frames:,} frames are equal"
    empty = ", ".join(f"{pair.stage} of {pair.a} and {pair.b}" for pair in result.comparison.pairs if not pair.compared)
    return f"nothing was compared{empty and f': {empty}'}"


def _attribution(result: VerifyResult) -> tuple[Attribution, ...]:
    """Every executor beside the reference, keras first."""
    name = ReferenceExecutor.name
    found: dict[tuple[str, bool], dict[str, StageCount]] = {}
    for exact, pairs in ((False, result.float_pairs), (True, result.comparison.pairs)):
        for pair in pairs:
            if name in (pair.a, pair.b):
                other = pair.b if pair.a == name else pair.a
                found.setdefault((other, exact), {})[pair.stage] = StageCount(pair.compared, pair.mismatches)
    return tuple(Attribution(*key, stages) for key, stages in found.items())


def _divergence(
    result: VerifyResult, frames: Frames, rvq: IntegerRvq, decoder: FrameDecoder | None
) -> ReportedDivergence | None:
    first = result.comparison.first_divergence
    if first is None:
        return None
    layers = tuple(f"{each.executor}: {each.describe()}" for each in result.layer_divergences)
    expected = received = None
    pair = [result.stages.get(name) for name in (first.a, first.b)]
    if decoder is not None and pair[0] is not None and pair[1] is not None:
        a, b = (stages.indices[first.frame] for stages in pair if stages is not None)
        if (a != b).any():
            reference = result.stages[ReferenceExecutor.name]
            expected, received = (_prdn_of(decoder, rvq, frames, reference, first.frame, each) for each in (a, b))
    return ReportedDivergence(first.describe(), layers, expected, received)


def _prdn_of(
    decoder: FrameDecoder, rvq: IntegerRvq, frames: Frames, reference: Stages, number: int, indices: Indices
) -> float | None:
    """PRDN in percent of a frame decoded from ``indices`` ``[P, L]``.

    None where the frame is constant, or an index is outside its codebook.
    """
    if (indices >= np.array(rvq.codebook_sizes)).any():
        return None
    one = np.array([number])
    value = float(prdn(frames[one], _decode(decoder, reference, one, indices[None]))[0])
    return value if np.isfinite(value) else None


def _decode(
    decoder: FrameDecoder, reference: Stages, numbers: npt.NDArray[np.intp], indices: Indices
) -> npt.NDArray[np.float32]:
    """Frames of these numbers in ADC counts ``[M, T]``, decoded from ``indices`` ``[M, P, L]``."""
    assert reference.offset is not None
    assert reference.spread is not None
    return decoder.decode(indices, reference.offset[numbers], reference.spread[numbers])


def _quality(
    frames: Frames, decoded: npt.NDArray[np.floating[Any]] | None, source: str
) -> tuple[Quality | None, tuple[tuple[FrameQuality, Curves], ...]]:
    """PRDN of the first frames, which ``decoded`` ``[M, T]`` are of, and the worst, the median and the best drawn."""
    if decoded is None:
        return None, ()
    before = frames[: len(decoded)]
    moving = np.flatnonzero(np.any(before != before[:, :1], axis=1))
    values = prdn(before[moving], decoded[moving])
    if not len(moving) or not np.isfinite(values).all():
        return None, ()
    order = np.argsort(values, kind="stable")
    places = {"worst": order[-1], "median": order[len(order) // 2], "best": order[0]}
    drawn = []
    # One frame alone is all three.
    for place, at in places.items() if len(order) > 2 else [("worst", order[-1])]:
        number = int(moving[at])
        figure = FrameQuality(place, number, float(values[at]), "", "")
        drawn.append((figure, curves(before[number], decoded[number])))
    summary = Quality(len(moving), source, float(values.mean()), float(np.median(values)), float(values.max()))
    return summary, tuple(drawn)


def _maps(result: VerifyResult) -> tuple[Map, ...]:
    """Which frames differ, and where in the first one; nothing where none does."""
    first = result.comparison.first_divergence
    if first is None:
        return ()
    made = []
    reference = NamedStages(ReferenceExecutor.name, result.stages[ReferenceExecutor.name])
    others = [name for name in result.stages if name not in (reference.name, KerasExecutor.name)]
    wrong = [_wrong_frames(reference, NamedStages(name, result.stages[name])) for name in others]
    if any(each.any() for each in wrong):
        made.append(difference_map("frames that differ from the reference", np.stack(wrong, axis=1), others, "frame"))
    pair = [result.stages.get(name) for name in (first.a, first.b)]
    if first.stage in COMPARED and pair[0] is not None and pair[1] is not None:
        a, b = NamedStages(first.a, pair[0]), NamedStages(first.b, pair[1])
        cells = difference(a, b, first.stage)[first.frame]
        table = cells.reshape(len(cells), -1)
        axes = COMPARED[first.stage].axes
        rows = [f"{axes[1]} {number}" for number in range(table.shape[1])] if len(axes) > 1 else [first.b]
        title = f"{first.stage} of frame {first.frame}: {first.b} beside {first.a}"
        made.append(difference_map(title, table, rows, "byte" if first.stage == "packet" else "position"))
    for each in result.layer_divergences:
        span = np.zeros((each.positions, 1), np.bool_)
        span[each.position : each.last_position + 1] = True
        title = f"layer {each.layer} ({each.name}) of frame {each.frame}: {each.executor} beside reference"
        made.append(difference_map(title, span, [each.op], "position"))
    return tuple(made)


def _wrong_frames(a: NamedStages, b: NamedStages) -> npt.NDArray[np.bool_]:
    """Whether any stage that both compute differs in a frame, ``[N]``."""
    wrong = np.zeros(len(a.stages.indices), np.bool_)
    for stage in COMPARED:
        if a.stages.get(stage) is not None and b.stages.get(stage) is not None:
            cells = difference(a, b, stage)
            wrong |= cells.reshape(len(cells), -1).any(axis=1)
    return wrong


@dataclass(frozen=True)
class _Space:
    """Flash and RAM of a codec's parts in bytes; nothing of a firmware whose plan is not known."""

    layers: tuple[tuple[int | None, int | None], ...] = ()
    normalizer: tuple[int | None, int | None] = (None, None)
    search: tuple[int | None, int | None] = (None, None)
    packet: tuple[int | None, int | None] = (None, None)

    @classmethod
    def of(cls, bundle: Bundle, plan: Plan | None) -> _Space:
        """Of the codec of ``bundle`` as planned."""
        if plan is None:
            return cls()
        rvq = bundle.codec.rvq
        books = sum(
            pack_codebook(rvq, level, found, plan.search).table_bytes for level, found in enumerate(plan.codebooks)
        )
        outputs = {buffer.first_step: buffer.size_bytes for buffer in plan.buffers}
        layers = tuple((step.table_bytes, outputs.get(number)) for number, step in enumerate(plan.steps, start=1))
        packets = bundle.packets()
        tables = None if packets is None or packets.model is None else packets.model.flash_bytes
        return cls(layers, (None, outputs.get(0)), (books, plan.residual_bytes), (tables, None))

    def of_row(self, kind: str, layer: int) -> tuple[int | None, int | None]:
        """Those of a row of a profile, which is the layer of this number if it is one."""
        if kind == "layer" and self.layers:
            return self.layers[layer]
        others = {"normaliser": self.normalizer, "rvq": self.search, "packet": self.packet}
        return others.get(kind, (None, None))


def _costs(result: VerifyResult, bundle: Bundle, plan: Plan | None) -> tuple[str | None, tuple[PartCost, ...] | None]:
    """Unit and costs of the parts: as the board timed them, else as ``plan`` expects."""
    if result.run is not None and result.parts:
        return result.run.unit, _measured_parts(result.parts, bundle, plan)
    return (None, None) if plan is None else (ESTIMATED, _estimated_parts(bundle, plan))


def _measured_parts(rows: Sequence[ProfileRow], bundle: Bundle, plan: Plan | None) -> tuple[PartCost, ...]:
    space = _Space.of(bundle, plan)
    return tuple(
        PartCost(row.name, row.kernel, row.macs or None, row.cost, row.share, *space.of_row(row.kind, number - 1))
        for number, row in enumerate(rows)
    )


def _estimated_parts(bundle: Bundle, plan: Plan) -> tuple[PartCost, ...]:
    """What the calls of each layer take by the kernels' models; of the other parts there is none."""
    space = _Space.of(bundle, plan)
    costs = [0.0] * len(plan.steps)
    for call in plan.calls:
        costs[call.layer] += call.instructions
    total = sum(costs)
    made = []
    for number, head in enumerate(codec_parts(bundle, plan, [str(step.kernel) for step in plan.steps])):
        cost = costs[number - 1] if head.kind == "layer" else None
        share = None if cost is None else cost / total
        made.append(
            PartCost(head.name, head.kernel, head.macs or None, cost, share, *space.of_row(head.kind, number - 1))
        )
    return tuple(made)


def _rate(result: Evaluation) -> Chart:
    """The opponents' curves or points, and the codec under each entropy model."""
    series: list[tuple[str, bool, bool, Sequence[tuple[float, float]]]] = []
    for opponent in result.opponents:
        points = opponent.curve or tuple(
            point for point in (opponent.equal_prdn, opponent.equal_bits) if point is not None
        )
        placed = [(point.bits_per_frame, point.prdn) for point in points]
        if placed:
            series.append((opponent.title, False, bool(opponent.curve), placed))
    for model, bits in result.bits_per_frame.items():
        series.append((f"this codec, {MODELS[model]}", True, False, [(bits, result.prdn.mean)]))
    return chart(series)
