"""The harness against devices that are silent, damaged, of another bundle, or leave mid-run."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgecodec.codec.numerics import INT8, INT16X8, Numerics
from edgecodec.errors import DeviceError, InputError, LinkError
from edgecodec.link import client
from edgecodec.link.client import BoardExecutor
from edgecodec.link.protocol import Message, MessageReader, MessageType, encode_message
from tests import tools
from tests.link.device import (
    DIGEST,
    PACKETS,
    HostServer,
    compile_host,
    expected,
    frames,
    pty_device,
    socket_device,
    stub_bundle,
)

TAG = bytes.fromhex(DIGEST)[:4]
QUICK = {"hello_timeout_s": 1.0, "reply_timeout_s": 0.3}


def run(url: str, count: int = 40, numerics: Numerics = INT8, **options: float) -> BoardExecutor:
    x = frames(count)
    want = expected(x, numerics)
    with BoardExecutor(stub_bundle(numerics=numerics), url, **QUICK | options) as board:
        got = board.stages(x)
    for stage in ("input", "latent", "indices", "offset", "spread", "packet"):
        np.testing.assert_array_equal(getattr(got, stage), getattr(want, stage), err_msg=stage)
        assert getattr(got, stage).dtype == getattr(want, stage).dtype
    return board


def test_every_stage_of_every_frame(server_of: HostServer) -> None:
    with socket_device(server_of.exchange) as url:
        board = run(url, numerics=server_of.numerics)
    assert (board.statistics.frames, board.statistics.retries, board.statistics.bad_messages) == (40, 0, 0)
    # 100 ticks a stage at 3 instructions a tick: tests/link/host/host.c.
    assert board.costs is not None
    assert (board.costs.unit, board.costs.normalize, board.costs.encoder, board.costs.rvq) == (
        "instructions",
        300.0,
        300.0,
        300.0,
    )
    assert board.costs.packet == 300.0
    assert board.costs.total == 1200.0


def test_a_pseudo_terminal_works_too(server: HostServer) -> None:
    with pty_device(server.exchange) as path:
        assert run(path, count=200).statistics.retries == 0


def test_indices_alone(server: HostServer) -> None:
    x = frames(5)
    with socket_device(server.exchange) as url, BoardExecutor(stub_bundle(), url, **QUICK) as board:
        only = board.stages(x, want=())
        assert (only.input, only.latent, only.packet) == (None, None, None)
        np.testing.assert_array_equal(board.encode(x), expected(x).indices)
        assert board.encode(x[:0]).shape == (0, 3, 2)


def test_progress_is_told_after_each_frame(server: HostServer) -> None:
    told: list[tuple[int, int]] = []
    with socket_device(server.exchange) as url, BoardExecutor(stub_bundle(), url, **QUICK) as board:
        board.stages(frames(6), progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 6) for done in range(1, 7)]


def test_frames_that_do_not_fit_are_refused(server: HostServer) -> None:
    with socket_device(server.exchange) as url, BoardExecutor(stub_bundle(), url, **QUICK) as board:
        with pytest.raises(InputError, match="shape"):
            board.stages(frames(2)[:, :-1])
        with pytest.raises(InputError, match="float"):
            board.stages(frames(2).astype(float))


def test_a_layer_is_read_back_in_pieces(server_of: HostServer) -> None:
    x = frames(2)
    want = expected(x, server_of.numerics)
    bundle = stub_bundle(numerics=server_of.numerics)
    with socket_device(server_of.exchange) as url, BoardExecutor(bundle, url, **QUICK) as board:
        wide = board.read_layer(x[1], 1)
        latent = board.read_layer(x[1], 2)
        assert board.read_layer(x[1], 0) is None
        with pytest.raises(InputError, match="shape"):
            board.read_layer(x[1, :-1], 1)
    assert wide is not None
    assert latent is not None
    np.testing.assert_array_equal(wide.view(np.uint8), (np.arange(300) + want.input[1, 0]) % 256)
    np.testing.assert_array_equal(latent, want.latent[1].reshape(-1))
    assert wide.dtype == latent.dtype == server_of.numerics.activation
    assert board.statistics.frames == 0


def test_frames_are_pushed_to_an_encoder_of_the_board(server: HostServer) -> None:
    x = frames(5)
    want = expected(x)
    numbers = (0, 9, 255, 256, 1000)
    told: list[tuple[int, int]] = []
    with socket_device(server.exchange) as url, BoardExecutor(stub_bundle(), url, **QUICK) as board:
        found = board.push(x, numbers, progress=lambda done, total: told.append((done, total)))
        assert (board.costs, board.statistics.frames) == (None, 0)
    said = zip(want.indices, want.offset.tolist(), want.spread.tolist(), numbers, strict=True)
    assert found == [PACKETS.encode(*each, gap=each[3] % 256 > 0) for each in said]
    assert told == [(done, 5) for done in range(1, 6)]


def test_firmware_without_encoder_is_asked_nothing(server: HostServer) -> None:
    def without(payload: bytes) -> bytes:
        return payload[:50] + bytes(4) + payload[54:]

    with (
        socket_device(lambda data: rewrite(server.exchange(data), MessageType.HELLO_REPLY, without)) as url,
        BoardExecutor(stub_bundle(), url, **QUICK) as board,
        pytest.raises(InputError, match="the firmware has no encoder object"),
    ):
        board.push(frames(1), (0,))


def flip(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def drop(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + data[at + 1 :]


def repeat(data: bytes, rng: random.Random) -> bytes:
    return data + data


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def lose(data: bytes, rng: random.Random) -> bytes:
    return b""


def insert(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + rng.randbytes(3) + b"\0" + data[at:]


@pytest.mark.parametrize("damage", [flip, drop, repeat, cut, lose, insert])
@pytest.mark.parametrize("direction", ["request", "reply"])
def test_damage_is_noticed_and_repaired(
    server: HostServer, direction: str, damage: Callable[[bytes, random.Random], bytes]
) -> None:
    rng = random.Random(3)

    def maybe(data: bytes) -> bytes:
        return damage(data, rng) if data and rng.random() < 0.1 else data

    def answer(data: bytes) -> bytes:
        if direction == "request":
            return server.exchange(maybe(data))
        return maybe(server.exchange(data))

    with socket_device(answer) as url:
        board = run(url, count=100, hello_timeout_s=5.0)
    if damage is not repeat:
        assert board.statistics.retries > 0
        assert board.statistics.retries < 100


@pytest.mark.parametrize("damaged", [True, False])
def test_what_is_known_to_be_lost_is_sent_again_at_once(
    server: HostServer, monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    """A damaged reply, and one that a later frame's shows to be missing: nobody waits for the time to be over."""
    replies = 0

    def answer(data: bytes) -> bytes:
        nonlocal replies
        pieces = [piece + b"\0" for piece in server.exchange(data).split(b"\0")[:-1]]
        for at, piece in enumerate(pieces):
            replies += 1
            # HELLO's is the first and the last frame's the 23rd, behind which no other shows that it is lost.
            if replies in (5, 12) or (damaged and replies == 23):
                wrong = bytes([piece[20] % 255 + 1])  # another byte, and none that ends the message
                pieces[at] = piece[:20] + wrong + piece[21:] if damaged else b""
        return b"".join(pieces)

    def late(*_: object) -> None:
        raise AssertionError("waited for an answer that is known to be lost")

    monkeypatch.setattr(BoardExecutor, "_repeat_late", late)
    with socket_device(answer) as url:
        board = run(url, count=20, hello_timeout_s=10.0, reply_timeout_s=10.0)
    assert board.statistics.retries == (3 if damaged else 2)


