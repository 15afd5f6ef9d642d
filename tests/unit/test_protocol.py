"""Messages of the link: bytes worked out by hand, and properties for all others."""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from cobs import cobs
from hypothesis import given
from hypothesis import strategies as st

from edgecodec.codec.numerics import INT8, INT16X8
from edgecodec.codec.stages import Shape
from edgecodec.errors import DeviceError
from edgecodec.link.protocol import (
    BadMessage,
    EncodeReply,
    Fault,
    LayerReply,
    LayerTicks,
    Message,
    MessageReader,
    ReadBack,
    decode_message,
    encode_message,
    encode_request,
    hello_request,
    layer_request,
    longest_reply_bytes,
    parse_encode,
    parse_hello,
    parse_layer,
    reply_stages,
)

messages = st.builds(Message, st.integers(0, 255), st.integers(0, 65535), st.binary(max_size=700))
SHAPE = Shape(samples=4, positions=2, levels=1, latent_channels=3)
DIGEST = "0a0b0c0d" + 28 * "ff"
TAG = b"\x0a\x0b\x0c\x0d"


def test_hello_by_hand() -> None:
    # 01 | 02 01 | CRC-32 of 01 02 01, then COBS: no zero in it, so one block of 7 bytes, then the delimiter.
    crc = zlib.crc32(b"\x01\x02\x01").to_bytes(4, "little")
    assert 0 not in crc
    assert hello_request(0x0102) == b"\x08\x01\x02\x01" + crc + b"\0"


def test_encode_request_by_hand() -> None:
    frame = np.array([1, -1, -32768, 0x1234], np.int16)
    for flags, sequence, sent in ((3, 0, b"\0"), (8, 0x7F, b"\x7f"), (15, 0x1FF, b"\xff")):
        body = b"\x02\x34\x12" + bytes([flags]) + b"\x01\x00\xff\xff\x00\x80\x34\x12" + sent
        wire = encode_request(0x1234, ReadBack(flags), frame, sequence)
        assert wire == cobs.encode(body + zlib.crc32(body).to_bytes(4, "little")) + b"\0"


def test_layer_request_by_hand() -> None:
    body = b"\x03\x34\x12\x07" + b"\x01\x00\xff\xff\x00\x80\x34\x12" + b"\x00\x01\x02\x00"
    sent = layer_request(0x1234, 7, 0x20100, np.array([1, -1, -32768, 0x1234], np.int16))
    assert sent == cobs.encode(body + zlib.crc32(body).to_bytes(4, "little")) + b"\0"


@given(messages)
def test_round_trip(message: Message) -> None:
    data = encode_message(message)
    assert data.count(0) == 1
    assert data[-1] == 0
    assert decode_message(data[:-1]) == message


@given(st.lists(messages, max_size=6), st.data())
def test_reader_gives_the_same_however_the_stream_is_cut(sent: list[Message], data: st.DataObject) -> None:
    stream = b"\0\0".join(encode_message(message) for message in sent) + b"\0"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    reader = MessageReader(1000)
    found = []
    for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += reader.feed(stream[a:b])
    assert found == sent


@given(messages, st.data())
def test_a_flipped_bit_is_never_a_message(message: Message, data: st.DataObject) -> None:
    wire = bytearray(encode_message(message))
    at = data.draw(st.integers(0, len(wire) - 2))
    wire[at] ^= 1 << data.draw(st.integers(0, 7))
    assert all(isinstance(found, BadMessage) for found in MessageReader(1000).feed(bytes(wire)))


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_any_bytes_are_survived_and_the_next_message_is_read(chunks: list[bytes]) -> None:
    reader = MessageReader(100)
    for chunk in chunks:
        reader.feed(chunk)
    reader.feed(b"\0")
    assert reader.feed(hello_request(5)) == [Message(1, 5, b"")]


def test_endless_message_takes_no_memory_and_is_told_once() -> None:
    reader = MessageReader(100)
    found = [message for _ in range(1000) for message in reader.feed(b"U" * 999)]
    assert found == [BadMessage("longer than 100 bytes")]
    assert reader.feed(b"\0" + hello_request(1)) == [Message(1, 1, b"")]


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"\x05ab", "COBS"), (b"\x02\x01", "1 bytes; a message has at least 7"), (cobs.encode(b"1234567"), "CRC")],
)
def test_reason_of_a_bad_message(data: bytes, reason: str) -> None:
    found = decode_message(data)
    assert isinstance(found, BadMessage)
    assert reason in found.reason


