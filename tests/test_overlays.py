import numpy as np
import pytest

from dupnet.find.overlays import LEAST_IMAGES, overlay_points

SIZE = 400


def unit_codes(rng, n):
    vectors = rng.normal(size=(n, 48))
    return np.rint(127 * vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.int8)


def collection(n_images, n_own=40, burned=range(0), n_burned=6, corner=None, sizes=None, seed=0):
    """Random points, and in the images of ``burned`` the same ones at one place, half a pixel uncertain."""
    rng = np.random.default_rng(seed)
    sizes = np.full((n_images, 2), SIZE) if sizes is None else sizes
    places, codes = rng.uniform(20, 120, (n_burned, 2)), unit_codes(rng, n_burned)
    y, x, all_codes, images, is_burned = [], [], [], [], []
    for image in range(n_images):
        own = rng.uniform(10, sizes[image] - 10, (n_own, 2))
        if image in burned:
            at = places + rng.uniform(-0.4, 0.4, places.shape)
            own = np.concatenate([own, sizes[image] - 1 - at if corner == "lower right" else at])
        y.append(own[:, 0])
        x.append(own[:, 1])
        all_codes.append(unit_codes(rng, n_own))
        if image in burned:
            all_codes.append(codes)
        images.append(np.full(len(own), image))
        is_burned.append(np.arange(len(own)) >= n_own)
    arrays = (
        np.concatenate(y).astype(np.float32),
        np.concatenate(x).astype(np.float32),
        np.concatenate(all_codes),
    )
    images = np.concatenate(images).astype(np.int32)
    return (*arrays, np.zeros(len(images), np.uint8), images, sizes), np.concatenate(is_burned)


def test_what_is_burned_into_many_images_is_an_overlay():
    arguments, is_burned = collection(40, burned=range(0, 40, 2))
    assert (overlay_points(*arguments) == is_burned).all() and is_burned.any()


def test_a_few_images_that_agree_are_none():
    arguments, _ = collection(40, burned=range(LEAST_IMAGES - 1))
    assert not overlay_points(*arguments).any()
    # Eight of 200 are too small a share.
    arguments, _ = collection(200, burned=range(LEAST_IMAGES))
    assert not overlay_points(*arguments).any()


def test_versions_of_one_image_are_ground():
    arguments, _ = collection(40, n_own=20, burned=range(20), n_burned=30)
    assert not overlay_points(*arguments).any()


def test_another_code_at_the_place_is_no_overlay():
    (y, x, codes, kinds, images, sizes), is_burned = collection(40, burned=range(40))
    rng = np.random.default_rng(1)
    codes[is_burned] = unit_codes(rng, int(is_burned.sum()))
    assert not overlay_points(y, x, codes, kinds, images, sizes).any()


def test_what_differs_at_the_place_hides_no_overlay():
    """In the first image something else lies there."""
    (y, x, codes, kinds, images, sizes), is_burned = collection(40, burned=range(40))
    first = is_burned & (images == 0)
    codes[first] = unit_codes(np.random.default_rng(1), int(first.sum()))
    assert (overlay_points(y, x, codes, kinds, images, sizes) == (is_burned & ~first)).all()


def test_another_kind_at_the_place_is_another_pattern():
    (y, x, codes, kinds, images, sizes), is_burned = collection(14, burned=range(14))
    kinds[is_burned & (images % 2 == 0)] = 1
    assert not overlay_points(y, x, codes, kinds, images, sizes).any()


@pytest.mark.parametrize("corner", ["upper left", "lower right"])
def test_images_of_several_sizes_are_looked_at_from_every_corner(corner):
    sizes = np.array([[SIZE + 30 * (k % 5), SIZE + 20 * (k % 3)] for k in range(40)])
    arguments, is_burned = collection(40, burned=range(40), corner=corner, sizes=sizes)
    assert (overlay_points(*arguments) == is_burned).all()


def test_no_points():
    empty = np.zeros(0, np.float32)
    found = overlay_points(
        empty,
        empty,
        np.zeros((0, 48), np.int8),
        np.zeros(0, np.uint8),
        np.zeros(0, np.int32),
        np.zeros((0, 2), int),
    )
    assert found.shape == (0,)
