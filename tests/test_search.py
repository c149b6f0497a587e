"""Search: against brute force, with equal descriptors, for any order and number of workers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupnet.find import hash_tables, search


def planted(n: int, d: int, cosines: tuple[float, float], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random descriptors (n, d), of which row 2 k + 1 has a drawn cosine with row 2 k; and these cosines."""
    rng = np.random.default_rng(seed)
    unit = rng.standard_normal((n, d))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    noise = unit[1::2] - (unit[1::2] * unit[::2]).sum(axis=1, keepdims=True) * unit[::2]
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    cosine = rng.uniform(*cosines, len(noise))[:, None]
    unit[1::2] = cosine * unit[::2] + np.sqrt(1 - cosine**2) * noise
    return np.rint(127 * unit).astype(np.int8), cosine[:, 0]


def brute_force(descriptors: np.ndarray, threshold: float) -> set[tuple[int, int]]:
    vectors = descriptors.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1)
    with np.errstate(invalid="ignore"):
        cosine = vectors @ vectors.T / np.outer(lengths, lengths)
    return {(int(i), int(j)) for i, j in np.argwhere(cosine >= threshold) if i < j}


def pairs(found: search.Candidates) -> set[tuple[int, int]]:
    listed = list(zip(found.rows1.tolist(), found.rows2.tolist(), strict=True))
    assert listed == sorted(listed)
    assert len(set(listed)) == len(listed)
    return set(listed)


@pytest.mark.parametrize("exact_up_to", [10_000, 0], ids=["exact", "hashed"])
@pytest.mark.parametrize("d", [128, 129])
def test_finds_what_brute_force_finds(d: int, exact_up_to: int) -> None:
    descriptors, _ = planted(3000, d, (0.75, 1.0))
    descriptors[40:60] = descriptors[7]  # equal ones
    descriptors[100:120] = 0  # undecidable ones
    found = search.candidates(descriptors, threshold=0.65, exact_up_to=exact_up_to, workers=2)
    assert found.exact == (exact_up_to > 0)
    assert (found.n_searched, found.n_equal) == (2980, 20)
    assert pairs(found) == brute_force(descriptors, 0.65)
    vectors = descriptors.astype(float)
    expected = (vectors[found.rows1] * vectors[found.rows2]).sum(axis=1)
    expected /= np.linalg.norm(vectors[found.rows1], axis=1) * np.linalg.norm(vectors[found.rows2], axis=1)
    np.testing.assert_allclose(found.cosine, expected, rtol=1e-6)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(1, 9), st.floats(0.1, 1.0))
def test_exact_for_any_whole_numbers(seed: int, n: int, d: int, threshold: float) -> None:
    descriptors = np.random.default_rng(seed).integers(-2, 3, (n, d), dtype=np.int8)
    found = search.candidates(descriptors, threshold=threshold)
    sure, possible = brute_force(descriptors, threshold + 1e-9), brute_force(descriptors, threshold - 1e-9)
    assert sure <= pairs(found) <= possible


@pytest.mark.parametrize("exact_up_to", [10_000, 0], ids=["exact", "hashed"])
def test_independent_of_order_workers_and_company(exact_up_to: int) -> None:
    descriptors, _ = planted(2000, 128, (0.5, 1.0))
    once = search.candidates(descriptors, exact_up_to=exact_up_to, workers=1)
    again = search.candidates(descriptors, exact_up_to=exact_up_to, workers=3)
    np.testing.assert_array_equal(once.rows1, again.rows1)
    np.testing.assert_array_equal(once.cosine, again.cosine)
    order = np.random.default_rng(1).permutation(2000)
    shuffled = search.candidates(descriptors[order], exact_up_to=exact_up_to)
    assert {frozenset(order[list(pair)].tolist()) for pair in pairs(shuffled)} == {
        frozenset(pair) for pair in pairs(once)
    }
    half = search.candidates(descriptors[:1000], exact_up_to=exact_up_to)
    assert pairs(half) == {pair for pair in pairs(once) if max(pair) < 1000}


