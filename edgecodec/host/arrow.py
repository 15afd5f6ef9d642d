"""Packets in Arrow batches to PPG, row by row: a pure function, for engines that map one over a fleet's tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgecodec.bundle import Bundle
from edgecodec.decoding.decoder import chosen
from edgecodec.entropy.unpacking import Status
from edgecodec.errors import InputError, install_extra
from edgecodec.host.decode import fastest_decoder
from edgecodec.host.streams import packets_of
from edgecodec.host.unpack import fastest_unpacker


class ArrowDecoder:
    """Decodes Arrow record batches of a bundle's packets; rows depend on nothing but themselves.

    Raises BundleError when the bundle has no packets or no decoder, InputError when pyarrow is missing or for less than
    one thread.
    """

    def __init__(self, bundle: Bundle, *, column: str = "packet", threads: int | None = 1) -> None:
        try:
            import pyarrow
        except ImportError as error:
            raise InputError(f"Arrow batches need pyarrow ({error})", hint=install_extra("records")) from error
        self._arrow: Any = pyarrow
        self._unpacker = fastest_unpacker(packets_of(bundle), threads=threads)
        self._decoder = fastest_decoder(bundle, threads=threads)
        self._column, self._samples = column, bundle.codec.samples

    def __call__(self, batch: Any) -> Any:
        """``batch`` in its order, with three columns more.

        ``status`` is what :class:`~edgecodec.entropy.unpacking.Status` has, in lower case; ``sequence`` uint8 and
        ``ppg``, a list of T float32 in ADC counts, are null unless that is `good`. A packet that is null is `short`.
        Raises InputError when there is no column of packets, or one of the three is there.
        """
        arrow, names = self._arrow, batch.schema.names
        taken = sorted({"status", "sequence", "ppg"} & set(names))
        if taken or self._column not in names:
            wrong = f"has a column {taken[0]!r} already" if taken else f"has no column {self._column!r}"
            raise InputError(f"the batch {wrong}; its columns are {', '.join(names)}")
        column = batch.column(names.index(self._column))
        if not (arrow.types.is_binary(column.type) or arrow.types.is_large_binary(column.type)):
            raise InputError(f"column {self._column!r} holds {column.type}; expected packets as binary")
        unpacked = self._unpacker.unpack([packet or b"" for packet in column.to_pylist()])
        good = unpacked.status == Status.GOOD
        values = np.zeros((len(good), self._samples), np.float32)
        values[good] = self._decoder.decode_unpacked(chosen(unpacked, good))
        missing = arrow.array(~good)
        lists = arrow.FixedSizeListArray.from_arrays(arrow.array(values.reshape(-1)), self._samples, mask=missing)
        status = arrow.array([Status(each).name.lower() for each in unpacked.status.tolist()], arrow.string())
        sequence = arrow.array(unpacked.sequence, mask=~good)
        return arrow.RecordBatch.from_arrays(
            [*batch.columns, status, sequence, lists], names=[*names, "status", "sequence", "ppg"]
        )
