"""A codec's C as one source file: its units one after the other, what they keep to themselves named apart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

_OWN_INCLUDE = re.compile(r'^#include "([^"]+)"\n', re.MULTILINE)
_LICENSE = re.compile(r"\A/\* SPDX-License-Identifier: [^\n]*\*/\n")
_GUARD = re.compile(r"\A((?:/\*.*?\*/\s*)*)#ifndef (\w+_H)\n#define \2\n(.*)#endif\n\Z", re.DOTALL)
_MACRO = re.compile(r"^ *# *define (\w+)", re.MULTILINE)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_STATIC = re.compile(
    r"^(?:EDC_ALIGNED\(\d\) )?(?:static|EDC_NEVER_INLINE|EDC_ALWAYS_INLINE|OWN_REGISTERS)\b"
    r"[^;{=(]*?\b(\w+)(?:\[[^\]]*\])*\s*[=({;]",
    re.MULTILINE,
)
_TYPE = re.compile(r"^typedef\b[^;{]*?\b(\w+)\s*;|^\} (\w+);", re.MULTILINE)
_ENUM = re.compile(r"^enum \{(.*?)\};", re.MULTILINE | re.DOTALL)


def join_header(files: Mapping[str, str], names: Sequence[str]) -> str:
    """The headers ``names`` of ``files``, and those that they include, as one without a guard."""
    seen: set[str] = set()
    text = "".join(f'#include "{name}"\n' for name in names)
    return "\n".join(_body(files[header]).strip() + "\n" for header in _headers(text, files, seen))


def join_sources(files: Mapping[str, str], public: Sequence[str] = ()) -> str:
    """The C of ``files``, file name to text, as one source: headers as they are first included, then the sources.

    The headers ``public``, and those that they include, are left out: they are in a header of their own
    (:func:`join_header`). Functions and constants that more than one source has for itself, and all its types, get the
    source's name behind theirs, and macros end with their source.
    """
    sources = [name for name in sorted(files) if name.endswith(".c")]
    shared = {
        name for name, count in Counter(n for name in sources for n in _own_names(files[name])).items() if count > 1
    }
    parts: list[str] = []
    seen: set[str] = set()
    list(_headers("".join(f'#include "{name}"\n' for name in public), files, seen))
    for name in sources:
        parts += [_body(files[header]) for header in _headers(files[name], files, seen)]
        text = _OWN_INCLUDE.sub("", _LICENSE.sub("", files[name]))
        suffix = name.removesuffix(".c").removeprefix("edc_")
        # A type's name may be a variable's in another source; members of structures keep theirs.
        for own in sorted(shared & _own_names(text) | _own_types(text)):
            text = re.sub(rf"(?<![.>\w]){own}\b", f"{own}_{suffix}", text)
        ends = "".join(f"#undef {macro}\n" for macro in sorted(set(_MACRO.findall(text))))
        parts.append(f"/* {name} */\n{text}{ends}")
    return "\n".join(part.strip() + "\n" for part in parts)


def _headers(text: str, files: Mapping[str, str], seen: set[str]) -> Iterator[str]:
    """Headers of ``files`` that ``text`` includes and nothing before did, each behind those that it includes itself."""
    for header in _OWN_INCLUDE.findall(text):
        if header in files and header not in seen:
            seen.add(header)
            yield from _headers(files[header], files, seen)
            yield header


def _body(header: str) -> str:
    """A header without licence line, guard and includes of its own: the one file says its licence once."""
    header = _LICENSE.sub("", header)
    found = _GUARD.match(header)
    return _OWN_INCLUDE.sub("", f"{found[1]}{found[3]}" if found else header)


def _own_names(text: str) -> set[str]:
    """What a source defines for itself: static functions and tables, types and constants of enumerations."""
    code = _COMMENT.sub("", text)
    found = set(_STATIC.findall(code)) | _own_types(text)
    for members in _ENUM.findall(code):
        found |= {member.split("=")[0].strip() for member in members.split(",") if member.strip()}
    return found


def _own_types(text: str) -> set[str]:
    return {name for pair in _TYPE.findall(_COMMENT.sub("", text)) for name in pair if name}
