"""Hash tables: what shares a bucket is compared, once a bucket, within a group or between two."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from dupnet.find import hash_tables
from dupnet.find.hash_tables import N_PROBES, N_TABLES, batches, hashed, members_of


def descriptors(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-100, 101, (n, 64), dtype=np.int8)


def compared(one: np.ndarray, other: np.ndarray, is_one: bool) -> Counter[tuple[int, int]]:
    """How often each pair of numbers stands in a row of both blocks of a batch."""
    found: Counter[tuple[int, int]] = Counter()
    for row1, row2 in zip(one, other, strict=True):
        members1, members2 = row1[row1 >= 0].tolist(), row2[row2 >= 0].tolist()
        assert members1 == sorted(members1) and members2 == sorted(members2)
        found.update((a, b) for a in members1 for b in members2 if not is_one or a < b)
    return found


def sharing(buckets: np.ndarray, first: np.ndarray, second: np.ndarray) -> Counter[tuple[int, int]]:
    """In how many buckets each pair of two groups is together."""
    found: Counter[tuple[int, int]] = Counter()
    for a in first.tolist():
        for b in second.tolist():
            if n := len(set(buckets[a].tolist()) & set(buckets[b].tolist())):
                found[a, b] = n
    return found


@pytest.fixture(params=[2048, 5], ids=["small buckets", "large buckets"])
def few_buckets(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Buckets (60, N_PROBES) of which many are shared, some by more than a block holds."""
    monkeypatch.setattr(hash_tables, "_BLOCK", request.param)
    rng = np.random.default_rng(1)
    return np.stack([rng.choice(30, N_PROBES, replace=False) for _ in range(60)]).astype(np.uint16)


def test_each_pair_of_a_group_once_a_bucket(few_buckets: np.ndarray) -> None:
    everyone = np.arange(60)
    members = members_of(few_buckets, everyone)
    found: Counter[tuple[int, int]] = Counter()
    for one, other in batches(members, members):
        found += compared(one, other, is_one=other is one)
    expected = sharing(few_buckets, everyone, everyone)
    assert found == Counter({pair: n for pair, n in expected.items() if pair[0] < pair[1]})


def test_each_pair_of_two_groups_once_a_bucket(few_buckets: np.ndarray) -> None:
    groups = np.flatnonzero(np.arange(60) % 3 == 0), np.flatnonzero(np.arange(60) % 3)
    first, second = (members_of(few_buckets[group], group) for group in groups)
    found: Counter[tuple[int, int]] = Counter()
    for one, other in batches(first, second):
        found += compared(one, other, is_one=False)
    assert found == sharing(few_buckets, *groups)


def test_batches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_tables, "_BATCH_ROWS", 64)
    monkeypatch.setattr(hash_tables, "_BATCH_PRODUCTS", 256)
    members = members_of(hashed(descriptors(500), np.arange(500), [0])[:, 0] % 2048, np.arange(500))
    found = list(batches(members, members))
    assert sum(len(one) > 1 for one, _ in found) > 10
    for one, other in found:
        assert one.size <= 64 or len(one) == 1
        assert one.size * other.shape[1] <= 256 or len(one) == 1


def test_buckets_depend_on_the_descriptor_alone() -> None:
    some, rows = descriptors(50), np.arange(50)
    whole = hashed(some, rows)
    assert whole.shape == (50, N_TABLES, N_PROBES) and whole.dtype == np.uint16
    np.testing.assert_array_equal(hashed(some, rows[10:20], workers=2), whole[10:20])
    np.testing.assert_array_equal(hashed(some, rows, [3, 5]), whole[:, [3, 5]])
    assert all(len(set(buckets.tolist())) == N_PROBES for buckets in whole.reshape(-1, N_PROBES))


def test_alike_descriptors_share_buckets_and_opposite_ones_none() -> None:
    some = descriptors(40)
    nearly = np.clip(some + np.random.default_rng(2).integers(-12, 13, some.shape), -127, 127).astype(np.int8)
    one, near, far = (hashed(array, np.arange(40)) for array in (some, nearly, -some))
    shared = [
        [
            bool(set(a.tolist()) & set(b.tolist()))
            for a, b in zip(x.reshape(-1, N_PROBES), y.reshape(-1, N_PROBES), strict=True)
        ]
        for x, y in ((one, near), (one, far))
    ]
    assert np.mean(shared[0]) > 0.9
    assert not any(shared[1])
