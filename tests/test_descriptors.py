"""Descriptors: sizes, bytes, evidence, and weights that are refused."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from textures import noisy, textured

from dupnet.network.comparison import score_pairs
from dupnet.network.descriptors import (
    DESCRIPTOR_VERSION,
    WEIGHTS,
    describe,
    load_weights,
    verify_bytes,
    weights_bytes,
)
from dupnet.network.filters import band_filters, orientations
from dupnet.tiles import is_decidable


def test_sizes() -> None:
    for size in (64, 128, 256):
        found = describe(textured(3, size))
        assert found.search.shape == (3, 256) and found.search.dtype == np.int8
        assert found.verify.shape == (3, verify_bytes(size)) and found.verify.dtype == np.uint8
        assert found.decidable.tolist() == [True] * 3
    assert verify_bytes(256) == 4096


def test_descriptors_are_those_of_their_version() -> None:
    """A change of one byte asks for another DESCRIPTOR_VERSION, and then for other hashes here."""
    row = np.arange(256)
    tiles = [
        (np.add.outer(row * (3 + k), row * (5 + 2 * k)) + np.multiply.outer(row, row) * (k + 1) // 7)
        % (97 + 30 * k)
        for k in range(3)
    ]
    found = describe(np.stack(tiles).astype(np.uint8))
    hashes = [
        hashlib.sha256(array.tobytes()).hexdigest()[:16]
        for array in (found.search, found.verify, found.decidable)
    ]
    assert DESCRIPTOR_VERSION == 2
    assert hashes == ["d198019917187fe4", "b0daaab7a7bae4f5", "75c8fd04ad916aec"]


def test_no_tiles_at_all() -> None:
    found = describe(np.zeros((0, 256, 256), np.uint8))
    assert found.search.shape == (0, 256) and found.verify.shape == (0, verify_bytes())
    assert score_pairs(found.verify, found.verify).shape == (0,)


@pytest.mark.parametrize("shape", [(1, 250, 250), (1, 256, 128), (1, 0, 0), (1, 32, 32), (256, 256)])
def test_tiles_that_are_no_squares_of_cells_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="the size a multiple of 32, at least 64"):
        describe(np.zeros(shape, np.uint8))


def test_tiles_of_another_dtype_are_refused() -> None:
    with pytest.raises(ValueError, match=r"grey_tiles is float32 .*pass uint8"):
        describe(textured(1).astype(np.float32))


@pytest.mark.parametrize("level", [20, 128, 235])
def test_the_search_descriptor_does_not_answer_to_brightness(level: int) -> None:
    """Unrelated tiles of weak, smooth texture, all dark or all bright."""
    noise = np.random.default_rng(0).standard_normal((40, 256, 256)).astype(np.float32)
    smooth = np.stack([cv2.GaussianBlur(tile, (0, 0), 3) for tile in noise])
    smooth *= 2 / smooth.std(axis=(1, 2), keepdims=True)
    found = describe(np.rint(level + smooth).astype(np.uint8))
    assert found.decidable.all()
    search = found.search.astype(float)
    cosine = (search @ search.T / 127**2)[~np.eye(40, dtype=bool)]
    assert abs(cosine.mean()) < 0.02 and np.abs(cosine).max() < 0.3


def test_search_descriptors_have_length_127_and_agree_for_alike_tiles() -> None:
    tiles = textured(6)
    search = describe(tiles).search.astype(float)
    np.testing.assert_allclose(np.linalg.norm(search, axis=1), 127, rtol=0.02)
    cosine = search @ describe(noisy(tiles, 4)).search.astype(float).T / 127**2
    assert np.diag(cosine).min() > 0.9
    assert np.abs(cosine[~np.eye(6, dtype=bool)]).max() < 0.4


def test_bytes_are_what_they_are_said_to_be() -> None:
    tiles = np.concatenate([textured(2), textured(1, contrast=0.4, seed=3)])
    verify, filters = describe(tiles).verify, orientations(band_filters(7))
    codes = verify[:, : 56 * 64].view(np.int8).reshape(3, 8, 7, 64)
    powers, means = verify[:, 56 * 64 : 63 * 64].reshape(3, 7, 64), verify[:, 63 * 64 :]
    cell = tiles[:, 64:96, 160:192].astype(np.float64)  # cell 8 * 2 + 5
    np.testing.assert_array_equal(means[:, 21], np.rint(cell.mean(axis=(1, 2))))
    projected = np.einsum("nyx,foyx->nof", cell, filters.astype(np.float64))
    power = np.square(projected).sum(axis=1) + 0.2
    np.testing.assert_allclose(codes[..., 21], 127 * projected / np.sqrt(power)[:, None], atol=0.52)
    np.testing.assert_allclose(powers[..., 21], 16 * (np.log(power) + 1.7), atol=0.52)


def test_decidable_is_that_of_tiles_module() -> None:
    contrasts = np.linspace(0.1, 1.2, 40)
    tiles = np.concatenate([textured(1, contrast=one, seed=seed) for seed, one in enumerate(contrasts)])
    found = describe(tiles).decidable
    np.testing.assert_array_equal(found, is_decidable(tiles))
    assert 0 < found.sum() < len(tiles)


def test_stripes_borders_and_solid_tiles_carry_no_evidence() -> None:
    tiles = np.zeros((4, 256, 256), np.uint8)
    tiles[0] = 255
    tiles[1, :, 40:60] = 200
    tiles[2, 100:, :] = 29
    tiles[3, ::7, :] = 250
    found = describe(tiles)
    assert not found.decidable.any()
    assert not found.search.any()


def test_weights_travel_as_bytes() -> None:
    shipped = load_weights()
    mine = replace(shipped, deferral_band=(-3.0, 2.5), threshold=0.625)
    again = load_weights(io.BytesIO(weights_bytes(mine)))
    assert (again.deferral_band, again.threshold) == (mine.deferral_band, mine.threshold)
    assert again.arrays.keys() == mine.arrays.keys()
    for name, array in again.arrays.items():
        np.testing.assert_array_equal(array, mine.arrays[name])
    assert load_weights(mine) is mine and load_weights() is shipped


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, **{"dupnet.json": np.array([{"config": 1}], dtype=object)})
    garbage = tmp_path / "garbage.npz"
    garbage.write_bytes(b"not an archive")
    with np.load(WEIGHTS) as shipped:
        arrays = dict(shipped)
    arrays["first_stage_cell_1.kernel"] = arrays["first_stage_cell_1.kernel"][1:]  # sees one number less
    other = tmp_path / "other.npz"
    np.savez(other, **arrays)
    settings = json.loads(str(dict(np.load(WEIGHTS))["dupnet.json"]))
    settings["config"]["deferral_band"] = [float("nan"), 5]
    endless = tmp_path / "endless.npz"
    np.savez(endless, **{**dict(np.load(WEIGHTS)), "dupnet.json": np.array(json.dumps(settings))})
    for path in (pickled, garbage, other, endless, tmp_path / "missing.npz"):
        with pytest.raises(ValueError, match="holds no weights of dupnet"):
            load_weights(path)


def test_weights_that_are_no_archive_are_called_so(tmp_path):
    (tmp_path / "image.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    with pytest.raises(
        ValueError, match=r"image.jpg holds no weights of dupnet \(it is no archive of arrays\)"
    ):
        load_weights(tmp_path / "image.jpg")
    with pytest.raises(ValueError, match=r"holds no weights of dupnet .*No such file"):
        load_weights(tmp_path / "missing.npz")
