import cv2
import numpy as np
import pandas as pd
import pytest
import simplejpeg

from dupnet.images.reading import UnreadableImage
from dupnet.report import mosaics
from dupnet.report.mosaics import BACKGROUND, mosaic, write_mosaics
from dupnet.tiles import Grid

GRID = Grid(3, 3, 16)


@pytest.fixture
def collection(tmp_path):
    """Crops of one picture (group 0), two of another (group 1) and one alone (group 2), as PNG."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (8 * 16, 9 * 16, 3), dtype=np.uint8) for _ in range(3)]
    rows = [(0, row, col) for row in range(5) for col in range(6)] + [(1, 0, 0), (1, 1, 2), (2, 0, 0)]
    order = rng.permutation(len(rows))
    folder = tmp_path / "images"
    folder.mkdir()
    table = []
    for number, at in enumerate(order):
        group, row, col = rows[at]
        crop = pictures[group][row * 16 : (row + 3) * 16, col * 16 : (col + 3) * 16]
        cv2.imwrite(str(folder / f"{number:03d}.png"), crop[:, :, ::-1])
        table.append((f"{number:03d}.png", group, row, col))
    return folder, pd.DataFrame(table, columns=["image", "group", "row", "col"]), pictures


def test_a_mosaic_is_the_picture_that_was_cut(collection):
    folder, groups, pictures = collection
    np.testing.assert_array_equal(mosaic(groups, 0, folder, GRID), pictures[0][: 7 * 16, : 8 * 16])
    np.testing.assert_array_equal(mosaic(groups, 2, folder, GRID), pictures[2][: 3 * 16, : 3 * 16])


def test_ground_that_no_image_shows_is_grey(collection):
    folder, groups, pictures = collection
    drawn = mosaic(groups, 1, folder, GRID)
    assert drawn.shape == (4 * 16, 5 * 16, 3)
    shown = np.zeros(drawn.shape, dtype=bool)
    shown[: 3 * 16, : 3 * 16] = shown[16:, 2 * 16 :] = True
    np.testing.assert_array_equal(drawn[shown], pictures[1][: 4 * 16, : 5 * 16][shown])
    assert (drawn[~shown] == BACKGROUND).all()


def test_a_reduced_mosaic_averages_pixels(collection):
    folder, groups, pictures = collection
    drawn = mosaic(groups, 0, folder, GRID, reduction=4)
    means = pictures[0][: 7 * 16, : 8 * 16].reshape(28, 4, 32, 4, 3).mean(axis=(1, 3))
    assert drawn.shape == (28, 32, 3)
    assert np.abs(drawn - means).max() <= 0.5 + 1e-6


def test_few_images_are_read_and_none_twice(collection, monkeypatch):
    folder, groups, _ = collection
    read = []
    original = mosaics.load_named

    def counted(name, *where, **how):
        read.append(name)
        return original(name, *where, **how)

    monkeypatch.setattr(mosaics, "load_named", counted)
    mosaic(groups, 0, folder, GRID)
    assert len(read) == len(set(read)) <= 12  # 30 images; 7 x 8 tiles take at least 7 of them


def test_images_may_lie_in_several_folders(collection, tmp_path):
    folder, groups, pictures = collection
    other = tmp_path / "other"
    other.mkdir()
    for name in groups["image"][::2]:
        (folder / name).rename(other / name)
    np.testing.assert_array_equal(mosaic(groups, 0, [folder, other], GRID), pictures[0][: 7 * 16, : 8 * 16])
    (other / groups["image"][groups["group"] == 2].iloc[0]).unlink(missing_ok=True)
    (folder / groups["image"][groups["group"] == 2].iloc[0]).unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError, match="in none of"):
        mosaic(groups, 2, [folder, other], GRID)


def test_what_vanished_or_changed_meanwhile_stays_grey(collection, tmp_path):
    folder, groups, _ = collection
    members = groups[groups["group"] == 0].sort_values(["row", "col"])
    corner, other = members["image"].iloc[0], members["image"].iloc[-1]
    (folder / corner).unlink()
    cv2.imwrite(str(folder / other), np.zeros((64, 64, 3), np.uint8))
    with pytest.warns(UserWarning, match=r"2 images can be read no more, .* grey"):
        written = write_mosaics(groups, folder, tmp_path / "mosaics", GRID)
    assert list(written["group"]) == sorted(groups["group"][groups["group"].duplicated()].unique())
    drawn = simplejpeg.decode_jpeg((tmp_path / "mosaics" / "000000.jpg").read_bytes()).astype(int)
    row, col = members[["row", "col"]].iloc[0] * GRID.tile_size
    inside = np.s_[row : row + GRID.tile_size, col : col + GRID.tile_size]
    assert abs(drawn[inside] - BACKGROUND).max() < 60 < abs(drawn - BACKGROUND).max()
    assert abs(drawn[inside] - BACKGROUND).mean() < 8
    with pytest.raises((FileNotFoundError, UnreadableImage)):
        mosaic(groups, 0, folder, GRID)


def test_the_number_of_workers_changes_nothing(collection):
    folder, groups, _ = collection
    one, four = (mosaic(groups, 0, folder, GRID, workers=workers) for workers in (1, 4))
    np.testing.assert_array_equal(one, four)


@pytest.mark.parametrize("in_memory", [True, False])
def test_mosaics_are_written_for_groups_of_several_images(collection, tmp_path, monkeypatch, in_memory):
    folder, groups, _ = collection
    if not in_memory:
        monkeypatch.setattr(mosaics, "MAX_IN_MEMORY", 0)
    out = tmp_path / "out" / "mosaics"
    table = write_mosaics(groups, folder, out, GRID)
    assert (
        sorted(path.name for path in out.iterdir()) == table["file"].tolist() == ["000000.jpg", "000001.jpg"]
    )
    assert table.drop(columns="file").to_numpy().tolist() == [
        [0, 30, 7, 8, 1, 7 * 16, 8 * 16],
        [1, 2, 4, 5, 1, 4 * 16, 5 * 16],
    ]
    drawn = simplejpeg.decode_jpeg((out / "000000.jpg").read_bytes())
    assert drawn.shape == (7 * 16, 8 * 16, 3)


def test_a_jpeg_mosaic_looks_like_its_picture(collection, tmp_path):
    folder, groups, _ = collection
    smooth = cv2.resize(np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8), (144, 128))
    for row in groups[groups["group"] == 0].itertuples():
        crop = smooth[row.row * 16 : (row.row + 3) * 16, row.col * 16 : (row.col + 3) * 16]
        cv2.imwrite(str(folder / row.image), crop[:, :, ::-1])
    write_mosaics(groups, folder, tmp_path, GRID)
    drawn = simplejpeg.decode_jpeg((tmp_path / "000000.jpg").read_bytes())
    difference = np.abs(drawn.astype(int) - smooth[: 7 * 16, : 8 * 16])
    assert difference.mean() < 3


@pytest.mark.parametrize(("longest", "reductions"), [(63, [4, 2]), (64, [2, 2]), (1, [16, 16])])
def test_long_mosaics_are_reduced_by_halves(collection, tmp_path, monkeypatch, longest, reductions):
    folder, groups, _ = collection
    monkeypatch.setattr(mosaics, "LONGEST_SIDE", longest)  # a tile is never less than a pixel
    table = write_mosaics(groups, folder, tmp_path, GRID)
    assert table["reduction"].tolist() == reductions
    assert table["height"].tolist() == [7 * 16 // reductions[0], 4 * 16 // reductions[1]]


def test_what_cannot_be_drawn_is_refused(collection, tmp_path):
    folder, groups, _ = collection
    with pytest.raises(ValueError, match="group is 7"):
        mosaic(groups, 7, folder, GRID)
    for reduction in (0, 3, 32):
        with pytest.raises(ValueError, match=f"reduction is {reduction}"):
            mosaic(groups, 0, folder, GRID, reduction=reduction)
