"""find: against exact truth, stopped and resumed, in any order, with whatever else lies in the folder."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import pytest
from test_images import REFUSED, encoded

import dupnet
from benchmarks.collections import kills
from dupnet.acquisitions.scenes import cut_collection
from dupnet.find import cache as cache_module
from dupnet.find import describe, steps, tile_index, verification
from dupnet.find.engine import find_overlaps
from dupnet.find.results import FindResult, read_results
from dupnet.find.scoring import PAIRS_AT_A_TIME, ScoredOnce
from dupnet.tiles import Grid

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
TABLES = tuple(
    f"{name}.csv"
    for name in ("overlaps", "groups", "revisits", "rejected", "refused", "unreadable", "converted")
)
KEY = ["image1", "image2", "overlap_tag", "row_offset", "col_offset"]


class Cached(NamedTuple):
    """A finished run: its output, where in it the cache is, one of its files of rows, and its options."""

    out: Path
    cache: Path
    rows: str
    options: dict[str, int]


def acquisition(tiles: int = 5, seed: int = 0) -> np.ndarray:
    """Something with texture everywhere: (256 tiles, 256 tiles, 3) uint8."""
    noise = np.random.default_rng(seed).standard_normal((256 * tiles, 256 * tiles)).astype(np.float32)
    grey = sum(cv2.GaussianBlur(noise, (0, 0), sigma) * sigma for sigma in (1.0, 3.0, 9.0))
    return np.repeat(np.clip(128 + 20 * grey, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine images of one acquisition, two of another: ``images/`` and ``truth.csv``."""
    folder = tmp_path_factory.mktemp("collection")
    cut_collection(acquisition(), folder / "one", acquisition_name="one")
    cut_collection(acquisition(4, seed=1), folder / "two", n_images=2, acquisition_name="two", seed=1)
    (folder / "images").mkdir()
    for part in ("one", "two"):
        for file in (folder / part / "images").iterdir():
            file.rename(folder / "images" / file.name)
    truth = [pd.read_csv(folder / part / "truth.csv", dtype={"overlap_tag": str}) for part in ("one", "two")]
    pd.concat(truth).to_csv(folder / "truth.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def undisturbed(collection: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of one run from scratch."""
    out = tmp_path_factory.mktemp("undisturbed")
    find_overlaps(collection / "images", out=out, report=False)
    return out


@pytest.fixture(scope="module")
def on_grid(collection: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of one run on the grid."""
    out = tmp_path_factory.mktemp("on_grid")
    find_overlaps(collection / "images", out=out, grid=256, report=False)
    return out


@pytest.fixture(params=["points", "tiles"])
def cached(request: pytest.FixtureRequest, undisturbed: Path, on_grid: Path) -> Cached:
    """A finished run with each kind of cache."""
    if request.param == "points":
        return Cached(undisturbed, Path("cache", "points"), "codes.rows", {})
    return Cached(on_grid, Path("cache", "tiles"), "verify.rows", {"grid": 256})


def table_bytes(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in TABLES}


def found_pairs(result: FindResult) -> set[tuple[object, ...]]:
    return set(result.overlaps[KEY].itertuples(index=False, name=None))


def true_pairs(folder: Path) -> set[tuple[object, ...]]:
    truth = pd.read_csv(folder / "truth.csv", dtype={"overlap_tag": str})
    return set(truth.loc[truth["is_duplicate"] == 1, KEY].itertuples(index=False, name=None))


@pytest.mark.parametrize("grid", [None, 256])
def test_sample_every_true_overlap_and_no_other(grid: int | None) -> None:
    result = dupnet.find_overlaps(SAMPLE / "images", grid=grid)
    truth = pd.read_csv(SAMPLE / "truth.csv", dtype={"overlap_tag": str})
    assert found_pairs(result) == true_pairs(SAMPLE)
    both = result.overlaps.merge(truth, on=KEY)
    decided = both["n_decidable_y"] > 0
    assert (both.loc[decided, "verdict"] == "duplicate").all()
    assert (both.loc[~decided, "verdict"] == "undecidable").all()
    assert result.rejected.empty
    assert result.unreadable.empty
    # Every tag says what its pixels say.
    assert result.grid == Grid()
    overlaps = result.overlaps
    assert (overlaps["y_offset"] == 256 * overlaps["row_offset"]).all()
    assert (overlaps["x_offset"] == 256 * overlaps["col_offset"]).all()
    assert (overlaps["height"] * overlaps["width"] == 256**2 * both["n_tiles_y"]).all()
    assert (overlaps["n_differing"] == 0).all()
    if grid is not None:
        assert (both["n_tiles_x"] == both["n_tiles_y"]).all()
        assert result.coverage()[0] == "Searched: whole tiles on a grid of 256 px only."
    else:
        assert result.coverage()[0].startswith("Searched: any offset; regions from 32 px.")


def test_groups_are_the_acquisitions(collection: Path, undisturbed: Path) -> None:
    result = read_results(undisturbed)
    assert found_pairs(result) == true_pairs(collection)
    images = pd.concat(pd.read_csv(collection / part / "images.csv") for part in ("one", "two"))
    both = result.groups.merge(images, on="image")
    assert len(both) == 11
    assert (both.groupby("acquisition")["group"].nunique() == 1).all()
    assert (result.groups["mosaic"] == result.groups["group"]).all()
    assert (result.groups[["y", "x"]] == 256 * result.groups[["row", "col"]].to_numpy()).all(axis=None)
    assert (result.groups[["height", "width"]] == 768).all(axis=None)
    for _, group in both.groupby("group"):
        for found, true in (("row_x", "row_y"), ("col_x", "col_y")):
            assert (group[true] - group[found]).nunique() == 1


def test_written_and_read_back(collection: Path, tmp_path: Path) -> None:
    result = find_overlaps(collection / "images", out=tmp_path)
    again = read_results(tmp_path)
    for name in (table.removesuffix(".csv") for table in TABLES):
        pd.testing.assert_frame_equal(getattr(result, name), getattr(again, name), check_dtype=False)
    pd.testing.assert_frame_equal(
        result.overlaps, pd.read_parquet(tmp_path / "overlaps.parquet"), check_dtype=False
    )
    for name in ("grid", "counts", "folders", "searched", "options"):
        assert getattr(again, name) == getattr(result, name)
    assert set(os.listdir(tmp_path)) == {
        *TABLES, "overlaps.parquet", "report.html", "run.json", "mosaics", "cache"
    }  # fmt: skip
    assert sorted(os.listdir(tmp_path / "mosaics")) == ["000000.jpg", "000001.jpg"]
    record = json.loads((tmp_path / "run.json").read_text())
    assert {"dupnet", "weights", "numpy", "opencv"} <= set(record["versions"])
    assert {"describe points", "join points", "judge", "tables", "mosaics", "report"} <= set(
        record["seconds"]
    )
    assert "11 images" in result.summary()
    assert result.path(result.groups["image"][0]).exists()


def test_on_its_grid_as_at_any_offset(collection: Path, undisturbed: Path) -> None:
    """The same overlaps, places and groups; what was judged differs in the tiles that it counts."""
    wanted, result = read_results(undisturbed), find_overlaps(collection / "images", grid=256)
    same = [*KEY, "y_offset", "x_offset", "height", "width", "verdict"]
    pd.testing.assert_frame_equal(result.overlaps[same], wanted.overlaps[same], check_dtype=False)
    pd.testing.assert_frame_equal(result.groups, wanted.groups, check_dtype=False)


def test_crops_at_any_offset_and_of_several_sizes(tmp_path: Path) -> None:
    """Places in pixels, wherever crops of whatever sizes lie: every overlap that is wide enough."""
    picture = acquisition(4)
    boxes = {
        "a.png": (0, 0, 500, 500), "b.png": (210, 333, 640, 420), "c.png": (411, 67, 400, 555),
        "d.png": (700, 600, 300, 400), "e.png": (3, 700, 320, 322),
    }  # fmt: skip
    folder = tmp_path / "images"
    folder.mkdir()
    for name, (top, left, height, width) in boxes.items():
        cv2.imwrite(str(folder / name), picture[top : top + height, left : left + width])
    cv2.imwrite(str(folder / "other.png"), acquisition(2, seed=7))
    result = find_overlaps(folder, out=tmp_path / "out", report=False)
    expected = []
    for (one, box1), (other, box2) in combinations(boxes.items(), 2):
        bottom, right = (min(box1[axis] + box1[axis + 2], box2[axis] + box2[axis + 2]) for axis in (0, 1))
        height, width = bottom - max(box1[0], box2[0]), right - max(box1[1], box2[1])
        if min(height, width) >= result.searched["smallest_region"]:
            expected.append((one, other, box2[0] - box1[0], box2[1] - box1[1], height, width))
    columns = ["image1", "image2", "y_offset", "x_offset", "height", "width"]
    assert list(result.overlaps[columns].itertuples(index=False, name=None)) == expected
    assert (result.overlaps["verdict"] == "duplicate").all()
    assert (result.overlaps["overlap_tag"] == "").all() and result.grid is None
    assert result.groups["group"].tolist() == result.groups["mosaic"].tolist() == [0, 0, 0, 0, 0, 1]
    places = [list(box) for box in boxes.values()]
    assert result.groups[["y", "x", "height", "width"]].values.tolist() == [*places, [0, 0, 512, 512]]
    again = read_results(tmp_path / "out")
    assert again.grid is None
    pd.testing.assert_frame_equal(again.groups, result.groups, check_dtype=False)


def test_in_memory_as_on_disk(collection: Path, undisturbed: Path) -> None:
    result = find_overlaps(collection / "images")
    pd.testing.assert_frame_equal(result.overlaps, read_results(undisturbed).overlaps, check_dtype=False)


@pytest.mark.parametrize("grid", [None, 256])
def test_workers_change_nothing(
    grid: int | None, collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Points and descriptors, votes, scores and tables are the same bytes with one thread, two and four."""
    monkeypatch.setattr("dupnet.find.verification.PAIRS_AT_A_TIME", 3)  # so that there is work for four
    monkeypatch.setattr("dupnet.network.head.CHUNK", 16)
    found = []
    for workers in (1, 2, 4):
        out = tmp_path / str(workers)
        result = find_overlaps(collection / "images", out=out, grid=grid, report=False, workers=workers)
        rows = {path.name: path.read_bytes() for path in (out / "cache").glob("*/*.rows")}
        assert len(rows) >= 4
        found.append((table_bytes(out), rows, dict(result.counts)))
    assert found[0] == found[1] == found[2]


def test_content_alone_decides_what_is_scored_together() -> None:
    rng = np.random.default_rng(0)
    content = rng.integers(2**63, size=900, dtype=np.uint64)
    copies = rng.integers(0, len(content), (2, 5000))
    where = rng.permutation(2 * len(content)).reshape(2, -1)  # two rows of each content
    hashes = np.empty(where.size, np.uint64)
    hashes[where] = content
    scored: list[list[np.ndarray]] = [[], []]
    for run, side in ((0, np.zeros(2, int)), (1, np.array([1, 0]))):

        def score(portions: list[np.ndarray], run: int = run) -> list[np.ndarray]:
            scored[run] += [hashes[portion] for portion in portions]
            return [(hashes[portion] % 1000).sum(axis=0).astype(np.float32) for portion in portions]

        scores = ScoredOnce(hashes, score)
        for part in (slice(0, 2000), slice(2000, None)):
            rows = where[side[:, None], copies[:, part]]
            expected = (content[copies[:, part]] % 1000).sum(axis=0)
            np.testing.assert_array_equal(scores(*rows), expected)
    for one, other in zip(*scored, strict=True):
        np.testing.assert_array_equal(one, other)
    together = np.concatenate(scored[0], axis=1)
    assert together.shape[1] == len(np.unique(copies, axis=1).T)
    assert max(portion.shape[1] for portion in scored[0]) <= PAIRS_AT_A_TIME


def test_images_that_come_later(collection: Path, undisturbed: Path, tmp_path: Path) -> None:
    """Files that appear in the folder, last names first, end in the tables of a run from scratch."""
    names = sorted(os.listdir(collection / "images"))
    folder = tmp_path / "images"
    folder.mkdir()
    for part in (names[6:], names[2:6], names[:2]):
        for name in part:
            shutil.copy2(collection / "images" / name, folder)
        find_overlaps(folder, out=tmp_path / "out", report=False)
    assert table_bytes(tmp_path / "out") == table_bytes(undisturbed)


def test_add_a_folder(
    collection: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sorted(os.listdir(collection / "images"))
    for folder, part in (("old", names[3:]), ("new", names[:3])):
        (tmp_path / folder).mkdir()
        for name in part:
            shutil.copy2(collection / "images" / name, tmp_path / folder)
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="no collection to add to"):
        find_overlaps(tmp_path / "new", out=out, add=True)
    find_overlaps(tmp_path / "old", out=out, report=False)
    with pytest.raises(ValueError, match="choose another folder"):
        find_overlaps(tmp_path / "new", out=out)

    read: list[str] = []
    load = describe.load_image

    def counting(path: Path, **options: object) -> object:
        read.append(Path(path).name)
        return load(path, **options)

    monkeypatch.setattr(describe, "load_image", counting)
    result = find_overlaps(tmp_path / "new", out=out, add=True)
    assert sorted(set(read)) == names[:3]  # the others are known
    assert table_bytes(out) == table_bytes(undisturbed)
    assert result.folders == (tmp_path / "old", tmp_path / "new")
    assert result.path(names[0]) == tmp_path / "new" / names[0]
    find_overlaps(tmp_path / "old", out=out, report=False)  # the collection is both from now on
    assert table_bytes(out) == table_bytes(undisturbed)

    shutil.copy2(tmp_path / "old" / names[3], tmp_path / "new")
    with pytest.raises(ValueError, match="is in both"):
        find_overlaps(tmp_path / "new", out=out, add=True)


def test_against(collection: Path, tmp_path: Path) -> None:
    names = sorted(os.listdir(collection / "images"))
    for folder, part in (("train", names[:7]), ("test", names[5:])):  # two images are in both
        (tmp_path / folder).mkdir()
        for name in part:
            shutil.copy2(collection / "images" / name, tmp_path / folder)
    result = find_overlaps(tmp_path / "train", against=tmp_path / "test", out=tmp_path / "out")
    expected = set()
    for image1, image2, _, row, col in true_pairs(collection):
        for one, other, sign in ((image1, image2, 1), (image2, image1, -1)):
            if one in names[:7] and other in names[5:]:
                pair = (one, f"test/{other}", sign * row, sign * col)
                swapped = (f"test/{other}", one, -sign * row, -sign * col)
                expected.add(min(pair, swapped))
    expected |= {(*sorted((name, f"test/{name}")), 0, 0) for name in names[5:7]}
    columns = ["image1", "image2", "row_offset", "col_offset"]
    assert set(result.overlaps[columns].itertuples(index=False, name=None)) == expected
    assert result.searched["against"]
    assert "pairs within either side" in result.coverage()[1]
    assert result.path(f"test/{names[8]}") == tmp_path / "test" / names[8]
    with pytest.raises(ValueError, match="exclude each other"):
        find_overlaps(tmp_path / "train", against=tmp_path / "test", out=tmp_path / "out", add=True)
    with pytest.raises(ValueError, match="the folder itself"):
        find_overlaps(tmp_path / "train", against=tmp_path / "train")


def test_copies_of_one_image(collection: Path, tmp_path: Path) -> None:
    """Twelve copies of an image, bit by bit: every two of them are found."""
    name = sorted(os.listdir(collection / "images"))[0]
    for number in range(12):
        shutil.copy2(collection / "images" / name, tmp_path / f"{number:02}.jpg")
    for grid in (None, 256):
        result = find_overlaps(tmp_path, grid=grid)
        assert len(result.overlaps) == 66
        assert (result.overlaps["overlap_tag"] == "08").all()
    assert result.counts["tiles_equal"] == 99


def test_tiles_of_another_size(tmp_path: Path) -> None:
    cut_collection(acquisition(2), tmp_path, image_size=256, stride=128)
    result = find_overlaps(tmp_path / "images", tile_size=128)
    assert found_pairs(result) == true_pairs(tmp_path)


def test_tiles_closer_than_side_by_side(tmp_path: Path) -> None:
    """Images cut at a stride of 128, in tiles of 256: found where they share a whole tile."""
    cut_collection(acquisition(3), tmp_path, image_size=512, stride=128)
    result = find_overlaps(tmp_path / "images", tile_size=256, stride=128)
    shared = {pair for pair in true_pairs(tmp_path) if max(abs(pair[3]), abs(pair[4])) <= 2}
    assert found_pairs(result) == shared
    n_tiles = (3 - result.overlaps["row_offset"].abs()) * (3 - result.overlaps["col_offset"].abs())
    assert (result.overlaps["n_tiles"] == n_tiles).all()
    assert (result.grid.rows, result.grid.tile_size) == (4, 128)
    assert result.coverage() == ["Searched: whole tiles on a grid of 128 px only."]
    assert result.searched["smallest_region"] == 256


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile_size": 100}, "tile_size is 100"),
        ({"stride": 100}, "stride is 100"),
        ({"stride": 512}, "stride is 512"),
        ({"workers": 0}, "workers is 0"),
    ],
)
def test_wrong_options(options: dict[str, int], message: str, collection: Path) -> None:
    with pytest.raises(ValueError, match=message):
        find_overlaps(collection / "images", **options)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 8, 8, 3), np.uint8), r"type ndarray \(2, 8, 8, 3\); pass a folder.*dupnet\.compare"),
        (pd.DataFrame({"image": ["a.png"]}), r"type DataFrame \(1, 1\); pass a folder"),
        (pd.Series([1, 2]), "images holds 1 of type int; pass a folder"),
        ([np.zeros((8, 8), np.uint8)], "images holds .* of type ndarray; pass a folder"),
        ([["a.png"]], "of type list; pass a folder"),
        (b"images", "type bytes; pass a folder"),
        (5, "type int; pass a folder"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_images_that_are_no_paths(images: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=message):
        dupnet.find_overlaps(images, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_column_of_paths(collection: Path) -> None:
    paths = sorted((collection / "images").iterdir())[:2]
    result = find_overlaps(pd.Series([str(path) for path in paths]))
    assert len(result.groups) == 2


def test_scratch_that_a_kill_left_goes(collection: Path, tmp_path: Path) -> None:
    """What a join had on disk, which may be many gigabytes."""
    left = tmp_path / "cache" / "join-of-a-killed-run"
    left.mkdir(parents=True)
    (tmp_path / "cache" / "lock").touch()
    (left / "codes").write_bytes(b"1")
    paths = sorted((collection / "images").iterdir())[:2]
    find_overlaps(paths, out=tmp_path, report=False)
    assert not left.exists()


def test_wrong_assumption_about_tiles(collection: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"None of 11 files can be used .*512 px tiles"):
        find_overlaps(collection / "images", tile_size=512, out=tmp_path)


def test_a_folder_of_odd_files(collection: Path, undisturbed: Path, tmp_path: Path) -> None:
    """Every bad file is listed with its reason, whatever its name, and the others are found as without it."""
    folder = tmp_path / "images"
    shutil.copytree(collection / "images", folder)
    expected = {}
    for name, (make, reason) in REFUSED.items():
        (folder / name).write_bytes(make())
        expected[name] = reason
    odd = (
        " space.jpg",
        "-rf.jpg",
        "=1+1.jpg",
        '"quoted".jpg',
        "a,b;c.jpg",
        "new\nline.jpg",
        "<b>bold.jpg",
        "ünïcode.jpg",
        "NA",
    )
    for name in odd:
        (folder / name).write_bytes(b"no picture")
        expected[name] = "not an image of a known kind"
    cv2.imwrite(str(folder / "small.png"), acquisition(1)[:63])
    expected["small.png"] = "too small: 63 x 256 pixels; 64 are needed"
    os.symlink("loop.jpg", folder / "loop.jpg")
    expected["loop.jpg"] = "symbolic links"
    os.symlink("nowhere", folder / "dangling.jpg")
    expected["dangling.jpg"] = "vanished"
    os.mkfifo(folder / "pipe")
    expected["pipe"] = "not a regular file"
    with open(os.fsencode(folder) + b"/not\xffutf8.jpg", "wb") as file:
        file.write(encoded())
    expected["not\udcffutf8.jpg"] = "not UTF-8"
    (folder / "a folder").mkdir()

    out = tmp_path / "out"
    result = find_overlaps(folder, out=out)
    listed = dict(result.unreadable.itertuples(index=False, name=None))
    assert {name.replace(r"\udcff", "\udcff") for name in listed} == set(expected)
    for name, reason in listed.items():
        assert expected[name.replace(r"\udcff", "\udcff")] in reason
    assert list(listed) == sorted(listed)
    again = read_results(out)
    assert list(again.unreadable["image"]) == list(listed)
    for name in ("overlaps.csv", "groups.csv"):
        assert (out / name).read_bytes() == (undisturbed / name).read_bytes()
    before = table_bytes(out)
    find_overlaps(folder, out=out, report=False)
    assert table_bytes(out) == before


def test_odd_names_of_good_images(collection: Path, tmp_path: Path) -> None:
    """Names that a spreadsheet, a page or a shell could take for something else come through every table."""
    odd = [
        "=1+1.jpg",
        "-rf.jpg",
        "a,b.jpg",
        "new\nline.jpg",
        '"q".jpg',
        "<img src=x>.jpg",
        "NA",
        "Ünï.jpg",
        "A.jpg",
        "a.jpg",
        "@x",
    ]
    names = sorted(os.listdir(collection / "images"))
    for old, new in zip(names, odd, strict=True):
        shutil.copy2(collection / "images" / old, tmp_path / new)
    out = tmp_path / "out"
    result = find_overlaps(tmp_path, out=out)
    renamed = dict(zip(names, odd, strict=True))
    expected = {
        tuple(sorted((renamed[str(pair[0])], renamed[str(pair[1])]))) for pair in true_pairs(collection)
    }
    assert set(result.overlaps[["image1", "image2"]].itertuples(index=False, name=None)) == expected
    pd.testing.assert_frame_equal(read_results(out).overlaps, result.overlaps, check_dtype=False)
    pd.testing.assert_frame_equal(read_results(out).groups, result.groups, check_dtype=False)
    assert "<img src=x>" not in (out / "report.html").read_text()
    for name in ("overlaps.csv", "groups.csv"):  # read as a spreadsheet would
        written = pd.read_csv(out / name, dtype=str, keep_default_na=False)
        for column in written.columns.intersection(["image", "image1", "image2"]):
            assert not written[column].str.match("[=+@-]").any()
            assert written[column].isin(["'=1+1.jpg", "'-rf.jpg", "'@x"]).any()


def test_on_a_grid_the_most_frequent_size_rules(collection: Path, tmp_path: Path) -> None:
    names = sorted(os.listdir(collection / "images"))
    shutil.copy2(collection / "images" / names[0], tmp_path)
    for seed in range(2):
        cv2.imwrite(str(tmp_path / f"{seed}.png"), acquisition(1, seed))
    result = find_overlaps(tmp_path, grid=256)
    assert list(result.groups["image"]) == ["0.png", "1.png"]
    assert result.unreadable.to_numpy().tolist() == [
        [names[0], "wrong size: 768 x 768 pixels; most images here are 256 x 256"]
    ]
    assert (result.grid.rows, result.grid.cols) == (1, 1)
    everything = find_overlaps(tmp_path)
    assert list(everything.groups["image"]) == sorted(["0.png", "1.png", names[0]])
    assert everything.unreadable.empty and everything.grid is None


def test_an_empty_path_is_not_the_current_folder(collection: Path, tmp_path: Path) -> None:
    for name, paths in (
        ("images", {"images": "", "out": tmp_path / "out"}),
        ("out", {"images": collection, "out": ""}),
        ("against", {"images": collection, "out": tmp_path / "out", "against": ""}),
    ):
        with pytest.raises(ValueError, match=f"{name} is an empty path; name a folder"):
            find_overlaps(**paths)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_no_usable_image(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    with pytest.raises(FileNotFoundError, match="no folder"):
        find_overlaps(folder, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    folder.mkdir()
    with pytest.raises(ValueError, match="holds no file"):
        find_overlaps(folder, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (folder / "a").write_text("a")
    with pytest.raises(ValueError, match=r"None of 1 files can be used \('a': not an image"):
        find_overlaps(folder)


def test_a_changed_image_is_noticed(collection: Path, undisturbed: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "images", tmp_path / "out"
    shutil.copytree(collection / "images", folder)
    one, other = sorted(os.listdir(folder))[:2]
    shutil.copyfile(folder / other, folder / one)  # a copy in the place of another image
    find_overlaps(folder, out=out, report=False)
    assert table_bytes(out) != table_bytes(undisturbed)
    shutil.copy2(collection / "images" / one, folder / one)
    find_overlaps(folder, out=out, report=False)
    assert table_bytes(out) == table_bytes(undisturbed)


def test_a_change_that_keeps_size_and_time(tmp_path: Path) -> None:
    """A file swapped for another of the same size and time of change: seen if the content is checked."""
    folder, out = tmp_path / "images", tmp_path / "out"
    folder.mkdir()
    picture = acquisition(1)
    for name, pixels in (("a.tif", picture), ("b.tif", np.ascontiguousarray(picture[::-1]))):
        cv2.imwrite(str(folder / name), pixels, [cv2.IMWRITE_TIFF_COMPRESSION, 1])
        os.utime(folder / name, (1, 1))  # of a file that has just changed the content is checked anyway
    result = find_overlaps(folder, out=out, check_content=True, report=False)
    assert result.overlaps.empty
    state = (folder / "b.tif").stat()
    shutil.copyfile(folder / "a.tif", folder / "b.tif")
    os.utime(folder / "b.tif", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (folder / "b.tif").stat().st_size == state.st_size
    assert find_overlaps(folder, out=out, report=False).overlaps.empty
    assert len(find_overlaps(folder, out=out, check_content=True, report=False).overlaps) == 1


def test_a_file_that_vanishes_or_changes_while_it_is_read(
    collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "images"
    shutil.copytree(collection / "images", folder)
    gone, changed = sorted(os.listdir(folder))[:2]
    load = describe.load_image

    def disturbed(path: Path, **options: object) -> object:
        if Path(path).name == gone:
            Path(path).unlink(missing_ok=True)
        pixels = load(path, **options)
        if Path(path).name == changed:
            os.utime(path, (0, 0))
        return pixels

    monkeypatch.setattr(describe, "load_image", disturbed)
    result = find_overlaps(folder)
    reasons = dict(result.unreadable.itertuples(index=False, name=None))
    assert set(reasons) == {gone, changed}
    assert "vanished" in reasons[gone]
    assert "changed while it was read" in reasons[changed]


@pytest.mark.parametrize(
    "harm",
    ["half a line", "a line of nonsense", "a row too many", "rows lost", "no marker", "another version"],
)
def test_a_cache_that_was_harmed(harm: str, cached: Cached, collection: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(cached.out, out)
    journal, rows, marker = (
        out / cached.cache / name for name in ("journal.jsonl", cached.rows, "made_by.json")
    )
    if harm == "half a line":
        journal.write_bytes(journal.read_bytes()[:-20])
    elif harm == "a line of nonsense":
        lines = journal.read_bytes().splitlines(keepends=True)
        journal.write_bytes(b"".join([*lines[:4], b"{]\n", *lines[5:]]))
    elif harm == "a row too many":
        rows.write_bytes(rows.read_bytes() + b"abc")
    elif harm == "rows lost":
        rows.write_bytes(rows.read_bytes()[: rows.stat().st_size // 2])
    elif harm == "no marker":
        marker.unlink()
        rows.write_bytes(b"\0" * rows.stat().st_size)
    else:
        marker.write_text(marker.read_text().replace('"dupnet": "', '"dupnet": "0.'))
        rows.write_bytes(b"\0" * rows.stat().st_size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that all is described again, where it is
        find_overlaps(collection / "images", out=out, report=False, **cached.options)
    assert table_bytes(out) == table_bytes(cached.out)


def test_another_tile_size_is_noticed(collection: Path, on_grid: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(on_grid, out)
    with pytest.warns(UserWarning, match="described again"):
        find_overlaps(collection / "images", out=out, tile_size=128, report=False)
    result = read_results(out)
    assert (result.grid.n_tiles, result.searched["smallest_region"]) == (36, 128)


def test_full_disk(
    collection: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up is a clear error, and the same command goes on once there is room."""
    out = tmp_path / "out"
    flush, calls = cache_module.Cache.flush, []

    def full(self: cache_module.Cache) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        flush(self)

    monkeypatch.setattr(cache_module.Cache, "flush", full)
    with pytest.raises(OSError, match="No space left"):
        find_overlaps(collection / "images", out=out, report=False)
    monkeypatch.undo()
    assert not (out / "run.json").exists()
    find_overlaps(collection / "images", out=out, report=False)
    assert table_bytes(out) == table_bytes(undisturbed)


def test_output_that_cannot_be_written(collection: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        find_overlaps(collection / "images", out=tmp_path / "file" / "out")


def test_the_folder_of_images_by_way_of_one_that_is_not_there(collection: Path) -> None:
    before = sorted(os.listdir(collection / "images"))
    with pytest.raises(ValueError, match=r"new/\.\.' is not an output folder"):
        find_overlaps(collection / "images", out=collection / "images" / "new" / "..", report=False)
    assert sorted(os.listdir(collection / "images")) == before


def test_a_folder_that_is_not_ours(collection: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="not an output folder of `dupnet find`"):
        find_overlaps(collection / "images", out=tmp_path)
    assert os.listdir(tmp_path) == ["thesis.tex"]
    with pytest.raises(ValueError, match="not an output folder of `dupnet find`"):
        find_overlaps(collection / "images", out=collection / "images")


def test_two_runs_at_a_time(collection: Path, tmp_path: Path) -> None:
    from dupnet.find.collection import locked

    with locked(tmp_path), pytest.raises(BlockingIOError, match="Another dupnet is at work"):
        find_overlaps(collection / "images", out=tmp_path)
    find_overlaps(collection / "images", out=tmp_path, report=False)


def test_an_error_in_a_worker_is_not_swallowed(collection: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(tile_index, "describe", broken)
    with pytest.raises(RuntimeError, match="a defect"):
        find_overlaps(collection / "images", grid=256)
    monkeypatch.setattr(steps, "find_points", broken)
    with pytest.raises(RuntimeError, match="a defect"):
        find_overlaps(collection / "images")


@pytest.mark.parametrize("check_content", [False, True])
def test_rows_that_a_power_cut_took_are_described_again(
    check_content: bool, cached: Cached, collection: Path, tmp_path: Path
) -> None:
    """The last third of the descriptors reads as zeros, though the journal names them."""
    out = tmp_path / "out"
    shutil.copytree(cached.out, out)
    options = {"out": out, "report": False, "check_content": check_content, **cached.options}
    rows = out / cached.cache / cached.rows
    whole = rows.read_bytes()
    kept = len(whole) * 2 // 3
    rows.write_bytes(whole[:kept] + bytes(len(whole) - kept))
    with pytest.warns(UserWarning, match=r"\d images are described again: their rows .* were damaged"):
        find_overlaps(collection / "images", **options)
    assert table_bytes(out) == table_bytes(cached.out)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        find_overlaps(collection / "images", **options)
    assert table_bytes(out) == table_bytes(cached.out)


def test_checking_content_checks_every_row_of_the_caches(
    collection: Path, cached: Cached, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, bool] = {}
    check = cache_module.Cache._check

    def noting(self: cache_module.Cache, check_all: bool) -> None:
        asked[self.folder.name] = check_all
        check(self, check_all)

    monkeypatch.setattr(cache_module.Cache, "_check", noting)
    shutil.copytree(cached.out, tmp_path / "out")
    for check_content in (False, True):
        options = {"report": False, "check_content": check_content, **cached.options}
        find_overlaps(collection / "images", out=tmp_path / "out", **options)
        assert asked == {cached.cache.name: check_content}


def test_killed_and_resumed(collection: Path, tmp_path: Path) -> None:
    counts = kills.kill_and_resume(collection / "images", tmp_path, kills=3, seed=0)
    assert counts["kills"] >= 3
    assert counts["lost"] == counts["kills"] // 2
    assert counts["runs_finished"] > 0
    assert counts["differences"] == 0
    steps = ("start", "describe_points", "join_points", "refine_offsets", "judge", "tables")
    assert {f"kills_{step}" for step in steps} <= set(counts)
    assert sum(count for name, count in counts.items() if name.startswith("kills_")) == counts["kills"]


def test_a_power_cut_takes_what_was_not_synced_and_nothing_else(tmp_path: Path) -> None:
    out, told = tmp_path / "out", tmp_path / "told"
    (out / "cache").mkdir(parents=True)
    told.mkdir()
    content = bytes(range(1, 101))
    files = {"run.json": 100, "cache/codes.rows": 60, "overlaps.csv": 0, "cache/lock": 0}
    (told / "synced").write_text(json.dumps({str(out / name): size for name, size in files.items()}))
    seen = set()
    for seed in range(20):
        for name in files:
            (out / name).write_bytes(content)
        assert kills.lose_power(out, told, np.random.default_rng(seed)) == 2
        for name, size in files.items():
            left = (out / name).read_bytes()
            kept = len(left.rstrip(b"\0"))
            assert left[:kept] == content[:kept] and kept >= size
            if name not in ("run.json", "cache/lock"):
                assert kept < 100
                seen.add("zeros" if len(left) == 100 else "cut")
            else:
                assert left == content
    assert seen == {"zeros", "cut"}


def test_no_report_of_an_earlier_run_stays(collection: Path, undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed, tmp_path / "out")
    drawn = {"report.html", "mosaics"}
    for report in (True, False):
        find_overlaps(collection / "images", out=tmp_path / "out", report=report)
        assert drawn & set(os.listdir(tmp_path / "out")) == (drawn if report else set())
        (tmp_path / "out" / "mosaics" / ".ipynb_checkpoints").mkdir(parents=True)  # a notebook's, no mosaic
    find_overlaps(collection / "images", out=tmp_path / "out")
    assert table_bytes(tmp_path / "out") == table_bytes(undisturbed)


def test_what_a_kill_left_half_written_goes(collection: Path, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(undisturbed, out)
    for name in (".partial-1.csv", "cache/.partial-2.json"):
        (out / name).write_text("image1,ima")
    find_overlaps(collection / "images", out=out, report=False)
    assert not list(out.rglob(".partial-*"))


def test_a_difference_after_kills_is_noticed(
    collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = f"{kills.RUN}; import uuid; open(sys.argv[2] + '/overlaps.csv', 'a').write(str(uuid.uuid4()))"
    monkeypatch.setattr(kills, "RUN", other)
    counts = kills.kill_and_resume(collection / "images", tmp_path, kills=1, seed=0)
    assert counts["differences"] == counts["runs_finished"] > 0


@pytest.mark.parametrize(("side", "expected"), [(400, {1}), (512, {2})])
def test_small_images_are_described_and_judged_by_one_thread(
    side: int, expected: set[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = acquisition(3)
    for number, (y, x) in enumerate([(0, 0), (37, 101), (90, 11)]):
        cv2.imwrite(str(tmp_path / f"{number}.png"), ground[y : y + side, x : x + side])
    asked: list[int] = []
    for module in (describe, verification):

        def noted(function: Any, items: Any, workers: int) -> Any:
            asked.append(workers)
            return map(function, items)

        monkeypatch.setattr(module, "map_in_order", noted)
    result = find_overlaps(tmp_path, workers=2)
    assert len(result.overlaps) == 3
    assert set(asked) == expected and len(asked) >= 3
