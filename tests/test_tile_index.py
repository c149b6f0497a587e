"""Tiles in the cache: each where the stride says, described as if its image were alone."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from textures import Bytes, textured

from dupnet.find.search import hash_rows
from dupnet.find.tile_index import TILES_AT_A_TIME, Tiling, columns, describe_tiles, made_by, open_tiles
from dupnet.images.stretch import Rendering
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
    together = describe_tiles(files, tiling, WEIGHTS)
    assert together.pop("last") == "vanished before it was read, or a link that leads nowhere"
    assert [found[0].n_rows for found in together.values()] == [rows * cols for rows, cols in shapes]
    assert sum(rows * cols for rows, cols in shapes) > TILES_AT_A_TIME
    for number, (name, (known, descriptors)) in enumerate(together.items()):
        ((entry_alone, alone),) = describe_tiles({name: files[name]}, tiling, WEIGHTS).values()
        assert (known.height, known.width) == pixels[f"{number}"].shape and known == entry_alone
        assert set(descriptors) == set(alone) == set(columns(tiling, WEIGHTS))
        for column, rows in descriptors.items():
            np.testing.assert_array_equal(rows, alone[column])


def test_less_than_a_tile_is_refused(tmp_path: Path) -> None:
    files = saved(tmp_path, low=textured(1, 64)[0, :32], square=textured(1, 64)[0])
    found = describe_tiles(files, Tiling(64, 32), WEIGHTS)
    assert found["low.png"] == "wrong size: 32 x 64 pixels, less than a tile of 64 px"
    assert found["square.png"][0].n_rows == 1


def test_what_is_kept_of_a_tile_is_its_description(tmp_path: Path) -> None:
    picture = textured(1, 128)[0]
    with open_tiles(tmp_path / "cache", TILING, WEIGHTS) as cache:
        files = saved(tmp_path / "images", a=picture)
        cache.append("a.png", *describe_tiles(files, TILING, WEIGHTS)["a.png"])
        cache.flush()
        rows = cache.rows_of(["a.png"])
        expected = describe(TILING.split(picture), WEIGHTS)
        np.testing.assert_array_equal(cache.read("search", rows).view(np.int8), expected.search)
        np.testing.assert_array_equal(cache.read("verify", rows), expected.verify)
        np.testing.assert_array_equal(cache.read("decidable", rows)[:, 0].view(bool), expected.decidable)
        hashes = cache.read("hashes", rows).reshape(-1).view(np.uint64)
        np.testing.assert_array_equal(hashes, hash_rows(expected.verify))
    with open_tiles(tmp_path / "cache", TILING, WEIGHTS) as cache:
        assert (cache.discarded, list(cache.entries)) == ("", ["a.png"])
    with open_tiles(tmp_path / "cache", Tiling(64, 32), WEIGHTS) as cache:
        assert cache.discarded and not cache.entries


def test_the_content_of_a_file_is_noted_where_asked_for(tmp_path: Path) -> None:
    files = saved(tmp_path, a=textured(1, 64)[0])
    os.utime(files["a.png"], (1, 1))  # of a file that has just changed it is noted anyway
    content = hashlib.blake2b(files["a.png"].read_bytes(), digest_size=16).hexdigest()
    for check_content, expected in ((False, ""), (True, content)):
        ((entry, _),) = describe_tiles(files, TILING, WEIGHTS, check_content).values()
        assert entry.identity.content == expected


def test_descriptors_are_known_by_all_that_they_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {"search": SEARCH_BYTES, "verify": verify_bytes(64), "decidable": 1, "hashes": 8}
    assert columns(Tiling(64, 32), WEIGHTS) == expected
    filters = WEIGHTS.arrays["projection.filters"].copy()
    filters[0, 0, 0] = np.nextafter(filters[0, 0, 0], 1)
    makers = [
        made_by(TILING, WEIGHTS),
        made_by(Tiling(64, 32), WEIGHTS),
        made_by(Tiling(96, 96), WEIGHTS),
        made_by(TILING, WEIGHTS, Rendering(bands=(3, 2, 1))),
        made_by(TILING, replace(WEIGHTS, threshold=0.5)),
        made_by(TILING, replace(WEIGHTS, deferral_band=(-1.0, 1.0))),
        made_by(TILING, replace(WEIGHTS, arrays={"projection.filters": filters})),
        made_by(TILING, replace(WEIGHTS, search_projection=-WEIGHTS.search_projection)),
    ]
    assert len({json.dumps(maker, sort_keys=True) for maker in makers}) == len(makers)
    same = replace(WEIGHTS, arrays={name: array.copy() for name, array in WEIGHTS.arrays.items()})
    assert made_by(TILING, same) == makers[0]
    monkeypatch.setattr("dupnet.find.tile_index.DESCRIPTOR_VERSION", DESCRIPTOR_VERSION + 1)
    assert made_by(TILING, same) != makers[0]
