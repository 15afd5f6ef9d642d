"""C sources compiled by the system compiler into a cffi module, once for each content.

A built module lives in ``<cache>/extension/<digest>/``. The digest covers every source, the declarations,
the compiler, its flags and the Python that loads the module, so what lies there is never stale. It is built
in a folder beside and renamed into place, so it is never half written, and its SHA-256 is checked before it
is loaded.
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
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType

from edgecodec.errors import BuildError
from edgecodec.files.content_cache import cache_dir

STRICT_FLAGS = ("-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
_BUILD_FLAGS = ("-O2", "-fPIC", "-fvisibility=hidden")
_VECTOR_FLAGS = ("-O3", "-fwrapv", "-Wno-psabi")
"""Sums in lanes wrap, as the specification has it. Vectors are only passed between functions that are compiled
together, so their ABI does not matter."""
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
        raise BuildError(
            f"host shim: no C compiler: {wanted} on the PATH; on Debian or Ubuntu: apt install gcc libc6-dev"
        )

    @cached_property
    def identity(self) -> str:
        """Path, arguments and version text."""
        return "\n".join([*self.command, self.run(["--version"], Path.cwd(), "its version").stdout])

    def run(self, arguments: Sequence[str], folder: Path, what: str) -> subprocess.CompletedProcess[str]:
        """Run the compiler in ``folder``. Raises BuildError, with what it printed, when it fails."""
        environment = dict(os.environ, LC_ALL="C")
        try:
            done = subprocess.run(
                [*self.command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise BuildError(f"host shim: {self.command[0]} cannot be run ({error.strerror})") from error
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            first = next((line for line in lines if "error" in line), lines[0])
            compiler = Path(self.command[0]).name
            raise BuildError(f"host shim: {compiler} failed on {what} (exit {done.returncode}): {first}", done.stderr)
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
    compiler = Compiler.find()
    digest = _digest(files, cdef, preamble, compiler, native)
    if digest not in _loaded:
        name = f"_edc_{digest[:16]}"
        folder = cache_dir() / "extension" / digest
        library = folder / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
        if not _is_intact(library):
            flags = compiler.native_flags if native else ()
            _build(library, name, files, cdef, preamble, compiler, flags)
        _loaded[digest] = _import(name, library)
    return _loaded[digest]


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


def _is_intact(library: Path) -> bool:
    try:
        expected = (library.parent / _CHECKSUM).read_text(encoding="ascii")
        return hashlib.sha256(library.read_bytes()).hexdigest() == expected
    except (OSError, ValueError):
        return False


def _build(
    library: Path,
    name: str,
    files: Mapping[str, str],
    cdef: str,
    preamble: str,
    compiler: Compiler,
    flags: Sequence[str],
) -> None:
    include = Path(sysconfig.get_paths()["include"])
    if not (include / "Python.h").is_file():
        raise BuildError(f"host shim: no Python.h in {include}; on Debian or Ubuntu: apt install python3-dev")
    parent = library.parent.parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".build.", dir=parent))
    except OSError as error:
        raise BuildError(
            f"host shim: the cache {parent} cannot be written ({error.strerror}); set EDGECODEC_CACHE to a folder"
        ) from error
    try:
        done = work / "done"
        done.mkdir()
        _compile(work, done / library.name, name, files, cdef, preamble, (compiler, include, flags))
        checksum = hashlib.sha256((done / library.name).read_bytes()).hexdigest()
        (done / _CHECKSUM).write_text(checksum, encoding="ascii")
        _install(done, library)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _compile(
    work: Path,
    target: Path,
    name: str,
    files: Mapping[str, str],
    cdef: str,
    preamble: str,
    tools: tuple[Compiler, Path, Sequence[str]],
) -> None:
    import cffi
    from cffi.recompiler import make_c_source

    compiler, include, flags = tools
    for file, text in files.items():
        (work / file).write_text(text, encoding="utf-8")
    ffi = cffi.FFI()
    ffi.cdef(cdef)
    glue = f"{name}.c"
    # FFI.emit_c_code does the same and prints.
    make_c_source(ffi, name, preamble, str(work / glue))
    sources = sorted(file for file in files if file.endswith(".c"))
    compiler.run([*STRICT_FLAGS, *_BUILD_FLAGS, *flags, "-I.", "-c", *sources], work, "the codec")
    # cffi's own C is not written for the strict warnings.
    compiler.run([*_BUILD_FLAGS, *flags, "-w", "-I.", f"-I{include}", "-c", glue], work, "cffi's glue")
    objects = [f"{Path(source).stem}.o" for source in [*sources, glue]]
    compiler.run([*_LINK_FLAGS, *objects, "-o", str(target)], work, "the link")


def _install(done: Path, library: Path) -> None:
    """Rename ``done`` to the library's folder, unless another process has just put a good one there."""
    try:
        os.rename(done, library.parent)
        return
    except OSError:
        if _is_intact(library):
            return
    # What lies there is damaged; a rename moves it away whole, whoever else does the same.
    aside = done.with_name("damaged")
    try:
        os.rename(library.parent, aside)
        os.rename(done, library.parent)
    except OSError as error:
        if not _is_intact(library):
            raise BuildError(f"host shim: {library.parent} cannot be replaced ({error.strerror}); delete it") from error


def _import(name: str, library: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, library)
    if spec is None or spec.loader is None:
        raise BuildError(f"host shim: {library} is no loadable module; delete it")
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError as error:
        raise BuildError(f"host shim: {library} does not load ({error}); delete its folder") from error
    return module
