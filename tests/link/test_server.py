"""The firmware's framing and request loop, driven byte by byte on this machine."""

from __future__ import annotations

import ctypes
import random
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from cobs import cobs

from edgecodec.codec.stages import Shape
from edgecodec.link.protocol import (
    BadMessage,
    EncodeReply,
    Fault,
    LayerTicks,
    Message,
    MessageReader,
    MessageType,
    ReadBack,
    Status,
    encode_message,
    encode_request,
    hello_request,
    layer_request,
    parse_encode,
    parse_hello,
    parse_layer,
)
from tests import tools
from tests.link.device import (
    CHANNELS,
    DIGEST,
    LEVELS,
    PACKETS,
    POSITIONS,
    SAMPLES,
    HostServer,
    compile_host,
    expected,
    frames,
)

SHAPE = Shape(SAMPLES, POSITIONS, LEVELS, CHANNELS)
BOTH = ReadBack.INPUT | ReadBack.LATENT
TAG = bytes.fromhex(DIGEST)[:4]
BAD_FRAME = Message(MessageType.ERROR, 0xFFFF, bytes([Status.BAD_FRAME]))


def read(data: bytes) -> list[Message | BadMessage]:
    return MessageReader(4096).feed(data)


def ask(server: HostServer, type_: int, payload: bytes, seq: int = 7) -> Message:
    (reply,) = read(server.exchange(encode_message(Message(type_, seq, payload))))
    assert isinstance(reply, Message)
    return reply


def test_hello_is_byte_for_byte_the_specification(server_of: HostServer) -> None:
    value = server_of.numerics.activation.itemsize
    sent = server_of.exchange(hello_request(0x0201))
    body = (
        struct.pack("<BH", 0x81, 0x0201)
        + struct.pack("<BBBB", 0, 5, 0, 4)
        + bytes(range(32))
        + struct.pack("<HHBBHH", 16, 3, 2, value - 1, 4, PACKETS.buffer_bytes)
        + struct.pack("<IIIIII", 28 * value, 28 * value + 4 * 16 + 2 * 6, 24, 1_000_000, 3000, 1000)
        + bytes(28)
        + b"\x04host"
        + b"\x051.2.3"
    )
    assert sent == cobs.encode(body + struct.pack("<I", zlib.crc32(body))) + b"\0"
    reply = parse_hello(read(sent)[0].payload)
    assert (reply.digest, reply.shape, reply.board, reply.version) == (DIGEST, SHAPE, "host", "1.2.3")
    assert (reply.numerics, reply.packet_bytes) == (server_of.numerics, 10 + 9)
    assert reply.per_tick == 3.0


def test_hello_says_why_the_firmware_restarted(server: HostServer) -> None:
    words = (3, 0x1234, 0x5679, 0x21000000, 0x8200, 0x40000000, 0xFB000000)
    server.restart(words)
    (message,) = read(server.exchange(hello_request(1)))
    assert message.payload[70:98] == struct.pack("<7I", *words)
    assert parse_hello(message.payload).fault == Fault(*words)
    server.restart()
    assert parse_hello(read(server.exchange(hello_request(2)))[0].payload).fault is None


def test_watchdog_is_fed_while_idle_and_with_each_byte(server: HostServer) -> None:
    before = server.fed
    server.exchange(b"")
    assert server.fed > before
    before = server.fed
    server.exchange(encode_request(1, BOTH, frames(1)[0]))
    assert server.fed - before >= len(encode_request(1, BOTH, frames(1)[0]))


@pytest.mark.parametrize("read_back", [ReadBack.NONE, ReadBack.INPUT, ReadBack.LATENT, BOTH])
def test_encode_returns_every_stage(server_of: HostServer, read_back: ReadBack) -> None:
    x = frames(3)
    want = expected(x, server_of.numerics)
    for i, frame in enumerate(x):
        (message,) = read(server_of.exchange(encode_request(i, read_back, frame)))
        reply = parse_encode(message.payload, DIGEST, SHAPE, read_back, server_of.numerics)
        assert isinstance(reply, EncodeReply)
        assert (message.type, message.seq) == (MessageType.ENCODE_REPLY, i)
        np.testing.assert_array_equal(reply.stages["indices"], want.indices[i])
        assert (reply.offset, reply.spread) == (want.offset[i], want.spread[i])
        assert reply.ticks == (100, 100, 100)
        assert ("input" in reply.stages, "latent" in reply.stages) == (bool(read_back & 1), bool(read_back & 2))
        if "input" in reply.stages:
            np.testing.assert_array_equal(reply.stages["input"], want.input[i])
        if "latent" in reply.stages:
            np.testing.assert_array_equal(reply.stages["latent"], want.latent[i])


