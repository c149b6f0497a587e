import numpy as np
import pytest
import simplejpeg
from PIL import Image

from dupnet.images import reduced
from dupnet.images.reading import UnreadableImage
from dupnet.images.reduced import load_reduced


@pytest.fixture
def folder(tmp_path):
    """One smooth picture as JPEG and PNG."""
    y, x = np.mgrid[:120, :200]
    picture = np.stack([y, x, (x + y) // 2], axis=2).astype(np.uint8)
    (tmp_path / "a.jpg").write_bytes(simplejpeg.encode_jpeg(picture, quality=98, colorsubsampling="444"))
    Image.fromarray(picture).save(tmp_path / "a.png")
    return tmp_path, picture


@pytest.mark.parametrize(
    ("factor", "shape"), [(1, (120, 200)), (1.9, (120, 200)), (2.1, (60, 100)), (4, (30, 50))]
)
def test_a_jpeg_is_reduced_by_at_most_the_factor(folder, factor, shape):
    path, picture = folder
    image, size = load_reduced("a.jpg", path, factor)
    assert size == (120, 200) and image.shape == (*shape, 3)
    step = 120 // shape[0]
    means = picture.reshape(shape[0], step, shape[1], step, 3).mean(axis=(1, 3))
    assert np.abs(image - means).max() <= 4


def test_other_kinds_come_whole(folder):
    path, picture = folder
    image, size = load_reduced("a.png", [path / "none", path], 8)
    assert size == (120, 200) and np.array_equal(image, picture)


def test_what_cannot_be_read_says_why(folder, monkeypatch):
    path, _ = folder
    (path / "half.jpg").write_bytes((path / "a.jpg").read_bytes()[:900])
    (path / "text.jpg").write_text("no image")
    with pytest.raises(UnreadableImage, match=r"half\.jpg"):
        load_reduced("half.jpg", path, 4)
    with pytest.raises(UnreadableImage, match=r"text\.jpg"):
        load_reduced("text.jpg", path, 4)
    with pytest.raises(FileNotFoundError):
        load_reduced("none.jpg", path, 4)
    monkeypatch.setattr("dupnet.images.image.MAX_PIXELS", 100)
    with pytest.raises(UnreadableImage, match="at most 100 pixels"):
        load_reduced("a.jpg", path, 4)


def test_a_store_is_asked_for_its_bytes(folder):
    path, _ = folder

    class Store:
        def read(self, name):
            return (path / name).read_bytes()

    assert load_reduced("a.jpg", Store(), 4)[0].shape == (120, 200, 3)
    assert reduced.load_reduced("a.jpg", [path], 4)[0].shape == (30, 50, 3)


def test_a_raster_too_large_to_be_decoded_at_once_is_reduced_by_windows(tmp_path, monkeypatch):
    rasterio = pytest.importorskip("rasterio")
    y, x = np.mgrid[:330, :200]
    picture = np.stack([y % 256, x, (x + y) // 3], axis=2).astype(np.uint8)
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", height=330, width=200, count=3, dtype="uint8"
    ) as file:
        file.write(picture.transpose(2, 0, 1))
    monkeypatch.setattr("dupnet.images.image.MAX_PIXELS", 5_000)
    monkeypatch.setattr("dupnet.images.reduced.SIDE", 64)
    image, size = load_reduced("a.tif", tmp_path, 4.9)
    assert size == (330, 200) and image.shape == (83, 50, 3)
    means = picture[:328].reshape(82, 4, 50, 4, 3).mean(axis=(1, 3))
    assert (
        np.abs(image[:82] - means).max() <= 2
    )  # of a window cut off by the border, the step is a little less
    with pytest.raises(UnreadableImage, match="at most 5000 pixels"):
        load_reduced("a.tif", tmp_path, 2)