def test_silence_ends_soon() -> None:
    start = time.monotonic()
    with (
        socket_device(lambda data: b"") as url,
        pytest.raises(LinkError, match=r"no answer to HELLO within 1 s.*powered"),
        BoardExecutor(stub_bundle(), url, **QUICK),
    ):
        pass
    assert time.monotonic() - start < 4


@pytest.mark.parametrize("garbage", [b"U" * 5000, b"\0" * 50 + b"\xff\0" * 500, b"login: \r\n"])
def test_garbage_ends_soon(garbage: bytes) -> None:
    with (
        socket_device(lambda data: garbage) as url,
        pytest.raises(LinkError, match=r"bytes came, but no answer to HELLO; check the baud rate"),
        BoardExecutor(stub_bundle(), url, **QUICK),
    ):
        pass


def test_firmware_of_another_bundle_is_refused(server: HostServer) -> None:
    other = stub_bundle(digest="ff" * 32)
    with (
        socket_device(server.exchange) as url,
        pytest.raises(DeviceError, match=f"holds bundle {DIGEST[:12]}; expected ffffffffffff.*build-firmware"),
        BoardExecutor(other, url, **QUICK),
    ):
        pass


def test_firmware_of_another_shape_is_refused(server: HostServer) -> None:
    with (
        socket_device(server.exchange) as url,
        pytest.raises(DeviceError, match=r"samples=16.*samples=32"),
        BoardExecutor(stub_bundle(samples=32), url, **QUICK),
    ):
        pass


