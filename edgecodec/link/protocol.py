"""Messages of the serial link (SPEC.md 2): bytes in, bytes out, no I/O.

A message is ``type u8 | seq u16 | payload | crc32 u32``, COBS-encoded and ended by ``0x00``.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any

import numpy as np
import numpy.typing as npt
from cobs import cobs

from edgecodec.codec.numerics import INT8, INT16X8, Numerics
from edgecodec.codec.stages import STAGES, Shape, Stage
from edgecodec.errors import DeviceError

PROTOCOL = 5
NATIVE = "native"
TFLM = "tflm"
ENGINES = (NATIVE, TFLM)
"""What runs the encoder, by the number that HELLO gives it."""
_NUMERICS = (INT8, INT16X8)
"""By the number that HELLO gives them."""
REPLY = 0x80
NO_SEQ = 0xFFFF
"""``seq`` of ERROR: the device could not read the request's."""
FLUSH = b"\0\0"
"""Ends whatever half a message the device has got."""
_HEADER = struct.Struct("<BH")
_CRC = struct.Struct("<I")
_HELLO = struct.Struct("<BBBB32sHHBBHHIIIIII7I")
_TAG = slice(2, 6)
"""Where a reply to ENCODE or LAYER says whose it is."""
_ENCODE = struct.Struct("<BB4siQIII")
_LAYERS = struct.Struct("<IIB")
_TICKS = struct.Struct("<I")
_PACKET = struct.Struct("<IH")
_LAYER = struct.Struct("<BB4sI")
_FIRST = struct.Struct("<I")
_MAX_LAYERS = 255
_SHORTEST = _HEADER.size + _CRC.size
_BUILD_AGAIN = "build the firmware again"
_FAULT_WORDS = 7
_TIMEOUT = 256
"""``exception`` of a firmware that restarted because hardware did not become ready."""
_EXCEPTIONS = {2: "an NMI", 3: "a HardFault", 4: "a MemManage fault", 5: "a BusFault", 6: "a UsageFault"}
_EXCEPTIONS |= {7: "a SecureFault", 11: "an SVCall", 12: "a DebugMonitor exception", 14: "a PendSV", 15: "a SysTick"}
_CFSR_BITS = {
    0: "IACCVIOL",
    1: "DACCVIOL",
    3: "MUNSTKERR",
    4: "MSTKERR",
    5: "MLSPERR",
    8: "IBUSERR",
    9: "PRECISERR",
    10: "IMPRECISERR",
    11: "UNSTKERR",
    12: "STKERR",
    13: "LSPERR",
    16: "UNDEFINSTR",
    17: "INVSTATE",
    18: "INVPC",
    19: "NOCP",
    20: "STKOF",
    24: "UNALIGNED",
    25: "DIVBYZERO",
}
"""What a bit of CFSR says (Armv7-M Architecture Reference Manual, B3.2.15; Armv8-M, D1.2)."""
_ADDRESS_VALID = 1 << 7 | 1 << 15
"""MMARVALID and BFARVALID of CFSR."""


class MessageType(IntEnum):
    """First byte of a message."""

    HELLO = 0x01
    ENCODE = 0x02
    LAYER = 0x03
    HELLO_REPLY = HELLO | REPLY
    ENCODE_REPLY = ENCODE | REPLY
    LAYER_REPLY = LAYER | REPLY
    ERROR = 0xFF


class Status(IntEnum):
    """First byte of a reply's payload."""

    OK = 0
    BAD_FRAME = 1
    BAD_TYPE = 2
    BAD_LENGTH = 3
    BAD_FLAGS = 4
    ENGINE = 5


class ReadBack(IntFlag):
    """What ENCODE's reply carries besides the indices."""

    NONE = 0
    INPUT = 1
    LATENT = 2
    LAYERS = 4
    """Ticks of each layer of the encoder."""
    PACKET = 8
    PUSHED = 16
    """The packet is made by an encoder object, to which the frame is pushed in pieces."""


_ALWAYS = tuple(s for s in STAGES if not s.is_statistic and s.name.upper() not in ReadBack.__members__)
"""Stages that every reply to ENCODE carries, in its order; offset and spread stand before them."""
_READ_BACK = tuple(stage for stage in STAGES if stage.name.upper() in ReadBack.__members__)
"""Stages that a reply to ENCODE carries when they are asked for, in its order; the packet, of any length, is the
last."""
_LAYERS_PART = "layers"
_PACKET_PART = "packet"


