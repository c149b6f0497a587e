"""The cutter against brute force: truth by sets of ground tiles, pixels by decoding what was written."""

from __future__ import annotations

import itertools
import re

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dupnet.acquisitions.alterations import Processing, process
from dupnet.acquisitions.scenes import HARD_SOLID_SHARE, choose_positions, cut_collection, overlap_truth
from dupnet.acquisitions.waves import fractal_noise
from dupnet.images.jpeg import encode_jpeg
from dupnet.tiles import Grid, is_decidable, overlap_at, solid_kind, split_tiles

# Small, so that tests are quick: 3 x 3 tiles of 64 px.
SMALL = {"image_size": 192, "stride": 64}


@pytest.fixture(scope="module")
def acquisition():
    rng = np.random.default_rng(7)
    grey = 120 + 35 * fractal_noise(470, 600, 0.9, rng)
    colour = np.stack([grey, 0.9 * grey + 10, 0.8 * grey + 5 * fractal_noise(470, 600, 0.5, rng)], axis=-1)
    return np.clip(colour, 0, 255).astype(np.uint8)


def read_grey_tiles(folder, name):
    return split_tiles(cv2.imread(str(folder / "images" / name), cv2.IMREAD_GRAYSCALE), Grid(3, 3, 64))


def read(folder, name):
    return cv2.cvtColor(cv2.imread(str(folder / "images" / name)), cv2.COLOR_BGR2RGB)


def ground_tiles(image, grid):
    """Which ground tile each tile of an image shows, by tile index."""
    return [(image.row + index // grid.cols, image.col + index % grid.cols) for index in range(grid.n_tiles)]


def brute_force_truth(images, grid):
    expected = {}
    for one, two in itertools.combinations(images.sort_values("image").itertuples(), 2):
        ground1, ground2 = ground_tiles(one, grid), ground_tiles(two, grid)
        shared = [index for index, tile in enumerate(ground1) if tile in ground2]
        if shared:
            tag = "".join("0123456789abcdef"[index] for index in (shared[0], shared[-1]))
            offset = (two.row - one.row, two.col - one.col)
            expected[one.image, two.image] = (tag, *offset, len(shared), int(one.day == two.day))
    return expected


@pytest.mark.parametrize("grid", [Grid(), Grid(4, 4, 64), Grid(2, 3, 64)])
def test_truth_equals_brute_force(grid):
    rng = np.random.default_rng(3)
    places = pd.DataFrame(
        [(row, col, day) for row in range(7) for col in range(6) for day in (1, 2) if rng.random() < 0.4],
        columns=["row", "col", "day"],
    )
    places["image"] = [f"{number:03x}" for number in rng.permutation(len(places))]
    decidable = rng.random((len(places), grid.n_tiles)) < 0.8
    truth = overlap_truth(places, decidable, grid)
    columns = ["overlap_tag", "row_offset", "col_offset", "n_tiles", "is_duplicate"]
    found = {(row["image1"], row["image2"]): tuple(row[columns]) for _, row in truth.iterrows()}
    assert found == brute_force_truth(places, grid)
    assert len(found) == len(truth) > 100
    of_image = dict(zip(places["image"], decidable, strict=True))
    for row in truth.itertuples():
        overlap = overlap_at(row.row_offset, row.col_offset, grid)
        both = of_image[row.image1][list(overlap.tiles1)] & of_image[row.image2][list(overlap.tiles2)]
        assert row.n_decidable == both.sum()


def test_truth_without_any_overlap():
    places = pd.DataFrame({"image": ["b", "a"], "row": [0, 9], "col": [0, 9], "day": [1, 1]})
    truth = overlap_truth(places, np.ones((2, 9), bool))
    assert len(truth) == 0
    assert list(truth)[:3] == ["image1", "image2", "overlap_tag"]


def test_plain_cut_shows_the_acquisition(acquisition, tmp_path):
    images, truth = cut_collection(acquisition, tmp_path, **SMALL, acquisition_name="noise")
    assert len(images) == (470 // 64 - 2) * (600 // 64 - 2)
    assert set(truth["is_duplicate"]) == {1}
    for image in images.itertuples():
        assert re.fullmatch(r"[0-9a-f]{9}\.jpg", image.image)
        pixels = read(tmp_path, image.image)
        top, left = 64 * image.row, 64 * image.col
        expected = acquisition[top : top + 192, left : left + 192].astype(int)
        assert np.abs(pixels - expected).mean() < 3
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == sorted(images["image"])
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "truth.csv", dtype={"overlap_tag": str}), truth)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "images.csv"), images)


