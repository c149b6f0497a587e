"""Images: what is read, what is refused and why, and the tiles that are saved."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from dupnet.images import reading as images
from dupnet.images import tiles_on_disk
from dupnet.images.listing import list_images
from dupnet.images.reading import UnreadableImage, decode, kind_of, load, read_grey, read_image
from dupnet.images.tiles_on_disk import save_tiles
from dupnet.tiles import Grid, split_tiles


def picture(height: int = 512, width: int = 512, seed: int = 0) -> np.ndarray:
    """Blocks of random colour: (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return np.kron(blocks, np.ones((8, 8, 1), np.uint8))


def encoded(mode: str = "RGB", format: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture()).convert(mode).save(buffer, format, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(side: int = 60_000) -> bytes:
    """A PNG of a few bytes whose header asks for 11 GB."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + data + png_chunk(b"IEND", b"")


def jpeg_bomb() -> bytes:
    """A JPEG whose header says 65,000 x 65,000."""
    data = encoded()
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", 65_000, 65_000) + data[at + 9 :]


def sixteen_bit(extension: str, channels: int) -> bytes:
    deep = picture().astype(np.uint16) * 257
    return cv2.imencode(extension, deep if channels == 3 else deep[:, :, 0])[1].tobytes()


def frames(format: str) -> bytes:
    buffer = io.BytesIO()
    one, other = Image.fromarray(picture()), Image.fromarray(picture(seed=1))
    one.save(buffer, format, save_all=True, append_images=[other])
    return buffer.getvalue()


def dented(data: bytes) -> bytes:
    """A kilobyte in the middle lost."""
    return data[: len(data) // 2] + data[len(data) // 2 + 1000 :]


EXIF = Image.Exif()
EXIF[0x0112] = 6  # orientation: turned by a quarter

READ: dict[str, tuple[Callable[[], bytes], str]] = {
    "baseline.jpg": (encoded, ""),
    "progressive.jpg": (lambda: encoded(progressive=True), ""),
    "exif_turned.jpg": (lambda: encoded(exif=EXIF), ""),
    "plain.png": (lambda: encoded(format="PNG"), ""),
    "plain.tif": (lambda: encoded(format="TIFF"), ""),
    "packed.tif": (lambda: encoded(format="TIFF", compression="tiff_lzw"), ""),
    "png_named.jpg": (lambda: encoded(format="PNG"), ""),
    "no_ending": (encoded, ""),
    "grey.jpg": (lambda: encoded("L"), "grey"),
    "cmyk.jpg": (lambda: encoded("CMYK"), "CMYK"),
    "cmyk.tif": (lambda: encoded("CMYK", "TIFF"), "CMYK"),
    "palette.png": (lambda: encoded("P", "PNG"), "palette"),
    "alpha.png": (lambda: encoded("RGBA", "PNG"), "alpha"),
    "grey_alpha.png": (lambda: encoded("LA", "PNG"), "alpha"),
    "one_bit.png": (lambda: encoded("1", "PNG"), "black and white"),
    "deep.png": (lambda: sixteen_bit(".png", 3), "uint16"),
    "deep.tif": (lambda: sixteen_bit(".tif", 3), "uint16"),
    "deep_grey.png": (lambda: sixteen_bit(".png", 1), "uint16"),
    "float.tif": (lambda: cv2.imencode(".tif", picture().astype(np.float32))[1].tobytes(), "float32"),
}
"""Files that are read, and a word of the note on what was converted."""

REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "truncated.jpg": (lambda: encoded()[:9000], "damaged JPEG"),
    "cut_and_closed.jpg": (lambda: encoded()[:9000] + b"\xff\xd9", "damaged JPEG"),
    "dented.jpg": (lambda: dented(encoded(quality=95)), "damaged JPEG"),
    "header_only.jpg": (lambda: encoded()[:20], "damaged JPEG"),
    "truncated.png": (lambda: encoded(format="PNG")[:2000], "does not decode"),
    "truncated.tif": (lambda: encoded(format="TIFF")[:2000], "does not decode"),
    "zero.jpg": (bytes, "empty file"),
    "text.jpg": (lambda: b"not a picture", "not an image of a known kind"),
    "page": (lambda: b"<script>alert(1)</script>", "not an image of a known kind"),
    "animated.gif": (lambda: frames("GIF"), "2 frames"),
    "animated.png": (lambda: frames("PNG"), "2 frames"),
    "pages.tif": (lambda: frames("TIFF"), "2 frames"),
    "bomb.png": (bomb, "at most 67108864 pixels"),
    "bomb.jpg": (jpeg_bomb, "at most 67108864 pixels"),
}
"""Files that are left out, and a part of the reason."""


@pytest.mark.parametrize("grey", [False, True], ids=["rgb", "grey"])
@pytest.mark.parametrize("name", READ)
def test_read(name: str, grey: bool, tmp_path: Path) -> None:
    make, note = READ[name]
    (tmp_path / name).write_bytes(make())
    pixels, converted = load(tmp_path / name, grey=grey, tile_size=256)
    assert pixels.dtype == np.uint8
    assert pixels.shape == ((512, 512) if grey else (512, 512, 3))
    assert pixels.flags.writeable
    assert note in converted
    assert bool(note) == bool(converted)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_reason(name: str, tmp_path: Path) -> None:
    make, reason = REFUSED[name]
    (tmp_path / name).write_bytes(make())
    for grey in (False, True):
        with pytest.raises(UnreadableImage) as caught:
            load(tmp_path / name, grey=grey)
        assert reason in caught.value.reason
        assert name in str(caught.value)
        assert "0x" not in caught.value.reason  # an address would differ from run to run


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiffs_of_either_byte_order(order: Literal["<", ">"], big: bool) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, picture(64, 64), byteorder=order, bigtiff=big)
    np.testing.assert_array_equal(decode(file.getvalue(), grey=False).pixels, picture(64, 64))


@pytest.mark.parametrize("n_header", [12, 40, 52, 56, 64, 108, 124])
def test_text_is_no_bmp(n_header: int) -> None:
    start = b"BM" + bytes(12) + n_header.to_bytes(4, "little") + bytes(46)
    assert kind_of(start).reader == "picture"
    for other in (b"BMW" + bytes(61), b"CM" + start[2:], start[:29]):
        with pytest.raises(UnreadableImage, match="not an image of a known kind"):
            kind_of(other)


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    import resource

    (tmp_path / "bomb.png").write_bytes(bomb())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnreadableImage):
        load(tmp_path / "bomb.png", grey=True)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_pixels_are_those_of_opencv(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(quality=80, subsampling=2))
    data = np.fromfile(tmp_path / "a.jpg", np.uint8)
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), cv2.imdecode(data, cv2.IMREAD_COLOR_RGB))
    np.testing.assert_array_equal(read_grey(tmp_path / "a.jpg"), cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))


def test_pixels_as_stored_whatever_exif_says(tmp_path: Path) -> None:
    upright, turned = encoded(), encoded(exif=EXIF)
    np.testing.assert_array_equal(images.decode(upright, grey=False)[0], images.decode(turned, grey=False)[0])


def test_grey_of_a_grey_and_of_a_colour_file_agree() -> None:
    grey = images.decode(encoded("L", "PNG"), grey=True).pixels
    colour = images.decode(encoded("L", "PNG"), grey=False).pixels
    assert (colour == grey[:, :, None]).all()


def test_conversions_are_warned_of(tmp_path: Path) -> None:
    (tmp_path / "cmyk.jpg").write_bytes(encoded("CMYK"))
    with pytest.warns(UserWarning, match=r"cmyk\.jpg: CMYK"):
        read_image(tmp_path / "cmyk.jpg")


@pytest.mark.parametrize("size", [(1, 1), (256, 255), (500, 512)])
def test_wrong_size(size: tuple[int, int], tmp_path: Path) -> None:
    Image.new("RGB", size).save(tmp_path / "a.jpg")
    with pytest.raises(UnreadableImage, match="wrong size"):
        read_image(tmp_path / "a.jpg", tile_size=256)
    assert read_image(tmp_path / "a.jpg").shape == (size[1], size[0], 3)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.symlink("loop.jpg", tmp_path / "loop.jpg")
    os.symlink("nowhere.jpg", tmp_path / "dangling.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, reason in (
        ("loop.jpg", "symbolic links"),
        ("dangling.jpg", "vanished"),
        ("pipe.jpg", "not a regular file"),
        ("gone.jpg", "vanished"),
    ):
        with pytest.raises(UnreadableImage) as caught:
            load(tmp_path / name, grey=True)
        assert reason in caught.value.reason


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded())

    def refuse(*_: object, **__: object) -> None:  # root may read anything, so the refusal is staged
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(UnreadableImage, match="Permission denied"):
        load(tmp_path / "a.jpg", grey=True)


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "a.jpg", "wb") as file:
        file.write(encoded()[:100])
        file.truncate(images.MAX_FILE_BYTES + 1)
    with pytest.raises(UnreadableImage, match="bytes; at most"):
        load(tmp_path / "a.jpg", grey=True)


def test_by_name_from_folders_and_stores(tmp_path: Path) -> None:
    class Store:
        def read(self, name: str) -> bytes:
            return (
                {"b.jpg": encoded("CMYK"), "c.jpg": b"no image"}[name] if name != "a.jpg" else self.missing()
            )

        def missing(self) -> bytes:
            raise FileNotFoundError

    (tmp_path / "a.jpg").write_bytes(encoded("L"))
    for sources in ([tmp_path, Store()], [Store(), tmp_path], (Store(), str(tmp_path))):
        pixels, note = images.load_named("a.jpg", sources, grey=True)
        assert pixels.shape == (512, 512)
        assert "grey" in note
        pixels, note = images.load_named("b.jpg", sources, grey=False)
        assert pixels.shape == (512, 512, 3)
        assert "CMYK" in note
        with pytest.raises(UnreadableImage, match=r"c\.jpg: not an image"):
            images.load_named("c.jpg", sources, grey=False)
    assert images.load_named("b.jpg", Store(), grey=True)[0].shape == (512, 512)
    for source in (Store(), tmp_path / "none", [tmp_path / "none", Store()]):
        with pytest.raises(FileNotFoundError, match=r"a\.jpg"):
            images.load_named("a.jpg", source, grey=False)


def test_saved_tiles(tmp_path: Path) -> None:
    folder, out = tmp_path / "images", tmp_path / "tiles"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(encoded(quality=95))
    (folder / "b.png").write_bytes(encoded(format="PNG"))
    (folder / "notes").write_text("no image")
    left_out = save_tiles(folder, out)
    assert left_out.to_dict("records") == [{"image": "notes", "reason": "not an image of a known kind"}]
    assert list_images(out) == [f"{stem}_{index}.jpg" for stem in "ab" for index in range(4)]
    options = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x221111]  # 4:2:0
    tiles = split_tiles(read_image(folder / "b.png"), Grid(2, 2))
    for index, tile in enumerate(tiles):
        saved = read_image(out / f"b_{index}.jpg")
        expected = cv2.imdecode(cv2.imencode(".jpg", tile[:, :, ::-1], options)[1], cv2.IMREAD_COLOR_RGB)
        np.testing.assert_array_equal(saved, expected)


def test_saving_tiles_goes_on_where_it_was(tmp_path: Path) -> None:
    folder, out = tmp_path / "images", tmp_path / "tiles"
    folder.mkdir()
    (folder / "a.png").write_bytes(encoded(format="PNG"))
    save_tiles(folder, out)
    (out / "a_2.jpg").unlink()
    kept = (out / "a_1.jpg").stat().st_ino
    save_tiles(folder, out)
    assert (out / "a_2.jpg").exists()
    assert (out / "a_1.jpg").stat().st_ino == kept
    later = (out / "a_1.jpg").stat().st_mtime_ns + 1
    os.utime(folder / "a.png", ns=(later, later))
    save_tiles(folder, out)
    assert (out / "a_1.jpg").stat().st_ino != kept  # the image is younger than its tiles


@pytest.mark.parametrize("change", ["older", "within one tick"])
def test_tiles_of_an_image_that_was_replaced(change: str, tmp_path: Path) -> None:
    """By an older file, whose time says nothing against the tiles, or by one of the same size and time."""
    folder, out = tmp_path / "images", tmp_path / "tiles"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 512, 512, 3), dtype=np.uint8)
    files = [cv2.imencode(".bmp", one)[1].tobytes() for one in pixels]  # of one size
    image = folder / "a.bmp"
    image.write_bytes(files[0])
    state = image.stat()
    save_tiles(folder, out)
    before = (out / "a_1.jpg").read_bytes()
    image.write_bytes(files[1])
    time = state.st_mtime_ns - (10**12 if change == "older" else 0)
    os.utime(image, ns=(time, time))
    save_tiles(folder, out)
    after = (out / "a_1.jpg").read_bytes()
    assert after != before
    save_tiles(folder, tmp_path / "anew")
    assert after == (tmp_path / "anew" / "a_1.jpg").read_bytes()


def test_a_smaller_image_leaves_no_tile_of_the_larger_one(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(format="PNG"))
    out = tmp_path / "out"
    save_tiles(tmp_path, out)
    pixels = np.random.default_rng(0).integers(0, 256, (256, 512, 3), dtype=np.uint8)
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    save_tiles(tmp_path, out)
    assert list_images(out) == ["a_0.jpg", "a_1.jpg"]


def test_tiles_of_two_images_are_never_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image replaced, the run stopped after its first tile, and the image put back."""
    folder, out = tmp_path / "images", tmp_path / "tiles"
    folder.mkdir()
    first, second = np.random.default_rng(0).integers(0, 256, (2, 512, 512, 3), dtype=np.uint8)
    image = folder / "a.png"
    image.write_bytes(cv2.imencode(".png", first)[1].tobytes())
    os.utime(image, ns=(10**18, 10**18))
    save_tiles(folder, out)
    wanted = {path.name: path.read_bytes() for path in out.glob("*.jpg")}
    kept = image.read_bytes()
    image.write_bytes(cv2.imencode(".png", second)[1].tobytes())
    encode, n_encoded = tiles_on_disk.encode_jpeg, []

    def stop(pixels: np.ndarray, quality: int) -> bytes:
        n_encoded.append(1)
        if len(n_encoded) == 2:
            raise KeyboardInterrupt
        return encode(pixels, quality)

    monkeypatch.setattr(tiles_on_disk, "encode_jpeg", stop)
    with pytest.raises(KeyboardInterrupt):
        save_tiles(folder, out, workers=1)
    monkeypatch.setattr(tiles_on_disk, "encode_jpeg", encode)
    assert {path.name: path.read_bytes() for path in out.glob("*.jpg")} != wanted
    image.write_bytes(kept)
    os.utime(image, ns=(10**18, 10**18))
    save_tiles(folder, out)
    assert {path.name: path.read_bytes() for path in out.glob("*.jpg")} == wanted


def test_tiles_of_images_in_folders(tmp_path: Path) -> None:
    for part in ("train", "val"):
        (tmp_path / "images" / part).mkdir(parents=True)
        (tmp_path / "images" / part / "a.png").write_bytes(encoded(format="PNG"))
    out = tmp_path / "images" / "tiles"  # below the images, of which it is none
    save_tiles(tmp_path / "images", out)
    wanted = [f"{part}/a_{index}.jpg" for part in ("train", "val") for index in range(4)]
    assert list_images(out) == wanted
    save_tiles(tmp_path / "images", out)
    assert list_images(out) == wanted


def test_tiles_of_images_that_have_moved(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "a.png").write_bytes(encoded(format="PNG"))
    out = tmp_path / "tiles"
    with pytest.raises(ValueError, match="holds no tiles whose images could have moved"):
        save_tiles(tmp_path / "old", out, moved=True)
    save_tiles(tmp_path / "old", out)
    before = {path.name: path.stat().st_ino for path in out.glob("*.jpg")}
    (tmp_path / "old").rename(tmp_path / "new")
    with pytest.raises(ValueError, match=r"images '.*/old', not '.*/new'"):
        save_tiles(tmp_path / "new", out)
    save_tiles(tmp_path / "new", out, moved=True)
    save_tiles(tmp_path / "new", out)
    assert {path.name: path.stat().st_ino for path in out.glob("*.jpg")} == before


def test_saving_tiles_refuses_clashes(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded())
    (tmp_path / "a.png").write_bytes(encoded(format="PNG"))
    with pytest.raises(ValueError, match=r"'a\.jpg' and 'a\.png'"):
        save_tiles(tmp_path, tmp_path / "out")
    with pytest.raises(ValueError, match="quality is 101"):
        save_tiles(tmp_path, tmp_path / "out", quality=101)
    with pytest.raises(ValueError, match="tile_size is 0"):
        save_tiles(tmp_path, tmp_path / "out", tile_size=0)


def test_saving_tiles_of_no_image_is_an_error(tmp_path: Path) -> None:
    """No file is an image, or none is of whole tiles, where another size of a tile may be meant."""
    (tmp_path / "notes").write_text("no image")
    with pytest.raises(
        ValueError, match=r"None of 1 files can be used \('notes': not an image of .* kind\)\.$"
    ):
        save_tiles(tmp_path, tmp_path / "out")
    (tmp_path / "a.png").write_bytes(encoded(format="PNG"))
    with pytest.raises(
        ValueError, match=r"None of 2 files .*wrong size.*; pass the tile_size \(--tile-size\)"
    ):
        save_tiles(tmp_path, tmp_path / "out", tile_size=300)
    save_tiles(tmp_path, tmp_path / "out")  # nothing came of the settings before


def test_tiles_are_not_saved_among_other_files(tmp_path: Path) -> None:
    """Neither among the images themselves, nor among tiles of other images or settings."""
    folder, out = tmp_path / "images", tmp_path / "tiles"
    folder.mkdir()
    for name in ("a.png", "a_0.jpg"):
        (folder / name).write_bytes(encoded(format="PNG"))
    (tmp_path / "link").symlink_to(folder)
    for same in (folder, tmp_path / "link"):
        with pytest.raises(ValueError, match="is the folder of the images"):
            save_tiles(folder, same)
    assert list_images(folder) == ["a.png", "a_0.jpg"]

    out.mkdir()
    (out / "notes.txt").touch()
    with pytest.raises(ValueError, match="is not an output folder of `dupnet tiles`"):
        save_tiles(folder, out)
    assert os.listdir(out) == ["notes.txt"]
    (out / "notes.txt").unlink()
    save_tiles(folder, out, quality=90)
    before = {path: path.read_bytes() for path in out.glob("*.jpg")}
    with pytest.raises(ValueError, match=r"`dupnet tiles` made with quality 90, not 95\."):
        save_tiles(folder, out)
    with pytest.raises(ValueError, match="tile_size 256, not 128"):
        save_tiles(folder, out, quality=90, tile_size=128)
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "b.png").write_bytes(encoded(format="PNG"))
    with pytest.raises(ValueError, match=r"images '.*/images', not '.*/others'"):
        save_tiles(tmp_path / "others", out, quality=90)
    assert {path: path.read_bytes() for path in out.glob("*.jpg")} == before
    save_tiles(folder, out, quality=90)