@dataclass(frozen=True)
class Message:
    """A message whose CRC was right."""

    type: int
    """One of :class:`MessageType`, or a number that this edgecodec does not know."""
    seq: int
    """Number that ties a reply to its request, 0 to 65535."""
    payload: bytes
    """What stands between header and CRC."""


@dataclass(frozen=True)
class BadMessage:
    """Bytes between two delimiters that are no message."""

    reason: str
    """What is wrong with them."""


@dataclass(frozen=True)
class Fault:
    """Why a firmware restarted, as its start-up kept it."""

    exception: int
    """Number of the exception, 3 for HardFault; 256 when hardware did not become ready."""
    pc: int
    """Address of what was running; 0, with ``lr`` and ``xpsr``, when the stack had overflowed."""
    lr: int
    """Link register: mostly where the running function returns to."""
    xpsr: int
    """Program status of what was running."""
    cfsr: int
    """Configurable fault status; 0 on cores that have none."""
    hfsr: int
    """HardFault status; 0 on cores that have none."""
    address: int
    """Address that could not be reached, where CFSR says that it is known, or the register that was waited for."""

    def describe(self, function_at: Callable[[int], str | None]) -> str:
        """What happened, in one line; ``function_at(address)`` names the function that has code there, if any."""
        if self.exception == _TIMEOUT:
            return (
                f"the board restarted because register {self.address:#010x} did not become ready, waited for at "
                f"{_place(self.pc, function_at)}"
            )
        kind = _EXCEPTIONS.get(self.exception, f"exception {self.exception}")
        details = [name for bit, name in _CFSR_BITS.items() if self.cfsr >> bit & 1]
        if self.cfsr & _ADDRESS_VALID:
            details.append(f"address {self.address:#010x}")
        told = f" [{', '.join(details)}]" if details else ""
        if not (self.pc or self.lr or self.xpsr):
            return f"the board restarted after {kind} with its stack overflowed{told}"
        return (
            f"the board restarted after {kind} at PC {_place(self.pc, function_at)}, "
            f"LR {_place(self.lr & ~1, function_at)}{told}"
        )


def _place(address: int, function_at: Callable[[int], str | None]) -> str:
    name = function_at(address)
    return f"{address:#010x}" if name is None else f"{address:#010x} ({name})"


@dataclass(frozen=True)
class HelloReply:
    """What a device says of itself."""

    engine: str
    """What runs the encoder, one of :data:`ENGINES`."""
    window: int
    """Requests that the device takes in flight."""
    digest: str
    """Digest of the bundle that the firmware was made from, 64 hex digits."""
    shape: Shape
    """Sizes of the codec."""
    numerics: Numerics
    """Its integers, and so the type of input, latent and layers in replies."""
    packet_bytes: int
    """Bytes of the buffer for a packet, which none is longer than; 0 when the firmware makes no packets."""
    state_bytes: int
    """Bytes of RAM that the codec's state takes."""
    encoder_bytes: int
    """Bytes of RAM of the encoder object that packets are also made by; 0 when the firmware has none."""
    arena_bytes: int
    """Bytes of the state's arena in use; 0 when the engine did not start."""
    timer_hz: int
    """Nominal rate of the counter in ticks a second."""
    calibration_instructions: int
    """Instructions of a loop timed at start-up; 0 when ticks are CPU cycles."""
    calibration_ticks: int
    """Ticks that the loop timed at start-up took."""
    fault: Fault | None
    """Why the firmware restarted; None when it did not by itself."""
    board: str
    """Name of the board that the firmware was built for."""
    version: str
    """Version of the edgecodec that built the firmware."""

    @property
    def counts_cycles(self) -> bool:
        """Whether ticks are CPU cycles rather than a measure of instructions."""
        return self.calibration_instructions == 0

    @property
    def per_tick(self) -> float:
        """Instructions (or cycles) of one tick."""
        return 1.0 if self.counts_cycles else self.calibration_instructions / self.calibration_ticks


@dataclass(frozen=True)
class LayerTicks:
    """Ticks of the parts of one frame."""

    empty: int
    """Ticks that reading the counter adds to each other figure."""
    reply: int
    """Ticks of putting together the reply that carries the indices alone, CRC included."""
    layers: tuple[int, ...]
    """Ticks of each layer of the encoder, in its order."""


