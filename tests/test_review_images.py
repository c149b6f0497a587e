"""Images of a review come from its folders alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dupnet.images.reading import UnreadableImage
from dupnet.images.stretch import Rendering
from dupnet.review.images import read_grey, read_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    pixels = np.zeros((70, 80, 3), np.uint8)
    pixels[:, :, 1] = 200
    Image.fromarray(pixels).save(tmp_path / "images" / "a.png")
    Image.fromarray(pixels).save(tmp_path / "outside.png")
    return tmp_path / "images"


def test_colour_and_grey(folder: Path) -> None:
    assert read_image(folder, "a.png").shape == (70, 80, 3)
    grey = read_grey(folder, "a.png", Rendering()).pixels
    assert grey.shape == (70, 80) and int(grey[0, 0]) == round(0.587 * 200)


@pytest.mark.parametrize("name", ["../outside.png", "/etc/passwd", ""])
def test_no_name_leads_out_of_the_folder(name: str, folder: Path) -> None:
    for read in (read_image, lambda *given: read_grey(*given, Rendering())):
        with pytest.raises(ValueError, match="leads elsewhere"):
            read(folder, name)


def test_what_is_gone_is_named(folder: Path) -> None:
    with pytest.raises(UnreadableImage, match="not in the folder of images"):
        read_image(folder, "gone.png")