def hello_payload(
    board: bytes = b"b", version: bytes = b"1", fault: tuple[int, ...] = (0,) * 7, wide: int = 0
) -> bytes:
    fixed = struct.pack(
        "<BBBB32sHHBBHHIIIIII", 0, 5, 1, 4, b"\xab" * 32, 4, 2, 1, wide, 3, 70, 99, 150, 80, 1000, 300, 100
    )
    fixed += struct.pack("<7I", *fault)
    return fixed + bytes([len(board)]) + board + bytes([len(version)]) + version


def test_parse_hello() -> None:
    reply = parse_hello(hello_payload("Höhe".encode(), b"0.1"))
    assert (reply.board, reply.version, reply.window, reply.shape) == ("Höhe", "0.1", 4, SHAPE)
    assert (reply.digest, reply.engine, reply.timer_hz) == ("ab" * 32, "tflm", 1000)
    assert (reply.packet_bytes, reply.state_bytes, reply.encoder_bytes, reply.arena_bytes) == (70, 99, 150, 80)
    assert (reply.counts_cycles, reply.per_tick) == (False, 3.0)
    assert (reply.fault, reply.numerics) == (None, INT8)
    assert parse_hello(hello_payload(wide=1)).numerics == INT16X8
    with pytest.raises(DeviceError, match=r"numerics are number 2; this edgecodec knows .*int8\.v1, .*int16x8\.v1"):
        parse_hello(hello_payload(wide=2))
    assert parse_hello(hello_payload(fault=(3, 1, 2, 3, 4, 5, 6))).fault == Fault(3, 1, 2, 3, 4, 5, 6)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (
            Fault(3, 0x100, 0x205, 0x21000000, 1 << 9 | 1 << 15, 1 << 30, 0x40001000),
            "restarted after a HardFault at PC 0x00000100 (edc_f), LR 0x00000204 [PRECISERR, address 0x40001000]",
        ),
        (
            Fault(3, 0x100, 0x205, 1, 1 << 1 | 1 << 7 | 1 << 25, 0, 0),
            "restarted after a HardFault at PC 0x00000100 (edc_f), LR 0x00000204 "
            "[DACCVIOL, DIVBYZERO, address 0x00000000]",
        ),
        (Fault(3, 0, 0x205, 0, 0, 0, 0), "restarted after a HardFault at PC 0x00000000, LR 0x00000204"),
        (Fault(3, 0, 0, 0, 1 << 12, 0, 0), "restarted after a HardFault with its stack overflowed [STKERR]"),
        (Fault(2, 0x100, 0x205, 1, 0, 0, 0), "restarted after an NMI at PC 0x00000100 (edc_f), LR 0x00000204"),
        (Fault(19, 0x100, 0x205, 1, 0, 0, 0), "restarted after exception 19 at PC"),
        (
            Fault(256, 0x100, 0, 0, 0, 0, 0x40000100),
            "restarted because register 0x40000100 did not become ready, waited for at 0x00000100 (edc_f)",
        ),
    ],
)
def test_fault_is_told_in_one_line(fault: Fault, told: str) -> None:
    line = fault.describe({0x100: "edc_f"}.get)
    assert line.startswith(f"the board {told}")
    assert line.count("\n") == 0


@given(st.binary(max_size=120))
def test_hello_of_any_bytes_is_read_or_refused(payload: bytes) -> None:
    for data in (payload, b"\0\2" + payload):
        with suppress(DeviceError):
            parse_hello(data)


def encode_payload(flags: int, frame: bytes = b"", latent: bytes = b"") -> bytes:
    return struct.pack("<BB4siQIII", 0, flags, TAG, -5, 2**63, 1, 2, 2**32 - 1) + b"\x01\x00\xff\xff" + frame + latent


