"""Pictures that Pillow decodes: pixels, what of them is valid, and a word on what was converted."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as Pillow
from textures import textured

from dupnet.images.image import MAX_PIXELS, UnreadableImage
from dupnet.images.pictures import CONVERTED, as_grey, decode_picture

GREY = textured(1, 40, contrast=25)[0]
RGB = np.stack([GREY, GREY[::-1], GREY.T], axis=2)


def encoded(picture: Pillow.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_colours_come_back_as_they_were(kind: str) -> None:
    image = decode_picture(encoded(Pillow.fromarray(RGB), kind), grey=False)
    assert image.valid is None and image.note == ""
    np.testing.assert_array_equal(image.pixels, RGB)
    grey = decode_picture(encoded(Pillow.fromarray(RGB), kind), grey=True)
    np.testing.assert_array_equal(grey.pixels, as_grey(RGB))


def test_grey_is_luma() -> None:
    one = np.zeros((1, 3, 3), np.uint8)
    one[0, [0, 1, 2], [0, 1, 2]] = 255
    assert as_grey(one).tolist() == [[76, 150, 29]]  # ITU-R BT.601: 0.299, 0.587, 0.114
    assert as_grey(RGB).dtype == np.uint8


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK", "YCbCr"])
def test_other_modes_are_converted_and_noted(mode: str) -> None:
    picture = Pillow.fromarray(RGB).convert(mode)
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    stored = encoded(picture, kind)
    image = decode_picture(stored, grey=False)
    assert image.pixels.shape == RGB.shape and image.valid is None
    if mode != "YCbCr":  # which a JPEG gives back as RGB
        assert image.note == CONVERTED[mode]
    expected = Pillow.open(io.BytesIO(stored)).convert("RGB")
    np.testing.assert_array_equal(image.pixels, np.asarray(expected))


def test_what_is_transparent_is_not_valid() -> None:
    alpha = np.full(GREY.shape, 255, np.uint8)
    alpha[:10, :5] = 0
    alpha[10:, :5] = 1  # hardly seen, but there
    image = decode_picture(encoded(Pillow.fromarray(np.dstack([RGB, alpha]))), grey=False)
    assert image.valid is not None and image.valid.sum() == image.valid.size - 50
    assert not image.valid[:10, :5].any()
    np.testing.assert_array_equal(image.pixels, RGB)


def test_a_transparent_colour_of_a_palette() -> None:
    picture = Pillow.fromarray(np.arange(100, dtype=np.uint8).reshape(10, 10) // 10, "P")
    picture.putpalette(list(range(30)))
    for transparency, n_valid in ((3, 90), (bytes([255, 0, 0]), 80)):
        image = decode_picture(encoded(picture, transparency=transparency), grey=True)
        assert image.valid is not None and int(image.valid.sum()) == n_valid
        assert image.note == "palette; converted to RGB; transparent pixels masked"


def test_what_is_refused() -> None:
    frames = [Pillow.fromarray(GREY), Pillow.fromarray(GREY[::-1])]
    gif = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    deep = encoded(Pillow.fromarray(GREY.astype(np.uint16) * 200))
    whole = encoded(Pillow.fromarray(RGB))
    for data, reason in (
        (gif, "2 frames; save the one to use as an image of its own"),
        (deep, "I;16 samples, which are not read of this kind of file; save it as a TIFF"),
        (b"no picture at all", "does not decode: damaged, or of an unknown kind"),
        (whole[: len(whole) // 2], "does not decode: "),
    ):
        with pytest.raises(UnreadableImage) as caught:
            decode_picture(data, grey=True)
        assert caught.value.reason.startswith(reason)


def test_sizes_are_checked_before_pixels_are_decoded() -> None:
    with pytest.raises(UnreadableImage, match="40 x 40"):
        decode_picture(encoded(Pillow.fromarray(RGB)), grey=True, tile_size=48)
    side = int(MAX_PIXELS**0.5) + 1
    large = encoded(Pillow.new("1", (side, side)))
    with pytest.raises(UnreadableImage, match=f"{side} x {side}"):
        decode_picture(large, grey=True)


def test_a_remark_of_the_decoder_is_a_note() -> None:
    """Pillow warns of an animation of one frame only, or of a broken control chunk; it is one's own file."""
    data = encoded(Pillow.fromarray(GREY), "GIF")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pillow.Image, "convert", _warning(Pillow.Image.convert))
        assert decode_picture(data, grey=True).note.endswith("; odd, but readable")


def _warning(function):  # type: ignore[no-untyped-def]
    import warnings

    def warned(*arguments, **named):  # type: ignore[no-untyped-def]
        warnings.warn("odd, but readable", UserWarning, stacklevel=1)
        return function(*arguments, **named)

    return warned