@pytest.mark.parametrize("read_back", [ReadBack.LAYERS, ReadBack.LAYERS | BOTH])
def test_layers_are_timed_one_by_one(server_of: HostServer, read_back: ReadBack) -> None:
    x = frames(1)
    want = expected(x, server_of.numerics)
    (message,) = read(server_of.exchange(encode_request(1, read_back, x[0])))
    reply = parse_encode(message.payload, DIGEST, SHAPE, read_back, server_of.numerics)
    # Each look at the counter moves it by 100. Layers 0 and 1 run twice and look at it themselves, twice and once a
    # time; one look is on top of each layer, however often it runs. The encoder's two have between them two with
    # nothing between, ten around the calls, and six within.
    assert reply.layers == LayerTicks(empty=100, reply=100, layers=(500, 300, 100))
    assert reply.ticks == (100, 1900, 100)
    np.testing.assert_array_equal(reply.stages["indices"], want.indices[0])
    if read_back & BOTH:
        np.testing.assert_array_equal(reply.stages["input"], want.input[0])
        np.testing.assert_array_equal(reply.stages["latent"], want.latent[0])
    else:
        assert reply.stages.keys() == {"indices"}


@pytest.mark.parametrize("others", [ReadBack.NONE, BOTH, ReadBack.LAYERS, ReadBack.LAYERS | BOTH])
def test_the_packet_is_the_reference_s(server_of: HostServer, others: ReadBack) -> None:
    """Behind all else, and numbered as the request says."""
    x = frames(2)
    want = expected(x, server_of.numerics)
    for sequence, frame in enumerate(x, start=255):
        asked = others | ReadBack.PACKET
        (message,) = read(server_of.exchange(encode_request(1, asked, frame, sequence)))
        reply = parse_encode(
            message.payload, DIGEST, SHAPE, asked, server_of.numerics, packet_bytes=PACKETS.buffer_bytes
        )
        i = sequence - 255
        packet = PACKETS.encode(want.indices[i], int(want.offset[i]), int(want.spread[i]), sequence)
        assert reply.packet == packet
        assert PACKETS.decode(packet).sequence == (255, 0)[i]
        assert message.payload.endswith(struct.pack("<IH", 100, len(packet)) + packet)
        assert reply.packet_ticks == 100
        # What is measured of the rest stays what it was.
        assert reply.ticks == (100, 1900 if others & ReadBack.LAYERS else 100, 100)
        assert (reply.layers is None) == (not others & ReadBack.LAYERS)
        if reply.layers:
            assert reply.layers == LayerTicks(empty=100, reply=100, layers=(500, 300, 100))
        np.testing.assert_array_equal(reply.stages["indices"], want.indices[i])
        if others & BOTH:
            np.testing.assert_array_equal(reply.stages["input"], want.input[i])
            np.testing.assert_array_equal(reply.stages["latent"], want.latent[i])


def test_another_sequence_is_another_request(server: HostServer) -> None:
    x = frames(1)[0]
    sent = [server.exchange(encode_request(1, ReadBack.PACKET, x, sequence)) for sequence in (3, 3, 4)]
    assert sent[0] == sent[1] != sent[2]
    assert server.runs >= 2