def test_firmware_of_other_numerics_is_refused(server_of: HostServer) -> None:
    """Of the same bundle, by what it says."""
    (other,) = {INT8, INT16X8} - {server_of.numerics}
    with (
        socket_device(server_of.exchange) as url,
        pytest.raises(
            DeviceError, match=rf"firmware runs {server_of.numerics.name}, the bundle's .*{other.name}; build"
        ),
        BoardExecutor(stub_bundle(numerics=other), url, **QUICK),
    ):
        pass


def rewrite(data: bytes, type_: int, change: Callable[[bytes], bytes]) -> bytes:
    """The messages of ``data``, with the payload of those of ``type_`` changed and sealed again."""
    out = b""
    for message in MessageReader(4096).feed(data):
        assert isinstance(message, Message)
        payload = change(message.payload) if message.type == type_ else message.payload
        out += encode_message(Message(message.type, message.seq, payload))
    return out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p[:1] + b"\x03" + p[2:], "link protocol 3; this edgecodec speaks 5"),
        (lambda p: p[:40], "malformed"),
        (lambda p: p + b"x", "malformed"),
        (lambda p: p[:3] + b"\0" + p[4:], "malformed"),
        (lambda p: p[:2] + b"\x02" + p[3:], "engine is number 2; this edgecodec knows native, tflm"),
        (lambda p: p[:98] + b"\xff" + p[99:], "malformed"),
        (lambda p: p[:41] + b"\x02" + p[42:], r"numerics are number 2; this edgecodec knows edgecodec\.int8\.v1, "),
        (
            lambda p: p[:44] + b"\0\0" + p[46:],
            "has packets of up to 0 bytes, the bundle of 19; build and flash it again",
        ),
        (lambda p: p[:44] + b"\xff\xff" + p[46:], "has packets of up to 65535 bytes, the bundle of 19"),
        (lambda p: b"\x02", r"status 2 \(BAD_TYPE\)"),
        (lambda p: b"", "empty"),
    ],
)
def test_odd_hello_is_refused(server: HostServer, change: Callable[[bytes], bytes], message: str) -> None:
    with (
        socket_device(lambda data: rewrite(server.exchange(data), MessageType.HELLO_REPLY, change)) as url,
        pytest.raises(DeviceError, match=message),
        BoardExecutor(stub_bundle(), url, **QUICK),
    ):
        pass


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: b"\x05", r"^after 0 of 10 frames: port .*status 5 \(ENGINE\)"),
        (lambda p: p[:-1], "has .* bytes; expected"),
        (lambda p: b"\x63", r"status 99 \(unknown\)"),
    ],
)
def test_refused_frame_ends_the_run(server: HostServer, change: Callable[[bytes], bytes], message: str) -> None:
    with (
        socket_device(lambda data: rewrite(server.exchange(data), MessageType.ENCODE_REPLY, change)) as url,
        BoardExecutor(stub_bundle(), url, **QUICK) as board,
        pytest.raises(DeviceError, match=message),
    ):
        board.stages(frames(10))