def test_parse_encode() -> None:
    payload = encode_payload(3, b"\x80\xff\x00\x7f", bytes(range(250, 256)))
    reply = parse_encode(payload, DIGEST, SHAPE, ReadBack.INPUT | ReadBack.LATENT)
    assert (reply.offset, reply.spread, reply.ticks) == (-5, 2**63, (1, 2, 2**32 - 1))
    assert reply.stages["indices"].tolist() == [[1], [65535]]
    assert reply.stages["indices"].dtype == np.uint16
    assert reply.stages["input"].tolist() == [-128, -1, 0, 127]
    assert reply.stages["latent"].tolist() == [[-6, -5, -4], [-3, -2, -1]]
    bare = parse_encode(encode_payload(0), DIGEST, SHAPE, ReadBack.NONE)
    assert bare.stages.keys() == {"indices"}
    assert bare.layers is None
    assert "input" not in parse_encode(encode_payload(2, latent=b"\1" * 6), DIGEST, SHAPE, ReadBack.LATENT).stages


def test_parse_encode_of_16_bits() -> None:
    both = ReadBack.INPUT | ReadBack.LATENT
    payload = encode_payload(3, struct.pack("<4h", -32768, -1, 0, 32767), struct.pack("<6h", *range(250, 256)))
    reply = parse_encode(payload, DIGEST, SHAPE, both, INT16X8)
    assert reply.stages["input"].tolist() == [-32768, -1, 0, 32767]
    assert reply.stages["latent"].tolist() == [[250, 251, 252], [253, 254, 255]]
    assert {reply.stages[name].dtype for name in ("input", "latent")} == {np.dtype(np.int16)}
    # What the other numerics would send is not what was asked for.
    with pytest.raises(DeviceError, match="has 54 bytes; expected 44"):
        parse_encode(payload, DIGEST, SHAPE, both)
    with pytest.raises(DeviceError, match="has 44 bytes; expected 54"):
        parse_encode(encode_payload(3, bytes(4), bytes(6)), DIGEST, SHAPE, both, INT16X8)


@given(st.integers(0, 255), st.integers(0, 15))
def test_reply_has_the_stages_that_were_asked_for_or_is_refused(flags: int, asked: int) -> None:
    """Each reply is whole for what it says it holds."""
    read_back = ReadBack(asked)
    ticks = struct.pack("<IIBI", 7, 300, 1, 1000) if flags & 4 else b""
    payload = encode_payload(flags, ticks + (b"\1" * 4 if flags & 1 else b""), b"\2" * 6 if flags & 2 else b"")
    payload += struct.pack("<IH", 9, 3) + b"abc" if flags & 8 else b""
    if flags != asked:
        with pytest.raises(DeviceError, match=f"flags 0x{flags:02x}; expected those asked for, 0x{asked:02x}"):
            parse_encode(payload, DIGEST, SHAPE, read_back, packet_bytes=3)
        return
    reply = parse_encode(payload, DIGEST, SHAPE, read_back, packet_bytes=3)
    packet = ("packet",) if reply.packet == b"abc" else ()
    assert {"offset", "spread", *reply.stages, *packet} == set(reply_stages(read_back))
    assert (reply.layers is None) == (ReadBack.LAYERS not in read_back)
    assert (reply.packet_ticks is None) == (ReadBack.PACKET not in read_back)


def test_parse_packet() -> None:
    def parse(part: bytes, flags: int = 8) -> EncodeReply:
        latent = b"\1" * 6 if flags & 2 else b""
        return parse_encode(encode_payload(flags, latent=latent) + part, DIGEST, SHAPE, ReadBack(flags), packet_bytes=5)

    for flags in (8, 10):
        for packet in (b"", b"\0", b"ab\0\0", b"abcde"):
            reply = parse(struct.pack("<IH", 2**32 - 1, len(packet)) + packet, flags)
            assert reply.packet_ticks == 2**32 - 1
            assert reply.packet == packet
    whole = struct.pack("<IH", 7, 3) + b"abc"
    for wrong in (b"", whole[:5], whole[:6], whole[:-1], whole + b"\0"):
        with pytest.raises(DeviceError, match="bytes; expected"):
            parse(wrong)
    for size in (6, 65535):
        with pytest.raises(DeviceError, match=f"has a packet of {size} bytes; the longest has 5"):
            parse(struct.pack("<IH", 7, size) + bytes(size))