def test_firmware_without_packets_refuses_to_send_one(tmp_path: Path) -> None:
    tools.require("cc")
    library = compile_host(tmp_path / "libhost.so", "-shared", "-fPIC", "-DSTUB_WITHOUT_PACKETS")
    server = HostServer(library)
    (hello,) = read(server.exchange(hello_request(1)))
    assert (parse_hello(hello.payload).packet_bytes, parse_hello(hello.payload).encoder_bytes) == (0, 0)
    for flags in (8, 16, 24):
        request = bytes([flags]) + b"\0" * (2 * SAMPLES + 1)
        assert ask(server, MessageType.ENCODE, request) == Message(0x82, 7, bytes([Status.BAD_FLAGS]))
    (message,) = read(server.exchange(encode_request(2, ReadBack.LAYERS | BOTH, frames(1)[0])))
    reply = parse_encode(message.payload, DIGEST, SHAPE, ReadBack.LAYERS | BOTH)
    np.testing.assert_array_equal(reply.stages["latent"], expected(frames(1)).latent[0])


@pytest.mark.parametrize("others", [ReadBack.NONE, ReadBack.LAYERS | BOTH])
def test_the_packet_of_pushed_samples_is_the_reference_s(server_of: HostServer, others: ReadBack) -> None:
    """Whatever the pieces: with flag gap behind lost frames, and clipped where a sample is at an end of int16."""
    x = frames(256)
    x[::7, 3] = 32767
    x[4] = -32768
    want = expected(x, server_of.numerics)
    asked = others | ReadBack.PACKET | ReadBack.PUSHED
    for sequence, frame in enumerate(x):
        (message,) = read(server_of.exchange(encode_request(1, asked, frame, sequence)))
        reply = parse_encode(
            message.payload, DIGEST, SHAPE, asked, server_of.numerics, packet_bytes=PACKETS.buffer_bytes
        )
        said = (want.indices[sequence], int(want.offset[sequence]), int(want.spread[sequence]), sequence)
        clipped = bool(np.any(np.abs(frame + 0.5) == 32767.5))
        assert reply.packet == PACKETS.encode(*said, clipped=clipped, gap=sequence > 0)
        # The rest is what it was, the codec's state gone or not.
        np.testing.assert_array_equal(reply.stages["indices"], want.indices[sequence])
        assert (reply.offset, reply.spread) == (want.offset[sequence], want.spread[sequence])
        if others:
            np.testing.assert_array_equal(reply.stages["input"], want.input[sequence])
            np.testing.assert_array_equal(reply.stages["latent"], want.latent[sequence])


def test_flag_of_pushed_samples_alone_asks_for_no_packet(server: HostServer) -> None:
    (message,) = read(server.exchange(encode_request(1, ReadBack.PUSHED, frames(1)[0])))
    reply = parse_encode(message.payload, DIGEST, SHAPE, ReadBack.PUSHED)
    assert reply.packet is None


def test_firmware_without_encoders_makes_packets_at_once_alone(tmp_path: Path) -> None:
    tools.require("cc")
    library = compile_host(tmp_path / "libhost.so", "-shared", "-fPIC", "-DSTUB_WITHOUT_ENCODER")
    server = HostServer(library)
    (hello,) = read(server.exchange(hello_request(1)))
    assert parse_hello(hello.payload).packet_bytes > 0
    assert parse_hello(hello.payload).encoder_bytes == 0
    request = b"\x18" + b"\0" * (2 * SAMPLES + 1)
    assert ask(server, MessageType.ENCODE, request) == Message(0x82, 7, bytes([Status.BAD_FLAGS]))
    (message,) = read(server.exchange(encode_request(2, ReadBack.PACKET, frames(1)[0])))
    reply = parse_encode(message.payload, DIGEST, SHAPE, ReadBack.PACKET, packet_bytes=PACKETS.buffer_bytes)
    assert reply.packet == expected(frames(1)).packet[0]


def test_a_layer_is_sent_from_any_byte_on(server_of: HostServer) -> None:
    x = frames(1)
    wide = ((np.arange(300) + expected(x, server_of.numerics).input[0, 0]) % 256).astype(np.uint8).tobytes()
    for first in (0, 1, 199, 299):
        (message,) = read(server_of.exchange(layer_request(first, 1, first, x[0])))
        assert message.type == MessageType.LAYER_REPLY
        reply = parse_layer(message.payload, DIGEST, 1, first, 300)
        assert reply.total_bytes == 300
        assert 0 < len(reply.data) < 300
        assert reply.data == wide[first : first + len(reply.data)]
    # From the end on, and of layers that put nothing out or are not there, nothing comes.
    for layer, first, total in ((1, 300, 300), (1, 2**32 - 1, 300), (0, 0, 0), (3, 0, 0), (255, 0, 0)):
        (message,) = read(server_of.exchange(layer_request(1000 + first % 1000, layer, first, x[0])))
        assert message.payload == struct.pack("<BB4sI", 0, layer, TAG, total)