@dataclass(frozen=True)
class EncodeReply:
    """One encoded frame."""

    offset: int
    """What the normaliser took off the frame (SPEC.md 1.1)."""
    spread: int
    """What it divided the frame by (SPEC.md 1.1)."""
    ticks: tuple[int, int, int]
    """Ticks of normaliser, encoder and RVQ, in this order."""
    stages: Mapping[str, npt.NDArray[Any]]
    """The stages of :data:`~edgecodec.codec.stages.STAGES` that came, each of one frame: ``indices`` ``[P, L]`` always,
    ``input`` ``[T]`` and ``latent`` ``[P, D]`` where they were asked for."""
    layers: LayerTicks | None
    """Ticks of the frame's parts; None unless they were asked for."""
    packet: bytes | None
    """The frame's packet; None unless it was asked for."""
    packet_ticks: int | None
    """Ticks of making the packet; None unless it was asked for."""


@dataclass(frozen=True)
class LayerReply:
    """A piece of what one layer of the encoder put out."""

    total_bytes: int
    """Bytes of the layer's whole output; 0 when there is no such layer or its output is kept nowhere."""
    data: bytes
    """The output from the byte on that was asked for, as much as fits a reply."""


def encode_message(message: Message) -> bytes:
    """The bytes on the wire, delimiter included."""
    body = _HEADER.pack(message.type, message.seq) + message.payload
    return bytes(cobs.encode(body + _CRC.pack(zlib.crc32(body)))) + b"\0"


def decode_message(data: bytes) -> Message | BadMessage:
    """Decode what stood between two delimiters."""
    try:
        body = bytes(cobs.decode(data))
    except cobs.DecodeError as error:
        return BadMessage(f"COBS: {error}")
    if len(body) < _SHORTEST:
        return BadMessage(f"{len(body)} bytes; a message has at least {_SHORTEST}")
    content = body[: -_CRC.size]
    if _CRC.unpack(body[-_CRC.size :])[0] != zlib.crc32(content):
        return BadMessage("CRC")
    kind, seq = _HEADER.unpack_from(content)
    return Message(kind, seq, content[_HEADER.size :])


class MessageReader:
    """Takes a byte stream apart. Longer messages than ``max_bytes`` (encoded) are bad, so memory is bounded."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pending = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> list[Message | BadMessage]:
        """The messages that ``data`` completes. Empty ones are skipped."""
        found: list[Message | BadMessage] = []
        *ended, rest = data.split(b"\0")
        for part in ended:
            self._append(part, found)
            if self._pending and not self._skipping:
                found.append(decode_message(bytes(self._pending)))
            self._pending.clear()
            self._skipping = False
        self._append(rest, found)
        return found

    def _append(self, part: bytes, found: list[Message | BadMessage]) -> None:
        if self._skipping:
            return
        self._pending += part
        if len(self._pending) > self._max_bytes:
            found.append(BadMessage(f"longer than {self._max_bytes} bytes"))
            self._pending.clear()
            self._skipping = True


def reply_stages(read_back: ReadBack) -> tuple[str, ...]:
    """Names of the stages that a reply to ENCODE with ``read_back`` carries, offset and spread included."""
    return tuple(s.name for s in STAGES if s not in _READ_BACK or ReadBack[s.name.upper()] in read_back)


def longest_reply_bytes(shape: Shape, numerics: Numerics = INT8, packet_bytes: int = 0) -> int:
    """Encoded bytes of the longest reply of a codec of that shape, numerics and longest packet, delimiter excluded."""
    hello = _HELLO.size + 2 * 256
    layers = _LAYERS.size + _TICKS.size * _MAX_LAYERS
    stages = sum(_stage_bytes(stage, shape, numerics) for stage in (*_ALWAYS, *_READ_BACK) if not stage.varies)
    encode = _ENCODE.size + stages + layers + _PACKET.size + packet_bytes
    body = _SHORTEST + max(hello, encode)
    return int(cobs.max_encoded_length(body))


def hello_request(seq: int) -> bytes:
    """HELLO as bytes on the wire."""
    return encode_message(Message(MessageType.HELLO, seq, b""))


def encode_request(seq: int, read_back: ReadBack, frame: npt.NDArray[np.int16], sequence: int = 0) -> bytes:
    """ENCODE of one int16 ``[T]`` frame as bytes on the wire; ``sequence``, modulo 256, is its packet's."""
    payload = bytes([read_back]) + frame.astype("<i2").tobytes() + bytes([sequence & 0xFF])
    return encode_message(Message(MessageType.ENCODE, seq, payload))


def layer_request(seq: int, layer: int, first: int, frame: npt.NDArray[np.int16]) -> bytes:
    """LAYER as bytes on the wire: encode one int16 ``[T]`` frame and send ``layer``'s output from byte ``first`` on."""
    payload = bytes([layer]) + frame.astype("<i2").tobytes() + _FIRST.pack(first)
    return encode_message(Message(MessageType.LAYER, seq, payload))