FLAGS_AT, INDICES_END = 1, 30 + 2 * 6
"""Bytes of a reply to ENCODE: where its flags are, and where the indices of the stub codec end."""


def lie(flags: int, stages: slice = slice(0, 0)) -> Callable[[bytes], bytes]:
    """A reply that says ``flags`` and holds ``stages`` of the bytes of input (16), latent (12) and packet that came."""

    def change(payload: bytes) -> bytes:
        fixed = payload[:FLAGS_AT] + bytes([flags]) + payload[FLAGS_AT + 1 : INDICES_END]
        return fixed + payload[INDICES_END:][stages]

    return change


PACKET = len(expected(frames(2)).packet[1])
"""Bytes of the packet of the second frame."""


def says(payload: bytes, size: int, at: int = INDICES_END) -> bytes:
    """A reply whose packet's length, behind ticks at ``at``, says ``size``."""
    return payload[: at + 4] + size.to_bytes(2, "little") + payload[at + 6 :]


@pytest.mark.parametrize(
    ("want", "change", "message"),
    [
        (("input", "latent"), lie(0), r"has flags 0x00; expected those asked for, 0x03; build the firmware again"),
        (("input", "latent"), lie(1, slice(16)), r"has flags 0x01; expected those asked for, 0x03"),
        (("input", "latent"), lie(2, slice(16, None)), r"has flags 0x02; expected those asked for, 0x03"),
        (("input", "latent"), lie(0x83, slice(None)), r"has flags 0x83; expected those asked for, 0x03"),
        (("input", "latent"), lie(3), r"has 42 bytes; expected 70"),
        (("input", "latent"), lie(3, slice(27)), r"has 69 bytes; expected 70"),
        (("latent",), lie(3, slice(None)), r"has flags 0x03; expected those asked for, 0x02"),
        ((), lie(8), r"has flags 0x08; expected those asked for, 0x00"),
        (("layers",), lie(0), r"has flags 0x00; expected those asked for, 0x04"),
        (("packet",), lie(0), r"has flags 0x00; expected those asked for, 0x08"),
        (("packet",), lie(8, slice(0)), r"has 42 bytes; expected 48"),
        (("packet",), lie(8, slice(5)), r"has 47 bytes; expected 48"),
        (("packet",), lie(8, slice(-1)), rf"has {48 + PACKET - 1} bytes; expected {48 + PACKET}"),
        (("packet",), lambda p: p + b"\0", rf"has {48 + PACKET + 1} bytes; expected {48 + PACKET}"),
        (("packet",), lambda p: says(p, PACKET + 1), rf"has {48 + PACKET} bytes; expected {48 + PACKET + 1}"),
        (("packet",), lambda p: says(p, PACKET - 1), rf"has {48 + PACKET} bytes; expected {48 + PACKET - 1}"),
        (("packet",), lambda p: says(p, 20) + bytes(20 - PACKET), r"has a packet of 20 bytes; the longest has 19"),
        (("packet",), lambda p: says(p, 65535), r"has a packet of 65535 bytes; the longest has 19"),
        (("latent", "packet"), lambda p: says(p[:42] + p[54:], PACKET, 42), r"has .* bytes"),
    ],
)
def test_device_that_lies_about_what_it_sends(
    server: HostServer, want: tuple[str, ...], change: Callable[[bytes], bytes], message: str
) -> None:
    """Right indices with other stages than those asked for: what did not come is never compared."""
    seen = 0

    def second(payload: bytes) -> bytes:
        nonlocal seen
        seen += 1
        return payload if seen == 1 else change(payload)

    with (
        socket_device(lambda data: rewrite(server.exchange(data), MessageType.ENCODE_REPLY, second)) as url,
        BoardExecutor(stub_bundle(), url, **QUICK) as board,
        pytest.raises(DeviceError, match=rf"^after 1 of 3 frames: port .*the reply to ENCODE {message}"),
    ):
        board.stages(frames(3), want=want)


