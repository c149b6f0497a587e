import numpy as np
import pytest

from dupnet.find import join as module
from dupnet.find.join import join


def unit_codes(rng, n):
    vectors = rng.normal(size=(n, 48))
    return np.rint(127 * vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.int8)


def collection(n_images=60, n_points=80, n_shared=25, noise=0.25, seed=0):
    """Random codes; each image shares some with the next, with noise."""
    rng = np.random.default_rng(seed)
    codes = unit_codes(rng, n_images * n_points).reshape(n_images, n_points, 48)
    for image in range(1, n_images):
        copy = codes[image - 1, :n_shared] / 127 + rng.normal(0, noise / np.sqrt(48), (n_shared, 48))
        codes[image, -n_shared:] = np.rint(127 * copy / np.linalg.norm(copy, axis=1, keepdims=True))
    images = np.repeat(np.arange(n_images), n_points).astype(np.int32)
    kinds = np.tile(np.arange(n_points) % 3, n_images).astype(np.uint8)
    kinds.reshape(n_images, n_points)[1:, -n_shared:] = kinds.reshape(n_images, n_points)[:-1, :n_shared]
    return codes.reshape(-1, 48), images, kinds


def all_pairs(codes, images, kinds, least=module.MIN_COSINE):
    product = codes.astype(np.float32) @ codes.astype(np.float32).T
    alike = (product >= least * 127**2) & (kinds[:, None] == kinds) & (images[:, None] < images)
    return set(zip(*(index.tolist() for index in np.nonzero(alike)), strict=True))


def pairs_of(joined):
    found = [(pairs.first, pairs.second) for pairs in joined]
    firsts = np.concatenate([first for first, _ in found] or [np.zeros(0, int)])
    seconds = np.concatenate([second for _, second in found] or [np.zeros(0, int)])
    listed = list(zip(firsts.tolist(), seconds.tolist(), strict=True))
    assert listed == sorted(set(listed))
    return set(listed)


def test_finds_what_comparing_all_finds():
    codes, images, kinds = collection()
    expected = all_pairs(codes, images, kinds)
    found = pairs_of(join(codes, images, kinds, workers=1))
    assert len(expected) > 1000
    assert found <= expected
    assert len(found) >= 0.98 * len(expected)


def test_threshold_and_tables_count():
    codes, images, kinds = collection(noise=0.5)
    expected = all_pairs(codes, images, kinds, 0.95)
    assert expected
    assert (
        pairs_of(join(codes, images, kinds, min_cosine=0.95))
        == pairs_of(join(codes, images, kinds)) & expected
    )
    few = pairs_of(join(codes, images, kinds, n_tables=1))
    many = pairs_of(join(codes, images, kinds, n_tables=12))
    assert few < many


def test_neither_workers_nor_slices_nor_files_change_anything(tmp_path, monkeypatch):
    # Small cells, so that there is something to slice.
    monkeypatch.setattr(module, "_CELL_POINTS", 2**8)
    codes, images, kinds = collection(n_images=150)
    whole = join(codes, images, kinds, workers=1)
    expected = pairs_of(whole)
    assert expected
    mapped = np.memmap(tmp_path / "codes.i8", np.int8, "w+", shape=codes.shape)
    mapped[:] = codes
    for options in (
        {"workers": 3},
        {"slice_points": 1000, "workers": 1},
        {"slice_points": 3000, "workers": 2, "scratch": tmp_path},
    ):
        joined = join(mapped, images, kinds, **options)
        assert pairs_of(joined) == expected
        assert joined.n_skipped == whole.n_skipped
        assert (joined.recurring == whole.recurring).all()
        joined.close()
    assert [path.name for path in tmp_path.iterdir()] == ["codes.i8"]


def test_parts_hold_whole_images(monkeypatch):
    codes, images, kinds = collection(n_images=100)
    joined = join(codes, images, kinds)
    expected = pairs_of(joined)
    joined.parts = module.Parts(images, None, points=700)
    first, second = np.array(sorted(expected)).T
    joined.parts.add(first, second)
    assert joined.parts.n_parts > 5
    assert pairs_of(joined) == expected
    owners = [set(images[pairs.first].tolist()) for pairs in joined]
    assert sum(map(len, owners)) == len(set.union(*owners))


