"""The cache: rows read back as they were appended, and whatever a stop cuts off is noticed."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from dupnet.files.identity import Identity, identity_of
from dupnet.find.cache import FILES, Cache, Entry
from dupnet.find.search import hash_rows
from dupnet.network.descriptors import Descriptors

WIDTHS = (4, 6)


def described(n: int, seed: int) -> Descriptors:
    rng = np.random.default_rng(seed)
    search = rng.integers(-127, 128, (n, WIDTHS[0]), dtype=np.int8)
    verify = rng.integers(0, 256, (n, WIDTHS[1]), dtype=np.uint8)
    return Descriptors(search, verify, rng.random(n) < 0.5)


IMAGES = {"one.jpg": described(3, 0), 'a "quoted"\nname, ü': described(1, 1), "NA": described(3, 2)}


def append(cache: Cache, *names: str) -> None:
    for name in names:
        n = len(IMAGES[name].verify)
        cache.append(name, Entry(Identity(10, 20, "hash"), 64, 64 * n, 0, n, "grey"), IMAGES[name])


def assert_holds(cache: Cache, *names: str) -> None:
    """Exactly these images, and each with the rows that it was given."""
    assert list(cache.entries) == list(names)
    for name, found in cache.entries.items():
        known, first_rows = IMAGES[name], np.array([found.first_row])
        n = len(known.verify)
        assert found == (Identity(10, 20, "hash"), 64, 64 * n, found.first_row, n, "grey")
        np.testing.assert_array_equal(cache.search(first_rows, n), known.search)
        np.testing.assert_array_equal(cache.verify(found.first_row + np.arange(n)), known.verify)
        np.testing.assert_array_equal(cache.decidable(first_rows, n), known.decidable)
        np.testing.assert_array_equal(cache.hashes(first_rows, n), hash_rows(known.verify))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_was_appended_is_read_back_in_any_order(tmp_path: Path) -> None:
    with Cache(tmp_path / "new" / "cache", {}, WIDTHS) as cache:
        assert (cache.entries, cache.n_rows, cache.discarded) == ({}, 0, "")
        append(cache, *IMAGES)
        cache.flush()
        assert_holds(cache, *IMAGES)
    with Cache(tmp_path / "new" / "cache", {}, WIDTHS) as cache:
        assert_holds(cache, *IMAGES)
        one, other = IMAGES["one.jpg"], IMAGES["NA"]
        first_rows = np.array([cache.entries[name].first_row for name in ("NA", "one.jpg", "NA")])
        backwards = [other.search, one.search, other.search]
        np.testing.assert_array_equal(cache.search(first_rows, 3), np.concatenate(backwards))
        both = np.concatenate([data.verify for data in IMAGES.values()])
        rows = np.array([6, 5, 0, 1, 2, 2, 4])
        np.testing.assert_array_equal(cache.verify(rows), both[rows])
        assert cache.verify(np.zeros(0, np.int64)).shape == (0, 6)
        assert cache.search(np.zeros(0, np.int64), 9).shape == (0, 4)


def test_more_rows_than_one_call_reads(tmp_path: Path) -> None:
    many = described(70_000, 3)
    with Cache(tmp_path, {}, WIDTHS) as cache:
        cache.append("a", Entry(Identity(1, 1), 1, 1, 0, len(many.verify), ""), many)
        cache.flush()
        np.testing.assert_array_equal(cache.search(np.array([0]), len(many.verify)), many.search)


def test_a_process_killed_after_a_flush_has_lost_nothing_of_it(tmp_path: Path) -> None:
    first, second, third = IMAGES
    with Cache(tmp_path / "cache", {}, WIDTHS) as cache:
        append(cache, first, second)
        cache.flush()
        append(cache, third)
        shutil.copytree(tmp_path / "cache", tmp_path / "killed")
    with Cache(tmp_path / "killed", {}, WIDTHS) as cache:
        assert_holds(cache, first, second)


@pytest.mark.parametrize("name", ["journal.jsonl", *FILES])
def test_cut_anywhere_it_holds_whole_images_and_goes_on(name: str, tmp_path: Path) -> None:
    with Cache(tmp_path / "whole", {}, WIDTHS) as cache:
        append(cache, *IMAGES)
        cache.flush()
    whole = contents(tmp_path / "whole")
    seen = set()
    for size in range(len(whole[name]) - 1, -1, -3):
        shutil.copytree(tmp_path / "whole", tmp_path / "cut", dirs_exist_ok=True)
        (tmp_path / "cut" / name).write_bytes(whole[name][:size])
        with Cache(tmp_path / "cut", {}, WIDTHS) as cache:
            seen.add(len(cache.entries))
            assert_holds(cache, *list(IMAGES)[: len(cache.entries)])
            append(cache, *list(IMAGES)[len(cache.entries) :])
            cache.flush()
        assert contents(tmp_path / "cut") == whole
    assert seen == {0, 1, 2}


def test_what_another_version_made_is_discarded_and_said(tmp_path: Path) -> None:
    with Cache(tmp_path, {"weights": "a", "stride": 64}, WIDTHS) as cache:
        append(cache, *IMAGES)
        cache.flush()
    with Cache(tmp_path, {"stride": 64, "weights": "a"}, WIDTHS) as cache:
        assert cache.discarded == ""
        assert_holds(cache, *IMAGES)
    for widths in (WIDTHS, (4, 8)):
        with Cache(tmp_path, {"stride": 64, "weights": "b"}, widths) as cache:
            assert "made by another version" in cache.discarded
            assert (cache.entries, cache.n_rows) == ({}, 0)
            assert not any((tmp_path / name).stat().st_size for name in FILES)
    with Cache(tmp_path, {}, WIDTHS) as cache:
        append(cache, *IMAGES)
        cache.flush()
    (tmp_path / "made_by.json").unlink()  # as a stop leaves it while a cache is emptied
    with Cache(tmp_path, {}, WIDTHS) as cache:
        assert (cache.entries, cache.discarded) == ({}, "")


@pytest.mark.parametrize(
    "line", ["5", "null", "[]", '["a", [1, 2, ""], 3]', '["a", [1, 2, ""], 64, 64, "0", 1, ""]']
)
def test_a_journal_that_says_something_else_is_cut_there(line: str, tmp_path: Path) -> None:
    with Cache(tmp_path, {}, WIDTHS) as cache:
        append(cache, *IMAGES)
        cache.flush()
    journal = tmp_path / "journal.jsonl"
    first, *rest = journal.read_text().splitlines()
    journal.write_text("\n".join([first, line, *rest, ""]))
    with Cache(tmp_path, {}, WIDTHS) as cache:
        assert_holds(cache, *list(IMAGES)[:1])


def test_a_marker_of_other_bytes_empties_the_cache(tmp_path: Path) -> None:
    with Cache(tmp_path, {}, WIDTHS) as cache:
        append(cache, *IMAGES)
    (tmp_path / "made_by.json").write_bytes(b"\xff\xfe")
    with Cache(tmp_path, {}, WIDTHS) as cache:
        assert cache.entries == {} and cache.discarded


def test_an_image_described_again_is_the_last_one(tmp_path: Path) -> None:
    changed = Entry(Identity(11, 21), 64, 64, 0, 1, "")
    with Cache(tmp_path, {}, WIDTHS) as cache:
        append(cache, *IMAGES)
        cache.append("one.jpg", changed, described(1, 9))
        cache.flush()
    with Cache(tmp_path, {}, WIDTHS) as cache:
        assert cache.entries["one.jpg"] == changed._replace(first_row=7)
        np.testing.assert_array_equal(cache.verify(np.array([7])), described(1, 9).verify)
        assert cache.n_rows == 8


def test_rows_that_are_gone_are_an_error_with_its_remedy(tmp_path: Path) -> None:
    with Cache(tmp_path, {}, WIDTHS) as cache:
        append(cache, *IMAGES)
        cache.flush()
        os.truncate(tmp_path / "verify.rows", 6 * WIDTHS[1] - 1)
        np.testing.assert_array_equal(cache.verify(np.arange(3)), IMAGES["one.jpg"].verify)
        with pytest.raises(OSError, match=rf"{tmp_path}: the cache is damaged; delete this folder"):
            cache.verify(np.array([0, 5]))


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


@pytest.mark.parametrize("name", FILES)
def test_the_journal_names_no_row_that_is_not_written(name: str, tmp_path: Path) -> None:
    """A disk that is full while rows are written leaves a journal that does not know them."""

    class Full:
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            pass

    with Cache(tmp_path, {}, WIDTHS) as cache:
        append(cache, *IMAGES)
        place = FILES.index(name)
        cache._rows[place].close()
        cache._rows[place] = Full()  # type: ignore[assignment]
        with pytest.raises(OSError, match="No space left"):
            cache.flush()
        assert (tmp_path / "journal.jsonl").read_bytes() == b""
