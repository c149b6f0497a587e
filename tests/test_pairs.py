"""Pairs: labels that hold by construction, limits of the original, and a split that nothing crosses."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from dupnet.hashes import block_mean_hash, hamming_distance
from dupnet.pairs.candidates import (
    MAX_NON_DUPLICATES,
    SPLITS,
    TileSignatures,
    pairs_across_images,
    pairs_within_images,
    tile_signatures,
)
from dupnet.pairs.table import (
    PAIR_COLUMNS,
    leaked_tiles,
    load_pairs,
    make_pairs,
    overlap_groups,
    pair_files,
    sample_pairs,
    save_pairs,
    tile_size_of,
)
from dupnet.splits.assignment import split as split_groups
from dupnet.tiles import Grid, split_tiles

SIZE = 64
GRID = Grid(3, 3, SIZE)


def texture(rng: np.random.Generator, rows: int, cols: int) -> np.ndarray:
    """An acquisition of rows x cols tiles without any repetition."""
    noise = rng.integers(0, 256, (rows * SIZE, cols * SIZE, 3), dtype=np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 2.0) * 3 % 251, np.uint8)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame, pd.DataFrame]:
    """Crops of six acquisitions that really overlap: the folder, their places, and the true overlaps."""
    folder = tmp_path_factory.mktemp("collection")
    rng = np.random.default_rng(0)
    places, names = [], rng.permutation(1000)
    for acquisition in range(6):
        pixels = texture(rng, 5, 6)
        for row, col in [(0, 0), (0, 1), (1, 2), (2, 0), (2, 3)][: 5 - acquisition % 3]:
            name = f"{names[len(places)]:03d}.png"
            crop = pixels[row * SIZE : (row + 3) * SIZE, col * SIZE : (col + 3) * SIZE]
            cv2.imwrite(str(folder / name), crop[..., ::-1])
            places.append((name, acquisition, row, col))
    table = pd.DataFrame(places, columns=["image", "acquisition", "row", "col"]).sort_values("image")
    overlaps = []
    for one, two in combinations(table.itertuples(), 2):
        apart = (two.row - one.row, two.col - one.col)
        if one.acquisition == two.acquisition and max(map(abs, apart)) < 3:
            overlaps.append((one.image, two.image, *apart))
    return folder, table, pd.DataFrame(overlaps, columns=["image1", "image2", "row_offset", "col_offset"])


def divided(table: pd.DataFrame, overlaps: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The split of a collection by its overlaps, half of it to train on."""
    groups = overlap_groups(list(table["image"]), overlaps).rename_axis("image").reset_index()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so few groups meet no ratio
        return split_groups(groups, (0.5, 0.25, 0.25), seed)


def test_the_split_is_disjoint_down_to_the_pixels(
    collection: tuple[Path, pd.DataFrame, pd.DataFrame],
) -> None:
    folder, table, overlaps = collection
    pairs = make_pairs(folder, divided(table, overlaps), overlaps, tile_size=SIZE)
    assert set(pairs["split"]) == set(SPLITS)

    shown: dict[bytes, set[str]] = {}
    images_of: dict[str, set[str]] = {split: set() for split in SPLITS}
    for split, rows in pairs.groupby("split"):
        images_of[split] = set(rows["image1"]) | set(rows["image2"])
        for name in images_of[split]:
            for tile in split_tiles(cv2.imread(str(folder / name)), GRID):
                shown.setdefault(tile.tobytes(), set()).add(split)
    # The collection does overlap: tiles are shown by several images, yet none by images of two splits.
    assert len(shown) < 9 * len(table)
    assert all(len(splits) == 1 for splits in shown.values())
    for one, two in combinations(SPLITS, 2):
        assert not images_of[one] & images_of[two]
    split_of = {image: split for split, images in images_of.items() for image in images}
    for row in overlaps.itertuples():
        assert split_of[row.image1] == split_of[row.image2]


def test_a_random_split_of_the_same_pairs_would_leak(
    collection: tuple[Path, pd.DataFrame, pd.DataFrame],
) -> None:
    """What the test above rules out does happen without the groups."""
    folder, table, overlaps = collection
    none = overlaps.iloc[:0]
    alone = make_pairs(folder, divided(table, none), none, tile_size=SIZE)
    split_of = dict(zip(alone["image1"], alone["split"], strict=True))
    assert any(split_of[row.image1] != split_of[row.image2] for row in overlaps.itertuples())


