"""Worst-case stack of a firmware: the compiler's frame of each function, summed along the deepest calls.

Frames are what ``gcc -fstack-usage`` wrote beside each object; calls are those of the linked program, as
``objdump`` shows it, so inlining, tail calls and the compiler's own library are as they run. A function of
that library has no such file: its frame is bounded by what its instructions take off the stack pointer. What
cannot be known (recursion, a call through a pointer, a frame of changing size) is said, never guessed.
"""

from __future__ import annotations

import re
import subprocess
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecodec import processes
from edgecodec.errors import BuildError

_NORMALIZE = r"edc_(zscore|minmax|fixed)(16)?_normalize"
_STEPS = rf"{_NORMALIZE}|edc_rvq\w*_quantize\w*"
_PACKET = ("edc_packet_start", "edc_packet_step", "edc_packet_write")
"""Of plain packets the pointers are NULL, and nothing is linked that they could call."""
POINTER_CALLS: Mapping[str, str] = {
    "edc_link_send": "edc_port_write",
    "edc_model_normalize": _NORMALIZE,
    "edc_model_infer": r"edc_next_\w+",
    "edc_model_next": r"edc_next_\w+",
    "edc_next_layer": r"edc_\w+_run",
    "run_chunk": r"edc_\w+_run",
    **dict.fromkeys(
        ("edc_model_search", "edc_model_search_latent", "edc_step", "search_position"), r"edc_rvq\w*_quantize\w*"
    ),
    **dict.fromkeys(_PACKET, r"edc_(context|causal)_(start|position)"),
    **dict.fromkeys(("edc_server_poll", "handle_message", "answer", "answer_encode", "answer_layer"), _STEPS),
}
"""What a function of ours calls through a pointer, by a regular expression: of those, all that are linked.

The server's are as many as the compiler may make one of.
"""
_RESET = "edc_reset"
_FAULT = "edc_fault"
_CODEC = re.compile(r"edc_encode|edc_model_\w+")
_VECTORS = "vectors"
_FIRST_HANDLER = 2
"""After the stack's top and reset."""
_BASIC_FRAME_BYTES = 32
_FLOAT_FRAME_BYTES = 104
_ALIGNMENT_BYTES = 4
"""An exception aligns the stack to 8 bytes (Armv7-M Architecture Reference Manual, B1.5.7)."""
_TIMEOUT_S = 60

_INSTRUCTION = re.compile(r"^ *([0-9a-f]+):\t([a-z]\S*)\t?([^;@]*)")
_TARGET = re.compile(r"\b([0-9a-f]+) <")
_BRANCH = re.compile(r"(b|bl|blx|b[a-z]{2})(\.[nw])?|cbn?z")
_POINTER_BRANCH = re.compile(r"bl?x(?!\s*lr)")
_PUSH = re.compile(r"(v?push|v?stmdb)(\.w)?")
_GROW = re.compile(r"sp, (?:sp, )?#(\d+)")
_STORE_BELOW = re.compile(r"\[sp, #-(\d+)\]!")


@dataclass(frozen=True)
class StackUse:
    """What a firmware takes of its stack at the worst moment."""

    bytes: int | None
    """Bytes from reset on, with an exception on top where any is handled; null when that is not known."""
    codec_bytes: int | None
    """Bytes that the codec takes below whoever calls it; null when that is not known."""
    exception_bytes: int
    """Bytes that the CPU saves at an exception, which a program with interrupts of its own needs besides."""
    path: tuple[str, ...] = ()
    """The deepest calls, from reset on."""
    unknown: str | None = None
    """Why ``bytes`` is null."""


@dataclass
class _Function:
    name: str
    names: set[str]
    source: str | None
    """File that it is local to; None of a global one."""
    frame: int | None = 0
    """Bytes; None when it changes at run time."""
    calls: set[int] = field(default_factory=set)
    through_pointer: bool = False


class _UnknownError(Exception):
    pass


