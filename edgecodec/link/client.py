"""Runs frames on a board over its serial port, several in flight, with bounded waits and retries."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from edgecodec.codec.arrays import Activations, Frames, as_frames
from edgecodec.codec.stages import Stages
from edgecodec.errors import DeviceError, InputError, LinkError
from edgecodec.link.costs import Costs, LayerCosts, LinkStatistics
from edgecodec.link.protocol import (
    FLUSH,
    NATIVE,
    NO_SEQ,
    BadMessage,
    EncodeReply,
    HelloReply,
    Message,
    MessageReader,
    MessageType,
    ReadBack,
    encode_request,
    hello_request,
    layer_request,
    longest_reply_bytes,
    parse_encode,
    parse_hello,
    parse_layer,
    reply_stages,
)
from edgecodec.link.transport import SerialLink

if TYPE_CHECKING:
    from edgecodec.bundle import Bundle

R = TypeVar("R")

_WITH = "use BoardExecutor in a with statement"
_HELLO_INTERVAL_S = 0.25
_RESTART_S = 1.0
"""How long a board that went silent has to answer HELLO after a restart."""
_SILENCES = 4
"""Times in a row that a board may be late, each of which it is asked whether it restarted, before it is given up."""
_MAX_ATTEMPTS = 16
"""Times that one frame is sent."""
_QUIET_S = 0.02
"""How long a line on which something was damaged has to be quiet before anything is sent again: a burst of noise is
told as many damaged messages, and what is sent amid it is lost as well."""


@dataclass
class _Request:
    """A request in flight."""

    frame: int
    """Number of the frame among those of the run."""
    seq: int
    """Number of the request on the wire."""
    data: bytes
    """The bytes on the wire."""
    attempts: int = 0
    """Times that it was sent."""


@dataclass(frozen=True)
class _Exchange(Generic[R]):
    """A kind of request that is made for frames."""

    reply_type: MessageType
    """Type of the reply; one of another type is refused."""
    request: Callable[[int, int], bytes]
    """``request(frame, seq)``: the bytes on the wire."""
    parse: Callable[[bytes], R]
    """``parse(payload)``: what the reply says. Raises DeviceError."""


@dataclass(frozen=True)
class _LayerTicks:
    """Ticks of one frame without those of reading the counter."""

    parts: tuple[int, ...]
    """Normaliser, layers, rvq, reply."""
    packet: int | None
    """None when it was not asked for."""


def executor_name(engine: str) -> str:
    """The name of the executor that is a board with ``engine``."""
    return "board" if engine == NATIVE else f"board-{engine}"


class BoardExecutor:
    """The executor ``board`` (``board-tflm``): firmware of ``bundle`` behind a serial port.

    A context manager. Opening it says HELLO and checks that the firmware holds this bundle: LinkError when the
    port is missing or nothing that speaks the protocol answers within ``hello_timeout_s``, DeviceError when the
    firmware is of another bundle, protocol or shape. A frame whose answer is damaged or late is sent again, 16 times
    at most. A board is late after ``reply_timeout_s``; after four such silences without a sound answer between, 24 s by
    default, it is given up, however many frames are in flight and whatever else it says.

    A board that says in HELLO that it restarted after a fault is refused with DeviceError, when it is opened and after
    any silence or damage; ``function_at(address)`` names the function of its firmware at an address for the message.
    """

    def __init__(
        self,
        bundle: Bundle,
        port: str,
        *,
        baud: int = 115200,
        hello_timeout_s: float = 5.0,
        reply_timeout_s: float = 5.0,
        function_at: Callable[[int], str | None] = lambda address: None,
    ) -> None:
        self._bundle = bundle
        self._shape = bundle.codec.shape
        self._numerics = bundle.codec.numerics
        packets = bundle.packets()
        self._packet_bytes = 0 if packets is None else packets.buffer_bytes
        self._port = port
        self._baud = baud
        self._hello_timeout_s = hello_timeout_s
        self._reply_timeout_s = reply_timeout_s
        self._function_at = function_at
        self._link: SerialLink | None = None
        self._hello: HelloReply | None = None
        self._reader = MessageReader(longest_reply_bytes(self._shape, self._numerics, self._packet_bytes))
        self._seq = random.randrange(NO_SEQ)
        self._tick_sums = np.zeros(3, np.uint64)
        self._packet_ticks: list[int] = []
        self._layer_ticks: list[_LayerTicks] = []
        self.statistics = LinkStatistics()

    def __enter__(self) -> BoardExecutor:
        self._link = SerialLink(self._port, self._baud)
        try:
            self._hello = self._say_hello(self._link)
            self._check(self._hello)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the port. May be called twice."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    @property
    def name(self) -> str:
        """``board``, or ``board-tflm`` when TensorFlow Lite Micro runs the encoder there."""
        return executor_name(self.hello.engine)

    @property
    def hello(self) -> HelloReply:
        """What the firmware said of itself. Raises LinkError before the port is opened."""
        if self._hello is None:
            raise LinkError(f"port {self._port}: not opened yet", hint=_WITH)
        return self._hello

    @property
    def costs(self) -> Costs | None:
        """Mean cost of the frames run so far; None before the first."""
        frames = self.statistics.frames
        if frames == 0:
            return None
        normalize, encoder, rvq = (float(ticks) * self.hello.per_tick / frames for ticks in self._tick_sums)
        packets = self._packet_ticks
        packet = sum(packets) * self.hello.per_tick / len(packets) if packets else None
        return Costs(self._unit, normalize, encoder, rvq, packet)

    @property
    def layer_costs(self) -> LayerCosts | None:
        """Mean cost of the frames run with ``"layers"`` wanted; None before the first."""
        return self._layer_costs(*self._layer_ticks) if self._layer_ticks else None

    @property
    def frame_costs(self) -> tuple[LayerCosts, ...]:
        """Cost of each frame run with ``"layers"`` wanted, in the order in which they were answered."""
        return tuple(map(self._layer_costs, self._layer_ticks))

    def _layer_costs(self, *frames: _LayerTicks) -> LayerCosts:
        """The mean of ``frames``."""
        normalize, *layers, rvq, reply = (
            float(count) * self.hello.per_tick for count in np.mean([frame.parts for frame in frames], axis=0)
        )
        packets = [frame.packet for frame in frames if frame.packet is not None]
        packet = sum(packets) * self.hello.per_tick / len(packets) if packets else None
        return LayerCosts(self._unit, normalize, tuple(layers), rvq, packet, reply)

    @property
    def _unit(self) -> str:
        return "cycles" if self.hello.counts_cycles else "instructions"

    def encode(self, frames: Frames) -> npt.NDArray[np.uint16]:
        """Encode int16 ``[N, T]`` into uint16 ``[N, P, L]``.

        Raises InputError for frames that do not fit, LinkError when the board goes away or stays silent (with the
        number of frames done), DeviceError when it refuses a request or its reply is not what was asked for.
        """
        return self.stages(frames, want=()).indices

    def stages(
        self,
        frames: Frames,
        *,
        want: Iterable[str] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Stages:
        """Encode int16 ``[N, T]`` and read back the stages ``want`` besides the indices, by default all that there are.

        Packets are numbered from 0 on. With ``"layers"`` in ``want``, each layer is timed for :attr:`layer_costs`,
        which makes the encoder as a whole a little dearer.

        ``progress(done, total)`` is called after each frame. Raises InputError for frames that do not fit,
        LinkError when the board goes away or stays silent (with the number of frames done), DeviceError when it
        refuses a request or its reply is not what was asked for, InputError for packets of a bundle that has none.
        """
        frames = as_frames(frames, self._shape.samples)
        read_back = ReadBack.NONE
        for part in self._read_back_parts if want is None else want:
            read_back |= ReadBack[part.upper()]
        if ReadBack.PACKET in read_back and not self._packet_bytes:
            raise InputError(f"bundle {self._bundle.path} has no packets", hint="edgecodec refit makes one that has")
        result = Stages.empty(len(frames), self._shape, reply_stages(read_back), self._numerics)

        exchange = _Exchange(
            MessageType.ENCODE_REPLY,
            lambda index, seq: encode_request(seq, read_back, frames[index], index),
            lambda payload: parse_encode(
                payload, self._bundle.digest, self._shape, read_back, self._numerics, self._packet_bytes
            ),
        )
        for done, (index, reply) in enumerate(self._run(len(frames), exchange), start=1):
            _store(result, index, reply)
            self._count(reply)
            self.statistics.frames += 1
            if progress:
                progress(done, len(frames))
        return result

    def push(
        self, frames: Frames, numbers: Sequence[int], *, progress: Callable[[int, int], None] | None = None
    ) -> list[bytes]:
        """The packets that an encoder object on the board makes of int16 ``[N, T]``, one of its own for each frame.

        It gets the samples in pieces amid its steps, and before them a gap of ``numbers`` frames, modulo 256, which is
        the packet's sequence number too (SPEC.md 2). Nothing of it counts in costs and statistics, retries aside.

        ``progress(done, total)`` is called after each frame. Raises InputError for frames that do not fit and for
        firmware without an encoder object (:attr:`HelloReply.encoder_bytes`), LinkError and DeviceError as
        :meth:`stages` does.
        """
        frames = as_frames(frames, self._shape.samples)
        if not self.hello.encoder_bytes:
            raise InputError(f"port {self._port}: the firmware has no encoder object")
        flags = ReadBack.PACKET | ReadBack.PUSHED
        exchange = _Exchange(
            MessageType.ENCODE_REPLY,
            lambda index, seq: encode_request(seq, flags, frames[index], numbers[index]),
            lambda payload: parse_encode(
                payload, self._bundle.digest, self._shape, flags, self._numerics, self._packet_bytes
            ),
        )
        packets = [b""] * len(frames)
        for done, (index, reply) in enumerate(self._run(len(frames), exchange), start=1):
            assert reply.packet is not None
            packets[index] = reply.packet
            if progress:
                progress(done, len(frames))
        return packets

    def read_layer(self, frame: npt.NDArray[np.int16], layer: int) -> Activations | None:
        """Encode one int16 ``[T]`` frame and read back what a layer of the encoder (0, 1, ...) put out.

        Returns its values in a row, of the codec's activation type, or None when the firmware keeps that layer's output
        nowhere. The frame is encoded again for every piece that a reply holds. Raises InputError for a frame that does
        not fit, LinkError when the board goes away or stays silent, DeviceError when it refuses the request or its
        output has another size than the bundle's layer.
        """
        frame = as_frames(frame[None], self._shape.samples)[0]
        layers = self._bundle.codec.graph.layers
        layer_bytes = layers[layer].output.size_bytes if layer < len(layers) else 0
        data = bytearray()
        exchange = _Exchange(
            MessageType.LAYER_REPLY,
            lambda _, seq: layer_request(seq, layer, len(data), frame),
            lambda payload: parse_layer(payload, self._bundle.digest, layer, len(data), layer_bytes),
        )
        while True:
            ((_, reply),) = self._run(1, exchange)
            data += reply.data
            if len(data) == reply.total_bytes:
                activation = self._numerics.activation
                return np.frombuffer(data, activation.newbyteorder("<")).astype(activation) if data else None

    def _count(self, reply: EncodeReply) -> None:
        self._tick_sums += np.array(reply.ticks, np.uint64)
        if reply.packet_ticks is not None:
            self._packet_ticks.append(reply.packet_ticks)
        if reply.layers is not None:
            normalize, _, rvq = reply.ticks
            parts = (normalize, *reply.layers.layers, rvq, reply.layers.reply)
            if self._layer_ticks and len(self._layer_ticks[0].parts) != len(parts):
                raise DeviceError(f"port {self._port}: the firmware has {len(parts) - 3} layers, and had others before")
            empty = reply.layers.empty
            packet = None if reply.packet_ticks is None else reply.packet_ticks - empty
            self._layer_ticks.append(_LayerTicks(tuple(ticks - empty for ticks in parts), packet))

    def _run(self, count: int, exchange: _Exchange[R]) -> Iterator[tuple[int, R]]:
        """Send the requests of every frame below ``count``; yield ``(frame, reply)`` of each once, in any order."""
        link = self._open_link()
        run = _Run(self._port, count, self.hello.window, self._reply_timeout_s, self.statistics, exchange.reply_type)
        inbox: deque[Message | BadMessage] = deque()
        retries = self.statistics.retries
        damaged = 0
        try:
            while not run.finished:
                while run.may_send and not run.is_over:
                    index = run.next_frame
                    seq = self._next_seq()
                    link.write(run.start(_Request(index, seq, exchange.request(index, seq))))
                if not inbox:
                    data = link.read(min(run.remaining_s, _QUIET_S) if damaged else run.remaining_s)
                    inbox.extend(self._reader.feed(data))
                    if not inbox and run.remaining_s <= 0:
                        self._repeat_late(run, link, inbox)
                    elif damaged and not data:
                        link.write(b"".join(run.repeat_damaged(damaged)))
                        damaged = 0
                    continue
                message, request = inbox.popleft(), None
                if isinstance(message, BadMessage) or message.type == MessageType.ERROR:
                    self.statistics.bad_messages += 1
                    damaged += 1
                else:
                    request, lost = run.match(message)
                    link.write(b"".join(lost))
                if request is None:
                    # Or a device that talks without end of other things would keep the run waiting.
                    if run.remaining_s <= 0:
                        self._repeat_late(run, link, inbox)
                    continue
                assert isinstance(message, Message)
                with self._naming_port():
                    reply = exchange.parse(message.payload)
                run.done += 1
                yield request.frame, reply
            if self.statistics.retries > retries:
                self._refuse_restart(link, inbox)
        except (LinkError, DeviceError) as error:
            error.within(f"after {run.done} of {run.total} frames")
            raise

    def _repeat_late(self, run: _Run, link: SerialLink, inbox: deque[Message | BadMessage]) -> None:
        """Send again what a board did not answer in time, unless it is given up or restarted after a fault."""
        run.give_up_when_over()
        if self._refuse_restart(link, inbox) and not inbox:
            # It answers, and in its order: nothing that was sent before is with it.
            requests = run.repeat_all()
        else:
            requests = [run.repeat_oldest("no answer")]
        link.write(FLUSH + b"".join(requests))

    def _refuse_restart(self, link: SerialLink, inbox: deque[Message | BadMessage]) -> bool:
        """Ask a board that did not answer as it should whether it restarted; what else comes goes into ``inbox``.

        Returns whether it answered: silence is for the run to judge. Raises DeviceError when it restarted after a fault
        or is not the board that was there before.
        """
        seq = self._next_seq()
        link.write(FLUSH + hello_request(seq))
        deadline = time.monotonic() + min(_RESTART_S, self._reply_timeout_s)
        while (remaining_s := deadline - time.monotonic()) > 0:
            for message in self._reader.feed(link.read(remaining_s)):
                if not isinstance(message, Message) or message.type != MessageType.HELLO_REPLY:
                    inbox.append(message)
                elif message.seq == seq:
                    with self._naming_port():
                        hello = parse_hello(message.payload)
                    self._check(hello)
                    if (hello.board, hello.engine) != (self.hello.board, self.hello.engine):
                        raise DeviceError(
                            f"port {self._port}: {hello.board} with engine {hello.engine} answers now; it was "
                            f"{self.hello.board} with {self.hello.engine}"
                        )
                    return True
        return False

    def _check_running(self, hello: HelloReply) -> None:
        if hello.fault is not None:
            raise DeviceError(
                hello.fault.describe(self._function_at),
                hint="reset it to go on; `arm-none-eabi-addr2line -f -e firmware.elf ADDRESS` names the line",
            )

    def _say_hello(self, link: SerialLink) -> HelloReply:
        deadline = time.monotonic() + self._hello_timeout_s
        sent: set[int] = set()
        received = 0
        while time.monotonic() < deadline:
            seq = self._next_seq()
            sent.add(seq)
            link.write(FLUSH + hello_request(seq))
            again = min(deadline, time.monotonic() + _HELLO_INTERVAL_S)
            while (remaining_s := again - time.monotonic()) > 0:
                data = link.read(remaining_s)
                received += len(data)
                for message in self._reader.feed(data):
                    if isinstance(message, Message) and message.type == MessageType.HELLO_REPLY and message.seq in sent:
                        with self._naming_port():
                            return parse_hello(message.payload)
        if received:
            raise LinkError(
                f"port {self._port}: {received} bytes came, but no answer to HELLO",
                hint=f"check the baud rate ({self._baud}) and that edgecodec firmware runs there",
            )
        raise LinkError(
            f"port {self._port}: no answer to HELLO within {self._hello_timeout_s:g} s",
            hint="check that the board is powered, runs edgecodec firmware and is on this port",
        )

    @contextmanager
    def _naming_port(self) -> Iterator[None]:
        try:
            yield
        except DeviceError as error:
            error.within(f"port {self._port}")
            raise

    def _check(self, hello: HelloReply) -> None:
        with self._naming_port():
            self._check_running(hello)
        if hello.digest != self._bundle.digest:
            raise DeviceError(
                f"port {self._port}: the firmware holds bundle {hello.digest[:12]}; expected "
                f"{self._bundle.digest[:12]}",
                hint="build and flash it again: "
                f"edgecodec build-firmware {self._bundle.path} --board {hello.board} -o DIR",
            )
        if hello.shape != self._shape:
            raise DeviceError(
                f"port {self._port}: the firmware has {hello.shape}, the bundle {self._shape}",
                hint="build and flash it again",
            )
        if hello.numerics != self._numerics:
            raise DeviceError(
                f"port {self._port}: the firmware runs {hello.numerics.name}, the bundle's numerics are "
                f"{self._numerics.name}",
                hint="build and flash it again",
            )
        if hello.packet_bytes != self._packet_bytes:
            raise DeviceError(
                f"port {self._port}: the firmware has packets of up to {hello.packet_bytes} bytes, the bundle of "
                f"{self._packet_bytes}",
                hint="build and flash it again",
            )

    @property
    def _read_back_parts(self) -> tuple[str, ...]:
        return ("input", "latent", "packet") if self._packet_bytes else ("input", "latent")

    def _open_link(self) -> SerialLink:
        if self._link is None:
            raise LinkError(f"port {self._port}: not open", hint=_WITH)
        return self._link

    def _next_seq(self) -> int:
        self._seq = (self._seq + 1) % NO_SEQ
        return self._seq


class _Run:
    """Which requests are in flight. The device answers in the order it received, which tells what got lost."""

    def __init__(
        self,
        port: str,
        total: int,
        window: int,
        reply_timeout_s: float,
        statistics: LinkStatistics,
        reply_type: MessageType,
    ) -> None:
        self._port = port
        self._reply_type = reply_type
        self.total = total
        self.done = 0
        self.next_frame = 0
        self._window = window
        self._reply_timeout_s = reply_timeout_s
        self._statistics = statistics
        self._in_flight: deque[_Request] = deque()
        self._patience_s = _SILENCES * (reply_timeout_s + min(_RESTART_S, reply_timeout_s))
        self._deadline = self._end = 0.0
        self._wait(anew=True)

    @property
    def finished(self) -> bool:
        return self.done == self.total

    @property
    def may_send(self) -> bool:
        return self.next_frame < self.total and len(self._in_flight) < self._window

    @property
    def remaining_s(self) -> float:
        """Time left for the next answer."""
        return min(self._deadline, self._end) - time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether requests wait and nothing sound came for so long that the board is given up."""
        return bool(self._in_flight) and time.monotonic() >= self._end

    def give_up_when_over(self) -> None:
        """Raise LinkError when the board is given up."""
        if self.is_over:
            raise LinkError(
                f"port {self._port}: no answer for {self._patience_s:g} s at frame {self._in_flight[0].frame}",
                hint="check cable, power and baud rate",
            )

    def start(self, request: _Request) -> bytes:
        """Count the next frame as sent."""
        if not self._in_flight:
            self._wait(anew=True)
        self.next_frame += 1
        return self._send(request)

    def repeat_oldest(self, reason: str) -> bytes:
        """The oldest request again. Raises LinkError when it was sent often enough, or the board is given up."""
        self.give_up_when_over()
        request = self._in_flight.popleft()
        if request.attempts >= _MAX_ATTEMPTS:
            raise LinkError(
                f"port {self._port}: {reason} in {request.attempts} attempts at frame {request.frame}",
                hint="check cable, power and baud rate",
            )
        self._statistics.retries += 1
        self._wait()
        return self._send(request)

    def repeat_all(self) -> list[bytes]:
        """All requests again. Raises LinkError as :meth:`repeat_oldest` does."""
        return [self.repeat_oldest("no answer") for _ in range(len(self._in_flight))]

    def repeat_damaged(self, count: int) -> list[bytes]:
        """As many of the oldest requests again as there were damaged messages, each once at most. Raises LinkError."""
        return [self.repeat_oldest("damaged messages") for _ in range(min(count, len(self._in_flight)))]

    def match(self, message: Message) -> tuple[_Request | None, list[bytes]]:
        """The request that ``message`` answers, and older ones to send again because their answer is lost.

        Raises DeviceError when it answers one by another type.
        """
        position = next((i for i, request in enumerate(self._in_flight) if request.seq == message.seq), None)
        if position is None:
            return None, []  # a second answer to a request that was repeated in vain
        if message.type != self._reply_type:
            raise DeviceError(
                f"port {self._port}: a reply of type {message.type:#04x} came; expected {self._reply_type:#04x}",
                hint="build and flash the firmware again",
            )
        request = self._in_flight[position]
        del self._in_flight[position]
        self._wait(anew=True)
        # A repeated request has two places in the device's order, so its answer proves nothing of the others.
        lost = [self.repeat_oldest("no answer") for _ in range(position if request.attempts == 1 else 0)]
        return request, lost

    def _wait(self, *, anew: bool = False) -> None:
        """Let the time for the next answer begin; ``anew``, of a board that has just been heard or asked nothing."""
        now = time.monotonic()
        self._deadline = now + self._reply_timeout_s
        if anew:
            self._end = now + self._patience_s

    def _send(self, request: _Request) -> bytes:
        request.attempts += 1
        self._in_flight.append(request)
        return request.data


def _store(result: Stages, index: int, reply: EncodeReply) -> None:
    values = {"offset": reply.offset, "spread": reply.spread, "packet": reply.packet, **reply.stages}
    for name in result.names:  # every array, which is memory that nobody has written before
        result[name][index] = values[name]
