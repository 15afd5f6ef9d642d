"""Folders of Parquet files with packets to such files with PPG, here or on a Dask cluster.

A file of the source becomes one file of the output, under the same name. It appears whole or not at all, and says in
its metadata which bundle made it of which input, so a run that was killed goes on where it was, and a worker that is
killed costs only the file it was at: nothing is lost, and nothing is there twice.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecodec.bundle import Bundle
from edgecodec.errors import BundleError, EdgecodecError, InputError, install_extra
from edgecodec.files.atomic import replace_files
from edgecodec.host.arrow import ArrowDecoder

_METADATA = b"edgecodec"
_ROWS = 1024
"""Rows that are held at a time."""
_SUFFIX = ".parquet"


@dataclass(frozen=True)
class FolderReport:
    """What became of a folder."""

    files: int
    """Files of packets."""
    skipped: int
    """Those whose output was there already."""
    rows: int
    """Packets in the others."""
    good: int
    """Packets of those that were decoded; the others' status says why not."""

    def __str__(self) -> str:
        return f"{self.files} files, {self.skipped} there already; {self.rows} packets, {self.good} good"


@dataclass(frozen=True)
class _Job:
    """A file to decode, as it is sent to a worker."""

    bundle: str
    digest: str
    source: str
    output: str
    column: str


@dataclass(frozen=True)
class _Done:
    """What became of it."""

    rows: int = 0
    good: int = 0
    skipped: bool = False
    error: str | None = None


def decode_folder(
    bundle: Bundle | str | os.PathLike[str],
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    client: Any = None,
    column: str = "packet",
    progress: Callable[[int, int], None] | None = None,
) -> FolderReport:
    """Decode every ``.parquet`` file below ``source`` into a file of the same name below ``out``.

    Rows keep their order and columns; ``status``, ``sequence`` and ``ppg`` come behind them, as
    :class:`~edgecodec.host.arrow.ArrowDecoder` has it. A file is done when its output names this bundle's digest, this
    column, and the source's size and time of modification; it is then left alone. Memory does not grow with a file.

    Args:
        bundle: A bundle or the path of one; it needs packets and a decoder. Workers load it from the same path.
        source: Folder with the packets, which workers reach under the same path.
        out: Folder for the PPG, the same; made when it is not there. Not below ``source``, nor the same.
        client: A ``dask.distributed.Client``: each file is a task, given to another worker when its own is killed. None
            decodes here, a file after the other, by a thread a CPU.
        column: Column of packets, binary.
        progress: Called as ``progress(done, total)`` in files.

    Returns:
        Files and packets. Packets that are damaged are told row by row, never an error.

    Raises:
        BundleError: The bundle is missing or damaged, or has no packets or no decoder.
        InputError: The folder is missing or has no such file, pyarrow is missing, or some files could not be decoded:
            the others were, and the message names the first.
    """
    loaded = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
    decoder = ArrowDecoder(loaded, column=column, threads=None)  # what is missing shows before any work
    jobs = _jobs(loaded, Path(source), Path(out), column)
    results: list[_Done] = []
    failed: list[str] = []
    for job, done in _on_workers(client, jobs) if client is not None else _here(decoder, jobs):
        results.append(done)
        if done.error is not None:
            failed.append(f"{job.source}: {done.error}")
        if progress is not None:
            progress(len(results), len(jobs))
    if failed:
        raise InputError(f"{len(failed)} of {len(jobs)} files were not decoded; {min(failed)}")
    return FolderReport(
        len(jobs),
        sum(done.skipped for done in results),
        sum(done.rows for done in results),
        sum(done.good for done in results),
    )


def connect(scheduler: str) -> Any:
    """A client of the Dask scheduler at an address, such as ``tcp://host:8786``.

    Raises InputError when Dask is missing or nobody answers there.
    """
    try:
        import distributed
    except ImportError as error:
        raise InputError(f"a cluster needs Dask ({error})", hint=install_extra("fleet")) from error
    make: Any = distributed.Client
    try:
        return make(scheduler, timeout=10)
    except (OSError, ValueError, TimeoutError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{scheduler}: no Dask scheduler answers ({reason})", hint="start one: dask scheduler"
        ) from error


