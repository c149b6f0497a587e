"""Images of a review, read by their names in its tables."""

from __future__ import annotations

from pathlib import Path, PurePath

import numpy as np
import numpy.typing as npt

from dupnet.images.image import Image
from dupnet.images.listing import Folders, locate
from dupnet.images.reading import UnreadableImage, load, load_image
from dupnet.images.stretch import Rendering

__all__ = ["read_grey", "read_image"]

Pixels = npt.NDArray[np.uint8]


def read_image(folders: Folders, name: str, rendering: Rendering = Rendering()) -> Pixels:
    """An image of the folders by its name in a table: (height, width, 3) uint8 RGB.

    Raises
    ------
    ValueError
        If the name leads out of the folders.
    UnreadableImage
        If there is no such image, or it cannot be read.
    """
    return load(_located(folders, name), grey=False, rendering=rendering)[0]


def read_grey(folders: Folders, name: str, rendering: Rendering) -> Image:
    """As the search reads it: grey by the file's own luma, which RGB converted to grey is not."""
    return load_image(_located(folders, name), grey=True, rendering=rendering)


def _located(folders: Folders, name: str) -> Path:
    # A name from a table of unknown origin does not lead out of the folder.
    parts = PurePath(name).parts
    if not parts or ".." in parts or PurePath(name).is_absolute():
        raise ValueError(f"image name {name!r} leads elsewhere; only files of the folder are shown.")
    try:
        return locate(name, folders)
    except FileNotFoundError:
        raise UnreadableImage(name, "not in the folder of images") from None
