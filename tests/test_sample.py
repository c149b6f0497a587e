"""The committed sample: whole, as its script builds it, and true."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from dupnet.acquisitions.sources import ACQUISITIONS, read_acquisition
from dupnet.tiles import Grid, is_decidable, overlap_at, solid_kind, split_tiles

DATA = Path(__file__).resolve().parents[1] / "data"
SAMPLE = DATA / "sample"


@pytest.fixture(scope="module")
def images():
    return pd.read_csv(SAMPLE / "images.csv").set_index("image")


@pytest.fixture(scope="module")
def truth():
    return pd.read_csv(SAMPLE / "truth.csv", dtype={"overlap_tag": str})


@pytest.fixture(scope="module")
def script():
    """data/build_sample.py as a module."""
    spec = importlib.util.spec_from_file_location("build_sample", DATA / "build_sample.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def decode(path):
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def test_checksums():
    listed = dict(line.split("  ")[::-1] for line in (SAMPLE / "SHA256SUMS").read_text().splitlines())
    present = {path.relative_to(SAMPLE).as_posix() for path in SAMPLE.rglob("*.*")}
    assert set(listed) == present
    for name, checksum in listed.items():
        assert hashlib.sha256((SAMPLE / name).read_bytes()).hexdigest() == checksum, name


def test_size_and_contents(images, truth):
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*.*")) < 20e6
    kitsap = images["acquisition"].str.startswith("kitsap")
    assert 60 <= kitsap.sum() <= 100
    # Whatever is not Kitsap is called synthetic.
    assert images["acquisition"][~kitsap].str.startswith("synthetic").all()
    assert (images["quality"].nunique(), images["hue"].nunique()) > (15, 30)
    assert set(truth["is_duplicate"]) == {0, 1}
    assert (truth["n_decidable"] == 0).any()
    assert (truth["n_decidable"] < truth["n_tiles"]).sum() > 10
    kinds = set()
    for name in images.index[images["acquisition"].isin(["kitsap-1", "kitsap-4", "kitsap-6"])]:
        kinds |= {solid_kind(tile, 12) for tile in split_tiles(decode(SAMPLE / "images" / name))}
    assert kinds >= {"white", "black", "blue", ""}


def test_the_readme_counts_right(images, truth):
    readme = " ".join((DATA / "README.md").read_text(encoding="utf-8").split())
    kitsap = int(images["acquisition"].str.startswith("kitsap").sum())
    assert f"{len(images)} crops with exact truth: {kitsap} of Kitsap, {len(images) - kitsap} of a" in readme
    duplicates = int(truth["is_duplicate"].sum())
    assert f"Of the {len(truth)} rows of `truth.csv` {duplicates} are duplicates" in readme
    assert f"and {len(truth) - duplicates} show one place on two days" in readme
    for remote in ACQUISITIONS.values():
        assert remote.sha256 in readme
        assert f"`{remote.requirement}`" in readme


def test_truth_lists_every_overlap(images, truth):
    expected = set()
    for (name1, one), (name2, two) in itertools.combinations(images.sort_index().iterrows(), 2):
        offset = (two["row"] - one["row"], two["col"] - one["col"])
        if one["acquisition"] == two["acquisition"] and max(map(abs, offset)) < 3:
            overlap = overlap_at(*offset)
            same_day = int(one["day"] == two["day"])
            expected.add((name1, name2, overlap.tag, *offset, overlap.n_tiles, same_day))
    columns = ["image1", "image2", "overlap_tag", "row_offset", "col_offset", "n_tiles", "is_duplicate"]
    assert set(truth[columns].itertuples(index=False, name=None)) == expected
    assert len(truth) == len(expected)


def test_pixels_agree_with_the_truth(images, truth):
    details, decidable = {}, {}
    for name in images.index:
        grey = split_tiles(cv2.imread(str(SAMPLE / "images" / name), cv2.IMREAD_GRAYSCALE))
        decidable[name] = is_decidable(grey)
        tiles = grey.astype(np.float32)
        details[name] = np.stack([tile - cv2.GaussianBlur(tile, (0, 0), 3) for tile in tiles])
    n_judged = 0
    for row in truth.itertuples():
        overlap = overlap_at(row.row_offset, row.col_offset)
        shared1, shared2 = list(overlap.tiles1), list(overlap.tiles2)
        judged = decidable[row.image1][shared1] & decidable[row.image2][shared2]
        assert judged.sum() == row.n_decidable
        one, two = details[row.image1][shared1][judged], details[row.image2][shared2][judged]
        if judged.any():
            energy = (one**2).sum(axis=(1, 2)) * (two**2).sum(axis=(1, 2))
            lowest = ((one * two).sum(axis=(1, 2)) / np.sqrt(energy)).min()
            assert lowest > 0.85 if row.is_duplicate else lowest < 0.75
            n_judged += 1
    assert n_judged > 200


def assert_as_committed(folder, collection, images, truth):
    """Tables equal; pixels within what another processor's rounding can change."""
    for image in collection.images.set_index("image").itertuples():
        assert images.loc[image.Index, "acquisition"] == image.acquisition
        built = decode(folder / "images" / image.Index).astype(int)
        assert np.abs(built - decode(SAMPLE / "images" / image.Index)).mean() < 0.5
    committed = truth[truth["image1"].isin(collection.images["image"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(collection.truth, committed)


@pytest.mark.parametrize("place", [0, 2])
def test_the_script_builds_the_synthetic_part(script, images, truth, tmp_path, place):
    assert_as_committed(tmp_path, script.cut_sea(place, tmp_path), images, truth)


@pytest.mark.parametrize("part", [1, 4])
def test_the_script_builds_the_kitsap_part(script, images, truth, tmp_path, part):
    source = DATA / "raw" / "kitsap" / Path(ACQUISITIONS["kitsap"].members[0]).name
    if not source.is_file():
        pytest.skip(f"{source.relative_to(DATA.parent)} is not there; `dupnet data kitsap` fetches it")
    assert_as_committed(
        tmp_path, script.cut_kitsap_part(read_acquisition(source), part, tmp_path), images, truth
    )


def test_one_border_tile_column_is_solid(images):
    """A crop at the left edge of the bordered part: a column of border, then one that is border in part."""
    first = images[(images["acquisition"] == "kitsap-4") & (images["col"] == 0)].index[0]
    grid = Grid()
    kinds = [solid_kind(tile, 12) for tile in split_tiles(decode(SAMPLE / "images" / first), grid)]
    assert kinds == ["blue", "", ""] * 3
