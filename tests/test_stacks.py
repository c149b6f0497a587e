import itertools

import pandas as pd
import pytest

from dupnet.report.stacks import fold


def table(*rows):
    columns = ["image1", "image2", "y_offset", "x_offset", "height", "width", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def groups(**sizes):
    return pd.DataFrame([(name, *size) for name, size in sizes.items()], columns=["image", "height", "width"])


SIZES = groups(a=(9, 9), b=(9, 9), c=(9, 9), d=(9, 9), e=(9, 12))
COPIES = [(one, two, 0, 0, 9, 9, "duplicate") for one, two in itertools.combinations("abc", 2)]


def test_copies_are_one_stack_and_what_is_said_of_each_stands_once():
    others = [("a", "d", 3, 0, 6, 9, "duplicate"), ("b", "d", 3, 0, 6, 9, "duplicate"),
              ("c", "d", 3, 0, 6, 9, "duplicate"), ("d", "e", 1, 1, 8, 8, "duplicate")]  # fmt: skip
    folded = fold(table(*COPIES, *reversed(others)), SIZES)
    assert folded.stacks == {"a": ["a", "b", "c"]}
    assert (folded.n_within, folded.n_repeated) == (3, 2)
    assert folded.overlaps[["image1", "image2"]].to_numpy().tolist() == [["d", "e"], ["a", "d"]]


def test_the_other_way_round_is_the_same():
    sizes = groups(m=(9, 9), n=(9, 9), z=(9, 9))
    rows = [("m", "z", 0, 0, 9, 9, "duplicate"), ("m", "n", 2, -1, 7, 8, "duplicate"),
            ("n", "z", -2, 1, 7, 8, "duplicate"), ("n", "z", -2, 2, 7, 7, "duplicate")]  # fmt: skip
    folded = fold(table(*rows), sizes)
    assert folded.overlaps[["image1", "image2", "x_offset"]].to_numpy().tolist() == [
        ["m", "n", -1],
        ["n", "z", 2],
    ]


@pytest.mark.parametrize(
    "row",
    [
        ("a", "b", 0, 0, 9, 9, "altered"),
        ("a", "b", 0, 1, 9, 9, "duplicate"),
        ("d", "e", 0, 0, 9, 9, "duplicate"),
        ("a", "b", 0, 0, 9, 8, "duplicate"),
    ],
)
def test_what_is_no_copy(row):
    folded = fold(table(row), SIZES)
    assert not folded.stacks and len(folded.overlaps) == 1 and folded.n_within == folded.n_repeated == 0


def test_the_largest_stack_comes_first_and_pairs_with_the_first_alone_are_enough():
    rows = [("a", "b", 0, 0, 9, 9, "duplicate"), *((("c", name, 0, 0, 9, 9, "duplicate")) for name in "de")]
    sizes = groups(**dict.fromkeys("abcde", (9, 9)))
    assert list(fold(table(*rows), sizes).stacks.items()) == [("c", ["c", "d", "e"]), ("a", ["a", "b"])]


def test_nothing_at_all():
    folded = fold(table(), groups())
    assert folded.overlaps.empty and folded.stacks == {}
