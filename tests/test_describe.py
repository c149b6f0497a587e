"""Describing: what is new is read once, what is known is not, and what cannot be used is listed."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import tifffile
from test_tile_index import saved
from textures import textured

from dupnet.files.identity import Identity
from dupnet.find.cache import Arrays, Cache, Entry
from dupnet.find.describe import BATCH, describe_all, read_entry, settle, unusable_names
from dupnet.images.reading import UnreadableImage

COLUMNS = {"grey": 1}


def entry(height: int, width: int, note: str = "") -> Entry:
    return Entry(Identity(1, 1), height, width, 0, 1, note)


class Describer:
    """Keeps the rows of an image's first column of pixels, and remembers what it was asked."""

    def __init__(self, check_content: bool = False) -> None:
        self.check_content = check_content
        self.asked: list[list[str]] = []
        self.names: list[str] = []
        self.lock = threading.Lock()

    def __call__(self, files: Mapping[str, Path]) -> dict[str, tuple[Entry, Arrays] | str]:
        with self.lock:
            self.asked.append(list(files))
            self.names += files
        found: dict[str, tuple[Entry, Arrays] | str] = {}
        for name, file in files.items():
            try:
                known, grey, _ = read_entry(file, check_content=self.check_content)
            except UnreadableImage as error:
                found[name] = error.reason
            else:
                found[name] = known._replace(n_rows=len(grey)), {"grey": grey[:, 0]}
        return found


def test_only_what_is_new_or_changed_is_described(tmp_path: Path) -> None:
    pictures = textured(4, 128)
    files = saved(tmp_path / "images", a=pictures[0], b=pictures[1], c=pictures[2])
    for file in files.values():
        os.utime(file, (2, 2))  # of a file that has just been written, a hash would be kept

    def run(cache: Cache, check_content: bool = False) -> tuple[list[str], list[str]]:
        describer = Describer(check_content)
        found = describe_all(files, cache, describer, check_content=check_content, workers=2)
        return found.images, sorted(describer.names)

    with Cache(tmp_path / "cache", {}, COLUMNS) as cache:
        assert run(cache) == (["a.png", "b.png", "c.png"], ["a.png", "b.png", "c.png"])
        before = dict(cache.entries)
        saved(tmp_path / "images", b=pictures[3])
        os.utime(files["b.png"], (1, 1))
        assert run(cache)[1] == ["b.png"]
        assert cache.n_rows == 4 * 128
        assert {name for name, one in cache.entries.items() if one != before[name]} == {"b.png"}
        rows = cache.rows_of(["b.png"])
        np.testing.assert_array_equal(cache.read("grey", rows)[:, 0], pictures[3][:, 0])
        # No hash was kept: with one asked for, all are read again, and then known with it and without.
        for check_content, n_described in ((True, 3), (True, 0), (False, 0)):
            assert len(run(cache, check_content)[1]) == n_described
    with Cache(tmp_path / "cache", {}, COLUMNS) as cache:
        files.pop("a.png").unlink()
        assert run(cache, check_content=True) == (["b.png", "c.png"], [])