def test_only_valid_rows_take_part() -> None:
    descriptors, _ = planted(100, 64, (0.9, 1.0))
    valid = np.ones(100, bool)
    valid[10] = False
    found = search.candidates(descriptors, valid)
    assert (10, 11) not in pairs(found)
    assert pairs(found) | {(10, 11)} == pairs(search.candidates(descriptors))


@pytest.mark.parametrize("exact_up_to", [10_000, 0], ids=["exact", "hashed"])
def test_crowds_are_chained(exact_up_to: int) -> None:
    """A thousand equal and a thousand nearly equal descriptors: few pairs, and yet all of them connected."""
    descriptors, _ = planted(4000, 128, (0.9, 1.0))
    descriptors[:1000] = descriptors[0]
    descriptors[1000:2000] = descriptors[1000]
    descriptors[np.arange(1000, 2000), np.arange(1000) % 128] += np.repeat(
        [1, 2, 3, 4, 5, 6, 7, 8], 125
    ).astype(np.int8)
    found = search.candidates(descriptors, exact_up_to=exact_up_to)
    assert len(found.rows1) <= 2000 * search.MAX_NEIGHBOURS + 1000
    for crowd in (range(1000), range(1000, 2000)):
        linked = [(i, j) for i, j in pairs(found) if i in crowd and j in crowd]
        assert {i for i, _ in linked} == set(crowd) - {crowd[-1]}  # each but the last with a later one
    assert {(i, i + 1) for i in range(2000, 4000, 2)} <= pairs(found)


def test_recall_of_the_tables() -> None:
    """No pair of a cosine of 0.8 or more is missed by all tables."""
    descriptors, cosine = planted(8000, 128, (0.8, 1.0))
    found = pairs(search.candidates(descriptors, threshold=0.7, exact_up_to=0))
    assert {(2 * k, 2 * k + 1) for k in range(len(cosine))} <= found


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_or_none(n: int) -> None:
    for exact_up_to in (0, 10):
        found = search.candidates(np.full((n, 8), 3, np.int8), exact_up_to=exact_up_to)
        assert len(found.rows1) == max(0, n - 1)


def test_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match="descriptors"):
        search.candidates(np.zeros((3, 4), np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="threshold"):
        search.candidates(np.zeros((3, 4), np.int8), threshold=0)
    with pytest.raises(ValueError, match="valid"):
        search.candidates(np.zeros((3, 4), np.int8), np.ones(2, bool))


@pytest.mark.parametrize("block", [hash_tables._BLOCK, 37])
def test_a_crowd_at_the_threshold_loses_none_of_its_first_neighbours(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Descriptors whose cosines lie close to the threshold, on either side, and a short one among them."""
    monkeypatch.setattr(hash_tables, "_BLOCK", block)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((400, 256)) + 1.22 * rng.standard_normal(256)
    vectors *= 127 / np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[7] /= 3
    crowd = np.rint(vectors).astype(np.int8)
    exact = crowd.astype(np.int64) @ crowd.T.astype(np.int64)
    lengths = np.sqrt(np.diag(exact))
    alike = np.triu(exact / np.outer(lengths, lengths) >= np.float32(0.6), 1)
    first = alike & (np.cumsum(alike, axis=1) <= search.MAX_NEIGHBOURS)
    assert (alike.sum(axis=1) > search.MAX_NEIGHBOURS).sum() > 100 and alike.mean() < 0.4
    found = search.candidates(crowd, threshold=0.6)
    np.testing.assert_array_equal(np.stack([found.rows1, found.rows2]), np.nonzero(first))


def test_flags_of_another_length_or_dtype_are_refused() -> None:
    some = np.ones((3, 4), np.int8)
    for flags in (np.ones(2, bool), np.ones((3, 1), bool), np.ones(3, int)):
        for name in ("valid", "sides"):
            with pytest.raises(ValueError, match=f"{name} is .*one bool each"):
                search.candidates(some, **{name: flags})