def measure_stack(elf: Path, usage: Iterable[Path], objdump: Path, *, saves_floats: bool) -> StackUse:
    """Stack of the firmware ``elf``, whose objects' ``-fstack-usage`` files are ``usage``.

    ``saves_floats`` says that the CPU has floating-point registers for the program to use. Raises BuildError
    when ``objdump`` fails.
    """
    from elftools.elf.elffile import ELFFile

    with elf.open("rb") as file:
        image = ELFFile(file)
        functions = _functions(image)
        handlers = _handlers(image)
    _read_instructions(_disassemble(elf, objdump), functions)
    _apply_usage(functions, _read_usage(usage))
    graph = _Graph(functions)
    exception = exception_bytes(saves_floats=saves_floats)
    codec = graph.deepest_of(address for address, each in functions.items() if any(map(_CODEC.fullmatch, each.names)))
    reset = graph.deepest_of(address for address, each in functions.items() if _RESET in each.names)
    if isinstance(reset, str):
        return StackUse(None, None if isinstance(codec, str) else codec[0], exception, unknown=reset)
    # No handler is interrupted by another: all have the priority they have after reset.
    handled = graph.deepest_of(address for address in handlers if _FAULT not in functions[address].names)
    if isinstance(handled, str):
        return StackUse(None, None if isinstance(codec, str) else codec[0], exception, unknown=handled)
    depth, path = reset
    if handled[1]:
        depth += exception + handled[0]
    return StackUse(depth, None if isinstance(codec, str) else codec[0], exception, path)


def exception_bytes(*, saves_floats: bool) -> int:
    """Bytes that the CPU saves at an exception, at most, with its floating-point registers when it has any."""
    return (_FLOAT_FRAME_BYTES if saves_floats else _BASIC_FRAME_BYTES) + _ALIGNMENT_BYTES


class _Graph:
    """Depths of the call graph, each function's found once."""

    def __init__(self, functions: Mapping[int, _Function]) -> None:
        self._functions = functions
        self._addresses = {name: address for address, each in functions.items() for name in each.names}
        self._found: dict[int, tuple[int, tuple[str, ...]]] = {}

    def deepest_of(self, roots: Iterable[int]) -> tuple[int, tuple[str, ...]] | str:
        """Bytes and calls below the deepest of ``roots``, or why they are not known."""
        try:
            return max((self._deepest(root, ()) for root in roots), default=(0, ()))
        except _UnknownError as error:
            return str(error)

    def _deepest(self, address: int, above: tuple[int, ...]) -> tuple[int, tuple[str, ...]]:
        function = self._functions[address]
        if address in above:
            raise _UnknownError(f"{function.name} calls itself")
        if address not in self._found:
            if function.frame is None:
                raise _UnknownError(f"the frame of {function.name} changes its size")
            below = (self._deepest(call, (*above, address)) for call in sorted(self._calls(function)))
            depth, path = max(below, default=(0, ()))
            self._found[address] = function.frame + depth, (function.name, *path)
        return self._found[address]

    def _calls(self, function: _Function) -> set[int]:
        if not function.through_pointer:
            return function.calls
        name = _plain_name(function.name)
        pattern = POINTER_CALLS.get(name)
        known = {address for called, address in self._addresses.items() if pattern and re.fullmatch(pattern, called)}
        if not known and name not in _PACKET:
            raise _UnknownError(f"{function.name} calls through a pointer")
        return function.calls | known


def _functions(image: Any) -> dict[int, _Function]:
    """The program's functions by address."""
    found: dict[int, _Function] = {}
    source: str | None = None
    for symbol in image.get_section_by_name(".symtab").iter_symbols():
        kind = symbol["st_info"]["type"]
        if kind == "STT_FILE":
            source = Path(symbol.name).name
        elif kind == "STT_FUNC" and symbol["st_shndx"] != "SHN_UNDEF":
            local = symbol["st_info"]["bind"] == "STB_LOCAL"
            function = found.setdefault(int(symbol["st_value"]) & ~1, _Function(symbol.name, set(), None))
            function.names.add(symbol.name)
            function.source = source if local else None
    return dict(sorted(found.items()))


