"""The file of a bundle that holds what its packets are made with: side information and the model of indices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.entropy.causal_network import CausalNetwork
from edgecodec.entropy.context_tables import ContextTables
from edgecodec.entropy.side_information import SideInformation
from edgecodec.errors import InputError
from edgecodec.files.atomic import npz_bytes
from edgecodec.files.limits import BUNDLE_PART
from edgecodec.files.npz import read_npz

_SIDE_FIELDS = ("samples", "scale_bits", "location_bits", "first_scale", "scale_field", "common_bytes", "squared")
_KINDS = {"tables": ContextTables, "network": CausalNetwork}


@dataclass(frozen=True)
class PacketConstants:
    """All of a packet format that does not follow from the codec."""

    side: SideInformation | None
    """How location and scale are kept; None when the normaliser removes neither."""
    model: ContextTables | CausalNetwork | None
    """Model of the indices; None when all payloads are plain."""

    def to_npz(self) -> bytes:
        """An ``.npz``: ``side`` int32, and the model's arrays with its kind before their names."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        if self.side is not None:
            arrays["side"] = np.array([getattr(self.side, name) for name in _SIDE_FIELDS], np.int32)
        if self.model is not None:
            kind = next(kind for kind, model in _KINDS.items() if isinstance(self.model, model))
            arrays |= {f"{kind}.{name}": array for name, array in self.model.to_arrays().items()}
        return npz_bytes(arrays)

    @classmethod
    def from_npz(cls, data: bytes) -> PacketConstants:
        """Read what :meth:`to_npz` wrote. Raises InputError when it is damaged or does not fit together."""
        arrays = read_npz(data, "packets", "constants of packets", BUNDLE_PART)
        side = arrays.pop("side", None)
        if side is not None and (side.dtype != np.int32 or side.shape != (len(_SIDE_FIELDS),)):
            raise InputError(f"side is {side.dtype} {side.shape}; expected int32 [{len(_SIDE_FIELDS)}]")
        kinds = {name.partition(".")[0] for name in arrays}
        if len(kinds) > 1 or not kinds <= _KINDS.keys():
            raise InputError(f"arrays of {', '.join(sorted(kinds))}; expected one of {', '.join(_KINDS)}")
        named = {name.partition(".")[2]: array for name, array in arrays.items()}
        model: ContextTables | CausalNetwork | None = None
        if kinds:
            model = ContextTables.from_arrays(named) if kinds == {"tables"} else CausalNetwork.from_arrays(named)
        return cls(None if side is None else _side(side), model)


def _side(values: npt.NDArray[np.int32]) -> SideInformation:
    found = dict(zip(_SIDE_FIELDS, map(int, values), strict=True))
    squared = bool(found.pop("squared"))
    return SideInformation(**found, squared=squared)