def test_leaked_tiles_against_the_ground(collection: tuple[Path, pd.DataFrame, pd.DataFrame]) -> None:
    folder, table, overlaps = collection
    pairs = make_pairs(folder, divided(table, overlaps), overlaps, tile_size=SIZE)
    assert leaked_tiles(pairs, overlaps, GRID)[0] == 0
    rng = np.random.default_rng(0)
    for shuffled in (
        rng.permutation(pairs["split"]),
        pairs["image1"].map(lambda name: SPLITS[int(name[:3]) % 3]),
    ):
        mixed = pairs.assign(split=shuffled)
        place = table.set_index("image")
        shown: dict[str, set[tuple[int, ...]]] = {"test": set(), "rest": set()}
        tested = set()
        for row in mixed.itertuples():
            for image, tile in ((row.image1, row.tile1), (row.image2, row.tile2)):
                acquisition, top, left = place.loc[image, ["acquisition", "row", "col"]]
                ground = (acquisition, top + tile // 3, left + tile % 3)
                shown["test" if row.split == "test" else "rest"].add(ground)
                tested |= {(image, tile, ground)} if row.split == "test" else set()
        leaked = sum(ground in shown["rest"] for _, _, ground in tested)
        assert leaked > 0
        assert leaked_tiles(mixed, overlaps, GRID) == (leaked, len(tested))


def test_labels_are_right(collection: tuple[Path, pd.DataFrame, pd.DataFrame]) -> None:
    folder, table, overlaps = collection
    pairs = make_pairs(folder, divided(table, overlaps), overlaps, tile_size=SIZE)
    assert list(pairs.columns) == list(PAIR_COLUMNS)
    assert {"within_image", "alike_hash", "alike_colour"} == set(pairs["origin"])
    place = table.set_index("image")
    for row in pairs.itertuples():
        ground = []
        for image, tile in ((row.image1, row.tile1), (row.image2, row.tile2)):
            acquisition, top, left = place.loc[image, ["acquisition", "row", "col"]]
            ground.append((acquisition, top + tile // 3, left + tile % 3))
        assert row.is_duplicate == (ground[0] == ground[1])
        assert (row.origin == "within_image") == (row.image1 == row.image2)
    assert not pairs.duplicated(["image1", "tile1", "image2", "tile2"]).any()


def test_at_most_nine_and_twenty_seven_rows_of_an_image(
    collection: tuple[Path, pd.DataFrame, pd.DataFrame],
) -> None:
    folder, table, _ = collection
    names = list(table["image"])[:2]
    signatures = tile_signatures(folder, names, tile_size=SIZE)
    kept = pairs_within_images(signatures)
    everything = pairs_within_images(signatures, max_non_duplicates=36)
    for name in names:
        counts = kept[kept["image1"] == name]["is_duplicate"].value_counts()
        assert counts.to_dict() == {0: MAX_NON_DUPLICATES, 1: 9}
        assert everything[everything["image1"] == name]["is_duplicate"].value_counts().to_dict() == {
            0: 36,
            1: 9,
        }
        # Those kept are the most alike.
        distance = everything[(everything["image1"] == name) & (everything["is_duplicate"] == 0)]
        left_out = distance.merge(kept, how="left", indicator=True).query("_merge == 'left_only'")
        assert len(left_out) == 9
        of_kept = kept[(kept["image1"] == name) & (kept["is_duplicate"] == 0)]["block_mean_distance"]
        assert of_kept.max() <= left_out["block_mean_distance"].min()


def test_block_mean_distance_is_that_of_the_tiles(
    collection: tuple[Path, pd.DataFrame, pd.DataFrame],
) -> None:
    folder, table, _ = collection
    name = table["image"].iloc[0]
    pairs = pairs_within_images(tile_signatures(folder, [name], tile_size=SIZE))
    grey = cv2.cvtColor(cv2.imread(str(folder / name)), cv2.COLOR_BGR2GRAY)
    hashes = block_mean_hash(split_tiles(grey, GRID))
    for row in pairs.itertuples():
        assert row.block_mean_distance == hamming_distance(hashes[row.tile1], hashes[row.tile2])


def test_solid_and_equal_tiles_make_no_pairs(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    image = texture(rng, 3, 3)
    white, copy, weak = 4, (0, 8), 2
    tiles = split_tiles(image, GRID).copy()
    tiles[white] = 255
    tiles[copy[1]] = tiles[copy[0]]
    tiles[weak] = 77
    tiles[weak][3, 3] = 90  # not solid, yet nothing to judge by
    rows = tiles.reshape(3, 3, SIZE, SIZE, 3).swapaxes(1, 2).reshape(3 * SIZE, 3 * SIZE, 3)
    cv2.imwrite(str(tmp_path / "a.png"), rows)
    pairs = pairs_within_images(tile_signatures(tmp_path, ["a.png"], tile_size=SIZE), max_non_duplicates=36)
    assert white not in {*pairs["tile1"], *pairs["tile2"]}
    assert pairs["is_duplicate"].sum() == 8
    assert (pairs["is_duplicate"] == 0).sum() == 8 * 7 // 2 - 1
    assert copy not in set(zip(pairs["tile1"], pairs["tile2"], strict=True))
    assert (pairs["tile1"] <= pairs["tile2"]).all()
    undecidable = (pairs["tile1"] == weak) | (pairs["tile2"] == weak)
    assert (pairs["is_decidable"] == 0)[undecidable].all()


def test_overlap_groups_are_components() -> None:
    images = ["a", "b", "c", "d", "e", "f"]
    overlaps = pd.DataFrame({"image1": ["b", "a", "d"], "image2": ["c", "b", "f"]})
    assert SPLITS == ("train", "validation", "test")
    assert overlap_groups(images, overlaps).name == "group"
    assert overlap_groups(images, overlaps).to_dict() == {"a": 0, "b": 0, "c": 0, "d": 1, "e": 2, "f": 1}
    assert list(overlap_groups(images, overlaps.iloc[:0])) == list(range(6))
    with pytest.raises(ValueError, match="'z'"):
        overlap_groups(images, pd.DataFrame({"image1": ["a"], "image2": ["z"]}))


def test_an_overlap_must_not_cross_the_split(collection: tuple[Path, pd.DataFrame, pd.DataFrame]) -> None:
    folder, table, overlaps = collection
    splits = divided(table, overlaps)
    one, two = overlaps.iloc[3][["image1", "image2"]]
    moved = splits.assign(split=splits["split"].mask(splits["image"] == two, "elsewhere"))
    with pytest.raises(ValueError, match=f"splits: {one} and {two} share ground and are in different splits"):
        make_pairs(folder, moved, overlaps.iloc[3:4], tile_size=SIZE)
    left_out = splits.assign(split=splits["split"].mask(splits["image"] == two, "buffer"))
    pairs = make_pairs(folder, left_out, overlaps.iloc[3:4], tile_size=SIZE)
    assert two not in {*pairs["image1"], *pairs["image2"]}
    assert set(pairs["image1"]) == set(splits["image"]) - {two}


def test_splits_of_any_name_hold_pairs(collection: tuple[Path, pd.DataFrame, pd.DataFrame]) -> None:
    folder, table, overlaps = collection
    splits = divided(table, overlaps)
    names = {"train": "learn", "validation": "watch", "test": "judge"}
    pairs = make_pairs(folder, splits.assign(split=splits["split"].map(names)), overlaps, tile_size=SIZE)
    by_image = splits.set_index("image")["split"].map(names)
    for side in ("image1", "image2"):
        assert (pairs["split"] == pairs[side].map(by_image)).all()
    assert set(pairs.loc[pairs["origin"] != "within_image", "split"]) <= set(names.values())
    assert "learn" in set(pairs.loc[pairs["origin"] != "within_image", "split"])


def test_an_image_without_a_split_is_named(collection: tuple[Path, pd.DataFrame, pd.DataFrame]) -> None:
    folder, table, overlaps = collection
    splits = divided(table, overlaps)
    splits.loc[2, "split"] = None
    with pytest.raises(ValueError, match=f"splits: '{splits['image'][2]}' has no split; run `dupnet split`"):
        make_pairs(folder, splits, overlaps, tile_size=SIZE)


def test_a_table_keeps_its_tile_size(collection: tuple[Path, pd.DataFrame, pd.DataFrame]) -> None:
    folder, table, overlaps = collection
    pairs = make_pairs(folder, divided(table, overlaps), overlaps, tile_size=SIZE, n_rows=20)
    assert tile_size_of(pairs) == tile_size_of(pairs, SIZE) == SIZE
    with pytest.raises(ValueError, match=f"tile_size is 128, but the table is of tiles of {SIZE} px"):
        tile_size_of(pairs, 128)
    two_sizes = pd.concat([pairs, pairs.assign(tile_size=128)])
    with pytest.raises(ValueError, match=f"tile_size is {SIZE} and 128; make one table for each"):
        tile_size_of(two_sizes)
    assert tile_size_of(pairs.drop(columns="tile_size"), 128) == 128
    assert tile_size_of(pairs.drop(columns="tile_size")) == 256


def test_an_overlap_of_an_unknown_image_is_named() -> None:
    overlaps = pd.DataFrame({"image1": ["a", "a"], "image2": ["b", "unknown"]})
    with pytest.raises(ValueError, match="unknown"):
        overlap_groups(["a", "b"], overlaps)


def test_the_first_unknown_image_of_a_column_is_named() -> None:
    images = ["a", "b"]
    for column, other in (("image1", "image2"), ("image2", "image1")):
        overlaps = pd.DataFrame({column: ["a", "x", "y"], other: ["b", "b", "b"]})
        with pytest.raises(ValueError, match=f"{column} 'x' is not among images"):
            overlap_groups(images, overlaps)


def test_a_sample_is_numbered_anew() -> None:
    pairs = pd.DataFrame({"split": ["train"] * 40, "is_duplicate": [0, 1] * 20, "n": range(40)})
    for rows in (10, 40, 50):
        sample = sample_pairs(pairs.iloc[::-1], rows)
        assert list(sample.index) == list(range(min(rows, 40)))
        assert list(sample.columns) == list(pairs.columns)


def test_sample_is_balanced_in_every_split_and_whole_where_small() -> None:
    rng = np.random.default_rng(0)
    pairs = pd.DataFrame(
        {
            "row": range(1200),
            "split": rng.choice(SPLITS, 1200, p=[0.7, 0.2, 0.1]),
            "is_duplicate": (rng.random(1200) < 0.25).astype(int),
        }
    )
    sample = sample_pairs(pairs, 300, seed=1)
    assert len(sample) == 300
    assert sample["row"].is_monotonic_increasing
    counts = sample.groupby(["split", "is_duplicate"]).size().unstack()
    assert (abs(counts[0] - counts[1]) <= 1).all()
    share = sample["split"].value_counts(normalize=True) - pairs["split"].value_counts(normalize=True)
    assert share.abs().max() < 0.01
    # 300 duplicates are all there are: the other label fills up.
    assert sample_pairs(pairs, 1000)["is_duplicate"].sum() == pairs["is_duplicate"].sum()
    assert sample_pairs(pairs, 1200).equals(pairs)
    assert sample_pairs(pairs, 150_000).equals(pairs)
    assert sample.equals(sample_pairs(pairs, 300, seed=1))
    assert not sample.equals(sample_pairs(pairs, 300, seed=2))


def test_hard_negatives_are_harder_than_chance(collection: tuple[Path, pd.DataFrame, pd.DataFrame]) -> None:
    folder, table, overlaps = collection
    pairs = make_pairs(folder, divided(table, overlaps), overlaps, tile_size=SIZE)
    alike = pairs.loc[pairs["origin"] == "alike_hash", "block_mean_distance"].mean()
    signatures = tile_signatures(folder, list(table["image"]), tile_size=SIZE)
    chance = hamming_distance(signatures.hash[:, None], signatures.hash[None]).mean()
    assert alike < 0.95 * chance
    group = overlap_groups(list(table["image"]), overlaps)
    across = pairs[pairs["origin"] != "within_image"]
    assert (across["image1"].map(group) != across["image2"].map(group)).all()
    splits = divided(table, overlaps)
    none = make_pairs(folder, splits, overlaps, n_across_per_image=0, tile_size=SIZE)
    assert set(none["origin"]) == {"within_image"}


def random_signatures(rng: np.random.Generator, n_images: int, n_tiles: int) -> TileSignatures:
    """Tiles of no image, some without texture, some with the pixels of another."""
    n = n_images * n_tiles
    return TileSignatures(
        tuple(f"{image:02d}.png" for image in range(n_images)),
        n_tiles,
        solid=rng.random(n) < 0.1,
        decidable=rng.random(n) < 0.8,
        digest=rng.integers(0, n, n).astype(str),
        hash=rng.integers(0, 256, (n, 32), dtype=np.uint8),
        colour=rng.integers(0, 256, (n, 12), dtype=np.uint8),
    )


@pytest.mark.parametrize("seed", range(6))
def test_alike_tiles_across_images_against_brute_force(seed: int) -> None:
    """Every pair is allowed, and one of its tiles is among the ten nearest of the other."""
    rng = np.random.default_rng(seed)
    found = random_signatures(rng, n_images=15, n_tiles=4)
    groups = pd.Series(rng.integers(0, 9, 15), index=found.images)
    splits = groups.map(dict(enumerate(rng.permutation(np.repeat(SPLITS, 3)))))
    pairs = pairs_across_images(found, groups, splits, n_per_image=6.0, seed=seed)
    assert not pairs.duplicated(["image1", "tile1", "image2", "tile2"]).any()
    image_of = np.repeat(found.images, found.n_tiles)
    usable = np.flatnonzero(found.decidable & ~found.solid)

    def distance(origin: str, one: int, other: int) -> int:
        if origin == "alike_hash":
            return int(np.unpackbits(found.hash[one] ^ found.hash[other]).sum())
        return int(np.abs(found.colour[one].astype(int) - found.colour[other].astype(int)).sum())

    def is_near(origin: str, one: int, other: int) -> bool:
        others = [
            distance(origin, one, tile)
            for tile in usable
            if splits[image_of[tile]] == splits[image_of[one]]
            and groups[image_of[tile]] != groups[image_of[one]]
        ]
        return distance(origin, one, other) <= sorted(others)[:10][-1]

    for row in pairs.itertuples():
        one, other = (found.images.index(image) * found.n_tiles + tile
                      for image, tile in ((row.image1, row.tile1), (row.image2, row.tile2)))  # fmt: skip
        assert {one, other} <= set(usable.tolist())
        assert splits[row.image1] == splits[row.image2]
        assert groups[row.image1] != groups[row.image2]
        assert found.digest[one] != found.digest[other]
        assert (row.is_duplicate, row.is_decidable) == (0, 1)
        assert row.block_mean_distance == distance("alike_hash", one, other)
        assert is_near(row.origin, one, other) or is_near(row.origin, other, one)
    for split, names in splits.groupby(splits):
        counts = pairs.loc[pairs["image1"].isin(names.index), "origin"].value_counts()
        assert (counts <= 3 * len(names)).all(), split
    assert len(pairs) > 3 * 15, "of 90 that are drawn, some are found twice or have equal pixels"
    again = pairs_across_images(found, groups, splits, n_per_image=6.0, seed=seed)
    pd.testing.assert_frame_equal(again, pairs)


def test_a_pool_of_two_tiles_gives_one_pair_and_one_of_one_none() -> None:
    found = random_signatures(np.random.default_rng(0), n_images=3, n_tiles=1)
    found = replace(
        found, solid=np.zeros(3, bool), decidable=np.ones(3, bool), digest=np.array(["a", "b", "c"])
    )
    groups = pd.Series(range(3), index=found.images)
    splits = pd.Series(["train", "test", "train"], index=found.images)
    pairs = pairs_across_images(found, groups, splits)
    assert pairs[["image1", "image2"]].values.tolist() == [["00.png", "02.png"]]
    joined = pairs_across_images(found, groups * 0, splits)
    assert joined.empty
    assert list(joined.columns) == list(pairs.columns)


def test_as_many_rows_are_drawn_as_the_original_drew() -> None:
    for function in (sample_pairs, make_pairs):
        assert inspect.signature(function).parameters["n_rows"].default == 150_000


def test_the_columns_of_the_table_are_described() -> None:
    for side in "12":
        assert PAIR_COLUMNS[f"tile{side}"].startswith(f"tile index in image {side}")
    assert all(PAIR_COLUMNS.values())


def test_the_seed_of_what_is_drawn_is_nought_by_default() -> None:
    found = random_signatures(np.random.default_rng(1), n_images=12, n_tiles=4)
    groups = pd.Series(range(12), index=found.images)
    splits = pd.Series("train", index=found.images)
    pairs = pairs_across_images(found, groups, splits)
    pd.testing.assert_frame_equal(pairs, pairs_across_images(found, groups, splits, 9.0, seed=0))
    assert not pairs.equals(pairs_across_images(found, groups, splits, 9.0, seed=1))
    table = pairs.assign(split="train")
    pd.testing.assert_frame_equal(sample_pairs(table, 20), sample_pairs(table, 20, seed=0))


def test_tables_come_back_as_they_were(
    collection: tuple[Path, pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    folder, table, overlaps = collection
    splits, options = divided(table, overlaps), {"tile_size": SIZE, "n_rows": 100}
    pairs = make_pairs(folder, splits, overlaps, **options)  # type: ignore[arg-type]
    save_pairs(pairs, tmp_path / "pairs.csv")
    for ending in ("csv", "parquet"):
        pd.testing.assert_frame_equal(load_pairs(tmp_path / f"pairs.{ending}"), pairs, check_dtype=False)
    again = make_pairs(folder, splits, overlaps, **options, workers=1)  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(again, pairs)
    pairs.drop(columns="split").to_csv(tmp_path / "short.csv", index=False)
    with pytest.raises(ValueError, match="split"):
        load_pairs(tmp_path / "short.csv")


def test_a_dot_in_the_name_of_a_pair_table_is_kept(tmp_path: Path) -> None:
    for given, kept in (("v.1", "v.1"), ("v.1.csv", "v.1"), ("v.2.parquet", "v.2"), ("pairs", "pairs")):
        assert pair_files(tmp_path / given) == (tmp_path / f"{kept}.parquet", tmp_path / f"{kept}.csv")
    for name in ("", "/"):
        with pytest.raises(ValueError, match="names no file; give a name"):
            pair_files(name)


def test_a_pair_table_replaces_no_other_file(tmp_path: Path) -> None:
    pairs = pd.DataFrame([range(len(PAIR_COLUMNS))], columns=list(PAIR_COLUMNS))
    save_pairs(pairs, tmp_path / "pairs.csv")
    save_pairs(pairs, tmp_path / "pairs.parquet")
    (tmp_path / "groups.csv").write_text("image,group,row,col\na,0,0,0\n")
    for name in ("groups.csv", "groups"):
        with pytest.raises(ValueError, match=r"groups\.csv' exists and is not a table of image1, tile1"):
            save_pairs(pairs, tmp_path / name)
    assert not (tmp_path / "groups.parquet").exists()


def test_other_files_are_no_pair_tables(tmp_path: Path) -> None:
    for name in ("photo.csv", "photo.parquet"):
        with pytest.raises(FileNotFoundError, match="No such file"):
            load_pairs(tmp_path / name)
        (tmp_path / name).write_bytes(b"\xff\xd8\xff\xe0")
        with pytest.raises(ValueError, match=f"{name}' is not a "):
            load_pairs(tmp_path / name)


def test_rows_and_seed_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    none = pd.DataFrame(columns=["image1", "image2"])
    splits = pd.DataFrame({"image": ["missing.png"], "group": 0, "split": "train"})
    for n_rows in (0, -5):
        with pytest.raises(ValueError, match=f"n_rows is {n_rows}; it must be at least 1"):
            make_pairs(tmp_path, splits, none, n_rows=n_rows)
        with pytest.raises(ValueError, match=f"n_rows is {n_rows}"):
            sample_pairs(pd.DataFrame({"split": ["train"], "is_duplicate": [1]}), n_rows)
    with pytest.raises(ValueError, match="seed is -1; it must be at least 0"):
        make_pairs(tmp_path, splits, none, seed=-1)


def test_images_of_two_sizes_are_refused(tmp_path: Path) -> None:
    for name, rows in (("a.png", 1), ("b.png", 2)):
        cv2.imwrite(str(tmp_path / name), texture(np.random.default_rng(0), rows, 2))
    with pytest.raises(ValueError, match=r"b\.png: 2 x 2"):
        tile_signatures(tmp_path, ["a.png", "b.png"], tile_size=SIZE)
    with pytest.raises(ValueError, match="empty"):
        tile_signatures(tmp_path, [], tile_size=SIZE)
