"""The cache: rows read back as they were appended, and whatever a stop cuts off is noticed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from dupnet.files.identity import Identity, identity_of, identity_to_keep, is_still
from dupnet.find import cache as cache_module
from dupnet.find.cache import Arrays, Cache, Entry

COLUMNS = {"code": 4, "place": 6, "sound": 1}
"""Name of each column, and bytes of one of its rows."""

FILES = [f"{name}.rows" for name in COLUMNS]


def described(n: int, seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    return {
        "sound": rng.random(n) < 0.5,
        "code": rng.integers(-127, 128, (n, 4), dtype=np.int8),
        "place": rng.integers(0, 2**16, (n, 3), dtype=np.uint16),
    }


IMAGES = {"one.jpg": described(3, 0), 'a "quoted"\nname, ü': described(1, 1), "NA": described(3, 2)}


def append(cache: Cache, *names: str) -> None:
    for name in names:
        n = len(IMAGES[name]["code"])
        cache.append(name, Entry(Identity(10, 20, "hash"), 64, 64 * n, 0, n, "grey"), IMAGES[name])


def assert_holds(cache: Cache, *names: str) -> None:
    """Exactly these images, and each with the rows that it was given."""
    assert list(cache.entries) == list(names)
    for name, found in cache.entries.items():
        known = IMAGES[name]
        n = len(known["code"])
        assert found[:6] == (Identity(10, 20, "hash"), 64, 64 * n, found.first_row, n, "grey")
        rows = cache.rows_of([name])
        assert rows.tolist() == list(range(found.first_row, found.first_row + n))
        np.testing.assert_array_equal(cache.read("code", rows).view(np.int8), known["code"])
        np.testing.assert_array_equal(cache.read("place", rows).view(np.uint16), known["place"])
        np.testing.assert_array_equal(cache.read("sound", rows).view(bool)[:, 0], known["sound"])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the names of open files")
def test_rows_are_on_the_disk_before_the_journal_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the time has come, and when it is closed."""
    synced: list[tuple[str, int]] = []
    fsync = os.fsync

    def noting(file: int) -> None:
        fsync(file)
        path = os.readlink(f"/proc/self/fd/{file}")
        synced.append((os.path.basename(path), os.path.getsize(path)))

    monkeypatch.setattr(cache_module, "SYNC_SECONDS", 3600)
    with Cache(tmp_path, {}, COLUMNS) as cache:
        monkeypatch.setattr(os, "fsync", noting)
        append(cache, "one.jpg")
        cache.flush()
        assert synced == []
        monkeypatch.setattr(cache_module, "SYNC_SECONDS", -1)
        cache.flush()
        assert [name for name, _ in synced] == [*FILES, "journal.jsonl"]
        monkeypatch.setattr(cache_module, "SYNC_SECONDS", 3600)
        append(cache, "NA")
        synced.clear()
    assert synced == [(name, (tmp_path / name).stat().st_size) for name in (*FILES, "journal.jsonl")]


ENTRY = ["more.jpg", [1, 2, "x"], 3, 4, 3, 1, "", 0]


ODD: list[tuple[int, object]] = [
    *((0, name) for name in (5, [1])),
    *((1, identity) for identity in ("ab", 7)),
    *((side, number) for side in (2, 3) for number in ("3", -3, 4.0)),
    *((4, number) for number in (2, "3")),
    *((5, number) for number in (-1, -9, 1.0, True, 10**30)),
    *((6, note) for note in (1, [])),
    *((7, checksum) for checksum in ("x", [])),
]
"""Place in :data:`ENTRY`, and what it may not hold."""


@pytest.mark.parametrize(("at", "value"), ODD)
def test_a_line_of_the_journal_that_means_nothing_ends_it(at: int, value: object, tmp_path: Path) -> None:
    """As a line that was cut off; or its image is described again."""
    with Cache(tmp_path, {}, COLUMNS) as cache:
        append(cache, "one.jpg", "NA")
    lines = (tmp_path / "journal.jsonl").read_bytes().splitlines(keepends=True)
    for line in (json.dumps([*ENTRY[:at], value, *ENTRY[at + 1 :]]), "[" * 5000):
        (tmp_path / "journal.jsonl").write_bytes(lines[0] + line.encode() + b"\n" + lines[1])
        with Cache(tmp_path, {}, COLUMNS) as cache:
            assert_holds(cache, "one.jpg")


