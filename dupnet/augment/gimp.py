"""Copies of an image that GIMP shifted in hue, lightness or saturation, beside our own."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dupnet.augment.variation import hls_shift
from dupnet.images.reading import read_image

__all__ = ["HLSComparison", "copy_name", "parse_copy_name", "read_comparisons"]

Image = npt.NDArray[np.uint8]

_COPY_NAME = re.compile(
    r"(?P<image>.+)_h(?P<hue>[+-]\d{3})_l(?P<lightness>[+-]\d{3})_s(?P<saturation>[+-]\d{3})"
)


@dataclass(frozen=True)
class HLSComparison:
    """An image beside two copies with the same HLS shift: the one GIMP wrote and the one this package makes.

    ``image`` and ``gimp_copy`` are (height, width, 3) uint8, RGB; the shifts are in GIMP's units, hue in
    degrees, lightness and saturation in percent.
    """

    name: str
    image: Image
    gimp_copy: Image
    hue: int = 0
    lightness: int = 0
    saturation: int = 0

    def __post_init__(self) -> None:
        if self.image.shape != self.gimp_copy.shape:
            raise ValueError(f"gimp_copy is {self.gimp_copy.shape}; it must be as image, {self.image.shape}.")

    @cached_property
    def opencv_copy(self) -> Image:
        """The image shifted by :func:`dupnet.augment.variation.hls_shift`, (height, width, 3) uint8, RGB."""
        return hls_shift(self.image, self.hue, self.lightness, self.saturation)

    def deltas(self) -> dict[str, npt.NDArray[np.int16]]:
        """Pixel-wise differences, each (height, width, 3) int16, in levels.

        ``gimp`` and ``opencv`` are the copies less the image, ``between`` is the OpenCV copy less GIMP's.
        """
        image, gimp, opencv = (
            array.astype(np.int16) for array in (self.image, self.gimp_copy, self.opencv_copy)
        )
        return {"gimp": gimp - image, "opencv": opencv - image, "between": opencv - gimp}

    def summary(self) -> dict[str, float | int | str]:
        """The shift, and of each delta the sum, mean and maximum of its absolute values, in levels.

        ``<delta>_unequal`` is the share of values that differ, 0 to 1.
        """
        found: dict[str, float | int | str] = {
            "image": self.name,
            "hue": self.hue,
            "lightness": self.lightness,
            "saturation": self.saturation,
        }
        for name, delta in self.deltas().items():
            size = np.abs(delta)
            found[f"{name}_sum"] = int(size.sum(dtype=np.int64))
            found[f"{name}_mean"] = float(size.mean())
            found[f"{name}_max"] = int(size.max())
            found[f"{name}_unequal"] = float(np.mean(size > 0))
        return found


def copy_name(image: str, hue: int = 0, lightness: int = 0, saturation: int = 0) -> str:
    """Name of a shifted copy without its ending: ``roof_h+030_l+000_s-020`` of ``roof``."""
    return f"{image}_h{hue:+04d}_l{lightness:+04d}_s{saturation:+04d}"


def parse_copy_name(name: str) -> tuple[str, int, int, int]:
    """Image, hue, lightness and saturation of a name that :func:`copy_name` made, with or without ending.

    Raises
    ------
    ValueError
        If the name is no such name.
    """
    found = _COPY_NAME.fullmatch(Path(name).stem)
    if found is None:
        raise ValueError(f"name {name!r} is not of the form IMAGE_h+000_l+000_s+000.")
    return found["image"], int(found["hue"]), int(found["lightness"]), int(found["saturation"])


def read_comparisons(folder: str | os.PathLike[str]) -> list[HLSComparison]:
    """Every GIMP copy of a folder with its image, by name: those of ``data/persistent/gimp_hls``.

    Raises
    ------
    ValueError
        If the folder holds no copy, or a copy without its image.
    """
    paths = sorted(path for path in Path(folder).glob("*.png") if _COPY_NAME.fullmatch(path.stem))
    if not paths:
        raise ValueError(f"folder {os.fspath(folder)!r} holds no copies IMAGE_h+000_l+000_s+000.png.")
    images: dict[str, Image] = {}
    comparisons = []
    for path in paths:
        name, hue, lightness, saturation = parse_copy_name(path.name)
        if name not in images:
            images[name] = read_image(path.with_name(f"{name}.png"))
        comparisons.append(HLSComparison(name, images[name], read_image(path), hue, lightness, saturation))
    return comparisons
