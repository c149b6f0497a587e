"""What people who do this job meet, a row each: overlaps that no grid holds, and copies that were changed.

Each collection is made here, its truth is known to the pixel, and what `find` says is held against it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from test_find import acquisition

pytest.importorskip("benchmarks.free_offsets", reason="benchmarks are not part of the installed package")

from benchmarks.free_offsets.lookalikes import OVERLAYS, REPEATED
from dupnet.acquisitions.alterations import ALTERATIONS, alter, another_day_tile
from dupnet.acquisitions.layouts import common_regions, grid_places, random_places
from dupnet.acquisitions.sea import synthetic_sea
from dupnet.find.engine import find_overlaps
from dupnet.find.results import FindResult
from dupnet.splits.assignment import random_split, split
from dupnet.splits.leaks import audit

Image = npt.NDArray[np.uint8]
Places = Sequence[Sequence[int]] | npt.NDArray[np.int64]

PLACE = ["image1", "image2", "y_offset", "x_offset", "height", "width"]


@pytest.fixture(scope="module")
def ground() -> Image:
    """Ground with texture everywhere, as large as 16 chips of DOTA: (2816, 2816, 3)."""
    return acquisition(11, seed=5)


@pytest.fixture(scope="module")
def shore() -> Image:
    """Water, and a strip of quays and roofs."""
    return synthetic_sea(1024, 1280, seed=3)


def write(folder: Path, images: Sequence[Image], names: Sequence[str] = (), quality: int = 92) -> Path:
    """Images as JPEG, ``000.jpg`` and so on unless they have names."""
    folder.mkdir(exist_ok=True)
    for number, image in enumerate(images):
        name = names[number] if names else f"{number:03}.jpg"
        assert cv2.imwrite(
            str(folder / name), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
        )
    return folder


def crops(picture: Image, places: Places) -> list[Image]:
    return [picture[y : y + height, x : x + width] for y, x, height, width in places]


def true_places(places: Places, least: int = 32) -> pd.DataFrame:
    """Every two of the crops that share at least so many pixels on both sides: the columns ``PLACE``."""
    table = common_regions(np.asarray(places, np.int64).reshape(-1, 4))
    table = table[table[["height", "width"]].min(axis=1) >= least]
    names = {
        f"image{end}": table[side].map("{:03}.jpg".format) for end, side in ((1, "first"), (2, "second"))
    }
    return table.assign(**names)[PLACE]


def assert_found(result: FindResult, places: Places, least: int = 32) -> None:
    """Every true overlap is a duplicate at its true offset, and nothing else is found.

    Regions narrower than ``least`` may be found; then they are true.
    """
    found = set(result.overlaps[PLACE].itertuples(index=False, name=None))
    assert set(true_places(places, least).itertuples(index=False, name=None)) - found == set()
    assert found - set(true_places(places, 1).itertuples(index=False, name=None)) == set()
    assert set(result.overlaps["verdict"]) <= {"duplicate"}
    assert result.rejected.empty and result.revisits.empty and result.unreadable.empty


def assert_nothing_found(result: FindResult) -> None:
    assert result.overlaps.empty, result.overlaps[[*PLACE, "verdict"]].to_string()
    assert len(result.groups) == result.groups["group"].nunique()


# Overlaps that are not whole tiles on one grid.


def test_dota_chips_of_1024_with_a_gap_of_200(ground: Image, tmp_path: Path) -> None:
    """16 chips of a picture of 2696 px, the last of a row moved back to the border: 64 pairs."""
    places = grid_places(2696, 2696, 1024, 824)
    result = find_overlaps(write(tmp_path / "chips", crops(ground, places)), report=False)
    assert len(places) == 16 and len(result.overlaps) == 64
    assert_found(result, places)
    assert result.grid is None
    assert result.coverage()[0] == "Searched: any offset; regions from 32 px."


@pytest.mark.parametrize(
    ("side", "stride", "n_chips", "n_pairs"),
    [(600, 500, 9, 20), (512, 410, 16, 42), (256, 128, 49, 156)],
    ids=["600 px, gap 100", "512 px, 20 %", "256 px at half"],
)
def test_chips_that_overlap_by_design(
    ground: Image, tmp_path: Path, side: int, stride: int, n_chips: int, n_pairs: int
) -> None:
    end = side + stride * (round(n_chips**0.5) - 1)
    places = grid_places(end, end, side, stride)
    result = find_overlaps(write(tmp_path / "chips", crops(ground, places)), report=False)
    assert (len(places), len(result.overlaps)) == (n_chips, n_pairs)
    assert_found(result, places)


def test_chips_anywhere(ground: Image, tmp_path: Path) -> None:
    places = random_places(2048, 2048, 24, (400,), seed=1)
    result = find_overlaps(write(tmp_path / "chips", crops(ground, places)), report=False)
    assert len(true_places(places)) > 40
    assert_found(result, places)


def test_a_grid_that_is_off_by_a_few_pixels(ground: Image, tmp_path: Path) -> None:
    places = grid_places(1280, 1280, 768, 256, jitter=3, seed=2)
    assert (places[:, :2] % 256).any(axis=1).sum() >= 3
    result = find_overlaps(write(tmp_path / "chips", crops(ground, places)), report=False)
    assert len(result.overlaps) == 36
    assert_found(result, places)


@pytest.mark.parametrize("side", [250, 300, 400, 500, 640, 650, 900, 1000])
def test_chips_of_any_size_are_used_as_they_are(ground: Image, tmp_path: Path, side: int) -> None:
    third = side // 3
    places = [(0, 0, side, side), (third, 2 * third, side, side), (1500, 1500, side, side)]
    assert_found(find_overlaps(write(tmp_path / "chips", crops(ground, places)), report=False), places)


def test_a_fine_stride_is_refused_where_it_cannot_be_done(ground: Image, tmp_path: Path) -> None:
    """128 px tiles of 1024 px chips at every eighth pixel: 12,769 tiles a chip, 46 MB of descriptors."""
    folder = write(tmp_path / "chips", crops(ground, grid_places(1848, 1848, 1024, 824)))
    with pytest.raises(ValueError, match="stride"):
        find_overlaps(folder, tile_size=128, stride=8, report=False)


def test_several_sizes_in_one_folder(ground: Image, tmp_path: Path) -> None:
    places = np.concatenate(
        [
            random_places(1400, 1400, 10, (512,), seed=3),
            random_places(1400, 1400, 6, side_range=(128, 700), seed=3),
        ]
    )
    result = find_overlaps(write(tmp_path / "chips", crops(ground, places)), report=False)
    assert len(result.groups[["height", "width"]].drop_duplicates()) > 5
    assert_found(result, places)


def test_a_split_blind_to_overlaps_leaks_and_our_own_does_not(ground: Image, tmp_path: Path) -> None:
    """Four places, each shown by four crops at any offset."""
    corners = [(0, 0), (0, 1500), (1500, 0), (1500, 1500)]
    around = np.array([(0, 0), (130, 77), (61, 190), (203, 141)])
    places = [(*(corner + shift), 420, 420) for corner in np.array(corners) for shift in around]
    result = find_overlaps(write(tmp_path / "chips", crops(ground, places)), report=False)
    assert_found(result, places)
    blind = random_split(list(result.groups["image"]), (0.5, 0.25, 0.25), seed=0)
    of = blind.set_index("image")["split"]
    torn = [one for one in true_places(places).itertuples() if of[one.image1] != of[one.image2]]
    leaks = audit(blind, result)
    assert leaks.leaks and len(leaks.pairs) == len(torn) > 10
    assert not audit(split(result, (0.5, 0.25, 0.25), seed=0), result).leaks


def test_tiles_with_a_margin_split_by_a_labelling_service(ground: Image, tmp_path: Path) -> None:
    """102 px of overlap, split at random: every image of validation and test leaks."""
    places = grid_places(2152, 2152, 512, 410)
    result = find_overlaps(write(tmp_path / "chips", crops(ground, places)), report=False)
    assert_found(result, places)
    table = audit(random_split(list(result.groups["image"]), seed=0), result).splits.set_index("split")
    assert table.loc[["validation", "test"], "image_share"].tolist() == [1, 1]


def test_small_chips_around_objects(ground: Image, tmp_path: Path) -> None:
    """Chips of 128 px that follow one another along a street: from half of the chip on, all are found."""
    rng = np.random.default_rng(4)
    centres = np.cumsum(rng.integers(20, 90, (24, 2)) * [1, 0] + rng.integers(-30, 30, (24, 2)), axis=0)
    places = [(600 + int(y), 600 + int(x), 128, 128) for y, x in centres]
    result = find_overlaps(write(tmp_path / "chips", crops(ground, places)), report=False)
    assert len(true_places(places, 64)) > 10
    assert_found(result, places, least=64)


# What looks like agreement and is none.


@pytest.mark.parametrize("draw", REPEATED.values(), ids=REPEATED)
def test_structure_that_repeats(draw: Callable[..., Image], tmp_path: Path) -> None:
    """Four images of equal structure, of which no two show the same: no overlap.

    The two crops of one further scene overlap by more than half; they lie at their true offset, or nowhere.
    """
    alone = [draw(320, seed) for seed in range(4)]
    scene = draw(500, 99)
    names = [f"{number:03}.jpg" for number in range(4)] + ["scene_a.jpg", "scene_b.jpg"]
    images = alone + crops(scene, [(0, 0, 320, 320), (71, 100, 320, 320)])
    result = find_overlaps(write(tmp_path / "chips", images, names), report=False)
    found = result.overlaps[result.overlaps["verdict"] != "undecidable"]
    true = found["image1"].eq("scene_a.jpg") & found["image2"].eq("scene_b.jpg")
    assert found[~true].empty, found[~true][[*PLACE, "score"]].to_string()
    assert found.loc[true, ["y_offset", "x_offset"]].values.tolist() in ([], [[71, 100]])


@pytest.mark.parametrize("lay", OVERLAYS.values(), ids=OVERLAYS)
def test_what_every_image_carries_is_no_evidence(
    lay: Callable[[Image], Image], ground: Image, shore: Image, tmp_path: Path
) -> None:
    """At one place of the frame of unrelated images, of land and of water."""
    unrelated = [(y, x, 400, 400) for y in range(0, 2000, 450) for x in range(0, 2000, 450)]
    images = crops(ground, unrelated[:14])
    images += [
        image.copy()
        for image in crops(shore, [(150, 0, 400, 400), (600, 420, 400, 400), (200, 860, 400, 400)])
    ]
    for image in images:
        lay(image)
    assert_nothing_found(find_overlaps(write(tmp_path / "chips", images), report=False))


# Copies.


def resaved(image: Image, quality: int) -> Image:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def half_size_and_back(image: Image) -> Image:
    half = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return cv2.resize(half, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)


def lighter(image: Image) -> Image:
    return np.clip(image.astype(np.int16) + 25, 0, 255).astype(np.uint8)


def contrasted(image: Image) -> Image:
    return np.clip((image.astype(np.float32) - 128) * 1.3 + 128, 0, 255).astype(np.uint8)


def greyed(image: Image) -> Image:
    return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


def noisy(image: Image, levels: float) -> Image:
    noise = np.random.default_rng(6).normal(0, levels, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


CHANGES: dict[str, Callable[[Image], Image]] = {
    **{f"JPEG {quality}": partial(resaved, quality=quality) for quality in (95, 75, 50, 25)},
    "half size and back": half_size_and_back,
    "lighter": lighter,
    "contrast": contrasted,
    "grey": greyed,
    "noise of 5 levels": partial(noisy, levels=5),
    "noise of 12 levels": partial(noisy, levels=12),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_copy_is_a_copy(change: Callable[[Image], Image], ground: Image, tmp_path: Path) -> None:
    """Whole copies, and parts of the changed image at another offset."""
    places = [(0, 0, 512, 512), (700, 0, 512, 512), (1400, 0, 512, 512)]
    moved = [(y + 101, x + 77, 480, 440) for y, x, _, _ in places]
    plain = crops(ground, places)
    copies = [change(image) for image in plain] + [change(image) for image in crops(ground, moved)]
    folder = write(tmp_path / "chips", plain + copies)
    result = find_overlaps(folder, report=False)
    # Two copies that were both spoiled strongly may pass for altered; each and its original do not.
    spoiled = [f"{number:03d}.jpg" for number in range(len(plain), len(plain) + len(copies))]
    of_two_copies = result.overlaps["image1"].isin(spoiled) & result.overlaps["image2"].isin(spoiled)
    assert set(result.overlaps.loc[of_two_copies, "verdict"]) <= {"duplicate", "altered"}
    result.overlaps.loc[of_two_copies, "verdict"] = "duplicate"
    assert_found(result, [*places, *places, *moved])


@pytest.mark.parametrize("kind", ALTERATIONS)
def test_one_of_two_copies_altered_in_a_part(kind: str, ground: Image, shore: Image, tmp_path: Path) -> None:
    plain = [*crops(ground, [(0, 0, 512, 512), (700, 100, 640, 480)]), *crops(shore, [(0, 0, 512, 640)])]
    rng = np.random.default_rng(7)
    altered = [alter(image, kind, rng) for image in plain]
    result = find_overlaps(write(tmp_path / "chips", plain + altered), report=False)
    assert result.overlaps[["image1", "image2"]].values.tolist() == [
        [f"{number:03}.jpg", f"{number + 3:03}.jpg"] for number in range(3)
    ]
    assert (result.overlaps[["y_offset", "x_offset"]] == 0).all(axis=None)
    assert (result.overlaps["verdict"] == "altered").all()
    groups = result.groups["group"].tolist()
    assert groups[:3] == groups[3:]


def assert_another_time(result: FindResult, n_pairs: int) -> None:
    """No copy and no altered copy; at most a revisit, at the true offset."""
    assert result.overlaps[result.overlaps["verdict"] != "undecidable"].empty
    assert len(result.revisits) <= n_pairs
    assert (result.revisits[["y_offset", "x_offset"]] == 0).all(axis=None)


def test_a_standing_camera(tmp_path: Path) -> None:
    """One harbour at five moments: quays and roofs stay, water, ships and goods do not."""
    frames = [synthetic_sea(512, 640, seed=8, day=day) for day in range(1, 6)]
    assert_another_time(find_overlaps(write(tmp_path / "frames", frames), report=False), 10)


def test_another_day_is_a_revisit_and_may_be_kept_together(ground: Image, tmp_path: Path) -> None:
    """Half of every tile differs; many votes say that it is the same ground."""
    picture = ground[:1792, :1792]
    again = picture.copy()
    for row in range(7):
        for col in range(7):
            tile = another_day_tile(picture, row, col, 256, 9)
            again[256 * row : 256 * (row + 1), 256 * col : 256 * (col + 1)] = tile
    places = [(0, 0, 768, 768), (1000, 1000, 768, 768)]
    images = crops(picture, places) + crops(again, places)
    result = find_overlaps(write(tmp_path / "days", images), report=False)
    assert_another_time(result, 2)
    pairs = [["000.jpg", "002.jpg"], ["001.jpg", "003.jpg"]]
    assert result.revisits[["image1", "image2"]].values.tolist() == pairs
    kept = split(result, (0.5, 0.5), seed=0, names=("a", "b"), keep_revisits=True)
    of = kept.set_index("image")["split"]
    assert all(of[one] == of[other] for one, other in pairs)