def parse_hello(payload: bytes) -> HelloReply:
    """Read a HELLO reply. Raises DeviceError for a refusal, another protocol, a strange engine or a wrong length."""
    _check_status(payload)
    if len(payload) > 1 and payload[1] != PROTOCOL:
        raise DeviceError(
            f"the firmware speaks link protocol {payload[1]}; this edgecodec speaks {PROTOCOL}", hint=_BUILD_AGAIN
        )
    try:
        fields = _HELLO.unpack_from(payload)
        board, rest = _take_text(payload[_HELLO.size :])
        version, rest = _take_text(rest)
    except (struct.error, UnicodeDecodeError, IndexError) as error:
        raise DeviceError("the reply to HELLO is malformed; the firmware is not edgecodec's") from error
    _, _, engine, window, digest, samples, positions, levels, kind, channels, packet_bytes, *numbers = fields
    kept = Fault(*numbers[-_FAULT_WORDS:])
    del numbers[-_FAULT_WORDS:]
    if rest or window == 0 or (numbers[-2] and not numbers[-1]):
        raise DeviceError("the reply to HELLO is malformed; the firmware is not edgecodec's")
    if engine >= len(ENGINES):
        raise DeviceError(
            f"the firmware's engine is number {engine}; this edgecodec knows {', '.join(ENGINES)}", hint=_BUILD_AGAIN
        )
    if kind >= len(_NUMERICS):
        known = ", ".join(numerics.name for numerics in _NUMERICS)
        raise DeviceError(f"the firmware's numerics are number {kind}; this edgecodec knows {known}", hint=_BUILD_AGAIN)
    shape = Shape(samples, positions, levels, channels)
    state, encoder, arena, hz, instructions, ticks = numbers
    fault = kept if kept.exception else None
    return HelloReply(
        engine=ENGINES[engine],
        window=window,
        digest=digest.hex(),
        shape=shape,
        numerics=_NUMERICS[kind],
        packet_bytes=packet_bytes,
        state_bytes=state,
        encoder_bytes=encoder,
        arena_bytes=arena,
        timer_hz=hz,
        calibration_instructions=instructions,
        calibration_ticks=ticks,
        fault=fault,
        board=board,
        version=version,
    )


def parse_encode(
    payload: bytes, digest: str, shape: Shape, read_back: ReadBack, numerics: Numerics = INT8, packet_bytes: int = 0
) -> EncodeReply:
    """Read the reply to :func:`encode_request` with ``read_back``; no packet is longer than ``packet_bytes``.

    Raises DeviceError for a refusal, for firmware of another bundle than that of ``digest`` (in hex), for flags other
    than those asked for, for a longer packet and for a wrong length, so that the stages returned are exactly those that
    were asked for.
    """
    _check_status(payload)
    _check_tag(payload, digest)
    if len(payload) > 1 and payload[1] != read_back:
        raise DeviceError(
            f"the reply to ENCODE has flags {payload[1]:#04x}; expected those asked for, {int(read_back):#04x}",
            hint=_BUILD_AGAIN,
        )
    asked = [stage for stage in _READ_BACK if ReadBack[stage.name.upper()] in read_back and not stage.varies]
    layers_at = _ENCODE.size + sum(_stage_bytes(stage, shape, numerics) for stage in _ALWAYS)
    parts = {stage.name: _stage_bytes(stage, shape, numerics) for stage in _ALWAYS}
    parts[_LAYERS_PART] = _layers_bytes(payload[layers_at:]) if ReadBack.LAYERS in read_back else 0
    parts |= {stage.name: _stage_bytes(stage, shape, numerics) for stage in asked}
    packet_at = _ENCODE.size + sum(parts.values())
    parts[_PACKET_PART] = _packet_part_bytes(payload[packet_at:], packet_bytes) if ReadBack.PACKET in read_back else 0
    expected = _ENCODE.size + sum(parts.values())
    if len(payload) != expected:
        raise DeviceError(f"the reply to ENCODE has {len(payload)} bytes; expected {expected}")
    _, _, _, offset, spread, *ticks = _ENCODE.unpack_from(payload)
    ends = np.cumsum([_ENCODE.size, *parts.values()])[:-1]
    _, *pieces = np.split(np.frombuffer(payload, np.uint8), ends)
    found = dict(zip(parts, pieces, strict=True))
    stages = {
        stage.name: _values(found[stage.name], stage.type_in(numerics)).reshape(stage.shape(shape))
        for stage in (*_ALWAYS, *asked)
    }
    layers = _layer_ticks(found[_LAYERS_PART].tobytes()) if parts[_LAYERS_PART] else None
    packet, packet_ticks = None, None
    if parts[_PACKET_PART]:
        packet_ticks, _ = _PACKET.unpack_from(payload, packet_at)
        packet = payload[packet_at + _PACKET.size :]
    return EncodeReply(offset, spread, (ticks[0], ticks[1], ticks[2]), stages, layers, packet, packet_ticks)


