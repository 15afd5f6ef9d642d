"""What an engine is: the code that runs a codec's encoder on a board, and what a firmware's project is told of it.

Normaliser, codebook search and link are the same with every engine. An engine is a folder or module beside this one,
its templates in ``templates/`` and its hand-written C in ``firmware/``; what its firmware answers to HELLO is a row of
:data:`edgecodec.link.protocol.ENGINES` and of HELLO in SPEC.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from edgecodec.compile.plan import LongestCall, Plan, Step, make_plan
from edgecodec.compile.target import Target
from edgecodec.link.protocol import ENGINES

if TYPE_CHECKING:
    from edgecodec.boards.toolchain import Toolchain
    from edgecodec.bundle import Bundle
    from edgecodec.codec.codec import Codec


@dataclass(frozen=True)
class MapRules:
    """Which bytes of a linked firmware are an engine's, by names in the linker's map."""

    weights: str
    """Regular expression of the sections that hold the encoder's constants."""
    part: str = ""
    """What reports call the engine's own code; empty when it is part of the codec's."""
    folders: frozenset[str] = frozenset()
    """Folders of the project whose objects are the engine's own code."""
    libraries: frozenset[str] = frozenset()
    """File names of the libraries whose members are the engine's own code."""


class Engine(ABC):
    """What runs the encoder.

    Engines are values: frozen dataclasses of what was brought from outside, if anything. Equal ones build the same
    firmware.
    """

    name: ClassVar[str]
    """As reports and ``--engine`` have it."""
    hello_id: ClassVar[int]
    """The number by which its firmware names it in HELLO, of :data:`edgecodec.link.protocol.ENGINES`."""
    alignment_bytes: ClassVar[int] = 8
    """What its data asks of every section of the firmware."""
    least_stack_bytes: ClassVar[int] = 0
    """Stack that its firmware needs where a board keeps less."""
    languages: ClassVar[tuple[str, ...]] = ("C",)
    """Languages of the project, as CMake names them."""
    link_options: ClassVar[tuple[str, ...]] = ("-nostdlib",)
    """What of a C library the firmware is linked with: none, or all but what starts a program."""
    server_files: ClassVar[tuple[str, ...]]
    """Patterns of the hand-written files in ``firmware/`` that its firmware holds beside codec and drivers."""
    runs_alone: ClassVar[bool] = False
    """Whether its codec can be built without link, UART and timer."""
    sources_apart: ClassVar[tuple[str, ...]] = ()
    """Folders whose sources its own lines of CMake build, with their own flags and include folders."""
    templates: ClassVar[Mapping[str, str]] = {}
    """Templates of its own for files of the project (``"CMakeLists.txt"``), which extend the firmware's."""

    def plan(self, codec: Codec, target: Target) -> Plan:
        """The plan that its firmware is built by. Raises PlanError when the codec cannot be executed exactly."""
        return make_plan(codec, target)

    def longest_call(self, plan: Plan) -> LongestCall | None:
        """The longest call of a kernel in the encoder; None where that is not known."""
        return None

    @abstractmethod
    def files(self, bundle: Bundle, plan: Plan) -> dict[str, str]:
        """The files of codec and encoder, path in the project to text; the same bytes for the same arguments."""

    @abstractmethod
    def arena_bytes(self, plan: Plan) -> int:
        """RAM that the encoder's tensors have."""

    @abstractmethod
    def state_bytes(self, plan: Plan) -> int:
        """RAM of the whole codec."""

    @abstractmethod
    def kernel(self, step: Step) -> str:
        """What runs a layer: the C function, or the engine's name for people."""

    @property
    @abstractmethod
    def map_rules(self) -> MapRules:
        """Which bytes of its firmware are whose."""

    @property
    def digest(self) -> str:
        """Hash in hex over what was brought from outside and is not among the files; empty when nothing was."""
        return ""

    def template_values(self, bundle: Bundle, plan: Plan) -> dict[str, object]:
        """What its own templates are told beside what all are told."""
        return {}

    def cmake_arguments(self, toolchain: Toolchain) -> tuple[str, ...]:
        """What its project is configured with besides. Raises BuildError when ``toolchain`` lacks something."""
        return ()

    @property
    def hello_name(self) -> str:
        """What its firmware calls itself in HELLO."""
        return ENGINES[self.hello_id]

    def accepts(self, running: str) -> bool:
        """Whether firmware that calls its engine ``running`` in HELLO will do where this one was asked for."""
        return running == self.hello_name
