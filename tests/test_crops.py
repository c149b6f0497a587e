"""The cutter at any offset: truth against brute force, pixels by decoding what was written."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from dupnet.acquisitions.alterations import ALTERATIONS, COLLAR_SHARE, alter
from dupnet.acquisitions.crops import TRUTH_COLUMNS, cut_crops
from dupnet.acquisitions.layouts import LAYOUTS, common_regions, grid_places, random_places
from dupnet.acquisitions.waves import fractal_noise


@pytest.fixture(scope="module")
def acquisition():
    rng = np.random.default_rng(7)
    grey = 120 + 35 * fractal_noise(600, 700, 0.9, rng)
    return np.clip(np.stack([grey, 0.9 * grey + 10, 0.8 * grey], axis=-1), 0, 255).astype(np.uint8)


def read(folder, name):
    return cv2.cvtColor(cv2.imread(str(folder / "images" / name)), cv2.COLOR_BGR2RGB)


def commons(row, folder):
    """The common region as either image shows it."""
    one, two = read(folder, row.image1), read(folder, row.image2)
    top, left = max(0, row.y_offset), max(0, row.x_offset)
    top2, left2 = top - row.y_offset, left - row.x_offset
    return (
        one[top : top + row.height, left : left + row.width].astype(int),
        two[top2 : top2 + row.height, left2 : left2 + row.width].astype(int),
    )


@pytest.mark.parametrize(
    ("layout", "area", "n_images", "n_pairs"),
    [("dota", 2696, 16, 64), ("sahi", 1742, 16, 42), ("half", 640, 16, 42)],
)
def test_layouts_have_the_known_numbers_of_overlaps(layout, area, n_images, n_pairs):
    side, stride, jitter = LAYOUTS[layout]
    places = grid_places(area, area, side, stride, jitter)
    assert len(places) == n_images
    assert len(common_regions(places)) == n_pairs
    assert (places[:, :2] + side).max(axis=0).tolist() == [area, area]


def test_a_jitter_moves_some_crops_by_a_few_pixels():
    side, stride, jitter = LAYOUTS["jitter"]
    plain = grid_places(2048, 2048, side, stride)
    moved = np.abs(grid_places(2048, 2048, side, stride, jitter, seed=1) - plain)[:, :2].max(axis=1)
    assert 0 < (moved > 0).mean() < 1
    assert moved.max() == jitter


@pytest.mark.parametrize("options", [{"sides": (64, 100)}, {"side_range": (64, 400), "logarithmic": True}])
def test_random_places_lie_inside_and_cover_as_asked(options):
    places = random_places(3000, 2500, 60, cover=4.0, seed=2, **options)
    ends = places[:, :2] + places[:, 2:]
    assert places.min() >= 0
    assert (ends <= [3000, 2500]).all()
    box = ends.max(axis=0) - places[:, :2].min(axis=0)
    assert places[:, 2:].prod(axis=1).sum() / box.prod() == pytest.approx(4, rel=0.2)
    low, high = options.get("side_range", (64, 100))
    assert low <= places[:, 2:].min() < places[:, 2:].max() <= high


def test_logarithmic_sides_are_smaller_than_uniform_ones():
    medians = [
        np.median(random_places(4000, 4000, 400, side_range=(64, 2000), logarithmic=kind)[:, 2])
        for kind in (True, False)
    ]
    assert medians[0] < 500 < 900 < medians[1]


def test_common_regions_equal_brute_force():
    places = random_places(500, 400, 40, side_range=(20, 150), seed=5)
    found = {tuple(row) for row in common_regions(places).to_numpy().tolist()}
    expected = set()
    for (i, one), (j, two) in itertools.combinations(enumerate(places.tolist()), 2):
        shared = [
            min(one[axis] + one[axis + 2], two[axis] + two[axis + 2]) - max(one[axis], two[axis])
            for axis in (0, 1)
        ]
        if min(shared) > 0:
            expected.add((i, j, two[0] - one[0], two[1] - one[1], *shared))
    assert found == expected


def test_a_plain_cut_shows_the_acquisition_and_its_truth_holds(acquisition, tmp_path):
    places = random_places(400, 400, 8, (120, 90), seed=1)
    cut = cut_crops(acquisition, tmp_path, places, window=(150, 250), quality=98, prefix="a_")
    assert tuple(cut.truth.columns) == TRUTH_COLUMNS
    assert cut.images["image"].str.startswith("a_").all()
    for row in cut.images.itertuples():
        ground = acquisition[row.y : row.y + row.height, row.x : row.x + row.width]
        assert np.abs(read(tmp_path, row.image).astype(int) - ground).mean() < 2
    assert (cut.images["x"] >= 250).all()
    assert (cut.truth["image1"] < cut.truth["image2"]).all()
    assert len(cut.truth) > 5
    for row in cut.truth.itertuples():
        one, two = commons(row, tmp_path)
        assert one.shape == two.shape == (row.height, row.width, 3)
        assert np.abs(one - two).mean() < 3


def test_a_hard_cut_says_what_differs(acquisition, tmp_path):
    places = random_places(600, 700, 6, (300,), cover=3, seed=4)
    cut = cut_crops(
        acquisition, tmp_path, places, hard=True, another_day_share=0.5, altered_share=0.5, seed=4
    )
    assert len(cut.images) == 6 + 3 + 3 + 3
    assert cut.images["quality"].nunique() > 3
    assert set(cut.images["alteration"]) == {"", *ALTERATIONS}
    kinds = cut.images.set_index("image")[["day", "alteration"]]
    truth = cut.truth.join(kinds, on="image1").join(kinds, on="image2", suffixes=("", "2"))
    assert (truth["same_day"] == (truth["day"] == truth["day2"])).all()
    plain = (truth["alteration"] == "") & (truth["alteration2"] == "")
    assert (truth["changed"][truth["same_day"] & plain] == 0).all()
    other_day = truth[~truth["same_day"] & plain & (truth["height"] * truth["width"] > 40_000)]
    assert other_day["changed"].between(0.05, 0.9).all()
    copies = truth[truth["same_day"] & ~plain & (truth["height"] == 300) & (truth["width"] == 300)]
    assert copies["changed"].between(0.005, 0.5).all()
    assert min(len(other_day), len(copies)) > 0


def test_another_day_may_be_given(acquisition, tmp_path):
    other = np.ascontiguousarray(acquisition[::-1])
    cut = cut_crops(
        acquisition, tmp_path, grid_places(600, 700, 300, 300), another_day=other, another_day_share=1.0
    )
    second = cut.images[cut.images["day"] == 2].iloc[0]
    shown = other[second["y"] : second["y"] + 300, second["x"] : second["x"] + 300]
    assert np.abs(read(tmp_path, second["image"]).astype(int) - shown).mean() < 3


def test_the_bytes_do_not_depend_on_the_threads(acquisition, tmp_path):
    places = random_places(600, 700, 5, (200,), seed=3)
    for workers in (1, 3):
        cut_crops(acquisition, tmp_path / str(workers), places, hard=True, altered_share=0.4, workers=workers)
    files = [sorted(path for path in (tmp_path / kind).rglob("*") if path.is_file()) for kind in "13"]
    assert [path.name for path in files[0]] == [path.name for path in files[1]]
    assert all(one.read_bytes() == two.read_bytes() for one, two in zip(*files, strict=True))


@pytest.mark.parametrize("kind", ALTERATIONS)
@pytest.mark.parametrize("shape", [(64, 80), (400, 300)])
def test_an_alteration_changes_a_part(kind, shape):
    image = np.random.default_rng(0).integers(20, 200, (*shape, 3)).astype(np.uint8)
    altered = alter(image, kind, np.random.default_rng(1))
    share = (altered != image).any(axis=2).mean()
    low, high = {"watermark": (0.005, 0.2), "frame": (0.25, 0.78), "collar": COLLAR_SHARE}[kind]
    assert low - 0.01 <= share <= high + 0.01
    assert altered.shape == image.shape


def test_bad_input_is_named(acquisition, tmp_path):
    with pytest.raises(ValueError, match="side is 700"):
        grid_places(600, 800, 700, 10)
    with pytest.raises(ValueError, match="stride is 0"):
        grid_places(600, 800, 100, 0)
    with pytest.raises(ValueError, match="n_images is 0"):
        random_places(800, 800, 0)
    with pytest.raises(ValueError, match="64 to 900"):
        random_places(600, 800, 5, side_range=(64, 900))
    with pytest.raises(ValueError, match="inside"):
        cut_crops(acquisition, tmp_path, np.array([[550, 0, 100, 100]]))
    with pytest.raises(ValueError, match="altered_share is 2"):
        cut_crops(acquisition, tmp_path, np.array([[0, 0, 100, 100]]), altered_share=2)
    with pytest.raises(ValueError, match="'blur'"):
        alter(acquisition, "blur", np.random.default_rng(0))
    cut_crops(acquisition, tmp_path, np.array([[0, 0, 100, 100]]))
    with pytest.raises(ValueError, match="already holds"):
        cut_crops(acquisition, tmp_path, np.array([[0, 0, 100, 100]]))