def test_a_change_of_content_alone_is_seen_where_content_is_checked(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    file = tmp_path / "a.tif"
    files = {"a": file}

    def write(pixels: np.ndarray) -> None:
        tifffile.imwrite(file, pixels)
        os.utime(file, ns=(5, 7))

    with Cache(tmp_path / "cache", {}, COLUMNS) as cache:
        write(picture)
        describe_all(files, cache, Describer(True), check_content=True)
        write(255 - picture)
        for check_content, n_described in ((False, 0), (True, 1)):
            describer = Describer(check_content)
            describe_all(files, cache, describer, check_content=check_content)
            assert len(describer.asked) == n_described


def test_images_are_described_a_few_at_a_time_and_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = textured(1, 64)[0]
    files = saved(tmp_path / "images", **{f"{number:02}": pixels for number in range(2 * BATCH + 1)})
    describer, kept = Describer(), []
    flush = Cache.flush

    def counting(cache: Cache) -> None:
        flush(cache)
        kept.append(len(cache.entries))

    monkeypatch.setattr(Cache, "flush", counting)
    with Cache(tmp_path / "cache", {}, COLUMNS) as cache:
        describe_all(files, cache, describer)
    assert [len(names) for names in describer.asked] == [BATCH, BATCH, 1]
    assert kept[:3] == [BATCH, 2 * BATCH, 2 * BATCH + 1]


def test_what_cannot_be_used_is_listed_with_its_reason(tmp_path: Path) -> None:
    files = saved(tmp_path / "images", good=textured(1, 64)[0], low=textured(1, 64)[0, :40])
    files |= {"missing.png": tmp_path / "missing", "odd\udcff": files["good.png"]}
    files = dict(sorted(files.items()))
    with Cache(tmp_path / "cache", {}, COLUMNS) as cache:
        describer = Describer()
        found = describe_all(files, cache, describer, smallest=41)
        assert found.images == ["good.png"]
        assert dict(found.unreadable.to_numpy().tolist()) == {
            "low.png": "too small: 40 x 64 pixels; 41 are needed",
            "missing.png": "vanished before it was read, or a link that leads nowhere",
            r"odd\udcff": "its name is not UTF-8; rename the file",
        }
        assert "odd\udcff" not in describer.names
        assert describe_all(files, cache, describer, smallest=40).images == ["good.png", "low.png"]
        assert describe_all(files, cache, describer, one_size=True).images == ["good.png"]
    assert unusable_names(files).keys() == {"odd\udcff"}


def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dupnet.find import describe

    path = saved(tmp_path, a=textured(1, 64)[0])["a.png"]
    known, grey, valid = read_entry(path, check_content=True)
    assert valid is None
    assert (known.height, known.width, known.n_rows, known.note) == (*grey.shape, 0, "")
    load = describe.load_image

    def disturbed(name: Path, **options: object) -> object:
        os.utime(name, (0, 0))
        return load(name, **options)

    monkeypatch.setattr(describe, "load_image", disturbed)
    with pytest.raises(UnreadableImage, match="changed while it was read"):
        read_entry(path)


def test_of_equally_frequent_sizes_the_largest_is_kept() -> None:
    usable = {"d": entry(96, 64), "c": entry(64, 96), "b": entry(96, 64, "grey"), "a": entry(64, 96, "CMYK")}
    found = settle(usable, {"z\udcff": "its name", "e": "empty file"}, one_size=True)
    assert (found.images, found.sizes.tolist()) == (["d", "b"], [[96, 64], [96, 64]])
    wrong = "wrong size: 64 x 96 pixels; most images here are 96 x 64"
    assert found.unreadable.to_numpy().tolist() == [
        ["a", wrong],
        ["c", wrong],
        ["e", "empty file"],
        [r"z\udcff", "its name"],
    ]
    assert found.converted.to_dict("records") == [{"image": "b", "note": "grey"}]
    assert found.unreadable.columns.tolist() == ["image", "reason"]
    assert settle({"c": usable["c"], **usable}, {}, one_size=True).images == ["d", "b"]
    with pytest.raises(ValueError, match=r"None of 1 files can be used \('e': empty file\)"):
        settle({}, {"e": "empty file"})


def test_of_any_sizes_all_that_are_large_enough_are_kept() -> None:
    usable = {"a": entry(64, 96), "b": entry(96, 64), "c": entry(95, 63), "d": entry(500, 500, "16 bits")}
    found = settle(usable, {})
    assert found.images == ["a", "b", "c", "d"]
    assert found.sizes.tolist() == [[64, 96], [96, 64], [95, 63], [500, 500]]
    assert found.sizes.dtype == np.int64 and found.unreadable.empty
    found = settle(usable, {}, smallest=64)
    assert found.unreadable.to_numpy().tolist() == [["c", "too small: 95 x 63 pixels; 64 are needed"]]
    # Sizes are counted among those that are large enough.
    small = {name: entry(32, 32) for name in "xyz"}
    assert settle(usable | small, {}, one_size=True, smallest=64).images == ["d"]
    with pytest.raises(ValueError, match=r"None of 1 files .*'c': too small"):
        settle({"c": usable["c"]}, {}, smallest=64)
