"""Arrow batches of packets: rows in their order, each on its own."""

from __future__ import annotations

import numpy as np
import pytest

import edgecodec
from edgecodec.errors import InputError
from tests.linear_codec import SAMPLES, pulse_frames
from tests.streams import packets_for, stream_bundle
from tests.tools import require


def test_rows_stay_rows(tmp_path):
    require("module:pyarrow")
    import pyarrow

    from edgecodec.host.arrow import ArrowDecoder

    bundle = stream_bundle(tmp_path)
    packets = packets_for(bundle, pulse_frames(6, seed=1))
    broken = packets[1][:-1] + bytes([packets[1][-1] ^ 1])
    given = [packets[5], broken, None, packets[0], packets[0]]
    batch = pyarrow.RecordBatch.from_pydict({"person": [1, 2, 3, 4, 5], "packet": given})
    decode = ArrowDecoder(bundle)
    found = decode(batch)
    assert found.schema.names == ["person", "packet", "status", "sequence", "ppg"]
    assert found.column("person").to_pylist() == [1, 2, 3, 4, 5]
    assert found.column("status").to_pylist() == ["good", "other_tag", "short", "good", "good"]
    assert found.column("sequence").to_pylist() == [5, None, None, 0, 0]
    rows = found.column("ppg").to_pylist()
    assert rows[1] is None
    assert rows[2] is None
    expected = edgecodec.decode_stream(bundle, packets).counts
    assert np.array_equal(np.array([rows[0], rows[3], rows[4]], np.float32), expected[[5, 0, 0]])
    assert found.schema.field("ppg").type.list_size == SAMPLES
    assert decode(batch.slice(0, 0)).num_rows == 0
    assert decode(batch.slice(3, 1)).column("ppg").to_pylist() == rows[3:4]
    with pytest.raises(InputError, match="has no column 'packet'"):
        decode(batch.select(["person"]))
    with pytest.raises(InputError, match="has a column 'ppg' already"):
        decode(found)
    with pytest.raises(InputError, match="expected packets as binary"):
        ArrowDecoder(bundle, column="person")(batch)