def test_names_say_nothing_about_places(acquisition, tmp_path):
    images, _ = cut_collection(acquisition, tmp_path, **SMALL)
    order = images["image"].rank()
    assert abs(np.corrcoef(order, images["row"])[0, 1]) < 0.4
    assert abs(np.corrcoef(order, np.arange(len(images)))[0, 1]) < 0.4


def test_a_jpeg_is_420(acquisition, tmp_path):
    images, _ = cut_collection(acquisition, tmp_path, n_images=1, **SMALL)
    with Image.open(tmp_path / "images" / images["image"][0]) as opened:
        assert [sampling[1:3] for sampling in opened.layer] == [(2, 2), (1, 1), (1, 1)]


@pytest.mark.parametrize("hard", [False, True])
def test_same_bytes_for_any_number_of_workers(acquisition, tmp_path, hard):
    for folder, workers in (("one", 1), ("many", 5)):
        cut_collection(
            acquisition, tmp_path / folder, n_images=12, hard=hard, seed=4, workers=workers, **SMALL
        )
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert len(files) >= 14
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "many" / file).read_bytes()


def test_another_seed_is_another_collection(acquisition, tmp_path):
    one, _ = cut_collection(acquisition, tmp_path / "0", n_images=8, seed=0, **SMALL)
    two, _ = cut_collection(acquisition, tmp_path / "1", n_images=8, seed=1, **SMALL)
    assert not set(one["image"]) & set(two["image"])