def _jobs(bundle: Bundle, source: Path, out: Path, column: str) -> list[_Job]:
    if not source.is_dir():
        raise InputError(f"{source}: no such folder")
    source, out = (Path(os.path.realpath(path)) for path in (source, out))
    if out == source or source in out.parents:
        raise InputError(f"{out}: is in the folder of packets", hint="choose another output")
    if os.path.lexists(out) and not out.is_dir():
        raise InputError(f"{out}: exists and is no folder", hint="choose another output")
    found = sorted(path for path in source.rglob(f"*{_SUFFIX}") if path.is_file() and not path.name.startswith("."))
    if not found:
        raise InputError(f"{source}: holds no {_SUFFIX} files")
    where = str(bundle.path.resolve())
    return [_Job(where, bundle.digest, str(path), str(out / path.relative_to(source)), column) for path in found]


def _here(decoder: ArrowDecoder, jobs: list[_Job]) -> Iterator[tuple[_Job, _Done]]:
    for job in jobs:
        yield job, _decoded(job, decoder)


def _on_workers(client: Any, jobs: list[_Job]) -> Iterator[tuple[_Job, _Done]]:
    import distributed  # a client is given, so it is there

    as_completed: Any = distributed.as_completed
    # Not pure: a result that the cluster remembers says nothing of whether the file is there now.
    futures = dict(zip(client.map(_work, jobs, pure=False), jobs, strict=True))
    try:
        for future in as_completed(futures):
            try:
                done = future.result()
            except Exception as error:  # a worker that died too often, a machine without the bundle
                done = _Done(error=f"{type(error).__name__}: {error}")
            yield futures[future], done
    finally:
        client.cancel(list(futures))


_local = threading.local()


def _work(job: _Job) -> _Done:
    """Decode a file on a worker, which keeps a decoder for each of its threads."""
    key = (job.bundle, job.digest, job.column)
    if getattr(_local, "key", None) != key:
        bundle = Bundle.load(job.bundle)
        if bundle.digest != job.digest:
            raise BundleError(f"{job.bundle}: is bundle {bundle.digest[:12]} here; expected {job.digest[:12]}")
        _local.decoder, _local.key = ArrowDecoder(bundle, column=job.column), key
    return _decoded(job, _local.decoder)


def _decoded(job: _Job, decoder: ArrowDecoder) -> _Done:
    from pyarrow import ArrowException, RecordBatch, parquet

    try:
        identity = _identity(job)
        if _identity_of(Path(job.output)) == identity:
            return _Done(skipped=True)
        rows = good = 0
        with parquet.ParquetFile(job.source) as packets, replace_files(Path(job.output)) as (beside,):
            empty = RecordBatch.from_pylist([], packets.schema_arrow)
            schema = decoder(empty).schema.with_metadata({_METADATA: identity})
            with parquet.ParquetWriter(str(beside), schema) as writer:
                for batch in map(decoder, packets.iter_batches(_ROWS)):
                    writer.write_batch(batch.replace_schema_metadata(schema.metadata))
                    rows += len(batch)
                    good += len(batch) - batch.column("sequence").null_count
    except EdgecodecError as error:
        return _Done(error=str(error))
    except (OSError, ArrowException) as error:
        return _Done(error=" ".join(str(error).split())[:200])
    return _Done(rows, good)


def _identity(job: _Job) -> bytes:
    """What an output says of how it came about."""
    stat = os.stat(job.source)
    content = {"bundle": job.digest, "column": job.column, "bytes": stat.st_size, "modified_ns": stat.st_mtime_ns}
    return json.dumps(content, sort_keys=True).encode()


def _identity_of(output: Path) -> bytes | None:
    """The same of an output that is there; None when it is not, or no output of this module's."""
    from pyarrow import ArrowException, parquet

    try:
        metadata: dict[bytes, bytes] = parquet.read_schema(output).metadata or {}
    except (OSError, ArrowException):
        return None
    return metadata.get(_METADATA)
