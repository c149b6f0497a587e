"""The pair reader: what the table says, varied by seed, epoch and row alone; and what another moment is."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from textures import Bytes, textured

from dupnet.augment.variation import AugmentConfig
from dupnet.images.reading import UnreadableImage, read_image
from dupnet.pairs.reader import PairReader, is_another
from dupnet.tiles import Grid, tile_slices

SIZE = 64
"""Side of a tile."""

Collection = tuple[Path, pd.DataFrame]


def cut_in_tiles(folder: Path) -> Collection:
    """Four images of 2 x 2 textured tiles in a folder, and all 40 pairs within them."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(4):
        noise = rng.integers(0, 256, (2 * SIZE, 2 * SIZE, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), cv2.GaussianBlur(noise, (0, 0), 1.5))
        for tile1 in range(4):
            for tile2 in range(tile1, 4):
                rows.append((f"{number}.png", tile1, f"{number}.png", tile2, int(tile1 == tile2), number))
    pairs = pd.DataFrame(rows, columns=["image1", "tile1", "image2", "tile2", "is_duplicate", "group"])
    pairs["split"] = np.where(pairs["group"] == 3, "validation", "train")
    return folder, pairs


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return cut_in_tiles(tmp_path_factory.mktemp("images"))


def reader(collection: Collection, **options: object) -> PairReader:
    folder, pairs = collection
    return PairReader(pairs, folder, tile_size=SIZE, **options)  # type: ignore[arg-type]


def test_pairs_are_what_the_table_says(collection: Collection) -> None:
    _, pairs = collection
    plain = reader(collection)
    for row in range(len(pairs)):
        tile1, tile2, label = plain.pair(row)
        assert tile1.shape == tile2.shape == (SIZE, SIZE, 3)
        assert label == pairs["is_duplicate"][row] == np.array_equal(tile1, tile2)


def test_rows_count_by_their_place_and_tiles_row_by_row(collection: Collection, tmp_path: Path) -> None:
    folder, pairs = collection
    chosen = pairs.iloc[[33, 7, 21, 7]]
    batch = reader((folder, chosen)).batch(range(4))
    assert batch.is_duplicate.dtype == np.float32
    assert batch.is_duplicate.tolist() == chosen["is_duplicate"].tolist()
    for number, row in enumerate(chosen.itertuples()):
        sides = (row.image1, row.tile1, batch.tiles1), (row.image2, row.tile2, batch.tiles2)
        for image, tile, found in sides:
            expected = read_image(folder / image)[tile_slices(tile, Grid(2, 2, SIZE))]
            np.testing.assert_array_equal(found[number], expected)
    wide = np.repeat(textured(1, 192)[0, :128, :, None], 3, axis=2)
    cv2.imwrite(str(tmp_path / "wide.png"), wide)
    row = pd.DataFrame([("wide.png", 2, "wide.png", 3, 0)], columns=pairs.columns[:5])
    tile1, tile2, _ = reader((tmp_path, row)).pair(0)
    np.testing.assert_array_equal((tile1, tile2), (wide[:64, 128:], wide[64:, :64]))


def test_batches_are_all_rows_in_order(collection: Collection) -> None:
    source = reader(collection, augment=AugmentConfig(), another_day_share=0.5, seed=2)
    batches = list(source.batches(17, epoch=4))
    assert [len(batch.is_duplicate) for batch in batches] == [17, 17, 6]
    for parts, whole in zip(zip(*batches, strict=True), source.batch(range(40), epoch=4), strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_batches_depend_on_seed_and_epoch_alone(collection: Collection) -> None:
    options = {"augment": AugmentConfig(), "another_day_share": 0.5, "seed": 3}
    one = reader(collection, workers=1, **options).batch(range(40), epoch=2)
    backwards = reader(collection, workers=3, cached_images=1, **options).batch(range(39, -1, -1), epoch=2)
    for first, second in zip(one, backwards, strict=True):
        np.testing.assert_array_equal(first, second[::-1])
    other_epoch = reader(collection, **options).batch(range(40), epoch=3)
    assert not np.array_equal(one.tiles1, other_epoch.tiles1)
    other_seed = reader(collection, **(options | {"seed": 4})).batch(range(40), epoch=2)
    assert not np.array_equal(one.tiles1, other_seed.tiles1)


def test_another_day_turns_duplicates_into_non_duplicates(collection: Collection) -> None:
    _, pairs = collection
    batch = reader(collection, another_day_share=1.0).batch(range(40))
    was = pairs["is_duplicate"].to_numpy() == 1
    assert (batch.is_duplicate[~was] == 0).all()
    turned = was & (batch.is_duplicate == 0)
    assert turned.sum() > 0.8 * was.sum()
    for row in np.flatnonzero(was):
        assert np.array_equal(batch.tiles1[row], batch.tiles2[row]) == (batch.is_duplicate[row] == 1)


def test_a_table_that_cannot_be_read_from_its_folder(collection: Collection, tmp_path: Path) -> None:
    folder, pairs = collection
    with pytest.raises(ValueError, match=r"lacks the column\(s\) tile1, tile2; make it with dupnet\.pairs"):
        PairReader(pairs.drop(columns=["tile2", "tile1"]), folder)
    with pytest.raises(ValueError, match="pairs has no rows; make it with"):
        PairReader(pairs.iloc[:0], folder)
    with pytest.raises(
        ValueError, match=r"0\.png: the table names tile 3, but of 128 px tiles the image has 1;"
    ):
        PairReader(pairs, folder, tile_size=2 * SIZE).pair(9)
    with pytest.raises(ValueError, match="tile_size is 128, but the table is of tiles of 64 px"):
        PairReader(pairs.assign(tile_size=SIZE), folder, tile_size=2 * SIZE)
    assert PairReader(pairs.assign(tile_size=SIZE), folder).pair(0)[0].shape == (SIZE, SIZE, 3)
    with pytest.raises(ValueError, match="names tile -1"):
        reader((folder, pairs.assign(tile2=-1))).pair(0)
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes((folder / f"{number}.png").read_bytes()[:-200])
    with pytest.raises(UnreadableImage, match=r"0\.png: does not decode"):
        reader((tmp_path, pairs)).batch([0])


def test_another_moment_is_texture_that_is_gone() -> None:
    tile, other = textured(2, 256)
    lit_anew = np.rint(0.7 * tile + 40).astype(np.uint8)
    assert is_another(tile, other)
    assert not is_another(tile, tile)
    assert not is_another(tile, lit_anew)

    def with_cells(n: int) -> Bytes:
        """The tile lit anew, with the first cells (of 64) from another."""
        found = lit_anew.copy()
        for cell in range(n):
            place = tile_slices(cell, Grid(8, 8, 32))
            found[place] = other[place]
        return found

    assert not is_another(tile, with_cells(6))
    assert is_another(tile, with_cells(7))


def test_one_cell_is_not_enough_to_tell_another_moment() -> None:
    tile, other = textured(2, 64)
    solid = np.full_like(tile, 90)
    for one, two in ((tile, other), (tile, solid), (solid, other)):
        assert not is_another(one[:32, :32], two[:32, :32])
        assert is_another(one[:32], two[:32])
    assert not is_another(solid, solid)