def test_what_recurs_within_an_image_is_told_and_not_paired():
    codes, images, kinds = collection(n_images=4, n_shared=1)
    codes[10], kinds[10] = codes[20], kinds[20]
    joined = join(codes, images, kinds)
    assert joined.recurring[[10, 20]].all() and joined.recurring.sum() == 2
    assert all(images[a] != images[b] for a, b in pairs_of(joined))


def test_only_points_of_one_kind_match():
    rng = np.random.default_rng(0)
    codes = np.repeat(unit_codes(rng, 1), 4, axis=0)
    images = np.arange(4, dtype=np.int32)
    assert pairs_of(join(codes, images, np.array([0, 1, 0, 1], np.uint8))) == {(0, 2), (1, 3)}


def test_sides():
    rng = np.random.default_rng(0)
    codes = np.repeat(unit_codes(rng, 1), 4, axis=0)
    images = np.arange(4, dtype=np.int32)
    sides = np.array([False, False, True, True])
    found = pairs_of(join(codes, images, np.zeros(4, np.uint8), sides=sides))
    assert found == {(0, 2), (0, 3), (1, 2), (1, 3)}


def test_answering_points_are_paired_with_others_alone():
    codes, images, kinds = collection(n_images=4)
    answering = np.arange(len(codes)) // 2 % 2 == 0
    expected = pairs_of(join(codes, images, kinds))
    found = pairs_of(join(codes, images, kinds, answering=answering))
    assert found == {pair for pair in expected if not answering[list(pair)].all()} != expected


def test_the_window_grows_with_the_collection():
    assert [module.window_of(n) for n in (0, 10**5, 2**21, 2**22, 10**9)] == [16, 16, 32, 64, 64]


def test_ignored_points_are_not_paired_and_do_not_recur():
    codes, images, kinds = collection(n_images=4)
    codes[10], kinds[10] = codes[20], kinds[20]
    expected = pairs_of(join(codes, images, kinds))
    ignored = np.zeros(len(codes), bool)
    ignored[[20, *(second for _, second in list(expected)[:5])]] = True
    joined = join(codes, images, kinds, ignored=ignored)
    left = {(first, second) for first, second in expected if not (ignored[first] or ignored[second])}
    assert pairs_of(joined) == left != expected
    assert not joined.recurring.any()


def test_what_looks_alike_everywhere_costs_no_more_and_is_counted():
    rng = np.random.default_rng(0)
    n = 1000
    codes = np.repeat(unit_codes(rng, 1), n, axis=0)
    joined = join(codes, np.arange(n, dtype=np.int32), np.zeros(n, np.uint8))
    assert len(pairs_of(joined)) <= n * module.WINDOW
    assert joined.n_skipped == (n - module.WINDOW) * (n - module.WINDOW - 1) // 2
    # They still hang together.
    assert {(k, k + 1) for k in range(n - 1)} <= pairs_of(joined)


def test_no_points():
    joined = join(np.zeros((0, 48), np.int8), np.zeros(0, np.int32), np.zeros(0, np.uint8))
    assert not pairs_of(joined) and joined.n_skipped == 0


def test_what_does_not_belong_together_is_refused():
    codes, images, kinds = collection(n_images=2)
    with pytest.raises(ValueError, match="one of each a point"):
        join(codes, images[1:], kinds)
    with pytest.raises(ValueError, match="not ascending"):
        join(codes, images[::-1].copy(), kinds)


@pytest.mark.parametrize(
    ("most", "ranges"),
    [(3, [(0, 2), (2, 4), (4, 5)]), (2, [(0, 1), (1, 2), (2, 3), (3, 5)]), (100, [(0, 5)])],
)
def test_slices_hold_so_many_points_or_one_cell(most, ranges):
    cells = np.array([2, 0, 0, 1, 2, 2, 4], np.uint16)
    assert module.slices_of(cells, most) == ranges
