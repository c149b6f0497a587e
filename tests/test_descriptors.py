"""Descriptors: sizes, invariances, evidence, and the numpy network against the Keras one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

import dupnet
from dupnet import descriptors
from dupnet.descriptors import (
    compare_cells,
    describe,
    load_weights,
    score_pairs,
    untrained_weights,
    verdicts,
    verify_bytes,
)
from dupnet.tiles import is_decidable

Bytes = npt.NDArray[np.uint8]


def textured(n: int, size: int = 256, seed: int = 0, contrast: float = 12.0) -> Bytes:
    """Grey tiles of smooth random texture."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((n, size, size)).astype(np.float32)
    smooth = np.stack([cv2.GaussianBlur(plane, (0, 0), 1.5) for plane in noise])
    return np.clip(np.rint(110 + contrast * smooth / smooth.std()), 0, 255).astype(np.uint8)


def noisy(tiles: Bytes, strength: float, seed: int = 1) -> Bytes:
    noise = np.random.default_rng(seed).normal(0, strength, tiles.shape)
    return np.clip(np.rint(tiles + noise), 0, 255).astype(np.uint8)


def turned(tiles: Bytes, element: int) -> Bytes:
    mirrored = tiles[:, :, ::-1] if element >= 4 else tiles
    return np.ascontiguousarray(np.rot90(mirrored, element % 4, axes=(1, 2)))


@pytest.fixture(scope="module")
def mixed_pairs() -> tuple[Bytes, Bytes]:
    """Pairs from equal to unrelated, among them some that the score is unsure of."""
    first = textured(24)
    second = np.concatenate([noisy(first[:16], 0.0), textured(8, seed=5)])
    for k in range(16):
        second[k] = noisy(first[k : k + 1], 1.5 * k, seed=k)[0]
    return first, second


def test_sizes() -> None:
    for size in (64, 128, 256):
        found = describe(textured(3, size))
        assert found.search.shape == (3, 256) and found.search.dtype == np.int8
        assert found.verify.shape == (3, verify_bytes(size)) and found.verify.dtype == np.uint8
        assert found.decidable.tolist() == [True] * 3
    assert verify_bytes(256) <= 4096


def test_no_tiles_at_all() -> None:
    found = describe(np.zeros((0, 256, 256), np.uint8))
    assert found.search.shape == (0, 256) and found.verify.shape == (0, verify_bytes())
    assert score_pairs(found.verify, found.verify).shape == (0,)


@pytest.mark.parametrize("shape", [(1, 250, 250), (1, 256, 128), (1, 0, 0)])
def test_tiles_that_are_no_squares_of_cells_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="32 px cells"):
        describe(np.zeros(shape, np.uint8))


def test_search_descriptors_have_length_127_and_agree_for_alike_tiles() -> None:
    tiles = textured(6)
    search = describe(tiles).search.astype(float)
    np.testing.assert_allclose(np.linalg.norm(search, axis=1), 127, rtol=0.02)
    cosine = search @ describe(noisy(tiles, 4)).search.astype(float).T / 127**2
    assert np.diag(cosine).min() > 0.9
    assert np.abs(cosine[~np.eye(6, dtype=bool)]).max() < 0.4


def test_bytes_are_what_they_are_said_to_be() -> None:
    tiles = np.concatenate([textured(2), textured(1, contrast=0.4, seed=3)])
    verify, filters = describe(tiles).verify, descriptors.orientations(descriptors.band_filters(7))
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


@pytest.mark.parametrize("element", range(8))
def test_score_is_invariant_to_joint_flips_and_turns(mixed_pairs: tuple[Bytes, Bytes], element: int) -> None:
    first, second = mixed_pairs
    still = score_pairs(describe(first).verify, describe(second).verify)
    moved = score_pairs(describe(turned(first, element)).verify, describe(turned(second, element)).verify)
    np.testing.assert_allclose(moved, still, atol=1e-3)


def test_score_is_symmetric(mixed_pairs: tuple[Bytes, Bytes]) -> None:
    one, two = (describe(tiles).verify for tiles in mixed_pairs)
    np.testing.assert_allclose(score_pairs(one, two), score_pairs(two, one), atol=1e-6)


def test_score_tells_copies_from_others(mixed_pairs: tuple[Bytes, Bytes]) -> None:
    scores = score_pairs(*(describe(tiles).verify for tiles in mixed_pairs))
    assert scores[:3].min() > 0.95
    assert scores[16:].max() < 0.01


def test_one_patch_that_differs_vetoes() -> None:
    tiles = textured(8)
    changed = tiles.copy()
    changed[:, 90:160, 100:170] = textured(8, seed=9)[:, 90:160, 100:170]
    scores = score_pairs(describe(tiles).verify, describe(changed).verify)
    assert scores.max() < load_weights().threshold


