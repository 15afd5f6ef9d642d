"""Texts from outside, as they may stand in C, CMake, linker scripts, shell commands and Markdown; one function each.

Templates print nothing else: what is no :class:`Escaped` and is more than names, numbers and plain words is refused by
:func:`checked`, so a field that a template forgets to escape ends in an error and not in somebody's C.
"""

from __future__ import annotations

import re
import shlex

_C_STRING = re.compile(r"[^ !#->@-\[\]-~]")
"""What is not written as itself: quotes, backslashes, question marks (trigraphs), all that is no plain ASCII."""
_CMAKE_PLAIN = re.compile(r"[A-Za-z0-9_./+=:,-]+")
_MARKDOWN = re.compile(r"[\\`*<>&\[\]|]")
_NOT_PLAIN = re.compile(r"[^ !%&\'()*+,\-./0-9:=@A-Z\[\]^_a-z{|}~]|\*/|/\*|//")
"""What ends or starts something in one of the languages: quotes, ``$``, backquotes, ``;``, ``?``, ``#``, backslashes,
comments, tags, new lines, and characters that are no plain ASCII, among them those that turn a text's direction."""


class Escaped(str):
    """A text that was made for the place where it is printed."""

    __slots__ = ()


def c_string(text: str) -> Escaped:
    """``text`` as a C string literal of ASCII: all that is not plain as the octal escapes of its UTF-8."""
    return Escaped(
        '"' + _C_STRING.sub(lambda match: "".join(f"\\{byte:03o}" for byte in match[0].encode()), text) + '"'
    )


def c_comment(text: object) -> Escaped:
    """``text`` as it may stand in a comment of C or of a linker script.

    On one line, without what ends or starts one, or turns the direction of what follows, and without trigraphs.
    """
    line = _line(text).replace("??", "? ?").replace("*/", "* /").replace("/*", "/ *")
    return Escaped(line.replace("\\", "/") if line.endswith("\\") else line)


def cmake_argument(text: object) -> Escaped:
    """``text`` as one argument of a CMake command: as it is, or between quotes. Raises ValueError for NUL."""
    plain = str(text)
    if "\0" in plain:
        raise ValueError("NUL in an argument of CMake")
    if _CMAKE_PLAIN.fullmatch(plain):
        return Escaped(plain)
    return Escaped('"' + re.sub(r'([\\"$])', r"\\\1", plain).replace("\n", "\\n").replace("\r", "\\r") + '"')


def shell_word(text: object) -> Escaped:
    """``text`` as one word of a POSIX shell's command, on one line."""
    return Escaped(shlex.quote(_line(text)))


def markdown_text(text: object) -> Escaped:
    """``text`` as a line of Markdown that shows it and no markup of its own."""
    return Escaped(_MARKDOWN.sub(r"\\\g<0>", _line(text)))


def code(text: object) -> Escaped:
    """``text`` as it is: lines that edgecodec itself wrote in the template's language, with nothing from outside."""
    return Escaped(text)


FILTERS = {
    "c_string": c_string,
    "comment": c_comment,
    "cmake": cmake_argument,
    "shell": shell_word,
    "markdown": markdown_text,
    "code": code,
}
"""Filters of templates, by their names there."""


def checked(value: object) -> object:
    """``value``, printed as it is. Raises ValueError when that may end or start something in the place it goes to."""
    found = None if isinstance(value, Escaped | int | float) else _NOT_PLAIN.search(str(value))
    if found is not None:
        raise ValueError(f"a template prints {str(value)[:60]!r} unescaped ({found[0]!r})")
    return value


def _line(text: object) -> str:
    """One line of what can be seen: blanks for all else, controls and marks of direction among it."""
    return " ".join("".join(char if char.isprintable() else " " for char in str(text)).split())
