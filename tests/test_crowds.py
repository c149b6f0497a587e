"""Crowds: equal and nearly equal images give few proposals, which connect all of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from textures import noisy, textured

from dupnet.find import join as join_module
from dupnet.find.crowds import MAX_PROPOSALS, strongest
from dupnet.find.engine import find_overlaps
from dupnet.find.groups import MAX_STACK
from dupnet.find.join import join
from dupnet.find.points import find_points
from dupnet.find.results import FindResult
from dupnet.find.votes import PointTable, propose


def proposals_of(pairs: np.ndarray, votes: np.ndarray, offset: int = 7) -> pd.DataFrame:
    table = pd.DataFrame({"image1": pairs[0], "image2": pairs[1], "y_offset": offset, "x_offset": 0})
    return table.assign(n_votes=votes, n_expected=votes)


def n_parts(table: pd.DataFrame, n_images: int) -> int:
    ends = (table["image1"], table["image2"])
    links = coo_array((np.ones(len(table)), ends), shape=(n_images, n_images))
    return int(connected_components(links, directed=False)[0])


def test_few_proposals_are_all_kept() -> None:
    pairs = np.array(np.triu_indices(MAX_PROPOSALS, 1))
    table = proposals_of(pairs, np.arange(pairs.shape[1]))
    assert strongest(table, np.full((MAX_PROPOSALS, 2), 128)).all()
    assert strongest(table.iloc[:0], np.full((MAX_PROPOSALS, 2), 128)).shape == (0,)


@pytest.mark.parametrize(("offset", "most"), [(7, MAX_PROPOSALS), (0, MAX_STACK)])
@pytest.mark.parametrize("ends", [("image1", "image2"), ("image1",)])
def test_of_many_the_strongest_are_kept_and_what_connects_all(
    offset: int, most: int, ends: tuple[str, ...]
) -> None:
    """Two crowds of 90 images, and one weak proposal between them."""
    inner = np.array(np.triu_indices(90, 1))
    pairs = np.concatenate([inner, inner + 90, [[89], [90]]], axis=1)
    votes = np.random.default_rng(0).integers(10, 1000, pairs.shape[1])
    votes[-1] = 1
    table, sizes = proposals_of(pairs, votes, offset), np.full((180, 2), 128)
    found = strongest(table, sizes, ends)
    kept = table[found]
    assert len(kept) <= 180 * (most * len(ends) + 1) and not found.all()
    assert found[-1] and n_parts(kept, 180) == 1
    for image in (0, 50, 120):
        mine = table[(table["image1"] == image) | ((table["image2"] == image) & (len(ends) == 2))]
        best = mine["n_votes"].nlargest(most).min()
        assert found[mine.index[mine["n_votes"] > best]].all()
    order = np.random.default_rng(1).permutation(len(table))
    assert (strongest(table.iloc[order], sizes, ends) == found[order]).all()


def test_few_of_the_expected_votes_are_no_copy() -> None:
    """Another time of one place: as many as of any other kind are kept."""
    pairs = np.array(np.triu_indices(40, 1))
    table, sizes = proposals_of(pairs, np.full(780, 9), 0), np.full((40, 2), 128)
    assert not strongest(table, sizes).all()
    assert strongest(table.assign(n_expected=100), sizes).all()
    sizes[::2] = 64  # images of two sizes are no copies of each other
    assert strongest(table, sizes)[sizes[pairs[0], 0] != sizes[pairs[1], 0]].all()


def test_pairs_at_a_time_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    copies = noisy(np.repeat(textured(1, 128), 12, axis=0), 2.0)
    found = [find_points(image, None, dense=True) for image in copies]
    images = np.repeat(np.arange(12, dtype=np.int32), [len(points.kinds) for points in found])
    codes, y, x, kinds = (
        np.concatenate([getattr(points, name) for points in found]) for name in ("codes", "y", "x", "kinds")
    )
    points = PointTable(y, x, kinds, images, np.full((12, 2), 128))
    whole = propose(join(codes, images, kinds, workers=1), points)
    monkeypatch.setattr(join_module, "PAIRS_AT_A_TIME", 100)
    parts = list(join(codes, images, kinds, workers=1))
    assert len(parts) == 11  # one for every first image
    pd.testing.assert_frame_equal(propose(parts, points).table, whole.table)


def save(folder: Path, pictures: list[np.ndarray]) -> Path:
    folder.mkdir()
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number:03}.png"), picture)
    return folder


def assert_one_stack(result: FindResult, n: int) -> None:
    """A spanning set, one group, and a word on what is not listed."""
    assert (result.overlaps["image1"] == "000.png").all()
    assert sorted(result.overlaps["image2"]) == [f"{number:03}.png" for number in range(1, n)]
    assert result.groups["group"].nunique() == 1 == result.groups["mosaic"].nunique()
    assert result.counts["stacked"] == n - 1
    assert any(line.startswith("Not listed: pairs within stacks") for line in result.coverage())


@pytest.mark.parametrize("grid", [None, 128])
def test_equal_images_are_one_stack(grid: int | None, tmp_path: Path) -> None:
    folder = save(tmp_path / "images", list(np.repeat(textured(1, 128), 200, axis=0)))
    out = tmp_path / "out"
    result = find_overlaps(folder, out=out, grid=grid, workers=1)
    assert_one_stack(result, 200)
    assert result.counts["proposals"] <= 200 * (2 * MAX_STACK + 1)
    assert [path.name for path in (out / "mosaics").iterdir()] == ["000000.jpg"]
    assert (out / "report.html").stat().st_size < 2_000_000


def test_nearly_equal_images_are_one_stack(tmp_path: Path) -> None:
    """No two of them equal: the proposals of each are bounded, and what is left out is told."""
    copies = noisy(np.repeat(textured(1, 96), 70, axis=0), 2.0)
    result = find_overlaps(save(tmp_path / "images", list(copies)), workers=1)
    assert_one_stack(result, 70)
    assert result.counts["proposals"] <= 70 * (2 * MAX_STACK + 1)
    assert result.counts["proposals_skipped"] > 0
    said = f"Not judged: {result.counts['proposals_skipped']} likely overlaps"
    assert any(line.startswith(said) for line in result.coverage())


def test_a_copy_held_against_the_collection_finds_its_neighbours(tmp_path: Path) -> None:
    """A copy of an image on the other side is joined as well: it overlaps what its twin overlaps."""
    ground = textured(1, 320)[0]
    old = save(tmp_path / "old", [ground[:256, :256], ground[40:296, 30:286]])
    new = save(tmp_path / "new", [ground[:256, :256]])
    result = find_overlaps(old, against=new, workers=1)
    assert len(result.overlaps) == 2


def test_blank_images_cost_nothing(tmp_path: Path) -> None:
    folder = save(tmp_path / "images", [np.full((128, 128), 255, np.uint8)] * 100)
    for grid in (None, 128):
        result = find_overlaps(folder, grid=grid, workers=1)
        assert result.overlaps.empty and result.counts["proposals"] == 0
