"""The classical codecs that a bundle is compared with, by name."""

from __future__ import annotations

from collections.abc import Sequence

from edgecodec.errors import InputError
from edgecodec.evaluation.opponents.base import Opponent
from edgecodec.evaluation.opponents.contexts import DctRdoq, KltRdoq
from edgecodec.evaluation.opponents.network import DctNetwork, DctNetwork48
from edgecodec.evaluation.opponents.static_tables import StaticDct

OPPONENTS: dict[str, type[Opponent]] = {
    kind.name: kind for kind in (StaticDct, DctRdoq, KltRdoq, DctNetwork, DctNetwork48)
}
"""All of them, by name."""
QUICK = ("dct", "dct-rdoq", "klt-rdoq")
"""Those that take seconds, without TensorFlow."""


def opponents_of(names: Sequence[str]) -> list[Opponent]:
    """An opponent of each name, in that order. Raises InputError for no, a doubled or an unknown name."""
    if not names or len(set(names)) < len(names):
        raise InputError(f"opponents are {', '.join(names) or 'none'}; expected each once", hint=", ".join(OPPONENTS))
    for name in names:
        if name not in OPPONENTS:
            raise InputError(f"opponent {name!r} is unknown; expected of {', '.join(OPPONENTS)}")
    return [OPPONENTS[name]() for name in names]
