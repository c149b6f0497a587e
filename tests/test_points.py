from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from dupnet.find import blocks, points
from dupnet.find.extrema import FINE, SMALL_BELOW
from dupnet.find.points import find_points, is_fine, load_directions, needs_dense, patches


def ground(height, width, seed=0):
    """Texture of many sizes, as ground has: (height, width) uint8."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width), np.float32)
    for sigma, weight in ((1.2, 12), (3, 16), (8, 20)):
        noise = cv2.GaussianBlur(rng.normal(size=(height, width)).astype(np.float32), (0, 0), sigma)
        total += weight * noise / max(noise.std(), 1e-6)
    return np.clip(total + 120, 0, 255).astype(np.uint8)


def jpeg(grey, quality):
    data = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)


def same_places(first, second, offset, region, near):
    """Of the points of ``first`` in ``region`` (top, bottom, left, right), the share that ``second`` has.

    ``second`` lies at ``offset``; codes agree from a cosine of 0.8 on."""
    top, bottom, left, right = region
    chosen = (first.y >= top) & (first.y < bottom) & (first.x >= left) & (first.x < right)
    assert chosen.any()
    dy = first.y[chosen, None] - offset[0] - second.y
    dx = first.x[chosen, None] - offset[1] - second.x
    alike = first.codes[chosen].astype(int) @ second.codes.astype(int).T >= 0.8 * points.UNIT**2
    alike &= first.kinds[chosen, None] == second.kinds
    return float((alike & (np.abs(dy) <= near) & (np.abs(dx) <= near)).any(axis=1).mean())


def coarse_ones(found):
    return type(found)(*(values[~is_fine(found.kinds)] for values in found))


def test_what_points_are():
    found = find_points(ground(400, 500))
    n = len(found.y)
    assert 150 < n < 500
    assert found.y.dtype == found.x.dtype == np.float32 and found.kinds.dtype == np.uint8
    assert found.codes.shape == (n, points.CODE_LENGTH) and found.codes.dtype == np.int8
    length = np.sqrt((found.codes.astype(float) ** 2).sum(axis=1))
    assert np.allclose(length, points.UNIT, atol=2.5)
    assert found.y.min() >= 7.5 and found.y.max() <= 392.5 and found.x.max() <= 492.5
    assert set(found.kinds) <= set(range(8)) and {0, 1, 2, 3} <= set(found.kinds)
    order = np.lexsort((found.x, found.y, found.kinds))
    assert (order == np.arange(n)).all()


@pytest.mark.parametrize("offset", [(40, 64), (41, 63)])
def test_two_crops_choose_the_same_points(offset):
    whole = ground(500, 520)
    dy, dx = offset
    first = find_points(jpeg(whole[:400, :400], 85))
    second = find_points(jpeg(whole[dy : dy + 400, dx : dx + 400], 92))
    region = (dy + 40, 360, dx + 40, 360)
    coarse = same_places(coarse_ones(first), coarse_ones(second), offset, region, 1.5)
    # Beyond the rim both have coarse points alone, at the same density.
    assert coarse > 0.6


def test_a_narrow_overlap_has_points_along_the_rim():
    whole = ground(300, 568)
    first, second = find_points(whole[:, :300]), find_points(whole[:, 268:])
    # 32 px are common: room for patches of 16 px in a strip of 16 px.
    share = same_places(first, second, (0, 268), (8, 292, 276, 292), 0.1)
    assert share > 0.5


def test_small_images_share_points_with_large_ones_when_dense():
    whole = ground(700, 700)
    small = find_points(np.ascontiguousarray(whole[311:411, 297:397]))
    assert is_fine(small.kinds).any()
    sparse, dense = find_points(whole), find_points(whole, dense=True)
    assert len(dense.y) > 1.5 * len(sparse.y)
    inside = (dense.y > 330) & (dense.y < 390) & (dense.x > 315) & (dense.x < 380)
    assert inside.sum() >= 3
    assert same_places(dense, small, (311, 297), (330, 390, 315, 380), 1.5) > 0.6
    inner = is_fine(sparse.kinds) & (sparse.y > 100) & (sparse.y < 600) & (sparse.x > 100) & (sparse.x < 600)
    assert not inner.any()


def test_points_of_an_image_are_among_those_when_dense():
    image = ground(420, 380)
    sparse, dense = find_points(image), find_points(image, dense=True)
    known = {
        (k, y, x, c.tobytes()) for k, y, x, c in zip(dense.kinds, dense.y, dense.x, dense.codes, strict=True)
    }
    assert all(
        (k, y, x, c.tobytes()) in known
        for k, y, x, c in zip(sparse.kinds, sparse.y, sparse.x, sparse.codes, strict=True)
    )


def test_what_collection_must_be_dense():
    assert needs_dense(64) and not needs_dense(768)


def test_solid_ground_and_straight_borders_give_no_points():
    assert len(find_points(np.full((300, 300), 77, np.uint8)).y) == 0
    half = np.full((300, 300), 40, np.uint8)
    half[:, 150:] = 200
    assert len(find_points(half).y) == 0
    corner = np.zeros((300, 300), np.uint8)
    corner[140:, 130:] = 255
    assert len(find_points(corner).y) == 0


def test_texture_along_a_straight_border_gives_points_of_a_kind_of_their_own():
    image = ground(300, 300).astype(int)
    image = 100 + (image - 120) // 6
    image[:, 120:160] += 100
    kinds = find_points(image.astype(np.uint8)).kinds
    assert (kinds >= 4).sum() > 10


def test_no_patch_touches_what_is_not_valid():
    image = ground(400, 400)
    valid = np.ones((400, 400), bool)
    # A slanted collar.
    valid[np.add.outer(np.arange(400), np.arange(400)) < 200] = False
    image[~valid] = 0
    found = find_points(image, valid)
    assert len(found.y) > 50
    half = np.where(is_fine(found.kinds), 8, 16)
    for y, x, reach in zip(found.y, found.x, half, strict=True):
        top, left = int(np.floor(y - reach + 1)), int(np.floor(x - reach + 1))
        assert valid[max(0, top) : int(y) + reach, max(0, left) : int(x) + reach].all()
    assert len(find_points(image, np.zeros((400, 400), bool)).y) == 0
    whole = find_points(image, np.ones((400, 400), bool))
    assert len(whole.y) == len(find_points(image).y)


def test_blocks_change_nothing(monkeypatch):
    image = ground(460, 520)
    at_once = find_points(image, dense=True)
    monkeypatch.setattr(blocks, "_SIDE", 128)
    in_blocks = find_points(image, dense=True)
    assert len(at_once.y) == len(in_blocks.y)
    assert np.allclose(at_once.y, in_blocks.y, atol=0.05) and np.allclose(at_once.x, in_blocks.x, atol=0.05)
    assert (np.abs(at_once.codes.astype(int) - in_blocks.codes) <= 1).all()


def test_threads_change_nothing():
    images = [ground(300, 300, seed) for seed in range(6)]
    alone = [find_points(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(find_points, images))
    for one, other in zip(alone, together, strict=True):
        assert all((a == b).all() for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("shape", [(1, 1), (15, 400), (16, 16), (40, 17), (64, 64), (33, 5000)])
def test_any_size_is_taken(shape):
    found = find_points(ground(*shape))
    assert len(found.y) == len(found.codes)
    if min(shape) >= 64:
        assert len(found.y) >= 4


def test_what_is_no_grey_image_or_mask_is_refused():
    with pytest.raises(ValueError, match=r"expected \(height, width\) uint8"):
        find_points(np.zeros((30, 30, 3), np.uint8))
    with pytest.raises(ValueError, match=r"valid has shape \(2, 2\)"):
        find_points(np.zeros((30, 30), np.uint8), np.ones((2, 2), bool))


def test_patches_are_what_codes_are_of():
    image = ground(SMALL_BELOW, SMALL_BELOW + 40)
    directions = load_directions()
    found = find_points(image)
    for number in range(4):
        y, x, minima, vectors = patches(image, None, number)
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
        assert np.abs(vectors.mean(axis=1)).max(initial=0) < 1e-3
        codes = (vectors - directions.means[number]) @ directions.directions[number]
        codes *= points.UNIT / np.linalg.norm(codes, axis=1, keepdims=True)
        order = np.lexsort((x, y, minima))
        mine = found.codes[found.kinds // 2 == number]
        assert len(mine) == len(codes)
        assert (np.abs(codes[order] - mine) <= 1).all()


def test_a_region_of_32_px_fits_fine_patches():
    assert FINE.scale == 1 and FINE.side // 2 + FINE.rim >= 32 - FINE.side // 2