@pytest.mark.parametrize(
    ("before", "after"), [(b"NA", b"NB"), (b"[10,", b"[11,"), (b" 64,", b" 65,"), (b"grey", b"gray")]
)
def test_the_journal_is_checked_as_the_rows_are(before: bytes, after: bytes, tmp_path: Path) -> None:
    with Cache(tmp_path, {}, COLUMNS) as cache:
        append(cache, "one.jpg", "NA")
    journal = tmp_path / "journal.jsonl"
    first, second = journal.read_bytes().splitlines(keepends=True)
    assert before in second
    journal.write_bytes(first + second.replace(before, after))
    with Cache(tmp_path, {}, COLUMNS) as cache:
        assert_holds(cache, "one.jpg")
        assert len(cache.damaged) == 1


def test_what_was_appended_is_read_back_in_any_order(tmp_path: Path) -> None:
    with Cache(tmp_path / "new" / "cache", {}, COLUMNS) as cache:
        assert (cache.entries, cache.n_rows, cache.discarded) == ({}, 0, "")
        append(cache, *IMAGES)
        cache.flush()
        assert_holds(cache, *IMAGES)
    with Cache(tmp_path / "new" / "cache", {}, COLUMNS) as cache:
        assert_holds(cache, *IMAGES)
        rows = cache.rows_of(["NA", "one.jpg", "NA"])
        assert rows.tolist() == [4, 5, 6, 0, 1, 2, 4, 5, 6]
        backwards = [IMAGES[name]["code"] for name in ("NA", "one.jpg", "NA")]
        np.testing.assert_array_equal(cache.read("code", rows).view(np.int8), np.concatenate(backwards))
        both = np.concatenate([data["place"] for data in IMAGES.values()])
        rows = np.array([6, 5, 0, 1, 2, 2, 4])
        np.testing.assert_array_equal(cache.read("place", rows).view(np.uint16), both[rows])
        assert cache.read("place", np.zeros(0, np.int64)).shape == (0, 6)
        assert cache.rows_of([]).shape == (0,)


def test_more_rows_than_one_call_reads(tmp_path: Path) -> None:
    many = described(70_000, 3)
    with Cache(tmp_path, {}, COLUMNS) as cache:
        cache.append("a", Entry(Identity(1, 1), 1, 1, 0, 70_000, ""), many)
        cache.flush()
        found = cache.read("code", cache.rows_of(["a"]))
        np.testing.assert_array_equal(found.view(np.int8), many["code"])


def test_rows_of_another_number_or_width_are_refused(tmp_path: Path) -> None:
    with Cache(tmp_path, {}, COLUMNS) as cache:
        entry = Entry(Identity(1, 1), 1, 1, 0, 3, "")
        with pytest.raises(ValueError, match="code: 8 bytes; 3 rows of 4 are needed"):
            cache.append("a", entry, described(2, 0))
        with pytest.raises(ValueError, match="place: 36 bytes; 3 rows of 6 are needed"):
            cache.append("a", entry, {**described(3, 0), "place": np.zeros((3, 3), np.uint32)})


def test_a_process_killed_after_a_flush_has_lost_nothing_of_it(tmp_path: Path) -> None:
    first, second, third = IMAGES
    with Cache(tmp_path / "cache", {}, COLUMNS) as cache:
        append(cache, first, second)
        cache.flush()
        append(cache, third)
        shutil.copytree(tmp_path / "cache", tmp_path / "killed")
    with Cache(tmp_path / "killed", {}, COLUMNS) as cache:
        assert_holds(cache, first, second)


def test_closing_makes_all_last(tmp_path: Path) -> None:
    with Cache(tmp_path, {}, COLUMNS) as cache:
        append(cache, *IMAGES)
    with Cache(tmp_path, {}, COLUMNS) as cache:
        assert_holds(cache, *IMAGES)


@pytest.mark.parametrize("name", ["journal.jsonl", *FILES])
def test_cut_anywhere_it_holds_whole_images_and_goes_on(name: str, tmp_path: Path) -> None:
    with Cache(tmp_path / "whole", {}, COLUMNS) as cache:
        append(cache, *IMAGES)
        cache.flush()
    whole = contents(tmp_path / "whole")
    seen = set()
    for size in range(len(whole[name]) - 1, -1, -3):
        shutil.copytree(tmp_path / "whole", tmp_path / "cut", dirs_exist_ok=True)
        (tmp_path / "cut" / name).write_bytes(whole[name][:size])
        with Cache(tmp_path / "cut", {}, COLUMNS) as cache:
            seen.add(len(cache.entries))
            assert_holds(cache, *list(IMAGES)[: len(cache.entries)])
            append(cache, *list(IMAGES)[len(cache.entries) :])
            cache.flush()
        assert contents(tmp_path / "cut") == whole
    assert seen == {0, 1, 2}