def test_int8_stages_where_int16_was_asked_for(server: HostServer) -> None:
    """A device that says 16 bits and sends 8."""

    def answer(data: bytes) -> bytes:
        return rewrite(server.exchange(data), MessageType.HELLO_REPLY, lambda p: p[:41] + b"\x01" + p[42:])

    with (
        socket_device(answer) as url,
        BoardExecutor(stub_bundle(numerics=INT16X8), url, **QUICK) as board,
        pytest.raises(DeviceError, match=r"^after 0 of 3 frames: port .*ENCODE has 70 bytes; expected 98"),
    ):
        board.stages(frames(3), want=("input", "latent"))


def of_layer(total: int, data: bytes, layer: int = 1) -> Callable[[bytes], bytes]:
    """A reply to LAYER, whatever it was asked for."""
    return lambda payload: struct.pack("<BB4sI", 0, layer, TAG, total) + data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (of_layer(2**32 - 1, b"x"), "layer 1 has 4294967295 bytes on the board and 300 in the bundle"),
        (of_layer(301, b"x"), "layer 1 has 301 bytes on the board and 300 in the bundle"),
        (of_layer(299, bytes(299)), "layer 1 has 299 bytes on the board and 300 in the bundle"),
        (of_layer(1, b"x"), "layer 1 has 1 bytes on the board and 300 in the bundle"),
        (of_layer(300, b""), "has 0 bytes of layer 1; expected layer 1 from byte 0 of 300 on"),
        (of_layer(300, bytes(301)), "has 301 bytes of layer 1; expected layer 1 from byte 0 of 300 on"),
        (of_layer(300, b"x", layer=2), "has 1 bytes of layer 2; expected layer 1 from byte 0 of 300 on"),
        (lambda p: p[:9], "has 9 bytes; expected 10 or more"),
    ],
)
def test_device_that_lies_about_a_layer(server: HostServer, change: Callable[[bytes], bytes], message: str) -> None:
    """What would be read for ever, or not be all, ends at once."""
    with (
        socket_device(lambda data: rewrite(server.exchange(data), MessageType.LAYER_REPLY, change)) as url,
        BoardExecutor(stub_bundle(), url, **QUICK) as board,
        pytest.raises(DeviceError, match=rf"^after 0 of 1 frames: port .*{message}"),
    ):
        board.read_layer(frames(1)[0], 1)


def test_layer_that_goes_on_for_ever_ends(server: HostServer) -> None:
    """Its size is the bundle's, and its pieces never come to an end of it."""
    count = 0

    def answer(payload: bytes) -> bytes:
        nonlocal count
        count += 1
        return struct.pack("<BB4sI", 0, 1, TAG, 300 if count < 5 else 2**32 - 1) + b"x"

    with (
        socket_device(lambda data: rewrite(server.exchange(data), MessageType.LAYER_REPLY, answer)) as url,
        BoardExecutor(stub_bundle(), url, **QUICK) as board,
        pytest.raises(DeviceError, match="layer 1 has 4294967295 bytes on the board and 300 in the bundle"),
    ):
        board.read_layer(frames(1)[0], 1)
    assert count == 5


