"""YAML that people write by hand, read without what only files made to do harm use."""

from __future__ import annotations

from typing import Any

import yaml

from edgecodec.files.strict_json import check_plain

_LONGEST_INTEGER = 100
"""Characters; hours and minutes between colons among them, which take a time that grows as the square of theirs."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without aliases: a few lines of them unfold to more than any memory holds."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read")
        return super().compose_node(parent, index)

    def construct_scalar(self, node: Any) -> Any:
        if node.tag.endswith((":int", ":float")) and len(node.value) > _LONGEST_INTEGER:
            raise yaml.YAMLError(f"a number of {len(node.value)} characters")
        return super().construct_scalar(node)


def parse_yaml(text: str | bytes) -> Any:
    """What ``text`` says: dicts, lists and scalars.

    Raises ValueError, of one line, for no YAML, for aliases and for what :func:`check_plain` refuses.
    """
    try:
        found = yaml.load(text, Loader=_Loader)
        check_plain(found)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(" ".join(str(error).split())) from error
    return found