def test_what_another_version_made_is_discarded_and_said(tmp_path: Path) -> None:
    with Cache(tmp_path, {"weights": "a", "stride": 64}, COLUMNS) as cache:
        append(cache, *IMAGES)
        cache.flush()
    with Cache(tmp_path, {"stride": 64, "weights": "a"}, COLUMNS) as cache:
        assert cache.discarded == ""
        assert_holds(cache, *IMAGES)
    for columns in (COLUMNS, COLUMNS | {"place": 8}, {"code": 4, "sound": 1}):
        with Cache(tmp_path, {"stride": 64, "weights": "b"}, columns) as cache:
            assert "made by another version" in cache.discarded
            assert (cache.entries, cache.n_rows) == ({}, 0)
            assert sorted(path.name for path in tmp_path.glob("*.rows")) == [
                f"{name}.rows" for name in columns
            ]
            assert not any(path.stat().st_size for path in tmp_path.glob("*.rows"))
    with Cache(tmp_path, {}, COLUMNS) as cache:
        append(cache, *IMAGES)
        cache.flush()
    (tmp_path / "made_by.json").unlink()  # as a stop leaves it while a cache is emptied
    with Cache(tmp_path, {}, COLUMNS) as cache:
        assert (cache.entries, cache.discarded) == ({}, "")


@pytest.mark.parametrize(
    "line", ["5", "null", "[]", '["a", [1, 2, ""], 3]', '["a", [1, 2, ""], 64, 64, "0", 1, ""]']
)
def test_a_journal_that_says_something_else_is_cut_there(line: str, tmp_path: Path) -> None:
    with Cache(tmp_path, {}, COLUMNS) as cache:
        append(cache, *IMAGES)
        cache.flush()
    journal = tmp_path / "journal.jsonl"
    first, *rest = journal.read_text().splitlines()
    journal.write_text("\n".join([first, line, *rest, ""]))
    with Cache(tmp_path, {}, COLUMNS) as cache:
        assert_holds(cache, *list(IMAGES)[:1])


def test_a_marker_of_other_bytes_empties_the_cache(tmp_path: Path) -> None:
    with Cache(tmp_path, {}, COLUMNS) as cache:
        append(cache, *IMAGES)
    (tmp_path / "made_by.json").write_bytes(b"\xff\xfe")
    with Cache(tmp_path, {}, COLUMNS) as cache:
        assert cache.entries == {} and cache.discarded


def test_an_image_described_again_is_the_last_one(tmp_path: Path) -> None:
    changed, data = Entry(Identity(11, 21), 64, 64, 0, 1, ""), described(1, 9)
    with Cache(tmp_path, {}, COLUMNS) as cache:
        append(cache, *IMAGES)
        cache.append("one.jpg", changed, data)
        cache.flush()
    with Cache(tmp_path, {}, COLUMNS) as cache:
        checksum = cache.entries["one.jpg"].checksum
        assert cache.entries["one.jpg"] == changed._replace(first_row=7, checksum=checksum)
        found = cache.read("place", cache.rows_of(["one.jpg"]))
        np.testing.assert_array_equal(found.view(np.uint16), data["place"])
        assert cache.n_rows == 8


def test_rows_that_are_gone_are_an_error_with_its_remedy(tmp_path: Path) -> None:
    with Cache(tmp_path, {}, COLUMNS) as cache:
        append(cache, *IMAGES)
        cache.flush()
        os.truncate(tmp_path / "place.rows", 6 * COLUMNS["place"] - 1)
        found = cache.read("place", np.arange(3)).view(np.uint16)
        np.testing.assert_array_equal(found, IMAGES["one.jpg"]["place"])
        with pytest.raises(OSError, match=rf"{tmp_path}: the cache is damaged; delete this folder"):
            cache.read("place", np.array([0, 5]))


def harm(folder: Path, name: str, row: int) -> None:
    """Change one bit of a row of a column."""
    path = folder / f"{name}.rows"
    data = bytearray(path.read_bytes())
    data[row * COLUMNS[name]] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize(("row", "image"), [(0, "one.jpg"), (3, 'a "quoted"\nname, ü'), (6, "NA")])