@pytest.mark.parametrize("type_", [MessageType.HELLO_REPLY, MessageType.LAYER_REPLY, MessageType.ENCODE, 0x84])
def test_reply_of_another_type_is_refused(server: HostServer, type_: int) -> None:
    def answer(data: bytes) -> bytes:
        out = b""
        for message in MessageReader(4096).feed(server.exchange(data)):
            assert isinstance(message, Message)
            lies = message.type == MessageType.ENCODE_REPLY
            out += encode_message(Message(type_, message.seq, message.payload) if lies else message)
        return out

    with (
        socket_device(answer) as url,
        BoardExecutor(stub_bundle(), url, **QUICK) as board,
        pytest.raises(DeviceError, match=rf"^after 0 of 2 frames: port .*{type_:#04x} came; expected 0x82"),
    ):
        board.stages(frames(2))


def test_answer_to_another_request_is_no_answer(server: HostServer) -> None:
    """Each reply carries the number of a request long past."""

    def answer(data: bytes) -> bytes:
        out = b""
        for message in MessageReader(4096).feed(server.exchange(data)):
            assert isinstance(message, Message)
            age = 64 if message.type == MessageType.ENCODE_REPLY else 0
            out += encode_message(Message(message.type, (message.seq - age) % 0xFFFF, message.payload))
        return out

    with (
        socket_device(answer) as url,
        BoardExecutor(stub_bundle(), url, **QUICK) as board,
        pytest.raises(LinkError, match=r"^after 0 of 2 frames: port .*no answer for 2\.4 s at frame 0"),
    ):
        board.stages(frames(2))


def after(server: HostServer, exchanges: int, then: bytes | None) -> Callable[[bytes], bytes | None]:
    """Works for a number of requests (HELLO is the first), then answers ``then``."""
    left = exchanges

    def answer(data: bytes) -> bytes | None:
        nonlocal left
        out = b""
        for part in data.split(b"\0")[:-1]:
            reply = server.exchange(part + b"\0")
            if not part:
                continue
            left -= 1
            if left < 0:
                return out + then if then is not None else None
            out += reply
        return out

    return answer


def test_board_that_goes_away_mid_run_says_how_far_it_came(server: HostServer) -> None:
    with (
        socket_device(after(server, 1 + 12, None)) as url,
        BoardExecutor(stub_bundle(), url, **QUICK) as board,
        pytest.raises(LinkError, match=r"^after \d+ of 50 frames: port .*connection ended"),
    ):
        board.stages(frames(50))


@pytest.mark.parametrize(
    ("then", "message"),
    [
        (b"", r"no answer for 2\.4 s"),
        (b"\x05xy\0", "damaged messages in 16 attempts"),
        (b"U" * 100, r"(no answer for 2\.4 s|damaged messages in \d+ attempts)"),
        (encode_message(Message(MessageType.ERROR, 0xFFFF, b"\x01")), "damaged messages in 16 attempts"),
        (encode_message(Message(MessageType.ENCODE_REPLY, 0xFFFF, b"\0")), r"no answer for 2\.4 s"),
    ],
    ids=["silent", "bad", "noise", "error", "other seq"],
)
def test_board_that_stops_answering_mid_run_is_given_up(server: HostServer, then: bytes, message: str) -> None:
    start = time.monotonic()
    with (
        socket_device(after(server, 1 + 12, then)) as url,
        BoardExecutor(stub_bundle(), url, **QUICK) as board,
        pytest.raises(LinkError, match=rf"^after 12 of 50 frames: port .*({message}) at frame \d+"),
    ):
        board.stages(frames(50))
    # The attempts are what is counted above; this is that they end at all.
    assert time.monotonic() - start < 30


