"""Files: never half there, and the same bytes for the same table."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dupnet.files.atomic import (
    atomic_path,
    check_replaceable,
    claim,
    plain_name,
    plain_names,
    read_csv,
    read_parquet,
    refuse_device,
    remove_partial,
    text_name,
    write_csv,
    write_parquet,
)

TABLE = pd.DataFrame(
    {
        "image": ["=1+1.jpg", 'a,"b".jpg', "new\nline.jpg", "ü.jpg"],
        "n": [1, 2, 3, 4],
        "score": [0.5, np.nan, 1e-9, 1.0],
    }
)


def test_renamed_when_it_ends_well(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    with atomic_path(target) as beside:
        assert beside.parent == target.parent
        assert beside.suffix == ".txt"
        beside.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert os.listdir(target.parent) == ["a.txt"]


def test_what_was_there_stays_when_it_does_not(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("before")
    with pytest.raises(RuntimeError), atomic_path(target) as beside:
        beside.write_text("half")
        raise RuntimeError
    assert target.read_text() == "before"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_only_a_table_of_the_same_columns_is_replaced(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    check_replaceable(path, ["image", "n"])
    write = {"csv": write_csv, "parquet": write_parquet}[ending]
    write(TABLE[["n", "image"]], path)
    check_replaceable(path, ["image", "n"])
    for other in (["image"], ["image", "n", "score"]):
        with pytest.raises(
            ValueError, match=rf"a\.{ending}' exists and is not a table of {', '.join(other)};"
        ):
            check_replaceable(path, other)
    for content in (b"", b"\xff\xd8\xff\xe0"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is not a table of image, n; choose another"):
            check_replaceable(path, ["image", "n"])
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        check_replaceable(path, ["image", "n"])


def test_a_folder_is_claimed_for_what_has_its_settings(tmp_path: Path) -> None:
    out, record = tmp_path / "out", tmp_path / "out" / "cache" / "made.json"
    claim(out, "cache/made.json", {"size": 1}, "make")
    (out / "empty").mkdir()
    (out / "cache" / ".partial-0").touch()
    claim(out, "cache/made.json", {"size": 2}, "make")  # nothing was made with the first size
    (out / "a").touch()
    claim(out, "cache/made.json", {"size": 2}, "make")
    with pytest.raises(ValueError, match=r"out' holds what `make` made with size 2, not 3\. Choose another"):
        claim(out, "cache/made.json", {"size": 3}, "make")
    for content in ("{", "[]", '{"other": 2}', "[" * 100_000):
        record.write_text(content)
        with pytest.raises(ValueError, match=r"made\.json' is damaged"):
            claim(out, "cache/made.json", {"size": 2}, "make")
    record.unlink()
    with pytest.raises(ValueError, match=r"out' is not an output folder of `make`; choose a new"):
        claim(out, "cache/made.json", {"size": 2}, "make")
    with pytest.raises(NotADirectoryError, match=r"a' is a file; choose a folder"):
        claim(out / "a", "made.json", {"size": 2}, "make")


def test_a_folder_by_way_of_one_that_is_not_there_is_not_claimed(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(ValueError, match=r"new/\.\.' is not an output folder"):
        claim(tmp_path / "new" / "..", "record.json", {}, "dupnet tiles")
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_what_must_last_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    monkeypatch.setattr(os, "fsync", lambda file: done.append(os.fstat(file).st_size))
    monkeypatch.setattr(os, "replace", lambda *_: done.append("named"))
    with atomic_path(tmp_path / "a", sync=True) as beside:
        beside.write_bytes(b"four")
    assert done == [4, "named"]
    with atomic_path(tmp_path / "a") as beside:
        beside.write_bytes(b"four")
    assert done == [4, "named", "named"]
    write_csv(pd.DataFrame({"x": [1]}), tmp_path / "x.csv")
    assert done[3:] == [4, "named"]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic_path(tmp_path / "a") as beside:
            beside.write_text("")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_many_writers_of_one_file(tmp_path: Path) -> None:
    def write(number: int) -> None:
        with atomic_path(tmp_path / "a") as beside:
            beside.write_text(str(number) * 1000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(10)))
    assert len(set((tmp_path / "a").read_text())) == 1
    assert os.listdir(tmp_path) == ["a"]


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    old, young, whole = (tmp_path / name for name in (".partial-a.csv", ".partial-b.csv", "a.csv"))
    for path in (old, young, whole):
        path.write_text("half")
    os.utime(old, (1, 1))
    remove_partial(tmp_path, older_than=60)
    assert sorted(os.listdir(tmp_path)) == [young.name, whole.name]
    remove_partial(tmp_path)
    assert os.listdir(tmp_path) == [whole.name]
    remove_partial(tmp_path / "missing")


def test_csv_bytes(tmp_path: Path) -> None:
    write_csv(TABLE, tmp_path / "a.csv")
    write_csv(TABLE.copy(), tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert b"\r" not in (tmp_path / "a.csv").read_bytes()
    pd.testing.assert_frame_equal(plain_names(pd.read_csv(tmp_path / "a.csv")), TABLE)


def test_csv_with_any_name_reads_back(tmp_path: Path) -> None:
    names = ["carriage\rreturn.jpg", "both\r\n.jpg", "new\nline.jpg", '"quoted".jpg', "plain.jpg"]
    table = pd.DataFrame({"image": names, "n": range(5), "score": [0.5, np.nan, 1.0, 0.25, 0.0]})
    write_csv(table, tmp_path / "t.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "t.csv"), table)
    write_csv(table[1:].query("n > 1"), tmp_path / "t.csv")
    assert "plain.jpg,4,0.0\n" in (tmp_path / "t.csv").read_text()  # quoted only where it must be


def test_a_spreadsheet_computes_no_name(tmp_path: Path) -> None:
    """What begins a formula stands behind an apostrophe in the file, and every name can be read back."""
    names = ["=1+1", "+1", "-rf", "@x", "\tx", "\rx", "'=1", "''-x", "'", "'plain'", "a=1", "NA", "", "ü-"]
    table = pd.DataFrame({"image1": names, "image2": names[::-1], "row_offset": range(-7, 7), "note": names})
    write_csv(table, tmp_path / "t.csv")
    written = pd.read_csv(tmp_path / "t.csv", keep_default_na=False)
    for column in ("image1", "image2"):
        assert not written[column].str.match(r"[=+\-@\t\r]").any()
        changed = written[column] != table[column]
        assert set(table.loc[changed, column]) == {"=1+1", "+1", "-rf", "@x", "\tx", "\rx", "'=1", "''-x"}
    pd.testing.assert_frame_equal(plain_names(written), table)
    assert [text_name(name) for name in names] == written["image1"].tolist()
    assert [plain_name(text_name(name)) for name in names] == names
    numbers = pd.DataFrame({"image": [-1, 2]})
    write_csv(numbers, tmp_path / "n.csv")
    assert list(plain_names(pd.read_csv(tmp_path / "n.csv", dtype=str))["image"]) == ["-1", "2"]


def test_parquet(tmp_path: Path) -> None:
    write_parquet(TABLE, tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "a.parquet"), TABLE, check_dtype=False)


def test_tables_are_read_back(tmp_path: Path) -> None:
    write_csv(TABLE, tmp_path / "a.csv")
    pd.testing.assert_frame_equal(read_csv(tmp_path / "a.csv"), TABLE)
    write_parquet(TABLE, tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(read_parquet(tmp_path / "a.parquet"), TABLE, check_dtype=False)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs a device")
def test_a_device_is_no_table(tmp_path: Path) -> None:
    """Of some there is no end."""
    for read in (refuse_device, read_csv, read_parquet):
        with pytest.raises(ValueError, match=r"^'/dev/zero' is a device; name a file\.$"):
            read("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", "/dev/full", tmp_path / "pipe"):
        with pytest.raises(ValueError, match="is a device or a pipe; name a file"):
            check_replaceable(path, ["image"])


def test_an_error_names_the_file_and_not_the_one_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, *_: object) -> int:
        raise PermissionError(13, "Permission denied", os.fspath(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError) as error, atomic_path(tmp_path / "a.csv"):
        raise AssertionError
    assert error.value.filename == str(tmp_path / "a.csv")


@pytest.mark.parametrize("content", [b"", b"a\nb\nc,d\n", b"\xff\xd8\xff\xe0"], ids=["empty", "text", "JPEG"])
def test_a_file_that_is_no_table_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=r"file' is not a CSV table in UTF-8 \(.*\); pass one\.$"):
        read_csv(tmp_path / "file")
    with pytest.raises(ValueError, match=r"file' is not a Parquet table \((?s:.*)\); pass one\.$"):
        read_parquet(tmp_path / "file")


@pytest.mark.parametrize("read", [read_csv, read_parquet])
def test_a_table_that_is_not_there(read: Callable[[Path], pd.DataFrame], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        read(tmp_path / "nowhere")
    assert error.value.filename == str(tmp_path / "nowhere") and error.value.strerror
