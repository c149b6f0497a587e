"""Links from the report to files beside it: always relative, so that a folder can be moved as a whole."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dupnet.images.reading import Sources, Store
from dupnet.report.previews import shown_name

__all__ = ["Links"]


class Links:
    """The addresses of images, as seen from the folder of the page.

    Parameters
    ----------
    folders
        Where the images are; what is no folder of this machine has no address.
    page
        The folder of the page; None: nothing has an address.
    """

    def __init__(self, folders: Sources, page: Path | None) -> None:
        several = [folders] if isinstance(folders, str | os.PathLike | Store) else list(folders)
        self._page = page
        self._folders = [Path(one) for one in several if not isinstance(one, Store)]
        self._bases = [self.beside(folder) for folder in self._folders]

    def beside(self, path: str | os.PathLike[str]) -> str | None:
        """The address of a file or folder, None if there is none (a page nowhere, another drive)."""
        if self._page is None:
            return None
        try:
            relative = os.path.relpath(os.path.realpath(path), os.path.realpath(self._page))
        except ValueError:
            return None
        return "./" + quote(os.fsencode(relative.replace(os.sep, "/")))

    def of(self, image: str) -> str | None:
        """The address of an image."""
        number = self._number(image)
        return None if number < 0 else f"{self._bases[number]}/{quote(image)}"

    def data(self, images: Sequence[str]) -> dict[str, Any]:
        """For a script: ``bases``, addresses of folders, and ``base``, of each image the number of its
        folder, -1 without an address."""
        return {"bases": self._bases, "base": [self._number(str(image)) for image in images]}

    def _number(self, image: str) -> int:
        # A name that cannot be shown as it is could not be asked for by it.
        if shown_name(image) != image:
            return -1
        for number, (folder, base) in enumerate(zip(self._folders, self._bases, strict=True)):
            if base is not None and (len(self._folders) == 1 or (folder / image).exists()):
                return number
        return -1
