"""Scores: invariances, one dissenting patch, and the numpy head against the Keras one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logit
from textures import Bytes, noisy, textured, turned

import dupnet
from dupnet.network import head
from dupnet.network.comparison import score_pairs, verdicts
from dupnet.network.descriptors import WEIGHTS, describe, load_weights
from dupnet.network.head import compare_cells


@pytest.fixture(scope="module")
def mixed_pairs() -> tuple[Bytes, Bytes]:
    """Pairs from equal to unrelated, among them some that the score is unsure of."""
    first = textured(24)
    second = np.concatenate([noisy(first[:16], 0.0), textured(8, seed=5)])
    for k in range(8):
        second[k] = noisy(first[k : k + 1], 3 * k, seed=k)[0]
    for k, share in enumerate(np.linspace(0.1, 0.5, 8), start=8):
        patch, other = (tiles[k, 96:128, 96:128].astype(float) for tiles in (first, textured(24, seed=7)))
        second[k, 96:128, 96:128] = np.rint(patch + share * (other - patch))
    return first, second


@pytest.mark.parametrize("element", range(8))
def test_score_is_invariant_to_joint_flips_and_turns(mixed_pairs: tuple[Bytes, Bytes], element: int) -> None:
    first, second = mixed_pairs
    still = score_pairs(describe(first).verify, describe(second).verify)
    moved = score_pairs(describe(turned(first, element)).verify, describe(turned(second, element)).verify)
    np.testing.assert_allclose(moved, still, atol=1e-3)


def test_score_is_symmetric(mixed_pairs: tuple[Bytes, Bytes]) -> None:
    one, two = (describe(tiles).verify for tiles in mixed_pairs)
    # In float32 sums in another order differ in the last digits: by 5e-6 where scores are steepest.
    np.testing.assert_allclose(score_pairs(one, two), score_pairs(two, one), rtol=0, atol=1e-5)


def test_score_tells_copies_from_others(mixed_pairs: tuple[Bytes, Bytes]) -> None:
    scores = score_pairs(*(describe(tiles).verify for tiles in mixed_pairs))
    assert scores[:3].min() > 0.95
    assert scores[16:].max() < 0.01


def test_the_ensemble_scores_what_the_first_stage_defers(mixed_pairs: tuple[Bytes, Bytes]) -> None:
    weights = load_weights()
    one, two = (describe(tiles).verify for tiles in mixed_pairs)
    first, judged = (
        score_pairs(one, two, replace(weights, deferral_band=band)) for band in ((98.0, 99.0), (-99.0, 99.0))
    )
    logits = logit(first.astype(float))
    lowest, highest = weights.deferral_band
    is_sure, is_open = (logits < lowest) | (logits > highest), (logits > lowest + 1) & (logits < highest - 1)
    assert is_sure.any() and is_open.any()
    found = score_pairs(one, two)
    np.testing.assert_array_equal(found[is_sure], first[is_sure])
    np.testing.assert_allclose(found[is_open], judged[is_open], atol=1e-5)
    assert (found >= np.minimum(first, judged) - 1e-5).all()
    assert (found <= np.maximum(first, judged) + 1e-5).all()


def test_one_patch_that_differs_vetoes() -> None:
    tiles = textured(8)
    changed = tiles.copy()
    changed[:, 90:160, 100:170] = textured(8, seed=9)[:, 90:160, 100:170]
    scores = score_pairs(describe(tiles).verify, describe(changed).verify)
    assert scores.max() < load_weights().threshold


def test_batches_do_not_matter(mixed_pairs: tuple[Bytes, Bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (describe(tiles).verify for tiles in mixed_pairs)
    whole = score_pairs(one, two)
    np.testing.assert_allclose(score_pairs(one[7:9], two[7:9]), whole[7:9], atol=1e-5)
    many = np.arange(24 * head.CHUNK) % 24  # enough for threads
    np.testing.assert_allclose(score_pairs(one[many], two[many]), whole[many], atol=1e-5)
    np.testing.assert_array_equal(score_pairs(one[many], two[many]), score_pairs(one[many], two[many]))
    monkeypatch.setattr(head, "CHUNK", 5)
    np.testing.assert_allclose(score_pairs(one, two), whole, atol=1e-5)
    alone = np.concatenate([describe(mixed_pairs[0][k : k + 1]).verify for k in range(24)])
    assert np.abs(alone[:, : 64 * 56].view(np.int8).astype(int) - one[:, : 64 * 56].view(np.int8)).max() <= 1


def test_descriptors_of_other_sizes_are_refused() -> None:
    verify = describe(textured(2)).verify
    with pytest.raises(ValueError, match="verify descriptors of one tile size"):
        score_pairs(verify, verify[:1])
    with pytest.raises(ValueError, match="verify descriptors of one tile size"):
        score_pairs(verify[:, :-1], verify[:, :-1])
    for odd in (verify.astype(float), verify.view(np.int8), verify[0], verify[:, :0]):
        with pytest.raises(ValueError, match="verify descriptors of one tile size"):
            score_pairs(odd, odd)


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


def test_numpy_and_keras_agree(mixed_pairs: tuple[Bytes, Bytes]) -> None:
    models = pytest.importorskip("dupnet.network.models")
    model = models.load_arrays(WEIGHTS)
    colour = [np.repeat(tiles[..., None], 3, axis=3) for tiles in mixed_pairs]
    by_keras = np.asarray(model.predict(colour, verbose=0)).ravel()
    by_numpy = score_pairs(*(describe(tiles).verify for tiles in mixed_pairs))
    np.testing.assert_allclose(by_numpy, by_keras, atol=1e-3)


def test_compared_cells_are_what_the_layers_compute(mixed_pairs: tuple[Bytes, Bytes]) -> None:
    models = pytest.importorskip("dupnet.network.models")
    model = models.load_arrays(WEIGHTS)
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