def restarting(server: HostServer, after_replies: int, cut: int) -> Callable[[bytes], bytes]:
    """A device that faults after so many replies, of the next of which ``cut`` bytes still get out."""
    count = 0

    def answer(data: bytes) -> bytes:
        nonlocal count
        out = server.exchange(data)
        count += out.count(b"\0")
        if count < after_replies or count > 1_000_000:
            return out
        count = 2_000_000
        server.restart((3, 0x1234, 0x5679, 0x21000000, 0, 0, 0))
        return out[:cut]

    return answer


@pytest.mark.parametrize("cut", [0, 20])
def test_board_that_restarts_mid_run_is_refused(server: HostServer, cut: int) -> None:
    """Also when the frame would pass the second time, whether its answer is lost or damaged."""
    with (
        socket_device(restarting(server, 10, cut)) as url,
        BoardExecutor(stub_bundle(), url, **QUICK, function_at={0x1234: "edc_conv"}.get) as board,
        pytest.raises(DeviceError, match=r"restarted after a HardFault at PC 0x00001234 \(edc_conv\), LR 0x00005678"),
    ):
        board.stages(frames(50))


@pytest.mark.parametrize(
    "read", [lambda board: board.stages(frames(50)), lambda board: board.read_layer(frames(1)[0], 1)]
)
def test_board_of_another_bundle_that_comes_mid_run_is_refused(
    server: HostServer, tmp_path: Path, read: Callable[[BoardExecutor], object]
) -> None:
    """Right in every other way: of the same sizes, with the numbers of the requests, and sound."""
    tools.require("cc")
    other = HostServer(compile_host(tmp_path / "libother.so", "-shared", "-fPIC", "-DD0=0xfe"))
    count = 0

    def answer(data: bytes) -> bytes:
        nonlocal count
        count += 1
        return (server if count < 3 else other).exchange(data)

    told = r"^after \d of \d+ frames: port \S+: a board with bundle fe010203 answers now; it was one with 00010203"
    with (
        socket_device(answer) as url,
        BoardExecutor(stub_bundle(), url, **QUICK) as board,
        pytest.raises(DeviceError, match=told),
    ):
        read(board)


def test_board_that_restarted_before_is_refused(server: HostServer) -> None:
    server.restart((3, 0x1234, 0x5679, 0x21000000, 0, 0, 0))
    with (
        socket_device(server.exchange) as url,
        pytest.raises(DeviceError, match=r"^port socket://\S+: the board restarted after a HardFault"),
        BoardExecutor(stub_bundle(), url, **QUICK),
    ):
        pass


def test_board_that_talks_without_end_is_given_up(server: HostServer, monkeypatch: pytest.MonkeyPatch) -> None:
    class Chatterbox:
        def __init__(self, port: str, baud: int) -> None:
            self._first = b""

        def write(self, data: bytes) -> None:
            self._first = self._first or server.exchange(data)

        def read(self, timeout_s: float) -> bytes:
            time.sleep(0.001)
            first, self._first = self._first, b"said"
            return first if first != b"said" else encode_message(Message(MessageType.ENCODE_REPLY, 0xFFFF, b"\0"))

        def close(self) -> None:
            pass

    monkeypatch.setattr(client, "SerialLink", Chatterbox)
    start = time.monotonic()
    with (
        BoardExecutor(stub_bundle(), "chatterbox", **QUICK) as board,
        pytest.raises(LinkError, match=r"^after 0 of 5 frames: .*no answer for 2\.4 s at frame \d"),
    ):
        board.stages(frames(5))
    assert time.monotonic() - start < 10


def test_answers_left_from_an_earlier_host_are_ignored(server: HostServer) -> None:
    stale = encode_message(Message(MessageType.ENCODE_REPLY, 0, b"\0" * 10))
    first = True

    def answer(data: bytes) -> bytes:
        nonlocal first
        left, first = (stale if first else b""), False
        return left + server.exchange(data)

    with socket_device(answer) as url:
        assert run(url).statistics.retries == 0