def test_rows_that_are_not_what_was_written_are_forgotten(
    name: str, row: int, image: str, tmp_path: Path
) -> None:
    """One bit is enough, in any column; the other images stay, and what is described again is good."""
    with Cache(tmp_path, {}, COLUMNS) as cache:
        append(cache, *IMAGES)
        cache.flush()
        assert cache.damaged == []
    harm(tmp_path, name, row)
    with Cache(tmp_path, {}, COLUMNS) as cache:
        assert (cache.damaged, cache.n_rows) == ([image], 7)
        assert_holds(cache, *[other for other in IMAGES if other != image])
        append(cache, image)
        cache.flush()
    with Cache(tmp_path, {}, COLUMNS) as cache:
        assert cache.damaged == []
        assert_holds(cache, *IMAGES)
        assert cache.entries[image].first_row == 7


def test_zeros_in_the_place_of_the_last_third_are_noticed(tmp_path: Path) -> None:
    """As a power cut leaves a file whose size was written before its content."""
    with Cache(tmp_path, {}, COLUMNS) as cache:
        append(cache, *IMAGES)
        cache.flush()
    path = tmp_path / "place.rows"
    whole = path.read_bytes()
    kept = len(whole) * 2 // 3
    path.write_bytes(whole[:kept] + bytes(len(whole) - kept))
    with Cache(tmp_path, {}, COLUMNS) as cache:
        assert cache.damaged == ["NA"]
        assert_holds(cache, *list(IMAGES)[:2])


def test_a_sample_is_checked_and_all_of_them_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 40 images the last four are checked, and every tenth before them; if one is bad, all are."""
    monkeypatch.setattr(cache_module, "SAMPLE", 4)
    names = [f"{number:02}" for number in range(40)]
    with Cache(tmp_path / "whole", {}, COLUMNS) as cache:
        for number, name in enumerate(names):
            cache.append(name, Entry(Identity(1, 1), 64, 64, 0, 1, ""), described(1, number))
        cache.flush()

    def damaged(rows: list[int], check_all: bool) -> list[int]:
        shutil.rmtree(tmp_path / "harmed", ignore_errors=True)
        shutil.copytree(tmp_path / "whole", tmp_path / "harmed")
        for row in rows:
            harm(tmp_path / "harmed", "code", row)
        with Cache(tmp_path / "harmed", {}, COLUMNS, check_all=check_all) as cache:
            assert len(cache.entries) == 40 - len(cache.damaged)
            return [int(name) for name in cache.damaged]

    seen = [row for row in range(40) if damaged([row], check_all=False)]
    assert set(range(36, 40)) <= set(seen)
    assert 6 <= len(seen) <= 10 and min(seen) == 0
    passed_over = [row for row in range(40) if row not in seen]
    assert damaged(passed_over, check_all=False) == []
    assert damaged(passed_over, check_all=True) == passed_over
    assert damaged([*passed_over[:2], seen[-1]], check_all=False) == [*passed_over[:2], seen[-1]]
    assert damaged([], check_all=True) == []


def test_an_identity_tells_size_time_and_if_asked_content(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    os.utime(file, ns=(5, 7))
    content = hashlib.blake2b(b"one", digest_size=16).hexdigest()
    assert identity_of(file) == Identity(3, 7, "")
    assert identity_of(file, content=True) == Identity(3, 7, content)
    file.write_bytes(b"two")
    os.utime(file, ns=(5, 7))
    assert identity_of(file) == Identity(3, 7)
    assert identity_of(file, content=True).content != content


def test_a_file_changed_within_one_tick_of_its_clock(tmp_path: Path) -> None:
    """Its size and time are as before; of a file that was as young when it was read, the hash tells."""
    file = tmp_path / "a"
    file.write_bytes(b"one")
    young = identity_to_keep(file)
    time = file.stat().st_mtime_ns
    assert is_still(file, young) and is_still(file, young, content=True)
    file.write_bytes(b"two")
    os.utime(file, ns=(time, time))
    assert not is_still(file, young)
    os.utime(file, ns=(5, 7))
    old = identity_to_keep(file)
    assert old == identity_of(file)
    assert is_still(file, old) and not is_still(file, old, content=True)  # no hash of it is known
    assert is_still(file, identity_to_keep(file, content=True), content=True)
    file.write_bytes(b"three")
    assert not is_still(file, old)
    assert not is_still(tmp_path / "gone", old)


@pytest.mark.parametrize("name", COLUMNS)
def test_the_journal_names_no_row_that_is_not_written(name: str, tmp_path: Path) -> None:
    """A disk that is full while rows are written leaves a journal that does not know them."""

    class Full:
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

        def fileno(self) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            pass

    with Cache(tmp_path, {}, COLUMNS) as cache:
        append(cache, *IMAGES)
        cache._rows[name].close()
        cache._rows[name] = Full()
        with pytest.raises(OSError, match="No space left"):
            cache.flush()
        assert (tmp_path / "journal.jsonl").read_bytes() == b""