@pytest.fixture(scope="module")
def hard_cut(acquisition, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hard")
    return folder, *cut_collection(acquisition, folder, hard=True, seed=2, another_day_share=0.3, **SMALL)


def test_hard_cut_follows_its_table(acquisition, hard_cut):
    folder, images, _ = hard_cut
    values = images[["hue", "lightness", "saturation", "gain", "gamma", "quality"]]
    assert (values.max() <= [8, 8, 8, 1.06, 1.06, 97]).all()
    assert (values.min() >= [-8, -8, -8, 0.94, 0.94, 75]).all()
    assert (values.nunique() > 10).all()
    n_checked = 0
    for image in images[images["day"] == 1].itertuples():
        processing = Processing(**{name: getattr(image, name) for name in values})
        crop = acquisition[64 * image.row : 64 * image.row + 192, 64 * image.col : 64 * image.col + 192]
        written = (folder / "images" / image.image).read_bytes()
        has_solid = any(
            solid_kind(tile, 12) for tile in split_tiles(read(folder, image.image), Grid(3, 3, 64))
        )
        assert (written == encode_jpeg(process(crop, processing), processing.quality)) != has_solid
        n_checked += not has_solid
    assert n_checked > 5


def test_solid_tiles_are_the_acquisitions(hard_cut):
    folder, images, _ = hard_cut
    kinds: dict[tuple[int, int], set[str]] = {}
    for image in images.itertuples():
        tiles = split_tiles(read(folder, image.image), Grid(3, 3, 64))
        for tile, place in zip(tiles, ground_tiles(image, Grid()), strict=True):
            kinds.setdefault(place, set()).add(solid_kind(tile, 30))
    assert all(len(kind) == 1 for kind in kinds.values())
    solid = [kind for kind in kinds.values() if kind != {""}]
    assert len(solid) == round(HARD_SOLID_SHARE * 7 * 9)
    assert set.union(*solid) <= {"white", "black", "blue"}


def test_truth_counts_decidable_tiles(hard_cut):
    folder, images, truth = hard_cut
    grid = Grid(3, 3, 64)
    decidable = {name: is_decidable(read_grey_tiles(folder, name)) for name in images["image"]}
    differs = 0
    for row in truth.itertuples():
        overlap = overlap_at(row.row_offset, row.col_offset, grid)
        both = decidable[row.image1][list(overlap.tiles1)] & decidable[row.image2][list(overlap.tiles2)]
        differs += row.n_decidable != both.sum()
    assert differs == 0
    assert (truth["n_decidable"] < truth["n_tiles"]).any()


def test_a_duplicate_agrees_and_another_day_does_not(hard_cut):
    folder, images, truth = hard_cut
    grid = Grid(3, 3, 64)
    tiles = {name: read_grey_tiles(folder, name) for name in images["image"]}
    lowest = {0: [], 1: []}
    for row in truth[truth["n_decidable"] > 0].itertuples():
        overlap = overlap_at(row.row_offset, row.col_offset, grid)
        shared1, shared2 = tiles[row.image1][list(overlap.tiles1)], tiles[row.image2][list(overlap.tiles2)]
        correlations = [
            np.corrcoef(one.ravel(), two.ravel())[0, 1]
            for one, two in zip(shared1, shared2, strict=True)
            if is_decidable(np.stack([one, two])).all()
        ]
        lowest[row.is_duplicate].append(min(correlations))
    assert min(lowest[1]) > 0.9 > max(lowest[0])
    assert len(lowest[0]) > 50


def test_two_given_days(acquisition, tmp_path):
    later = np.ascontiguousarray(acquisition[::-1])
    images, truth = cut_collection(acquisition, tmp_path, n_images=5, another_day=later, prefix="x", **SMALL)
    assert images["day"].tolist() == [1] * 5 + [2] * 5
    assert images["image"].str.startswith("x").all()
    first = read(tmp_path, images["image"][5]).astype(int)
    top, left = 64 * images["row"][5], 64 * images["col"][5]
    assert np.abs(first - later[top : top + 192, left : left + 192]).mean() < 3
    same_place = truth[(truth["overlap_tag"] == "08")]
    assert len(same_place) == 5
    assert set(same_place["is_duplicate"]) == {0}


def test_positions_are_compact_and_distinct():
    positions = choose_positions(40, 50, 100, seed=1)
    assert len({tuple(position) for position in positions.tolist()}) == 100
    rows, cols = np.ptp(positions, axis=0) + 1
    assert 100 < rows * cols <= 15 * 15
    assert len(choose_positions(4, 5, None, seed=0)) == len(choose_positions(4, 5, 20, seed=0)) == 20
    strip = choose_positions(2, 300, 200, seed=0)
    assert strip[:, 0].max() == 1


def test_errors_name_the_remedy(acquisition, tmp_path):
    with pytest.raises(ValueError, match="35 crop positions"):
        cut_collection(acquisition, tmp_path, n_images=99, **SMALL)
    with pytest.raises(ValueError, match="smaller than one crop"):
        cut_collection(acquisition, tmp_path)
    with pytest.raises(ValueError, match="stride is 64 px; it must divide the image_size, 200 px"):
        cut_collection(acquisition, tmp_path, image_size=200, stride=64)
    with pytest.raises(ValueError, match="stride is 0 px"):
        cut_collection(acquisition, tmp_path, stride=0)
    with pytest.raises(ValueError, match="seed is -1"):
        cut_collection(acquisition, tmp_path, seed=-1, **SMALL)
    with pytest.raises(ValueError, match="workers is 0"):
        cut_collection(acquisition, tmp_path, workers=0, **SMALL)
    with pytest.raises(ValueError, match="uint8"):
        cut_collection(acquisition.astype(float), tmp_path, **SMALL)
    with pytest.raises(ValueError, match="another_day has shape"):
        cut_collection(acquisition, tmp_path, another_day=acquisition[:-1], **SMALL)
    with pytest.raises(ValueError, match="another_day_share is 2"):
        cut_collection(acquisition, tmp_path, another_day_share=2, **SMALL)
    with pytest.raises(ValueError, match="quality is 0"):
        cut_collection(acquisition, tmp_path, n_images=1, quality=0, **SMALL)
    cut_collection(acquisition, tmp_path / "full", n_images=1, **SMALL)
    with pytest.raises(ValueError, match="already holds files"):
        cut_collection(acquisition, tmp_path / "full", n_images=1, **SMALL)
