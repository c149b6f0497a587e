"""Indexing: each image described once, as if alone, and each that cannot be used listed with its reason."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from textures import Bytes, textured

from dupnet.files.identity import Identity
from dupnet.find.cache import Cache, Entry
from dupnet.find.describe import (
    TILES_AT_A_TIME,
    Tiling,
    describe_all,
    describe_batch,
    index_of,
    made_by,
    settle,
    widths,
)
from dupnet.network.descriptors import DESCRIPTOR_VERSION, describe, untrained_weights, verify_bytes
from dupnet.network.filters import SEARCH_BYTES

TILING = Tiling(64, 64)
WEIGHTS = untrained_weights()


def saved(folder: Path, **images: Bytes) -> dict[str, Path]:
    """Images as PNG files, by name."""
    folder.mkdir(exist_ok=True)
    for name, pixels in images.items():
        colour = np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else pixels
        cv2.imwrite(str(folder / f"{name}.png"), colour)
    return {f"{name}.png": folder / f"{name}.png" for name in sorted(images)}


def entry(height: int, width: int, note: str = "") -> Entry:
    return Entry(Identity(1, 1), height, width, 0, 1, note)


@given(st.integers(2, 4), st.sampled_from([1, 2, 4]), st.integers(0, 3), st.integers(0, 3), st.data())
def test_tiles_lie_at_every_multiple_of_the_stride(
    cells: int, closer: int, more_rows: int, more_cols: int, data: st.DataObject
) -> None:
    tiling = Tiling.checked(32 * cells, 32 * cells // closer)
    height, width = (tiling.tile_size + more * tiling.stride for more in (more_rows, more_cols))
    image = np.arange(height * width).reshape(height, width).astype(np.uint8)
    tiles, grid = tiling.split(image), tiling.grid(height, width)
    assert (grid.rows, grid.cols, grid.tile_size) == (more_rows + 1, more_cols + 1, tiling.stride)
    assert tiles.shape == (grid.n_tiles, tiling.tile_size, tiling.tile_size)
    row, col = data.draw(st.tuples(st.integers(0, more_rows), st.integers(0, more_cols)))
    top, left = row * tiling.stride, col * tiling.stride
    expected = image[top : top + tiling.tile_size, left : left + tiling.tile_size]
    np.testing.assert_array_equal(tiles[row * grid.cols + col], expected)


def test_without_a_stride_tiles_lie_side_by_side() -> None:
    assert Tiling.checked(96, None) == (96, 96)
    for tile_size in (0, -32, 32, 80):
        with pytest.raises(ValueError, match=f"tile_size is {tile_size}; it must be a multiple of 32 pixels"):
            Tiling.checked(tile_size, None)
    for stride in (0, -64):
        with pytest.raises(ValueError, match=f"stride is {stride}; it must divide the tile_size, 64"):
            Tiling.checked(64, stride)


def test_an_image_is_described_as_if_alone(tmp_path: Path) -> None:
    """Bit by bit, though images are described together, of odd numbers of tiles and in several goes."""
    tiling, shapes = Tiling(64, 64), [(3, 3), (1, 1), (2, 3), (5, 5), (1, 3), (5, 5), (3, 3)]
    pixels = {
        f"{number}": textured(1, 320, seed=number, contrast=30)[0, : 64 * rows, : 64 * cols]
        for number, (rows, cols) in enumerate(shapes)
    }
    files = saved(tmp_path, **pixels) | {"last": tmp_path / "missing"}
    together = describe_batch(list(files), files, tiling, WEIGHTS)
    assert together.pop("last") == "vanished before it was read, or a link that leads nowhere"
    assert [found[0].n_rows for found in together.values()] == [rows * cols for rows, cols in shapes]
    assert sum(rows * cols for rows, cols in shapes) > TILES_AT_A_TIME
    for number, (name, (known, descriptors)) in enumerate(together.items()):
        ((entry_alone, alone),) = describe_batch([name], files, tiling, WEIGHTS).values()
        assert (known.height, known.width) == pixels[f"{number}"].shape and known == entry_alone
        for one, other in zip(vars(descriptors).values(), vars(alone).values(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_less_than_a_tile_is_refused(tmp_path: Path) -> None:
    files = saved(tmp_path, low=textured(1, 64)[0, :32], square=textured(1, 64)[0])
    found = describe_batch(list(files), files, Tiling(64, 32), WEIGHTS)
    assert found["low.png"] == "wrong size: 32 x 64 pixels, less than a tile of 64 px"
    assert found["square.png"][0].n_rows == 1


def test_only_what_is_new_or_changed_is_described(tmp_path: Path) -> None:
    pictures = textured(4, 128)
    files = saved(tmp_path / "images", a=pictures[0], b=pictures[1], c=pictures[2])

    def run(cache: Cache, check_content: bool = False) -> list[str]:
        return describe_all(files, cache, TILING, WEIGHTS, check_content=check_content, workers=2).images

    with index_of(tmp_path / "cache", TILING, WEIGHTS) as cache:
        assert run(cache) == ["a.png", "b.png", "c.png"]
        before = dict(cache.entries)
        saved(tmp_path / "images", b=pictures[3])
        os.utime(files["b.png"], (1, 1))
        run(cache)
        assert cache.n_rows == 16
        assert {name for name, one in cache.entries.items() if one != before[name]} == {"b.png"}
        expected = describe(TILING.split(pictures[3]), WEIGHTS).verify
        rows = cache.entries["b.png"].first_row + np.arange(4)
        np.testing.assert_array_equal(cache.verify(rows), expected)
        # No hash was kept: with one asked for, all are read again, and then known with it and without.
        for check_content, n_rows in ((True, 28), (True, 28), (False, 28)):
            run(cache, check_content)
            assert cache.n_rows == n_rows
    with index_of(tmp_path / "cache", TILING, WEIGHTS) as cache:
        files.pop("a.png").unlink()
        assert run(cache, check_content=True) == ["b.png", "c.png"]
        assert cache.n_rows == 28


def test_of_equally_frequent_sizes_the_largest_is_kept() -> None:
    usable = {"d": entry(96, 64), "c": entry(64, 96), "b": entry(96, 64, "grey"), "a": entry(64, 96, "CMYK")}
    found = settle(usable, {"z\udcff": "its name", "e": "empty file"})
    assert (found.images, found.height, found.width) == (["d", "b"], 96, 64)
    wrong = "wrong size: 64 x 96 pixels; most images here are 96 x 64"
    assert found.unreadable.to_numpy().tolist() == [
        ["a", wrong],
        ["c", wrong],
        ["e", "empty file"],
        [r"z\udcff", "its name"],
    ]
    assert found.converted.to_dict("records") == [{"image": "b", "note": "grey"}]
    assert found.unreadable.columns.tolist() == ["image", "reason"]
    assert settle({"c": usable["c"], **usable}, {}).images == ["d", "b"]
    with pytest.raises(ValueError, match=r"None of 1 files can be used \('e': empty file\)"):
        settle({}, {"e": "empty file"})


def test_descriptors_are_known_by_all_that_they_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert widths(Tiling(64, 32), WEIGHTS) == (SEARCH_BYTES, verify_bytes(64))
    filters = WEIGHTS.arrays["projection.filters"].copy()
    filters[0, 0, 0] = np.nextafter(filters[0, 0, 0], 1)
    makers = [
        made_by(TILING, WEIGHTS),
        made_by(Tiling(64, 32), WEIGHTS),
        made_by(Tiling(96, 96), WEIGHTS),
        made_by(TILING, replace(WEIGHTS, threshold=0.5)),
        made_by(TILING, replace(WEIGHTS, doubt=(-1.0, 1.0))),
        made_by(TILING, replace(WEIGHTS, arrays={"projection.filters": filters})),
        made_by(TILING, replace(WEIGHTS, search_projection=-WEIGHTS.search_projection)),
    ]
    assert len({tuple(sorted(maker.items())) for maker in makers}) == len(makers)
    same = replace(WEIGHTS, arrays={name: array.copy() for name, array in WEIGHTS.arrays.items()})
    assert made_by(TILING, same) == makers[0]
    monkeypatch.setattr("dupnet.find.describe.DESCRIPTOR_VERSION", DESCRIPTOR_VERSION + 1)
    assert made_by(TILING, same) != makers[0]