def test_parse_layers() -> None:
    ticks = struct.pack("<IIBII", 7, 300, 2, 1000, 2**32 - 1)
    alone = parse_encode(encode_payload(4, ticks), DIGEST, SHAPE, ReadBack.LAYERS)
    assert alone.layers == LayerTicks(7, 300, (1000, 2**32 - 1))
    both = parse_encode(encode_payload(6, ticks, b"\1" * 6), DIGEST, SHAPE, ReadBack.LAYERS | ReadBack.LATENT)
    assert both.layers == LayerTicks(7, 300, (1000, 2**32 - 1))
    for wrong in (b"", ticks[:8], ticks[:-1], ticks + b"\0", struct.pack("<IIB", 7, 300, 2)):
        with pytest.raises(DeviceError, match="bytes; expected"):
            parse_encode(encode_payload(4, wrong), DIGEST, SHAPE, ReadBack.LAYERS)


def test_parse_layer() -> None:
    def payload(data: bytes, layer: int = 2, total: int = 9) -> bytes:
        return struct.pack("<BB4sI", 0, layer, TAG, total) + data

    assert parse_layer(payload(b"abc"), DIGEST, 2, 0, 9) == LayerReply(9, b"abc")
    assert parse_layer(payload(b"abc"), DIGEST, 2, 6, 9) == LayerReply(9, b"abc")
    assert parse_layer(payload(b"", total=0), DIGEST, 2, 0, 9) == LayerReply(0, b"")
    for wrong, first in ((payload(b"abc", layer=1), 0), (payload(b"abc"), 7), (payload(b""), 3)):
        with pytest.raises(DeviceError, match=r"expected layer 2 from byte \d of 9 on"):
            parse_layer(wrong, DIGEST, 2, first, 9)
    with pytest.raises(DeviceError, match="9 bytes; expected 10 or more"):
        parse_layer(payload(b"")[:9], DIGEST, 2, 0, 9)
    with pytest.raises(DeviceError, match=r"engine failed, status 5 \(ENGINE\)"):
        parse_layer(b"\x05", DIGEST, 2, 0, 9)
    # Another size than the bundle's would be read for ever, or not to its end.
    for total, first in ((2**32 - 1, 0), (10, 0), (8, 0), (3, 0), (2**32 - 1, 3), (0, 3), (8, 6)):
        with pytest.raises(DeviceError, match=f"layer 2 has {total} bytes on the board and 9 in the bundle; build and"):
            parse_layer(payload(b"abc", total=total), DIGEST, 2, first, 9)


@pytest.mark.parametrize("at", range(4))
def test_reply_of_another_bundle_is_refused(at: int) -> None:
    """Before anything else that it holds, which may be of another shape."""
    tag = bytes(byte ^ (i == at) for i, byte in enumerate(TAG))
    said = f"a board with bundle {tag.hex()} answers now; it was one with 0a0b0c0d; was the board changed"
    for rest in (b"", encode_payload(0)[6:]):
        with pytest.raises(DeviceError, match=said):
            parse_encode(b"\0\0" + tag + rest, DIGEST, SHAPE, ReadBack.NONE)
        with pytest.raises(DeviceError, match=said):
            parse_layer(b"\0\2" + tag + rest, DIGEST, 2, 0, 9)


@given(st.binary(max_size=60), st.integers(0, 15))
def test_encode_of_any_bytes_is_read_or_refused(payload: bytes, flags: int) -> None:
    for data in (payload, bytes([0, flags]) + TAG + payload):
        with suppress(DeviceError):
            parse_encode(data, DIGEST, SHAPE, ReadBack(flags), packet_bytes=20)


def test_longest_reply_holds_every_reply() -> None:
    wire = encode_message(Message(0x81, 1, hello_payload(b"b" * 255, b"v" * 255)))
    assert len(wire) - 1 <= longest_reply_bytes(SHAPE)
    big = Shape(16384, 2048, 8, 64)
    payload = bytes(30 + 2 * 2048 * 8 + 9 + 4 * 255 + 16384 + 2048 * 64 + 6 + 32778)
    assert len(encode_message(Message(0x82, 1, payload.replace(b"\0", b"x")))) - 1 <= longest_reply_bytes(
        big, packet_bytes=32778
    )
