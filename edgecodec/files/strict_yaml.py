"""YAML that people write by hand, read without what only files made to do harm use."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from edgecodec.files.strict_json import check_keys, check_plain

_LONGEST_INTEGER = 100
"""Characters; hours and minutes between colons among them, which take a time that grows as the square of theirs."""


_MERGE = "tag:yaml.org,2002:merge"
"""The tag of ``<<``, whose keys yield to those beside it."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without aliases, of which a few lines unfold to more than any memory holds.

    A key that is there twice is an error.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != _MERGE]
        check_keys(key for key in keys if isinstance(key, Hashable))
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: Any) -> Any:
        if node.tag.endswith((":int", ":float")) and len(node.value) > _LONGEST_INTEGER:
            raise yaml.YAMLError(f"a number of {len(node.value)} characters")
        return super().construct_scalar(node)


def parse_yaml(text: str | bytes) -> Any:
    """What ``text`` says: dicts, lists and scalars.

    Raises ValueError, of one line, for no YAML, for aliases, for a key that is there twice and for what
    :func:`check_plain` refuses.
    """
    try:
        found = yaml.load(text, Loader=_Loader)
        check_plain(found)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(" ".join(str(error).split())) from error
    return found
