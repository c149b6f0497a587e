"""Collections: which files they are, remembered by their output, which one process holds at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dupnet.find.collection import CACHE, combine, locked, open_collection


def folder_of(path: Path, *names: str) -> Path:
    path.mkdir(parents=True)
    for name in names:
        (path / name).touch()
    return path


def test_one_folder_is_found_again_under_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, out = folder_of(tmp_path / "images", "b", "A", "a"), tmp_path / "out"
    (tmp_path / "link").symlink_to(images)
    monkeypatch.chdir(tmp_path)
    for name in (images, "images", "./images/../link/"):
        found = open_collection(out, name)
        assert found.files == {"A": images / "A", "a": images / "a", "b": images / "b"}
        assert list(found.files) == ["A", "a", "b"]
        assert (found.folders, found.against, found.lookup) == ((images,), None, (images,))
    assert not any(found.is_against(image) for image in found.files)


def test_added_folders_belong_to_it_from_then_on(tmp_path: Path) -> None:
    one, two = folder_of(tmp_path / "one", "b"), folder_of(tmp_path / "two", "a", "c")
    out = tmp_path / "out"
    open_collection(out, one)
    for options in ({"add": True}, {"add": True}, {}):
        found = open_collection(out, two, **options)
        assert found.folders == (one, two)
        assert list(found.files.items()) == [("a", two / "a"), ("b", one / "b"), ("c", two / "c")]
    assert open_collection(out, one) == found


def test_images_held_against_it_are_called_by_their_folder(tmp_path: Path) -> None:
    train, test = folder_of(tmp_path / "train", "a", "z"), folder_of(tmp_path / "sub" / "test", "a")
    found = open_collection(tmp_path / "out", train, against=test)
    assert list(found.files.items()) == [("a", train / "a"), ("test/a", test / "a"), ("z", train / "z")]
    assert [image for image in found.files if found.is_against(image)] == ["test/a"]
    assert found.lookup == (train, tmp_path / "sub")
    for image, path in found.files.items():
        assert next(folder / image for folder in found.lookup if (folder / image).exists()) == path


def test_what_cannot_be_opened_is_not_remembered(tmp_path: Path) -> None:
    one, two = folder_of(tmp_path / "one", "a", "b"), folder_of(tmp_path / "two", "b")
    empty, out = folder_of(tmp_path / "empty"), tmp_path / "out"
    before = open_collection(out, one)
    with pytest.raises(ValueError, match=rf"^'b' is in both '{one}' and '{two}'; search both .*\.$"):
        open_collection(out, two, add=True)
    with pytest.raises(ValueError, match="holds no file"):
        open_collection(out, empty, add=True)
    with pytest.raises(FileNotFoundError, match="no folder"):
        open_collection(out, tmp_path / "none", add=True)
    assert open_collection(out, one) == before
    assert os.listdir(out / CACHE) == ["collection.json"]


def test_several_folders_are_named_from_what_contains_them(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        folder_of(tmp_path / "data" / part / "images", "a", "b")
    data, out = tmp_path / "data", tmp_path / "out"
    given = [data / "train", data / "val"]
    found = open_collection(out, given)
    names = [f"{part}/images/{name}" for part in ("train", "val") for name in "ab"]
    assert found.files == {name: data / name for name in names}
    assert found.lookup == (data,)
    assert open_collection(out, [*given[::-1], data / "train"]) == found
    assert open_collection(out, None) == found
    for other in ([data / "train", data / "test"], data / "test", data):
        with pytest.raises(ValueError, match=r"\(2 folders or files in it\).*\(--add\)"):
            open_collection(out, other)
    grown = open_collection(out, [data / "val", data / "test"], add=True)
    assert sorted(grown.files) == sorted([*names, "test/images/a", "test/images/b"])
    assert open_collection(out, None) == grown


def test_a_list_of_files_is_remembered(tmp_path: Path) -> None:
    data, out = folder_of(tmp_path / "data", "a", "b", "c"), tmp_path / "out"
    found = open_collection(out, [data / "c", data / "a"])
    assert list(found.files) == ["a", "c"]
    assert open_collection(out, None) == found
    with pytest.raises(ValueError, match="2 folders or files in it"):
        open_collection(out, [data / "a", data / "b"])
    assert list(open_collection(out, [data / "a", data / "b"], add=True).files) == ["a", "b", "c"]


def test_folders_that_have_moved(tmp_path: Path) -> None:
    one, two = folder_of(tmp_path / "one", "b"), folder_of(tmp_path / "two", "a")
    out = tmp_path / "out"
    open_collection(out, one)
    open_collection(out, two, add=True)
    two.rename(tmp_path / "new")
    with pytest.raises(FileNotFoundError, match=r"no folder '.*/two'"):
        open_collection(out, None)
    with pytest.raises(ValueError, match=r"of 2 folders \('.*one', '.*two'\), and 1 are named"):
        open_collection(out, None, moved=[tmp_path / "new"])
    with pytest.raises(FileNotFoundError, match=r"no folder '.*/two'"):
        open_collection(out, None, moved=[one, two])
    found = open_collection(out, None, moved=[one, tmp_path / "new"])
    assert found.files == {"a": tmp_path / "new" / "a", "b": one / "b"}
    assert open_collection(out, None) == found
    with pytest.raises(ValueError, match="holds no collection that could have moved"):
        open_collection(tmp_path / "other", None, moved=[one])


def test_parts_that_have_moved(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    for part in ("train", "val", "test"):
        folder_of(data / part, "a")
    open_collection(out, [data / "train", data / "val"])
    data.rename(tmp_path / "new")
    found = open_collection(out, None, moved=[tmp_path / "new"])
    assert list(found.files) == ["train/a", "val/a"]
    assert found.lookup == (tmp_path / "new",)


def test_a_folder_held_against_what_contains_it(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    for part in ("train", "test"):
        folder_of(data / part, "a")
    found = open_collection(out, data, against=data / "test")
    assert list(found.files) == ["test/a", "train/a"]
    assert found.held == {"test/a"}
    found = open_collection(tmp_path / "other", data / "test", against=data)
    assert list(found.files) == ["a", "data/train/a"]
    assert found.held == {"data/train/a"}
    with pytest.raises(ValueError, match="one of the folders searched"):
        open_collection(tmp_path / "third", [data / "train", data / "test"], against=data / "test")


def test_names_of_a_folder_held_against_it_are_longer_where_they_clash(tmp_path: Path) -> None:
    train, test = folder_of(tmp_path / "one" / "test", "a").parent, folder_of(tmp_path / "two" / "test", "a")
    found = open_collection(tmp_path / "out", train, against=test)
    assert found.files == {"test/a": train / "test" / "a", "two/test/a": test / "a"}
    for image, path in found.files.items():
        assert next(folder / image for folder in found.lookup if (folder / image).exists()) == path


def test_results_within_the_images_are_not_searched(tmp_path: Path) -> None:
    images = folder_of(tmp_path / "images", "a")
    for out in (images / "out", images / "other"):
        with locked(out):
            folder_of(out / "mosaics", "b.jpg")
            found = open_collection(out, images)
        assert list(found.files) == ["a"]
    assert found.ignored == 1  # the results of the run before


KNOWN = {"folders": ["/one", "/two"], "parts": {}, "against": None}
HELD = {"folders": ["/one"], "parts": {}, "against": "/test"}


@pytest.mark.parametrize(
    ("known", "folder", "against", "add", "message"),
    [
        (KNOWN, "/three", None, False, r"^'/out' holds the overlaps of '/one' and '/two'; .*\(--add\)\.$"),
        (KNOWN, "/one", "/test", False, "^'/out' holds the overlaps of '/one' and '/two'; .* results.$"),
        (HELD, "/one", None, False, "^'/out' holds the overlaps of '/one' against '/test'; .* results.$"),
        (HELD, "/two", None, True, "^'/out' holds the overlaps of '/one' against '/test'; .* results.$"),
        (HELD, "/two", "/test", False, "^'/out' holds the overlaps of '/one' against '/test'; .* results.$"),
    ],
)
def test_another_collection_is_refused_with_what_is_there(
    known: dict[str, object], folder: str, against: str | None, add: bool, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        combine(known, folder, against, add, "/out")


def test_a_killed_process_holds_nothing_and_leaves_nothing_half(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    hold = "import sys, pathlib; from dupnet.find.collection import locked\n"
    hold += "with locked(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, os.fspath(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        halves = [out / ".partial-1.csv", out / CACHE / ".partial-2.json"]
        for path in (*halves, out / "overlaps.csv"):
            path.write_text("half a tab")
        message = rf"^Another dupnet is at work in '{out}'; wait for it, or choose another folder\.$"
        with pytest.raises(BlockingIOError, match=message), locked(out):
            pass
        assert all(path.exists() for path in halves)  # the other may still rename them
        other.kill()
    with locked(out):
        assert not any(path.exists() for path in halves)
        assert (out / "overlaps.csv").read_text() == "half a tab"


@pytest.mark.parametrize("record", ["{", "{}", "[]", '{"folders": 5, "against": null}'])
def test_a_record_that_is_damaged_is_named_with_a_remedy(record: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with locked(out):
        (out / "cache" / "collection.json").write_text(record)
        with pytest.raises(ValueError, match=r"collection\.json' is damaged.* choose another folder"):
            open_collection(out, tmp_path)


def test_a_cache_of_someone_else_makes_no_output_folder(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    with locked(tmp_path):  # as a run leaves it that was killed at its very start
        pass
    (tmp_path / "cache" / "lock").unlink()
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match="is not an output folder of `dupnet find`"), locked(tmp_path):
        pass
    assert os.listdir(tmp_path / "cache") == []


def test_an_output_folder_is_made_taken_if_empty_and_given_back(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "new" / "out", tmp_path / "empty", tmp_path / "empty"):
        with pytest.raises(KeyError), locked(out):
            (out / "overlaps.csv").touch()
            raise KeyError