def parse_layer(payload: bytes, digest: str, layer: int, first: int, layer_bytes: int) -> LayerReply:
    """Read the reply to :func:`layer_request` for a layer of ``layer_bytes``.

    Raises DeviceError for a refusal, firmware of another bundle than that of ``digest`` (in hex), a wrong length,
    another layer or another size of it than ``layer_bytes`` or, at its start, 0: so reading a layer piece by piece
    ends, and what was read is all of it.
    """
    _check_status(payload)
    _check_tag(payload, digest)
    if len(payload) < _LAYER.size:
        raise DeviceError(f"the reply to LAYER has {len(payload)} bytes; expected {_LAYER.size} or more")
    _, found, _, total = _LAYER.unpack_from(payload)
    data = payload[_LAYER.size :]
    if found == layer and total != layer_bytes and (total or first):
        raise DeviceError(
            f"layer {layer} has {total} bytes on the board and {layer_bytes} in the bundle",
            hint="build and flash the firmware again",
        )
    if found != layer or first + len(data) > total or (first < total and not data):
        raise DeviceError(
            f"the reply to LAYER has {len(data)} bytes of layer {found}; expected layer {layer} from byte {first} of "
            f"{total} on"
        )
    return LayerReply(total, data)


def _stage_bytes(stage: Stage, shape: Shape, numerics: Numerics) -> int:
    """Bytes of one frame's stage in a reply."""
    return math.prod(stage.shape(shape)) * stage.type_in(numerics).itemsize


def _values(data: npt.NDArray[np.uint8], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Little-endian values of ``dtype``."""
    return data.view(dtype.newbyteorder("<")).astype(dtype)


def _layers_bytes(data: bytes) -> int:
    """Bytes that the ticks of the layers take, by their count; as many as their shortest form when they end early."""
    count = data[_LAYERS.size - 1] if len(data) >= _LAYERS.size else 0
    return _LAYERS.size + _TICKS.size * count


def _packet_part_bytes(data: bytes, longest: int) -> int:
    """Bytes that the packet takes with what stands before it; as many as stand before it when they end early."""
    if len(data) < _PACKET.size:
        return _PACKET.size
    _, size = _PACKET.unpack_from(data)
    if size > longest:
        raise DeviceError(f"the reply to ENCODE has a packet of {size} bytes; the longest has {longest}")
    return int(_PACKET.size + size)


def _layer_ticks(data: bytes) -> LayerTicks:
    empty, reply, _ = _LAYERS.unpack_from(data)
    return LayerTicks(empty, reply, tuple(ticks for (ticks,) in _TICKS.iter_unpack(data[_LAYERS.size :])))


def _take_text(data: bytes) -> tuple[str, bytes]:
    end = 1 + data[0]
    if len(data) < end:
        raise IndexError("text ends early")
    return data[1:end].decode(), data[end:]


def _check_tag(payload: bytes, digest: str) -> None:
    """Raise DeviceError when a reply long enough to say whose it is names another bundle."""
    found, expected = payload[_TAG], bytes.fromhex(digest)[: _TAG.stop - _TAG.start]
    if len(found) == len(expected) and found != expected:
        raise DeviceError(
            f"a board with bundle {found.hex()} answers now; it was one with {expected.hex()}",
            hint="was the board changed, flashed or unplugged meanwhile?",
        )


def _check_status(payload: bytes) -> None:
    if not payload:
        raise DeviceError("the firmware sent an empty reply; it is not edgecodec's")
    if payload[0] == Status.OK:
        return
    if payload[0] == Status.ENGINE:
        raise DeviceError(
            f"the firmware's engine failed, status {payload[0]} (ENGINE): TensorFlow Lite Micro did not start or run "
            "the encoder",
            hint="build the firmware with a larger arena (--tflm-arena) or another library",
        )
    known = {status.value: status.name for status in Status}
    name = known.get(payload[0], "unknown")
    raise DeviceError(f"the firmware refused the request: status {payload[0]} ({name})", hint=_BUILD_AGAIN)
