import cv2
import numpy as np
import pandas as pd
import pytest
import simplejpeg

from dupnet.images.reading import UnreadableImage
from dupnet.report import mosaics
from dupnet.report.mosaics import BACKGROUND, mosaic, write_mosaics


@pytest.fixture
def collection(tmp_path):
    """Crops of one picture (mosaic 0), two of another (1) and one alone (2), of one group, as PNG."""
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
        table.append((f"{number:03d}.png", 0, group, 16 * row, 16 * col, 48, 48))
    columns = ["image", "group", "mosaic", "y", "x", "height", "width"]
    return folder, pd.DataFrame(table, columns=columns), pictures


def test_a_mosaic_is_the_picture_that_was_cut(collection):
    folder, groups, pictures = collection
    np.testing.assert_array_equal(mosaic(groups, 0, folder)[0], pictures[0][: 7 * 16, : 8 * 16])
    np.testing.assert_array_equal(mosaic(groups, 2, folder)[0], pictures[2][: 3 * 16, : 3 * 16])


def test_ground_that_no_image_shows_is_grey(collection):
    folder, groups, pictures = collection
    drawn, reduction = mosaic(groups, 1, folder)
    assert reduction == 1
    assert drawn.shape == (4 * 16, 5 * 16, 3)
    shown = np.zeros(drawn.shape, dtype=bool)
    shown[: 3 * 16, : 3 * 16] = shown[16:, 2 * 16 :] = True
    np.testing.assert_array_equal(drawn[shown], pictures[1][: 4 * 16, : 5 * 16][shown])
    assert (drawn[~shown] == BACKGROUND).all()


def test_images_of_any_sizes_lie_at_any_place(tmp_path):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (60, 70, 3), dtype=np.uint8)
    rows = []
    for number, box in enumerate([(0, 3, 30, 40), (13, 0, 47, 31), (29, 37, 31, 33), (5, 20, 9, 9)]):
        top, left, height, width = box
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture[top : top + height, left : left + width, ::-1])
        rows.append((f"{number}.png", 4, *box))
    groups = pd.DataFrame(rows, columns=["image", "mosaic", "y", "x", "height", "width"])
    drawn, _ = mosaic(groups, 4, tmp_path)
    shown = np.zeros((60, 70), dtype=bool)
    for _, _, top, left, height, width in rows:
        shown[top : top + height, left : left + width] = True
    np.testing.assert_array_equal(drawn[shown], picture[shown])
    assert (drawn[~shown] == BACKGROUND).all() and not shown.all()


@pytest.mark.parametrize(("max_side", "reduction"), [(32, 4), (127, 128 / 127), (128, 1), (1, 128)])
def test_a_long_mosaic_is_reduced_to_the_side_asked_for(collection, max_side, reduction):
    folder, groups, _ = collection
    drawn, found = mosaic(groups, 0, folder, max_side)
    assert found == reduction
    assert drawn.shape == (max(1, round(112 / reduction)), round(128 / reduction), 3)
    assert max(drawn.shape[:2]) == max_side


def test_what_is_too_narrow_to_be_seen_is_not_drawn(tmp_path):
    rows = [("strip.png", 0, 0, 0, 4, 200), ("far.png", 0, 3000, 0, 1000, 1000)]
    for name, _, _, _, height, width in rows:
        cv2.imwrite(str(tmp_path / name), np.full((height, width, 3), 255, np.uint8))
    groups = pd.DataFrame(rows, columns=["image", "mosaic", "y", "x", "height", "width"])
    drawn, _ = mosaic(groups, 0, tmp_path, 40)
    assert drawn.shape == (40, 10, 3)
    assert (drawn[:30] == BACKGROUND).all() and (drawn[30:] == 255).all()


def test_a_reduced_mosaic_averages_pixels(collection):
    folder, groups, pictures = collection
    drawn, _ = mosaic(groups, 0, folder, 32)
    means = pictures[0][: 7 * 16, : 8 * 16].reshape(28, 4, 32, 4, 3).mean(axis=(1, 3))
    assert drawn.shape == (28, 32, 3)
    assert np.abs(drawn - means).max() <= 0.5 + 1e-6


def test_few_images_are_read_and_none_twice(collection, monkeypatch):
    folder, groups, _ = collection
    read = []
    original = mosaics.load_reduced

    def counted(name, *where, **how):
        read.append(name)
        return original(name, *where, **how)

    monkeypatch.setattr(mosaics, "load_reduced", counted)
    mosaic(groups, 0, folder)
    assert len(read) == len(set(read)) <= 12  # 30 images; 7 x 8 tiles take at least 7 of them