@pytest.mark.parametrize(
    ("type_", "payload", "status"),
    [
        (0x04, b"", Status.BAD_TYPE),
        (0x00, b"", Status.BAD_TYPE),
        (0x81, b"", Status.BAD_TYPE),
        (0x01, b"x", Status.BAD_LENGTH),
        (0x02, b"", Status.BAD_LENGTH),
        (0x02, b"\0" * (2 * SAMPLES + 1), Status.BAD_LENGTH),
        (0x03, b"\0" * (2 * SAMPLES + 2), Status.BAD_LENGTH),
        (0x02, b"\x20" + b"\0" * (2 * SAMPLES + 1), Status.BAD_FLAGS),
        (0x02, b"\x80" + b"\0" * (2 * SAMPLES + 1), Status.BAD_FLAGS),
    ],
)
def test_bad_requests_are_refused(server: HostServer, type_: int, payload: bytes, status: Status) -> None:
    assert ask(server, type_, payload) == Message(type_ | 0x80, 7, bytes([status]))


@pytest.mark.parametrize(
    "data",
    [
        b"\x01\0",
        b"\x05ab\0",
        cobs.encode(b"\x01\0\0\0\0\0") + b"\0",
        cobs.encode(b"\x01\0\0\0\0\0\0") + b"\0",
        *(cobs.encode(head + zlib.crc32(head).to_bytes(4, "little")) + b"\0" for head in (b"", b"\x01", b"\x01\x07")),
        encode_message(Message(3, 0, b"\0" * (2 * SAMPLES + 6))),
        b"\xff" * 100_000 + b"\0",
        bytes(range(1, 256)) + b"\0",
    ],
    ids=["empty", "cut block", "short", "crc", "nothing", "no number", "half a number", "long", "very long", "ramp"],
)
def test_bad_messages_are_reported_and_forgotten(server: HostServer, data: bytes) -> None:
    assert read(server.exchange(data)) == [BAD_FRAME]
    assert ask(server, MessageType.HELLO, b"").type == MessageType.HELLO_REPLY


@pytest.mark.parametrize("more", [b"x", b"\1\2\3\4", b"\0"], ids=["byte", "bytes", "zero"])
def test_the_longest_request_and_more_is_no_request(server: HostServer, more: bytes) -> None:
    """Its CRC is right, and what follows has no place in the buffer."""
    longest = cobs.decode(layer_request(5, 0, 0, frames(1)[0])[:-1])
    assert read(server.exchange(cobs.encode(longest + more) + b"\0")) == [BAD_FRAME]
    (reply,) = read(server.exchange(cobs.encode(longest) + b"\0"))
    assert isinstance(reply, Message)
    assert reply.type == MessageType.LAYER_REPLY


def test_zeros_flush_the_line(server: HostServer) -> None:
    assert server.exchange(b"\0" * 100) == b""
    assert read(server.exchange(hello_request(1)[:5] + b"\0\0" + hello_request(2)))[0] == BAD_FRAME


def test_a_repeated_request_is_answered_again_but_not_run_again(server: HostServer) -> None:
    a, b = frames(2)
    first = server.exchange(encode_request(1, BOTH, a))
    runs = server.runs
    assert server.exchange(encode_request(1, BOTH, a)) == first
    assert server.runs == runs
    # Another payload, another seq and another type are other requests.
    server.exchange(encode_request(1, BOTH, b))
    server.exchange(encode_request(2, BOTH, b))
    assert server.runs == runs + 2
    # A damaged message in between does not forget the reply.
    last = server.exchange(encode_request(3, BOTH, a))
    server.exchange(b"\x05garbage\0")
    assert server.exchange(encode_request(3, BOTH, a)) == last
    assert server.runs == runs + 3


