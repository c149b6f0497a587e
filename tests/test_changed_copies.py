"""Images that were mirrored, turned, resized, rotated, found with the options that are for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from dupnet.acquisitions.alterations import another_day_tile
from dupnet.commands import cli
from dupnet.find import find_overlaps
from dupnet.find.judgements import apply_judgements
from dupnet.find.results import FindResult, read_results
from dupnet.images.reading import read_image
from dupnet.images.transforms import TRANSFORM_COLUMNS, inverse, matrix_of, moved, resampled
from dupnet.review import open_review
from dupnet.splits import audit, clean
from dupnet.splits.conflicts import compare_labels
from dupnet.splits.labels import Labels, Thing

SAMPLE = Path(__file__).parents[1] / "data" / "sample" / "images"

Pixels = np.ndarray
Match = Callable[[FindResult, str, str], dict[str, object]]

BASE = "base.png"


def ground(number: int) -> Pixels:
    """Crops of suburbs, (768, 768, 3), of one day; no two share ground."""
    table = pd.read_csv(SAMPLE.parent / "images.csv")
    kitsap = table[table["acquisition"].str.startswith("kitsap") & (table["day"] == 1)]
    first = kitsap.drop_duplicates("acquisition")["image"].tolist()
    return read_image(SAMPLE / first[number])


def other_day(picture: Pixels) -> Pixels:
    day = picture.copy()
    for row in range(3):
        for col in range(3):
            area = np.s_[row * 256 : row * 256 + 256, col * 256 : col * 256 + 256]
            day[area] = another_day_tile(picture, row, col, 256, 3)
    return day


def rotated(picture: Pixels, degrees: float, side: int) -> tuple[Pixels, np.ndarray]:
    """The middle of a picture, rotated; and the transform of it into the picture."""
    angle = np.radians(degrees)
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([(length - 1) / 2 for length in picture.shape[:2]])
    into = np.column_stack([linear, middle - linear @ ((side - 1) / 2, (side - 1) / 2)])
    return resampled(picture, inverse(into), side, side), into


def resized(picture: Pixels, height: int, width: int) -> Pixels:
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def save(folder: Path, images: dict[str, Pixels]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in images.items():
        cv2.imwrite(str(folder / name), np.ascontiguousarray(pixels[..., ::-1]))
    return folder


def pairs_of(table: pd.DataFrame) -> set[tuple[str, str]]:
    return set(table[["image1", "image2"]].itertuples(index=False, name=None))


def row_of(result: FindResult, one: str, two: str) -> dict[str, object]:
    table = result.overlaps
    found = table[(table["image1"] == one) & (table["image2"] == two)]
    assert len(found) == 1, (one, two)
    return found.iloc[0].to_dict()


def groups_of(result: FindResult) -> dict[str, int]:
    return dict(zip(result.groups["image"], result.groups["group"], strict=True))


def turned_images() -> dict[str, Pixels]:
    picture = ground(0)
    day = other_day(picture)
    return {
        BASE: picture[:448, :448],
        "mirror.png": picture[64:512, 40:488][:, ::-1],
        "quarter.png": np.rot90(picture[90:538, 120:568]),
        "both.png": np.rot90(picture[30:478, 60:508][:, ::-1], 3),
        "upright.png": picture[100:548, 30:478],
        "day.png": np.rot90(day[40:488, 80:528]),
        "elsewhere.png": np.rot90(ground(1)[:448, :448]),
    }


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FindResult]:
    folder = tmp_path_factory.mktemp("turned")
    images = save(folder / "images", turned_images())
    return folder, find_overlaps(images, out=folder / "out", turned=True, workers=1)


@pytest.fixture(scope="module")
def rescaled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FindResult]:
    picture = ground(2)
    base = picture[128:640, 128:640]
    day = other_day(picture)
    images = {
        BASE: base,
        "five.png": rotated(picture, 5, 512)[0],
        "half.png": resized(picture, 384, 384),
        "stretched.png": resized(picture[80:640, :], 640, 640),
        "crop97.png": resized(base[8:504, 10:506], 512, 512),
        "crop90.png": resized(base[20:480, 40:500], 512, 512),
        "day5.png": rotated(day, 5, 512)[0],
        "dayhalf.png": resized(day, 384, 384),
        "elsewhere.png": resized(ground(1), 512, 512),
    }
    folder = tmp_path_factory.mktemp("rescaled")
    save(folder / "images", images)
    return folder, find_overlaps(folder / "images", out=folder / "out", rescaled=True, workers=1)


class TestTurned:
    def test_every_turn_is_found_exactly(self, turned: tuple[Path, FindResult]) -> None:
        _, result = turned
        expected = {
            "both.png": (1, 270, 30, 60),
            "mirror.png": (1, 0, 64, 40),
            "quarter.png": (0, 90, 90, 120),
        }
        table = result.overlaps
        for name, (flip, turn, y, x) in expected.items():
            row = table[(table["image1"] == BASE) & (table["image2"] == name)].iloc[0]
            assert row["verdict"] == "duplicate"
            # As image 2 must be changed to lie on image 1: turned back.
            back = {90: 270, 270: 270 if flip else 90, 0: 0}[turn]
            assert (row["flip"], row["turn"]) == (flip, back)
            assert (row["scale"], row["rotation"], row["residual"]) == (1, 0, 0)
            assert (row["y_offset"], row["x_offset"]) == (y, x)
            assert (row["height"], row["width"]) == (448 - y, 448 - x)
            pixels = np.array(read_image(turned[0] / "images" / name))
            laid = resampled(pixels, matrix_of(row), 448, 448)
            assert (laid[y:, x:] == turned_images()[BASE][y:, x:]).all()

    def test_upright_pairs_are_as_without(self, turned: tuple[Path, FindResult]) -> None:
        folder, result = turned
        plain = find_overlaps(folder / "images", workers=1)
        assert not set(TRANSFORM_COLUMNS) & set(plain.overlaps)
        upright = result.overlaps[result.overlaps["flip"].eq(0) & result.overlaps["turn"].eq(0)]
        kept = upright[list(plain.overlaps)].reset_index(drop=True)
        pd.testing.assert_frame_equal(kept, plain.overlaps)
        assert pairs_of(plain.overlaps) == {(BASE, "upright.png")}
        places = ["mosaic", "y", "x"]
        pd.testing.assert_frame_equal(result.groups[places], plain.groups[places])

    def test_another_day_and_another_place_are_refused(self, turned: tuple[Path, FindResult]) -> None:
        _, result = turned
        groups = groups_of(result)
        assert pairs_of(result.overlaps) == {
            (one, two)
            for one in groups
            for two in groups
            if one < two and not {one, two} & {"day.png", "elsewhere.png"}
        }
        joined = {image for image, group in groups.items() if group == groups[BASE]}
        assert joined == set(groups) - {"day.png", "elsewhere.png"}
        assert {"day.png"} < set(result.revisits[["image1", "image2"]].to_numpy().ravel())

    def test_what_was_searched_is_said_and_kept(self, turned: tuple[Path, FindResult]) -> None:
        folder, result = turned
        assert "mirrored or turned by quarters" in result.coverage()[0]
        assert "resized" not in result.coverage()[0]
        again = read_results(folder / "out")
        assert again.searched["turned"] and again.options["turned"] and not again.options["rescaled"]
        read = again.overlaps[list(TRANSFORM_COLUMNS)].astype(float)
        pd.testing.assert_frame_equal(read, result.overlaps[list(TRANSFORM_COLUMNS)].astype(float))

    def test_added_images_are_turned_too(self, tmp_path: Path) -> None:
        every = turned_images()
        first = save(tmp_path / "first", {name: every[name] for name in (BASE, "mirror.png")})
        more = save(tmp_path / "more", {"quarter.png": every["quarter.png"]})
        find_overlaps(first, out=tmp_path / "out", workers=1, report=False)
        result = find_overlaps(more, out=tmp_path / "out", add=True, turned=True, workers=1, report=False)
        assert len(result.overlaps) == 3

    def test_against(self, tmp_path: Path) -> None:
        every = turned_images()
        old = save(tmp_path / "old", {name: every[name] for name in (BASE, "mirror.png")})
        new = save(tmp_path / "new", {"quarter.png": every["quarter.png"]})
        result = find_overlaps(new, against=old, turned=True, workers=1)
        assert pairs_of(result.overlaps) == {
            ("old/base.png", "quarter.png"),
            ("old/mirror.png", "quarter.png"),
        }

    def test_small_chips(self, tmp_path: Path) -> None:
        picture = ground(3)
        images = {}
        for side, at in ((64, 0), (128, 200), (256, 400)):
            images[f"{side}.png"] = picture[at : at + side, at : at + side]
            images[f"{side}t.png"] = np.rot90(images[f"{side}.png"][:, ::-1])
        result = find_overlaps(save(tmp_path / "images", images), turned=True, workers=1)
        wanted = {(f"{side}.png", f"{side}t.png") for side in (64, 128, 256)}
        assert wanted <= pairs_of(result.overlaps)
        groups = groups_of(result)
        assert all(groups[f"{side}.png"] == groups[f"{side}t.png"] for side in (64, 128, 256))


class TestRescaled:
    def test_each_change_is_found(self, rescaled: tuple[Path, FindResult]) -> None:
        """And where image 2 lies on image 1 to a part of a pixel."""
        _, result = rescaled
        shift = np.array([128.0, 128.0])
        into = rotated(ground(2), 5, 512)[1]
        true = {
            "five.png": np.column_stack([into[:, :2], into[:, 2] - shift]),
            "half.png": np.array([[2, 0, 0.5 - 128], [0, 2, 0.5 - 128]]),
            "stretched.png": np.array([[0.875, 0, 80 - 128 - 0.0625], [0, 1.2, 0.1 - 128]]),
            "crop97.png": np.array([[496 / 512, 0, 8 - 8 / 512], [0, 496 / 512, 10 - 8 / 512]]),
            "crop90.png": np.array([[460 / 512, 0, 20 - 26 / 512], [0, 460 / 512, 40 - 26 / 512]]),
        }
        points = np.array([(256.0, 256.0), (150.0, 200.0), (200.0, 330.0)])
        for name, matrix in true.items():
            row = row_of(result, BASE, name)
            assert row["verdict"] == "duplicate", name
            assert np.abs(moved(matrix_of(row), points) - moved(matrix, points)).max() < 1, name
            assert row["residual"] < 1
        assert row_of(result, BASE, "five.png")["rotation"] == pytest.approx(5, abs=0.1)
        assert row_of(result, BASE, "half.png")["scale"] == pytest.approx(2, abs=0.01)
        stretched = row_of(result, BASE, "stretched.png")
        assert (stretched["scale_y"], stretched["scale_x"]) == pytest.approx((0.875, 1.2), abs=0.01)

    def test_another_day_and_another_place_are_refused(self, rescaled: tuple[Path, FindResult]) -> None:
        _, result = rescaled
        days = {"day5.png", "dayhalf.png"}
        for one, two in pairs_of(result.overlaps):
            assert "elsewhere.png" not in (one, two)
            assert (one in days) == (two in days)
        groups = groups_of(result)
        same = set(groups) - days - {"elsewhere.png"}
        assert {groups[name] for name in same} == {groups[BASE]}
        assert all(groups[name] != groups[BASE] for name in set(groups) - same)
        assert "resized by 0.4 to 2.5" in result.coverage()[0]

    def test_without_the_option_none_is_found(self, rescaled: tuple[Path, FindResult]) -> None:
        folder, _ = rescaled
        plain = find_overlaps(folder / "images", workers=1)
        assert not {"half.png", "stretched.png", "five.png"} & set(plain.overlaps["image2"])


def test_three_versions_of_every_image_join_their_source(tmp_path: Path) -> None:
    """As labelling services draw them: stretched to 640 x 640, mirrored, turned, rotated, cropped."""
    images = {}
    for number in (0, 2):
        picture = ground(number)[: 768 - 168 * (number > 0)]
        square = resized(picture, 640, 640)
        images[f"{number}.png"] = picture
        images[f"{number}-a.png"] = rotated(square, -12, 640)[0][:, ::-1]
        images[f"{number}-b.png"] = np.rot90(square)
        images[f"{number}-c.png"] = np.rot90(resized(square[20:596, 30:606], 640, 640)[:, ::-1], 2)
    result = find_overlaps(save(tmp_path / "images", images), turned=True, rescaled=True, workers=1)
    groups = groups_of(result)
    for name, group in groups.items():
        assert group == groups[f"{name[0]}.png"], name
    assert groups["0.png"] != groups["2.png"]


class TestWhatFollows:
    """What is made of a result heeds how images were changed."""

    def test_audit_counts_the_pixels_of_both(self, turned: tuple[Path, FindResult]) -> None:
        _, result = turned
        splits = pd.DataFrame({"image": [BASE, "quarter.png"], "split": ["train", "val"]})
        found = audit(splits, result)
        shared = (448 - 90) * (448 - 120)
        assert found.splits["leaked_pixels"].tolist() == [shared, shared]
        assert found.pairs["share"].tolist() == [round(shared / 448**2, 4)]

    def test_audit_counts_what_a_reduced_copy_shows(self, rescaled: tuple[Path, FindResult]) -> None:
        _, result = rescaled
        splits = pd.DataFrame({"image": [BASE, "half.png"], "split": ["train", "val"]})
        found = audit(splits, result)
        leaked = found.splits.set_index("split")["leaked_pixels"]
        assert leaked["train"] == pytest.approx(512**2, rel=0.01)
        assert leaked["val"] == pytest.approx(256**2, rel=0.03)
        assert found.pairs["share"].tolist() == pytest.approx([1], abs=0.01)

    def test_clean_knows_the_share(self, rescaled: tuple[Path, FindResult]) -> None:
        _, result = rescaled
        kept = clean(result, share=0.95)
        # The largest, stretched over nearly all of the ground, stands for what it shows.
        reasons = kept.remove.set_index("image")["kept"]
        assert {reasons[name] for name in (BASE, "half.png", "crop97.png")} == {"stretched.png"}

    @pytest.mark.parametrize("moved_by", [0, 40])
    def test_boxes_are_carried_over(self, turned: tuple[Path, FindResult], moved_by: int) -> None:
        _, result = turned
        row = row_of(result, BASE, "quarter.png")
        back = inverse(matrix_of(row))
        box = (200.0, 240.0, 30.0, 50.0)
        corners = moved(back, np.array([(200.0, 240.0), (230.0, 290.0)]) - 0.5) + 0.5
        begin, end = corners.min(axis=0), corners.max(axis=0)
        other = (begin[0] + moved_by, begin[1], end[0] - begin[0], end[1] - begin[1])
        assert other[2:] == pytest.approx((50, 30))
        labels = Labels(things={BASE: [Thing("house", box)], "quarter.png": [Thing("house", other)]})
        assert len(compare_labels(labels, result).table) == (moved_by > 0)

    def test_masks_are_carried_over(self, turned: tuple[Path, FindResult]) -> None:
        _, result = turned
        first = np.zeros((448, 448), bool)
        first[200:240, 260:330] = True
        row = row_of(result, BASE, "quarter.png")
        second = resampled(first.astype(np.uint8), inverse(matrix_of(row)), 448, 448, nearest=True) > 0
        for two, n_conflicts in ((second, 0), (np.roll(second, 60, axis=0), 1)):
            labels = Labels(masks={BASE: run_lengths(first), "quarter.png": run_lengths(two)})
            assert len(compare_labels(labels, result).table) == n_conflicts

    def test_review_shows_both_in_one_frame(self, turned: tuple[Path, FindResult], tmp_path: Path) -> None:
        folder, _ = turned
        with open_review(folder / "out", judgements=tmp_path / "judged.csv").judgements:
            pass
        review = open_review(folder / "out", judgements=tmp_path / "judged.csv")
        ends = review.pairs[["image1", "image2"]].to_numpy().tolist()
        pair = ends.index([BASE, "quarter.png"])
        regions = [review.picture(pair, name) for name in ("region1", "region2")]
        assert regions[0].shape == (448 - 90, 448 - 120, 3)
        assert (regions[0] == regions[1]).all()
        assert min(tile["score"] for tile in review.tiles(pair)) > 0.9
        assert review.judge(pair, "duplicate") == ""
        assert review.state(pair)["judged"] == 1
        review.judgements.close()

    def test_judgements_on_changed_images(self, turned: tuple[Path, FindResult]) -> None:
        """One judged to be none leaves the table; all others, and places, stay."""
        _, result = turned
        row = row_of(result, BASE, "quarter.png")
        judged = pd.DataFrame([{**row, "verdict": "not_duplicate", "overlap_tag": ""}])
        after = apply_judgements(result, judged)
        assert pairs_of(result.overlaps) - pairs_of(after.overlaps) == {(BASE, "quarter.png")}
        assert groups_of(after) == groups_of(result)
        every = result.overlaps[(result.overlaps[["image1", "image2"]] == "quarter.png").any(axis=1)]
        after = apply_judgements(result, every.assign(verdict="not_duplicate"))
        assert groups_of(after)["quarter.png"] != groups_of(after)[BASE]
        assert groups_of(after)["mirror.png"] == groups_of(after)[BASE]
        upright = pd.DataFrame([{**row_of(result, BASE, "upright.png"), "verdict": "duplicate"}])
        again = apply_judgements(result, upright)
        assert pairs_of(again.overlaps) == pairs_of(result.overlaps)
        assert again.searched["judgements"]["heeded"] == 1

    def test_the_report_says_how(self, turned: tuple[Path, FindResult]) -> None:
        page = (turned[0] / "out" / "report.html").read_text(encoding="utf-8")
        assert "mirrored, turned by 270" in page


def run_lengths(mask: np.ndarray) -> str:
    """Of a mask as tables of segmentation masks have it: start and length, down the columns, from 1."""
    flat = np.concatenate([[0], mask.T.ravel().astype(int), [0]])
    edges = np.flatnonzero(np.diff(flat))
    return " ".join(f"{start + 1} {stop - start}" for start, stop in edges.reshape(-1, 2))


class TestCommands:
    @pytest.mark.parametrize("option", ["turned", "rescaled"])
    def test_options_reach_the_search(
        self, option: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        seen: list[dict[str, object]] = []

        def find(*_: object, **options: object) -> None:
            seen.append(options)
            raise ValueError("stop")

        monkeypatch.setattr("dupnet.find.engine.find_overlaps", find)
        (tmp_path / "images").mkdir()
        for command in (["find"], ["audit"]):
            for words, is_on in (([f"--{option}"], True), ([], False)):
                assert cli.main([*command, str(tmp_path / "images"), *words]) == 2
                assert seen[-1][option] is is_on

    @pytest.mark.parametrize("option", ["turned", "rescaled"])
    def test_they_exclude_a_grid_and_a_cluster(
        self, option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        save(tmp_path / "images", {BASE: turned_images()[BASE]})
        with pytest.raises(ValueError, match=f"{option} images lie on no grid"):
            find_overlaps(tmp_path / "images", grid=64, **{option: True})
        command = ["find", str(tmp_path / "images"), f"--{option}", "--scheduler", "tcp://nowhere:1"]
        assert cli.main(command) == 2
        assert f"--{option}" in capsys.readouterr().err

    @pytest.mark.parametrize("option", ["turned", "rescaled"])
    def test_they_are_of_a_search(
        self, option: str, turned: tuple[Path, FindResult], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["audit", str(turned[0] / "out"), f"--{option}"]) == 2
        assert "no folder to search" in " ".join(capsys.readouterr().err.split())
