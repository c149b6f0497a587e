"""Listing: which files of folders and lists are images, and what they are called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dupnet.images.listing import check_present, list_collection, list_images, locate, read_file_list


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_folders_are_entered(tmp_path: Path) -> None:
    folder = files(tmp_path, "train/images/a.jpg", "val/images/a.jpg", "b.jpg", "val/c", "x/y/z/d.tif")
    (tmp_path / "empty").mkdir()
    expected = ["b.jpg", "train/images/a.jpg", "val/c", "val/images/a.jpg", "x/y/z/d.tif"]
    assert list_images(folder) == expected
    found = list_collection(folder)
    assert found.files == {name: tmp_path / name for name in expected}
    assert (found.root, found.parts, found.ignored, found.refused) == (tmp_path, None, 0, {})


def test_odd_names(tmp_path: Path) -> None:
    names = ["-rf.jpg", "=1+1.jpg", "A.jpg", "a.jpg", "b.jpg", "folder.jpg/a.jpg", "new\nline.jpg", "NA"]
    files(tmp_path, *names)
    os.symlink("b.jpg", tmp_path / "link.jpg")
    os.symlink("loop", tmp_path / "loop")
    assert list_images(tmp_path) == sorted([*names, "link.jpg", "loop"])


def test_side_files_and_hidden_ones_are_counted(tmp_path: Path) -> None:
    side = [
        "README.md", "README", "LICENSE", "a.txt", "a.xml", "a.json", "labels.CSV", "a.tfw", "a.prj",
        "a.tif.aux.xml", "a.tif.ovr", "a.tif.msk", ".DS_Store", ".hidden/b.jpg", "Thumbs.db", "data.yaml",
        "deep/a.txt", "deep/.a.jpg",
    ]  # fmt: skip
    found = list_collection(files(tmp_path, "a.tif", "deep/a.tif", "scene", *side))
    assert list(found.files) == ["a.tif", "deep/a.tif", "scene"]
    assert found.ignored == len(side)
    # What is named itself is meant.
    assert list(list_collection([tmp_path / "a.txt", tmp_path / "a.tif"]).files) == ["a.tif", "a.txt"]


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    files(tmp_path, "images/real/a.jpg", "images/real/deep/b.jpg", "elsewhere/c.jpg")
    os.symlink("..", tmp_path / "images/real/up")
    os.symlink(tmp_path / "images", tmp_path / "images/all_again")
    os.symlink(tmp_path / "elsewhere", tmp_path / "images/a_link")
    os.symlink(tmp_path / "elsewhere", tmp_path / "images/b_link")
    os.symlink("real", tmp_path / "images/aa")  # comes before what it leads to
    assert list_images(tmp_path / "images") == ["a_link/c.jpg", "real/a.jpg", "real/deep/b.jpg"]


def test_folders_that_cannot_be_entered_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files(tmp_path, "a.jpg", "locked/b.jpg", "deep/locked/c.jpg")
    scandir = os.scandir

    def refuse(path: Path) -> object:  # root may enter anything, so the refusal is staged
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = list_collection(tmp_path)
    assert list(found.files) == ["a.jpg"]
    reason = "folder cannot be entered: Permission denied"
    assert found.refused == {"locked/": reason, "deep/locked/": reason}
    with pytest.raises(PermissionError):
        list_collection(tmp_path / "locked")


def test_results_of_dupnet_are_not_searched(tmp_path: Path) -> None:
    files(tmp_path, "a.jpg", "found/cache/collection.json", "found/mosaics/group_0.jpg")
    files(tmp_path, "tiles/cache/tiles.json", "tiles/a_0.jpg", "out/b.jpg")
    found = list_collection(tmp_path, exclude=[tmp_path / "out", tmp_path / "nowhere"])
    assert (list(found.files), found.ignored) == (["a.jpg"], 2)
    # Saved tiles can be searched like any images.
    assert list_images(tmp_path / "tiles") == ["a_0.jpg"]
    assert list(list_collection(tmp_path / "out", exclude=[tmp_path / "out"]).files) == ["b.jpg"]


def test_several_folders(tmp_path: Path) -> None:
    files(tmp_path, "data/train/a.jpg", "data/test/a.jpg", "data/other.jpg")
    given = [tmp_path / "data/train", str(tmp_path / "data/test")]
    found = list_collection(iter(given))
    assert found.files == {name: tmp_path / "data" / name for name in ("test/a.jpg", "train/a.jpg")}
    assert (found.root, found.parts) == (tmp_path / "data", ("test", "train"))
    assert list_collection([tmp_path / "data", *given]) == list_collection(tmp_path / "data")._replace(
        parts=(".", "test", "train")
    )
    assert list_collection([tmp_path / "data"]) == list_collection(tmp_path / "data")


def test_a_list_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files(tmp_path, "one/a.jpg", "two/a.jpg", "two/b.jpg")
    monkeypatch.chdir(tmp_path)
    found = list_collection(["two/a.jpg", "./one/a.jpg", tmp_path / "two/../two/a.jpg"])
    assert found.files == {name: tmp_path / name for name in ("one/a.jpg", "two/a.jpg")}
    assert (found.root, found.parts) == (tmp_path, ("one/a.jpg", "two/a.jpg"))
    assert list(list_collection(["two/a.jpg", "two/b.jpg"]).files) == ["a.jpg", "b.jpg"]
    assert list(list_collection(["two/b.jpg"]).files) == ["b.jpg"]
    assert list(list_collection(["one", "two/b.jpg"]).files) == ["one/a.jpg", "two/b.jpg"]


@pytest.mark.parametrize("text", [b"a b.jpg\nc\n", b"\xef\xbb\xbfa b.jpg\r\n\r\nc", b"a b.jpg\0c\0"])
def test_a_list_from_a_file(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(text)
    assert read_file_list(tmp_path / "list") == ["a b.jpg", "c"]


def test_an_empty_list_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("\n \n")
    with pytest.raises(ValueError, match="names no file"):
        read_file_list(tmp_path / "list")
    with pytest.raises(ValueError, match="'/dev/zero' is a device; name a file"):
        read_file_list("/dev/zero")
    with pytest.raises(ValueError, match="The list of images is empty"):
        list_collection([])


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder '.*missing'"):
        list_images(tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match=r"no folder or file '.*missing'"):
        list_collection([tmp_path, tmp_path / "missing"])
    with pytest.raises(ValueError, match="holds no file"):
        list_images(tmp_path)
    files(tmp_path, "deep/README.md", "deep/.hidden")
    with pytest.raises(ValueError, match="holds no file, besides 2 that accompany images or are hidden"):
        list_images(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="is a file"):
        list_images(tmp_path / "file")
    os.symlink("round", tmp_path / "round")
    with pytest.raises(FileNotFoundError, match=r"no folder '.*round'"):
        list_images(tmp_path / "round")


def test_locate(tmp_path: Path) -> None:
    files(tmp_path, "one/a.jpg", "two/a.jpg", "two/deep/b.jpg")
    folders = [tmp_path / "one", tmp_path / "two"]
    assert locate("a.jpg", folders) == tmp_path / "one" / "a.jpg"
    assert locate("deep/b.jpg", folders) == tmp_path / "two" / "deep" / "b.jpg"
    assert locate("a.jpg", tmp_path / "two") == tmp_path / "two" / "a.jpg"
    with pytest.raises(FileNotFoundError, match=r"c\.jpg.*\(--images\)"):
        locate("c.jpg", folders)


def test_images_of_a_table_must_be_there(tmp_path: Path) -> None:
    files(tmp_path, "deep/a.jpg")
    check_present(["deep/a.jpg"], tmp_path)
    with pytest.raises(FileNotFoundError, match=r"lacks 1 of the 2 images of the table, such as 'b\.jpg'"):
        check_present(["deep/a.jpg", "b.jpg"], tmp_path)


def test_a_store_is_listed_as_a_folder_is(tmp_path: Path) -> None:
    """By the client of a cluster: names, side files, and results below the images."""
    from dupnet.cluster.sharded_index import list_folder
    from dupnet.files.storage import Folder

    names = ["a.jpg", "train/a.jpg", "train/deep/b.tif"]
    others = ["README.md", "train/a.xml", ".hidden/c.jpg", "out/mosaics/d.jpg"]
    files(tmp_path / "images", *names, *others)
    store = Folder(f"memory://listing/{tmp_path.name}")
    for name in (*names, *others):
        store.write(name, b"")
    for folder in (Folder(tmp_path / "images"), store):
        found, ignored = list_folder(folder, folder.folder("out"))
        assert list(found) == names
        assert ignored == 3
        assert {image.file for image in found.values()} == set(names)
        assert "out/mosaics/d.jpg" in list_folder(folder)[0]
    with pytest.raises(ValueError, match="holds no file"):
        list_folder(Folder("memory://listing/nothing"))