def test_a_message_cut_or_flipped_at_every_byte_never_passes(server: HostServer) -> None:
    good = encode_request(9, BOTH, frames(1)[0])
    hello = hello_request(10)
    runs = server.runs
    for at in range(len(good) - 1):
        for damaged in (
            good[:at] + b"\0",
            good[:at] + good[at + 1 :],
            good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :],
            good[:at] + b"\0" + good[at + 1 :],
            good[: at + 1] + good[at:],
        ):
            replies = read(server.exchange(damaged + b"\0" + hello))
            assert replies[-1].type == MessageType.HELLO_REPLY
            assert all(reply == BAD_FRAME for reply in replies[:-1])
            assert len(replies) > 1 or damaged == b"\0"
    assert server.runs == runs


def sum_of(sent: bytes) -> int:
    return parse_encode(read(sent)[0].payload, DIGEST, SHAPE, BOTH).offset


class LinkReader(ctypes.Structure):
    """``edc_link_reader``."""

    _fields_ = (
        ("buffer", ctypes.c_char_p),
        ("capacity", ctypes.c_size_t),
        ("count", ctypes.c_size_t),
        ("left", ctypes.c_uint8),
        ("flags", ctypes.c_bool * 3),
    )


@pytest.mark.parametrize("tail", [b"", b"\0", b"\0\1", b"\0\0"])
@pytest.mark.parametrize("run", [3, 252, 253, 254, 255, 507, 508, 509, 600])
def test_runs_without_a_zero_are_framed_as_by_cobs(host_library: Path, run: int, tail: bytes) -> None:
    link = ctypes.CDLL(str(host_library))
    message = bytes(1 + i % 255 for i in range(run)) + tail
    message += struct.pack("<I", zlib.crc32(message))
    sent = bytearray()
    write = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t)(
        lambda at, count: sent.extend(ctypes.string_at(at, count))
    )
    link.edc_link_send(message, ctypes.c_size_t(len(message)), write)
    assert bytes(sent) == cobs.encode(message) + b"\0"
    buffer = ctypes.create_string_buffer(len(message))
    reader = LinkReader()
    link.edc_link_reader_init(ctypes.byref(reader), buffer, ctypes.c_size_t(len(message)))
    results = [link.edc_link_reader_push(ctypes.byref(reader), byte) for byte in sent]
    more, whole = 1, 0
    assert (results[:-1], results[-1]) == ([more] * (len(sent) - 1), whole)
    assert buffer.raw == message
    assert reader.count == len(message)


def test_bytes_may_come_one_by_one(server: HostServer) -> None:
    request = encode_request(4, BOTH, frames(1)[0])
    whole = server.exchange(request)
    server.restart()
    parts = [server.exchange(request[i : i + 1]) for i in range(len(request))]
    assert b"".join(parts[:-1]) == b""
    assert sum_of(parts[-1]) == sum_of(whole)


def test_server_is_clean_under_sanitizers(tmp_path: Path) -> None:
    tools.require("cc")
    program = compile_host(tmp_path / "replay", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", main=True)
    rng = random.Random(1)
    stream = bytearray()
    for seq in range(2500):
        message = bytearray(
            rng.choice(
                [
                    hello_request(seq),
                    encode_request(seq, ReadBack(rng.randrange(32)), frames(1, seq)[0], seq),
                    layer_request(seq, rng.randrange(4), rng.randrange(400), frames(1, seq)[0]),
                    encode_message(Message(rng.randrange(256), seq, rng.randbytes(rng.randrange(300)))),
                    rng.randbytes(rng.randrange(600)) + b"\0",
                ]
            )
        )
        for _ in range(rng.choice([0, 0, 1, 3])):
            message[rng.randrange(len(message))] = rng.randrange(256)
        stream += message
    done = subprocess.run(
        [program], input=bytes(stream) + b"\0" + hello_request(0x1234), capture_output=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr.decode()
    replies = read(done.stdout)
    assert all(isinstance(reply, Message) for reply in replies)
    assert replies[-1].seq == 0x1234
    for kind in (MessageType.ENCODE_REPLY, MessageType.LAYER_REPLY):
        assert sum(reply.type == kind for reply in replies) > 200
