"""Folders on a disk, in memory and in S3: one behaviour, and no name that is taken for a pattern."""

from __future__ import annotations

import os
import threading
import uuid
from pathlib import Path

import pytest
import s3fs

from dupnet.files.storage import Folder


@pytest.fixture(params=["disk", "memory", "S3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    if request.param == "disk":
        return Folder(tmp_path / "out")
    home = "memory://memory" if request.param == "memory" else request.getfixturevalue("bucket")
    return Folder(f"{home}/{uuid.uuid4().hex}/out")


def test_on_a_disk_a_file_is_there_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[object] = []
    monkeypatch.setattr(os, "fsync", lambda file: done.append(os.fstat(file).st_size))
    monkeypatch.setattr(os, "replace", lambda *_: done.append("named"))
    Folder(tmp_path).write("shard.tiles", b"four")
    assert done == [4, "named"]


def test_created_once(folder: Folder) -> None:
    assert folder.create("a", b"one")
    assert not folder.create("a", b"other")
    assert folder.read("a") == b"one"
    assert folder.create("deep/deeper/a", b"in folders that are not there yet")


def test_of_many_at_the_same_moment_one_creates(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    start = threading.Barrier(8)
    won: list[int] = []

    def attempt(number: int) -> None:
        start.wait()
        if folder.create("a", str(number).encode()):
            won.append(number)

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_files_and_folders_are_listed_apart_and_removed(folder: Folder) -> None:
    assert (folder.files(), folder.folders()) == ({}, [])
    for name, data in (("b", b"12"), ("a", b""), ("two/c", b"123"), ("one/d", b"1")):
        folder.write(name, data)
    assert [(name, found.size) for name, found in folder.files().items()] == [("a", 0), ("b", 2)]
    assert folder.folders() == ["one", "two"]
    assert list(folder.folder("two").files()) == ["c"]
    for _ in range(2):
        folder.remove("two")
        folder.remove("a")
        assert (list(folder.files()), folder.folders()) == (["b"], ["one"])
    assert folder.read("one/d") == b"1"


def test_a_tree_of_folders(folder: Folder) -> None:
    assert folder.tree() == {}
    names = ["a.jpg", "deep/a.jpg", "deep/deeper/b.jpg"]
    for name in names[::-1]:
        folder.write(name, name.encode())
    found = folder.tree()
    assert list(found) == names
    assert {name: one.size for name, one in found.items()} == {name: len(name) for name in names}
    assert found["a.jpg"] == folder.files()["a.jpg"]
    folder.write("with_/c", b"")
    assert list(folder.folder("with_").tree()) == ["c"]


def test_a_listing_shows_what_another_process_has_written_since(bucket: str) -> None:
    folder = Folder(f"{bucket}/{uuid.uuid4().hex}")
    folder.write("a", b"")
    assert list(folder.files()) == ["a"]
    another = s3fs.S3FileSystem(skip_instance_cache=True)
    another.pipe_file(f"{folder.address}/b", b"")
    assert list(folder.files()) == ["a", "b"]


@pytest.mark.parametrize("folder", ["disk", "S3"], indirect=True)
def test_a_file_that_changed_has_another_identity(folder: Folder) -> None:
    folder.write("a", b"one")
    if folder.is_local:
        os.utime(folder.path / "a", (1, 1))
    before = folder.files()
    assert folder.files() == before
    folder.write("a", b"two")
    assert folder.files()["a"].size == before["a"].size
    assert folder.files()["a"] != before["a"]


def test_the_marker_of_a_folder_is_none_of_its_files(bucket: str) -> None:
    s3fs.S3FileSystem().pipe_file(f"{bucket}/marked/", b"")
    folder = Folder(f"{bucket}/marked")
    folder.write("a", b"")
    assert (list(folder.files()), folder.folders()) == (["a"], [])
    assert "marked" in Folder(bucket).folders()


def test_a_name_is_no_pattern_and_what_is_not_there_is_told(folder: Folder) -> None:
    folder.write("x1.bin", b"another")
    folder.write("x[1].bin", b"0123456789")
    assert folder.read("x[1].bin") == b"0123456789"
    found = folder.read_many(["absent", "x[1].bin", "x1.bin"])
    assert isinstance(found.pop("absent"), FileNotFoundError)
    assert found == {"x[1].bin": b"0123456789", "x1.bin": b"another"}
    assert folder.read_many([]) == {}
    with pytest.raises(FileNotFoundError):
        folder.read("absent")


def test_what_is_removed_is_the_named_one_alone(folder: Folder) -> None:
    for name in ("x1.bin", "x[1].bin", "o1/a", "o[1]/a", "o[1]/b/c", "o/a"):
        folder.write(name, b"")
    folder.remove("x[1].bin")
    folder.folder("o[1]").remove("a")
    assert list(folder.files()) == ["x1.bin"]
    assert [list(folder.folder(name).files()) for name in ("o1", "o[1]")] == [["a"], []]
    folder.remove("o[1]")
    assert folder.folders() == ["o", "o1"]


def test_the_top_of_a_store_is_in_no_folder(bucket: str) -> None:
    assert Folder(f"{bucket}/one/two").parent.address == f"{bucket}/one"
    assert Folder(f"{bucket}/one").parent.address == bucket
    with pytest.raises(ValueError, match=f"'{bucket}' is the top of its store; put the images"):
        _ = Folder(bucket).parent


def test_ranges_in_their_order_and_no_further_than_the_file(folder: Folder) -> None:
    folder.write("x[1].bin", b"0123456789")
    folder.write("y", b"abc")
    names = ["x[1].bin", "y", "x[1].bin", "y"]
    assert folder.read_ranges(names, [4, 1, 0, 2], [6, 2, 10, 9]) == [b"45", b"b", b"0123456789", b"c"]
    with pytest.raises(FileNotFoundError):
        folder.read_ranges(["y", "absent"], [0, 0], [1, 1])


def test_an_address_is_the_same_folder_from_anywhere(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write("sub/a", b"here")
    monkeypatch.chdir(tmp_path)
    sub = folder.folder("sub")
    alike = [Folder(sub.address), Folder(f"{sub.address}/"), folder.folder("sub/deeper").parent]
    if folder.is_local:
        assert folder.path == tmp_path / "out"
        alike += [Folder("out/sub"), Folder(f"file://{tmp_path}/out/sub")]
    else:
        with pytest.raises(ValueError, match=r"out' is no path of this machine\.$"):
            folder.path  # noqa: B018
    for one in alike:
        assert (one.address, one.name, one.is_local) == (sub.address, "sub", folder.is_local)
        assert one.read("a") == b"here"


def test_addresses(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gopher-web://host/folder' cannot be reached"):
        Folder("gopher-web://host/folder")
    odd = tmp_path / "a::b [c]*?#%20"
    odd.mkdir()
    folder = Folder(odd)
    folder.write("x[1].bin", b"0123456789")
    assert folder.path == odd
    assert folder.files()["x[1].bin"].size == 10
    assert folder.read("x[1].bin") == b"0123456789"
    assert Folder(tmp_path).folders() == [odd.name]
    folder.remove("x[1].bin")
    assert folder.files() == {}
    folder.remove("x[1].bin")
    assert Folder(tmp_path / "none").files() == {}
    assert (Folder("/top").parent.address, Folder("/").folder("top").address) == ("/", "/top")


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    """What was opened before a file is written anew stays whole; a failed write leaves the file as it was."""
    folder = Folder(tmp_path)
    folder.write("a", b"old and long")
    with (tmp_path / "a").open("rb") as opened:
        folder.write("a", b"new")
        assert opened.read() == b"old and long"
    assert folder.read("a") == b"new"
    with pytest.raises(TypeError):
        folder.write("a", None)  # type: ignore[arg-type]
    assert folder.read("a") == b"new" and list(folder.files()) == ["a"]
