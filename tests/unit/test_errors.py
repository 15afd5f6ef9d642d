"""Errors keep what they know on their way up."""

from __future__ import annotations

import pytest

from edgecodec.errors import BuildError, EdgecodecError, InputError


def _fail() -> None:
    try:
        raise BuildError("gcc failed", "line 1", hint="install gcc")
    except EdgecodecError as error:
        error.within("codec.c", hint="try again")
        raise


def test_within_keeps_type_hint_and_what_the_error_knows() -> None:
    with pytest.raises(BuildError) as caught:
        _fail()
    assert (caught.value.message, caught.value.hint) == ("codec.c: gcc failed", "install gcc")
    assert caught.value.stderr == "line 1"
    assert str(caught.value) == "codec.c: gcc failed; install gcc"
    assert caught.value.__cause__ is None


def test_outer_places_come_first_and_a_missing_hint_is_filled_in() -> None:
    error = InputError("no frames")
    error.within("a.npz")
    error.within("validation", hint="pass --frames FILE")
    assert str(error) == "validation: a.npz: no frames; pass --frames FILE"
    assert str(InputError("alone")) == "alone"
