import pytest

from edgecodec.errors import InputError
from edgecodec.signal.split import check_selection, refuse_shared, split_people

PEOPLE = [str(number) for number in range(12)]


def test_places_go_by_number_not_by_letter():
    split = split_people(PEOPLE, validation="last 2", test="last 3")
    assert split.test == ("9", "10", "11")
    assert split.validation == ("7", "8")
    assert split.train == tuple(PEOPLE[:7])


def test_shares_are_drawn_by_name():
    split = split_people(PEOPLE, validation=0.25, test=0.25, seed=1)
    assert [len(side) for side in (split.train, split.validation, split.test)] == [6, 3, 3]
    assert sorted([*split.train, *split.validation, *split.test]) == sorted(PEOPLE)
    assert split == split_people(reversed(PEOPLE), validation=0.25, test=0.25, seed=1)
    assert split != split_people(PEOPLE, validation=0.25, test=0.25, seed=2)
    # One person more moves nobody else from the test side but the one who may leave it.
    more = split_people([*PEOPLE, "new"], validation=0.25, test=0.25, seed=1)
    assert len(set(split.test) - set(more.test)) <= 1


def test_named_people():
    split = split_people(PEOPLE, train=["0", "1"], validation=["5"], test=[11])
    assert (split.train, split.validation, split.test) == (("0", "1"), ("5",), ("11",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": ["1", "2"], "test": ["2"]}, "2 is in both train and test"),
        ({"test": ["nobody"]}, r"data\.split\.test: nobody is called 'nobody'; expected some of 0, 1"),
        ({"test": "first 12"}, r"data\.split\.validation: nobody is left"),
        ({"validation": None}, r"data\.split\.validation: nobody is left"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(InputError, match=message):
        split_people(PEOPLE, **options)


def test_too_few_people():
    with pytest.raises(InputError, match=r"of 2 people \(a, b\)"):
        split_people(["a", "b", "a"])


def test_selections_that_are_none():
    for value in ("last 0", "last", "middle 3", 1.0, 0, True, [], [""], [True], {"a": 1}):
        with pytest.raises(ValueError, match="expected a list of people"):
            check_selection(value)


def test_shared_people_are_named():
    refuse_shared(train=["a"], test=["b"])
    with pytest.raises(InputError, match="p9 is in both train and test"):
        refuse_shared(train=["p10", "p9"], test=["p9", "p10"])