def test_images_may_lie_in_several_folders(collection, tmp_path):
    folder, groups, pictures = collection
    other = tmp_path / "other"
    other.mkdir()
    for name in groups["image"][::2]:
        (folder / name).rename(other / name)
    np.testing.assert_array_equal(mosaic(groups, 0, [folder, other])[0], pictures[0][: 7 * 16, : 8 * 16])
    (other / groups["image"][groups["mosaic"] == 2].iloc[0]).unlink(missing_ok=True)
    (folder / groups["image"][groups["mosaic"] == 2].iloc[0]).unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError, match="in none of"):
        mosaic(groups, 2, [folder, other])


def test_what_vanished_or_changed_meanwhile_stays_grey(collection, tmp_path):
    folder, groups, _ = collection
    members = groups[groups["mosaic"] == 0].sort_values(["y", "x"])
    corner, other = members["image"].iloc[0], members["image"].iloc[-1]
    (folder / corner).unlink()
    cv2.imwrite(str(folder / other), np.zeros((64, 64, 3), np.uint8))
    with pytest.warns(UserWarning, match=r"2 images can no longer be read, .* grey"):
        written = write_mosaics(groups, folder, tmp_path / "mosaics")
    assert list(written["mosaic"]) == sorted(groups["mosaic"][groups["mosaic"].duplicated()].unique())
    drawn = simplejpeg.decode_jpeg((tmp_path / "mosaics" / "000000.jpg").read_bytes()).astype(int)
    inside = np.s_[:16, :16]
    assert abs(drawn[inside] - BACKGROUND).max() < 60 < abs(drawn - BACKGROUND).max()
    assert abs(drawn[inside] - BACKGROUND).mean() < 8
    with pytest.raises((FileNotFoundError, UnreadableImage)):
        mosaic(groups, 0, folder)


def test_the_number_of_workers_changes_nothing(collection):
    folder, groups, _ = collection
    (one, _), (four, _) = (mosaic(groups, 0, folder, workers=workers) for workers in (1, 4))
    np.testing.assert_array_equal(one, four)


def test_mosaics_are_written_where_there_are_several_images(collection, tmp_path):
    folder, groups, _ = collection
    out = tmp_path / "out" / "mosaics"
    table = write_mosaics(groups, folder, out)
    assert (
        sorted(path.name for path in out.iterdir()) == table["file"].tolist() == ["000000.jpg", "000001.jpg"]
    )
    assert list(table.columns) == ["mosaic", "file", "images", "reduction", "height", "width"]
    assert table.drop(columns="file").to_numpy().tolist() == [
        [0, 30, 1, 7 * 16, 8 * 16],
        [1, 2, 1, 4 * 16, 5 * 16],
    ]
    drawn = simplejpeg.decode_jpeg((out / "000000.jpg").read_bytes())
    assert drawn.shape == (7 * 16, 8 * 16, 3)


def test_a_jpeg_mosaic_looks_like_its_picture(collection, tmp_path):
    folder, groups, _ = collection
    smooth = cv2.resize(np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8), (144, 128))
    for row in groups[groups["mosaic"] == 0].itertuples():
        crop = smooth[row.y : row.y + 48, row.x : row.x + 48]
        cv2.imwrite(str(folder / row.image), crop[:, :, ::-1])
    write_mosaics(groups, folder, tmp_path)
    drawn = simplejpeg.decode_jpeg((tmp_path / "000000.jpg").read_bytes())
    difference = np.abs(drawn.astype(int) - smooth[: 7 * 16, : 8 * 16])
    assert difference.mean() < 3


@pytest.mark.parametrize("workers", [1, 3])
def test_long_mosaics_are_reduced(collection, tmp_path, workers):
    folder, groups, _ = collection
    table = write_mosaics(groups, folder, tmp_path, max_side=64, workers=workers)
    assert table[["reduction", "height", "width"]].values.tolist() == [[2, 56, 64], [1.25, 51, 64]]
    for row in table.itertuples():
        drawn = simplejpeg.decode_jpeg((tmp_path / row.file).read_bytes())
        assert drawn.shape == (row.height, row.width, 3)
        expected, _ = mosaic(groups, row.mosaic, folder, 64)
        assert np.abs(drawn.astype(int) - expected).mean() < 30
    # The limit that holds where none is given.
    assert write_mosaics(groups, folder, tmp_path)["reduction"].tolist() == [1, 1]


def test_what_cannot_be_drawn_is_refused(collection, tmp_path):
    folder, groups, _ = collection
    with pytest.raises(ValueError, match="mosaic is 7"):
        mosaic(groups, 7, folder)
    for max_side in (0, -5):
        with pytest.raises(ValueError, match=f"max_side is {max_side}"):
            mosaic(groups, 0, folder, max_side)
        with pytest.raises(ValueError, match=f"max_side is {max_side}"):
            write_mosaics(groups, folder, tmp_path, max_side=max_side)
