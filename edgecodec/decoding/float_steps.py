"""Steps of a float decoder, and where in its memory each value lies.

Steps that look at their own position alone run by turns with the one before them, for a few positions: what is between
them takes room for those alone. Everything else has its place while somebody still reads it, zeros around it included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from edgecodec.decoding.c_constants import CStruct, CValue
from edgecodec.errors import UnsupportedOpError

_STRIPE = 12
"""``EDC_DECODE_STRIPE``"""
_STRIPES = {"in": 1, "other": 2, "out": 4}
"""``EDC_DECODE_IN_IS_STRIPE`` and so on."""
_MOST_VALUES = 1 << 24
"""Values that the memory may hold for a frame: 64 MiB."""


class StepKind(IntEnum):
    """``EDC_DECODE_ZERO`` and so on."""

    ZERO = 0
    CONV = 1
    DEPTHWISE = 2
    MEAN = 3
    RSQRT = 4
    ADD = 5
    SUBTRACT = 6
    MULTIPLY = 7
    SQUARED_DIFFERENCE = 8
    WINOGRAD = 9


@dataclass(frozen=True)
class FloatProgram:
    """The steps of a decoder."""

    steps: tuple[CStruct, ...]
    """``edc_decode_step``"""
    latent: int
    """Place of the latent ``[P, D]``."""
    decoded: int
    """Place of the frame ``[T]``."""
    memory: int
    """Places in all: float32 of a frame."""


@dataclass
class Buffer:
    """Memory of a value, with zeros on both sides."""

    size: int
    left: int = 0
    right: int = 0
    place: int = 0
    stripe: bool = False
    """Whether it is room for a stripe alone."""


@dataclass
class Step:
    """A step before its buffers have a place."""

    kind: StepKind
    out: Buffer
    fields: dict[str, CValue]
    """Members of ``edc_decode_step`` that name no place."""
    out_at: int = 0
    """Place within ``out``."""
    read: dict[str, tuple[Buffer, int]] = field(default_factory=dict)
    """Buffer and place in it by the name of the field."""
    alone: bool = True
    """Whether a position's result looks at more than that position of what it reads."""

    @property
    def phased(self) -> bool:
        """Whether it writes some of the positions alone."""
        return self.out.size != _whole(self, "positions") * _whole(self, "channels")


@dataclass(frozen=True)
class _Life:
    """When a buffer is needed, in groups of steps."""

    buffer: Buffer
    written: int
    last: int


def place_steps(steps: list[Step], latent: Buffer, decoded: Buffer) -> FloatProgram:
    """Groups of steps that run by turns, and a place for every buffer while it is needed.

    Raises UnsupportedOpError when all of it takes more than 64 MiB.
    """
    groups = _groups(steps)
    lives = _lives(groups, latent, decoded)
    for number, group in enumerate(groups):
        for step in group if len(group) > 1 else ():
            if lives[id(step.out)].last == number and not step.out.left and not step.out.right:
                step.out.stripe, step.out.size = True, min(step.out.size, _STRIPE * _whole(step, "channels"))
    memory = _place(sorted(lives.values(), key=lambda life: life.written))
    if memory > _MOST_VALUES:
        raise UnsupportedOpError(f"a decoder of {memory} values")
    made = _zeros(latent)
    for number, group in enumerate(groups):
        for life in lives.values():
            if life.buffer is not latent and life.written == number:
                made += _zeros(life.buffer)
        for place, step in enumerate(group):
            made.append(_placed(step, len(group) if place == 0 else 1))
    return FloatProgram(tuple(made), latent.place, decoded.place, memory)


def _lives(groups: list[list[Step]], latent: Buffer, decoded: Buffer) -> dict[int, _Life]:
    """The life of each buffer by its identity, in the order in which they are met."""
    lives = {id(latent): _Life(latent, 0, 0)}
    for number, group in enumerate(groups):
        for step in group:
            for buffer in [step.out, *(buffer for buffer, _ in step.read.values())]:
                written = lives[id(buffer)].written if id(buffer) in lives else number
                lives[id(buffer)] = _Life(buffer, written, number)
    lives[id(decoded)] = _Life(decoded, lives[id(decoded)].written, len(groups))
    return lives


def _place(lives: list[_Life]) -> int:
    """Give each buffer the first place that is free while it lives; the places in all."""
    memory = 0
    done: list[_Life] = []
    for life in lives:
        buffer, start = life.buffer, 0
        taken = sorted(
            (other.buffer.place - other.buffer.left, other.buffer.place + other.buffer.size + other.buffer.right)
            for other in done
            if other.last >= life.written
        )
        for begin, end in taken:
            if begin - start >= buffer.left + buffer.size + buffer.right:
                break
            start = max(start, end)
        buffer.place = start + buffer.left
        done.append(life)
        memory = max(memory, buffer.place + buffer.size + buffer.right)
    return memory


def _placed(step: Step, together: int) -> CStruct:
    """A step whose buffers have their places, the first of ``together`` that run by turns."""
    read = {name: buffer.place + at for name, (buffer, at) in step.read.items()}
    stripes = sum(_STRIPES[name] for name, (buffer, _) in step.read.items() if buffer.stripe)
    stripes += _STRIPES["out"] * step.out.stripe
    fields = {**step.fields, **read, "out": step.out.place + step.out_at, "stripes": stripes}
    return _struct(step.kind, fields, together)


def _groups(steps: list[Step]) -> list[list[Step]]:
    """Steps that run by turns: behind the first, those that look at their own position alone."""
    groups: list[list[Step]] = []
    for step in steps:
        group = groups[-1] if groups else []
        same = bool(group) and group[0].fields["positions"] == step.fields["positions"]
        mine = {id(each.out) for each in group}
        reads = {id(buffer) for buffer, _ in step.read.values()}
        # A phase of a convolution writes every second position or so, which is none that others count.
        phased = any(each.phased for each in [*group, step])
        if same and not phased and (not step.alone or not reads & mine):
            group.append(step)
        else:
            groups.append([step])
    return groups


def _whole(step: Step, name: str) -> int:
    value = step.fields[name]
    assert isinstance(value, int)
    return value


def _zeros(buffer: Buffer) -> list[CStruct]:
    """Steps that write the zeros around a value."""
    sides = [(buffer.place - buffer.left, buffer.left), (buffer.place + buffer.size, buffer.right)]
    return [
        _struct(StepKind.ZERO, {"out": place, "channels": count, "positions": 1}, 1)
        for place, count in sides
        if count > 0
    ]


def _struct(kind: StepKind, fields: Mapping[str, CValue], together: int) -> CStruct:
    return CStruct("edc_decode_step", {"kind": kind, **fields, "together": together})
