"""What a call of a search names: paths are taken in any form, and anything else is refused with a remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dupnet.find.calls import check_call
from dupnet.find.collection import CACHE, RECORD


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An output folder that holds a collection."""
    (tmp_path / "out" / CACHE).mkdir(parents=True)
    (tmp_path / "out" / CACHE / RECORD).write_text("{}")
    return tmp_path / "out"


def test_images_come_as_a_list(tmp_path: Path, out: Path) -> None:
    assert check_call("folder", None, None, False, ()) == ["folder"]
    assert check_call(tmp_path, None, None, False, ()) == [tmp_path]
    assert check_call(("a", tmp_path), None, "b", False, ()) == ["a", tmp_path]
    assert check_call((name for name in "ab"), out, None, True, ()) == ["a", "b"]
    assert check_call(pd.Series(["a", "b"]), None, None, False, ()) == ["a", "b"]
    assert check_call(None, out, None, False, ["moved"]) is None


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (b"folder", "images is of type bytes; pass a folder, several, or a list of files"),
        (7, "images is of type int; pass"),
        (np.zeros((2, 3, 3), np.uint8), r"images is of type ndarray \(2, 3, 3\); pass"),
        (pd.DataFrame({"image": ["a"]}), r"images is of type DataFrame \(1, 1\); pass"),
        (["a", 7], "images holds 7 of type int; pass"),
        (["a", 60 * b"b"], r"images holds b'b{58} of type bytes; pass"),
    ],
)
def test_what_is_no_path(images: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        check_call(images, None, None, False, ())  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "place"), [("images", 0), ("out", 1), ("against", 2), ("moved_to", 4)])
def test_empty_paths_and_addresses(name: str, place: int, out: Path) -> None:
    for path, message in (("", f"^{name} is an empty path"), ("s3://a/b", "^'s3://a/b' is a URL")):
        arguments: list[object] = [["folder"], out, "other", False, ["moved"]]
        arguments[place] = [path] if place in (0, 4) else path
        with pytest.raises(ValueError, match=message):
            check_call(*arguments)  # type: ignore[arg-type]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(NotADirectoryError, match=r"a\.jpg' is a file; give the folder"):
        check_call(tmp_path / "a.jpg", None, None, False, ())
    assert check_call([tmp_path / "a.jpg"], None, None, False, ()) == [tmp_path / "a.jpg"]


def test_what_needs_an_output_folder(tmp_path: Path) -> None:
    for images, add, moved, what in (
        ("a", True, (), "add"),
        ("a", False, ["b"], "moved_to"),
        (None, False, (), "a call without images"),
    ):
        with pytest.raises(ValueError, match=f"^{what} needs out, the folder of the collection"):
            check_call(images, None, None, add, moved)
    with pytest.raises(ValueError, match="holds no collection; name the images"):
        check_call(None, tmp_path, None, False, ())