def _handlers(image: Any) -> list[int]:
    """Addresses of the functions in the vector table behind reset."""
    for symbol in image.get_section_by_name(".symtab").iter_symbols():
        if symbol.name == _VECTORS and symbol["st_info"]["type"] == "STT_OBJECT":
            section = image.get_section(symbol["st_shndx"])
            start = symbol["st_value"] - section["sh_addr"]
            data = section.data()[start : start + symbol["st_size"]]
            words = [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]
            return [word & ~1 for word in words[_FIRST_HANDLER:] if word]
    return []


def _disassemble(elf: Path, objdump: Path) -> str:
    command = [str(objdump), "--disassemble", "--no-show-raw-insn", str(elf)]
    try:
        done = processes.run(command, timeout_s=_TIMEOUT_S)
        done.check_returncode()
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"{objdump.name} cannot read {elf.name} ({error})") from error
    return done.stdout


def _read_instructions(listing: str, functions: dict[int, _Function]) -> None:
    """Calls of each function, and a bound on its frame: all that it ever takes off the stack pointer."""
    starts = list(functions)
    for line in listing.splitlines():
        match = _INSTRUCTION.match(line)
        if match is None or not starts or int(match[1], 16) < starts[0]:
            continue
        operation, operands = match[2], match[3].strip()
        address = starts[bisect_right(starts, int(match[1], 16)) - 1]
        function = functions[address]
        target = _TARGET.search(operands)
        if target and _BRANCH.fullmatch(operation):
            callee = starts[bisect_right(starts, int(target[1], 16)) - 1]
            # A branch to the start is a loop as likely as a call; a call of itself by any other name is `bl`, which on
            # Armv6-M is also the jump to a far place within.
            calls = operation.startswith("bl") and operation[:3] not in ("ble", "blt", "bls")
            if callee != address or (calls and int(target[1], 16) == address):
                function.calls.add(callee)
        elif _POINTER_BRANCH.match(operation) and operands != "lr":
            function.through_pointer = True
        grown = _grown(operation, operands)
        function.frame = None if grown is None or function.frame is None else function.frame + grown


def _grown(operation: str, operands: str) -> int | None:
    """Bytes that an instruction takes off the stack pointer; None when they depend on a register."""
    if _PUSH.fullmatch(operation) and (operation.startswith(("push", "vpush")) or operands.startswith("sp!")):
        return sum(map(_register_bytes, operands[operands.index("{") + 1 : operands.index("}")].split(",")))
    if operation.startswith("sub") and operands.startswith("sp,"):
        amount = _GROW.fullmatch(operands)
        return int(amount[1]) if amount else None
    if operation.startswith("add") and re.match(r"sp, (sp, )?[a-z]", operands) and not operands.startswith("sp, sp, #"):
        return None
    below = _STORE_BELOW.search(operands)
    return int(below[1]) if below and operation.startswith("str") else 0


def _register_bytes(text: str) -> int:
    """``r4``, ``d8`` or ``d8-d15``."""
    first, _, last = text.strip().partition("-")
    each = 8 if first.startswith("d") else 4
    return each * (int(last[1:]) - int(first[1:]) + 1 if last else 1)


def _read_usage(paths: Iterable[Path]) -> dict[tuple[str, str], int | None]:
    """Frame by source file and function; None when it has no bound. Copies of a function count as one."""
    frames: dict[tuple[str, str], int | None] = {}
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            place, size, kind = line.split("\t")
            source, _, _, name = place.split(":", 3)
            key = (Path(source).name, _plain_name(name))
            known = frames.get(key, 0)
            bounded = "dynamic" not in kind or "bounded" in kind
            frames[key] = max(known, int(size)) if bounded and known is not None else None
    return frames


def _apply_usage(functions: Mapping[int, _Function], frames: Mapping[tuple[str, str], int | None]) -> None:
    for function in functions.values():
        found = [
            frame
            for (source, name), frame in frames.items()
            if function.source in (None, source) and name in map(_plain_name, function.names)
        ]
        if found:
            function.frame = _largest(found)


def _largest(frames: Sequence[int | None]) -> int | None:
    known = [frame for frame in frames if frame is not None]
    return max(known) if len(known) == len(frames) else None


def _plain_name(name: str) -> str:
    """Without what GCC appends to a copy of a function (``.constprop.0``)."""
    return name.partition(".")[0] or name