def test_batches_do_not_matter(mixed_pairs: tuple[Bytes, Bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (describe(tiles).verify for tiles in mixed_pairs)
    whole = score_pairs(one, two)
    np.testing.assert_allclose(score_pairs(one[7:9], two[7:9]), whole[7:9], atol=1e-6)
    many = np.arange(24 * descriptors.CHUNK) % 24  # enough for threads
    np.testing.assert_allclose(score_pairs(one[many], two[many]), whole[many], atol=1e-6)
    np.testing.assert_array_equal(score_pairs(one[many], two[many]), score_pairs(one[many], two[many]))
    monkeypatch.setattr(descriptors, "CHUNK", 5)
    np.testing.assert_allclose(score_pairs(one, two), whole, atol=1e-6)
    alone = np.concatenate([describe(mixed_pairs[0][k : k + 1]).verify for k in range(24)])
    assert np.abs(alone[:, : 64 * 56].view(np.int8).astype(int) - one[:, : 64 * 56].view(np.int8)).max() <= 1


def test_descriptors_of_other_sizes_are_refused() -> None:
    verify = describe(textured(2)).verify
    with pytest.raises(ValueError, match="verify descriptors of one tile size"):
        score_pairs(verify, verify[:1])
    with pytest.raises(ValueError, match="verify descriptors of one tile size"):
        score_pairs(verify[:, :-1], verify[:, :-1])


def test_verdicts() -> None:
    threshold = load_weights().threshold
    scores = np.array([threshold, np.nextafter(np.float32(threshold), 0, dtype=np.float32), 1.0], np.float32)
    both = np.array([True, True, False])
    assert verdicts(scores, both, np.ones(3, bool)).tolist() == ["duplicate", "not_duplicate", "undecidable"]
    assert verdicts(scores, np.ones(3, bool), both).tolist() == ["duplicate", "not_duplicate", "undecidable"]


def test_compare() -> None:
    grey = textured(3)
    tiles = np.repeat(grey[..., None], 3, axis=3)
    other = tiles.copy()
    other[1], other[2] = tiles[0], 255
    table = dupnet.compare(tiles, other)
    assert table.columns.tolist() == ["score", "verdict"]
    assert table["verdict"].tolist() == ["duplicate", "not_duplicate", "undecidable"]
    assert table["score"].between(0, 1).all()
    assert len(dupnet.compare(tiles[:0], tiles[:0])) == 0


def test_compare_refuses_what_is_no_pair_of_tile_stacks() -> None:
    tiles = np.zeros((2, 256, 256, 3), np.uint8)
    with pytest.raises(ValueError, match="tiles2 is float32"):
        dupnet.compare(tiles, tiles.astype(np.float32))
    with pytest.raises(ValueError, match="pairs need one shape"):
        dupnet.compare(tiles, tiles[:1])
    with pytest.raises(ValueError, match=r"tiles1 is a list; .*numpy\.stack"):
        dupnet.compare([tiles[0]], tiles[:1])  # type: ignore[arg-type]
    for size in ((100, 100), (256, 128), (0, 0)):
        with pytest.raises(ValueError, match=r"tiles1 is uint8 .* multiple of 32"):
            dupnet.compare(np.zeros((2, *size, 3), np.uint8), tiles)


def test_shipped_search_directions_are_those_of_the_seed() -> None:
    shipped = np.load(descriptors.SEARCH_PROJECTION, allow_pickle=False)
    made = descriptors.search_directions()
    assert shipped.shape == made.shape and shipped.dtype == np.int8
    assert np.abs(shipped.astype(int) - made).max() <= 1


def test_band_filters_start_in_separate_bands() -> None:
    filters = descriptors.band_filters(7).reshape(7, -1)
    np.testing.assert_allclose(filters @ filters.T, np.eye(7), atol=1e-4)


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, **{"dupnet.json": np.array([{"config": 1}], dtype=object)})
    garbage = tmp_path / "garbage.npz"
    garbage.write_bytes(b"not an archive")
    with np.load(descriptors.WEIGHTS) as shipped:
        arrays = dict(shipped)
    arrays["cell_1.kernel"] = arrays["cell_1.kernel"][1:]  # a network that sees one number less
    other = tmp_path / "other.npz"
    np.savez(other, **arrays)
    for path in (pickled, garbage, other, tmp_path / "missing.npz"):
        with pytest.raises(ValueError, match="holds no weights of dupnet"):
            load_weights(path)


def test_numpy_and_keras_agree(mixed_pairs: tuple[Bytes, Bytes]) -> None:
    models = pytest.importorskip("dupnet.models")
    model = models.load_arrays(descriptors.WEIGHTS)
    colour = [np.repeat(tiles[..., None], 3, axis=3) for tiles in mixed_pairs]
    by_keras = np.asarray(model.predict(colour, verbose=0)).ravel()
    by_numpy = score_pairs(*(describe(tiles).verify for tiles in mixed_pairs))
    np.testing.assert_allclose(by_numpy, by_keras, atol=1e-3)


def test_compared_cells_are_what_the_layers_compute(mixed_pairs: tuple[Bytes, Bytes]) -> None:
    models = pytest.importorskip("dupnet.models")
    model = models.load_arrays(descriptors.WEIGHTS)
    verify = [describe(tiles).verify for tiles in mixed_pairs]
    cells, tile = compare_cells(*verify)
    assert cells.shape == (24, 8, 8, 27) and tile.shape == (24, 29)
    encodings = []
    for one in verify:
        codes = one[:, : 56 * 64].view(np.int8).reshape(-1, 8, 7, 8, 8).transpose(0, 3, 4, 2, 1)
        powers = one[:, 56 * 64 : 63 * 64].reshape(-1, 7, 8, 8).transpose(0, 2, 3, 1)
        parts = {"codes": codes, "powers": powers, "mean": one[:, 63 * 64 :].reshape(-1, 8, 8, 1)}
        encodings.append({name: part.astype(np.float32) for name, part in parts.items()})
    head = model.get_layer("head")
    for name, found in (("cell_features", cells), ("tile_features", tile)):
        computed = np.asarray(head.get_layer(name)(*encodings))
        np.testing.assert_allclose(found, computed, atol=2e-4)
    by_keras = np.asarray(head.predict(encodings, verbose=0)).ravel()
    np.testing.assert_allclose(score_pairs(*verify), by_keras, atol=1e-4)
    assert compare_cells(verify[0][:0], verify[1][:0])[0].shape == (0, 8, 8, 27)


def test_shipped_filters_are_those_of_the_seed() -> None:
    shipped = descriptors.centred_filters(load_weights().arrays["projection.filters"])
    np.testing.assert_allclose(shipped, untrained_weights().arrays["projection.filters"], atol=1e-5)
