"""C sources compiled by the system compiler into a cffi module, once for each content.

A built module lives in the content cache (:mod:`edgecodec.files.content_cache`). Its digest covers every source, the
declarations, the compiler, its flags and the Python that loads the module, and its SHA-256 is checked before it is
loaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType

from edgecodec import processes
from edgecodec.errors import BuildError
from edgecodec.files.content_cache import cached
from edgecodec.files.temporary import temporary_folder

STRICT_FLAGS = ("-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
_BUILD_FLAGS = ("-O2", "-fPIC", "-fvisibility=hidden")
_VECTOR_FLAGS = ("-O3", "-fwrapv", "-ffp-contract=fast", "-fno-math-errno", "-Wno-psabi")
"""Sums of integers wrap, as the specification has it; those of floats may be fused. Vectors are only passed between
functions that are compiled together, so their ABI does not matter."""
_CPU_FLAGS = ("-march=native",)
_LINK_FLAGS = ("-bundle", "-undefined", "dynamic_lookup") if sys.platform == "darwin" else ("-shared",)
_COMPILERS = ("cc", "gcc", "clang")
_CHECKSUM = "sha256"
_loaded: dict[str, ModuleType] = {}


@dataclass(frozen=True)
class Compiler:
    """The C compiler of this machine."""

    command: tuple[str, ...]

    @classmethod
    def find(cls) -> Compiler:
        """The compiler ``$CC`` names, else the first of cc, gcc, clang. Raises BuildError when there is none."""
        chosen = shlex.split(os.environ.get("CC", ""))
        for command in [chosen] if chosen else [[name] for name in _COMPILERS]:
            path = shutil.which(command[0])
            if path:
                return cls((path, *command[1:]))
        wanted = f"$CC is {chosen[0]!r}, which is" if chosen else f"none of {', '.join(_COMPILERS)} is"
        raise BuildError(f"no C compiler: {wanted} on the PATH", hint="on Debian or Ubuntu: apt install gcc libc6-dev")

    @cached_property
    def identity(self) -> str:
        """Path, arguments and version text."""
        return "\n".join([*self.command, self.run(["--version"], Path.cwd(), "its version").stdout])

    def run(self, arguments: Sequence[str], folder: Path, what: str) -> subprocess.CompletedProcess[str]:
        """Run the compiler in ``folder``. Raises BuildError, with what it printed, when it fails."""
        environment = dict(os.environ, LC_ALL="C")
        try:
            done = processes.run([*self.command, *arguments], cwd=folder, env=environment)
        except OSError as error:
            raise BuildError(f"{self.command[0]} cannot be run ({error.strerror})") from error
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            first = next((line for line in lines if "error" in line), lines[0])
            compiler = Path(self.command[0]).name
            raise BuildError(f"{compiler} failed on {what} (exit {done.returncode}): {first}", done.stderr)
        return done

    @cached_property
    def native_flags(self) -> tuple[str, ...]:
        """Flags for code of vectors that runs on this CPU alone, where the compiler knows how to find out which."""
        return (*_VECTOR_FLAGS, *(_CPU_FLAGS if self._native_macros else ()))

    @cached_property
    def native_identity(self) -> str:
        """What :attr:`native_flags` stand for: the macros that the compiler defines for this CPU."""
        return "\n".join(sorted(self._native_macros.splitlines()))

    @cached_property
    def _native_macros(self) -> str:
        try:
            return self.run([*_CPU_FLAGS, "-E", "-dM", "-x", "c", os.devnull], Path.cwd(), "this CPU's macros").stdout
        except BuildError:
            return ""


def load_extension(files: Mapping[str, str], cdef: str, preamble: str, *, native: bool = False) -> ModuleType:
    """Build, or take from the cache, a cffi module over C ``files`` (name to text) and load it.

    ``cdef`` are the declarations for cffi and ``preamble`` the C that makes them known to its glue. The
    ``.c`` files are compiled with :data:`STRICT_FLAGS`. A ``native`` module is optimised for the CPU of this
    machine and is built again on another one.

    Returns:
        A module with ``ffi`` and ``lib``.

    Raises:
        BuildError: no compiler, no Python headers, or the compiler failed (``stderr`` has its output).
    """
    try:
        compiler = Compiler.find()
        digest = _digest(files, cdef, preamble, compiler, native)
        if digest not in _loaded:
            name = f"_edc_{digest[:16]}"
            flags = compiler.native_flags if native else ()
            recipe = _Recipe(name, files, cdef, preamble, compiler, flags)
            library = cached("extension", digest, recipe.build, lambda folder: _intact(folder / recipe.file))
            _loaded[digest] = _import(name, library)
        return _loaded[digest]
    except BuildError as error:
        error.within("host shim")
        raise


def _digest(files: Mapping[str, str], cdef: str, preamble: str, compiler: Compiler, native: bool) -> str:
    import cffi

    parts = {
        "files": dict(files),
        "cdef": cdef,
        "preamble": preamble,
        "compiler": compiler.identity,
        "flags": [*STRICT_FLAGS, *_BUILD_FLAGS, *_LINK_FLAGS],
        "native": [*compiler.native_flags, compiler.native_identity] if native else [],
        "python": [sys.version, platform.machine(), sysconfig.get_config_var("EXT_SUFFIX"), cffi.__version__],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _intact(library: Path) -> Path:
    """``library``. Raises BuildError unless it is the file that was built."""
    try:
        expected = (library.parent / _CHECKSUM).read_text(encoding="ascii")
        found = hashlib.sha256(library.read_bytes()).hexdigest()
    except (OSError, ValueError) as error:
        raise BuildError(f"{library} cannot be read ({error})") from error
    if found != expected:
        raise BuildError(f"{library} is not the file that was built")
    return library


@dataclass(frozen=True)
class _Recipe:
    """What a module is built from."""

    name: str
    files: Mapping[str, str]
    cdef: str
    preamble: str
    compiler: Compiler
    flags: Sequence[str]

    @property
    def file(self) -> str:
        """The module's file name."""
        return f"{self.name}{sysconfig.get_config_var('EXT_SUFFIX')}"

    def build(self, folder: Path) -> None:
        """Compile and link the module into ``folder``, with its checksum beside."""
        include = Path(sysconfig.get_paths()["include"])
        if not (include / "Python.h").is_file():
            raise BuildError(f"no Python.h in {include}", hint="on Debian or Ubuntu: apt install python3-dev")
        library = folder / self.file
        with temporary_folder("extension") as work:
            self._compile(work, include, library)
        checksum = hashlib.sha256(library.read_bytes()).hexdigest()
        (folder / _CHECKSUM).write_text(checksum, encoding="ascii")

    def _compile(self, work: Path, include: Path, library: Path) -> None:
        import cffi
        from cffi.recompiler import make_c_source

        for file, text in self.files.items():
            (work / file).write_text(text, encoding="utf-8")
        ffi = cffi.FFI()
        ffi.cdef(self.cdef)
        glue = f"{self.name}.c"
        # FFI.emit_c_code does the same and prints.
        make_c_source(ffi, self.name, self.preamble, str(work / glue))
        sources = sorted(file for file in self.files if file.endswith(".c"))
        run, flags = self.compiler.run, self.flags
        # One by one, as compiler caches ($CC may name one) want it.
        for source in sources:
            run([*STRICT_FLAGS, *_BUILD_FLAGS, *flags, "-I.", "-c", source], work, "the codec")
        # cffi's own C is not written for the strict warnings.
        run([*_BUILD_FLAGS, *flags, "-w", "-I.", f"-I{include}", "-c", glue], work, "cffi's glue")
        objects = [f"{Path(source).stem}.o" for source in [*sources, glue]]
        run([*_LINK_FLAGS, *objects, "-o", str(library)], work, "the link")


def _import(name: str, library: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, library)
    if spec is None or spec.loader is None:
        raise BuildError(f"{library} is no loadable module", hint="delete it")
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError as error:
        raise BuildError(f"{library} does not load ({error})", hint="delete its folder") from error
    return module