def test_use_before_opening_is_an_error() -> None:
    board = BoardExecutor(stub_bundle(), "socket://127.0.0.1:1")
    with pytest.raises(LinkError, match="with statement"):
        board.stages(frames(1))
    with pytest.raises(LinkError, match="with statement"):
        _ = board.hello
    assert board.costs is None


def test_costs_of_layers_are_without_the_look_at_the_counter(server: HostServer) -> None:
    with socket_device(server.exchange) as url, BoardExecutor(stub_bundle(), url, **QUICK) as board:
        assert board.layer_costs is None
        board.stages(frames(3), want=())
        assert board.layer_costs is None
        board.stages(frames(3, seed=1), want=("layers",))
    # Every interval has one look at the counter, 100 ticks of three instructions, of which nothing is left. Layers 0
    # and 1 look themselves, four times and twice.
    assert board.layer_costs == client.LayerCosts("instructions", 0.0, (1200.0, 600.0, 0.0), 0.0, None, 0.0)
    assert board.frame_costs == (board.layer_costs,) * 3


def test_a_packet_costs_what_it_costs_beside_the_rest(server: HostServer) -> None:
    with socket_device(server.exchange) as url, BoardExecutor(stub_bundle(), url, **QUICK) as board:
        board.stages(frames(3), want=("layers", "packet"))
    assert board.layer_costs == client.LayerCosts("instructions", 0.0, (1200.0, 600.0, 0.0), 0.0, 0.0, 0.0)
    assert board.layer_costs.parts == (0.0, 1200.0, 600.0, 0.0, 0.0, 0.0, 0.0)
    assert board.costs is not None
    assert board.costs.packet == 300.0


def test_packets_of_a_bundle_without_are_not_asked_for(tmp_path: Path) -> None:
    tools.require("cc")
    bare = HostServer(compile_host(tmp_path / "libhost.so", "-shared", "-fPIC", "-DSTUB_WITHOUT_PACKETS"))
    bundle = stub_bundle(packets=lambda: None)
    x = frames(3)
    with socket_device(bare.exchange) as url, BoardExecutor(bundle, url, **QUICK) as board:
        found = board.stages(x)
        assert found.packet is None
        np.testing.assert_array_equal(found.latent, expected(x).latent)
        assert board.costs is not None
        assert (board.costs.packet, board.costs.total) == (None, 900.0)
        with pytest.raises(InputError, match="bundle stub has no packets; edgecodec refit"):
            board.stages(x, want=("packet",))


def test_another_count_of_layers_than_before_is_refused(server: HostServer) -> None:
    """Of the second frame, the last layer is cut off and the count lowered."""

    def shorten(payload: bytes) -> bytes:
        nonlocal seen
        seen += 1
        at = 30 + 2 * 6 + 8
        return payload if seen == 1 else payload[:at] + b"\x02" + payload[at + 1 : -4]

    seen = 0
    with (
        socket_device(lambda data: rewrite(server.exchange(data), MessageType.ENCODE_REPLY, shorten)) as url,
        BoardExecutor(stub_bundle(), url, **QUICK) as board,
        pytest.raises(DeviceError, match="has 2 layers, and had others before"),
    ):
        board.stages(frames(2), want=("layers",))


def test_a_counter_of_cycles_gives_cycles(server: HostServer) -> None:
    """As on real boards, whose firmware has nothing to calibrate: a tick is a cycle."""

    def uncalibrated(payload: bytes) -> bytes:
        return payload[:58] + bytes(8) + payload[66:]

    with (
        socket_device(lambda data: rewrite(server.exchange(data), MessageType.HELLO_REPLY, uncalibrated)) as url,
        BoardExecutor(stub_bundle(), url, **QUICK) as board,
    ):
        board.stages(frames(2), want=("layers",))
    assert board.layer_costs is not None
    assert board.layer_costs.unit == "cycles"
    assert board.costs is not None
    assert (board.costs.unit, board.costs.normalize, board.costs.encoder) == ("cycles", 100.0, 1900.0)
