"""From samples of any number of bands and any depth to 8-bit RGB: which bands, and which levels.

Samples of more than 8 bits, and of floating point, are stretched linearly between two limits. By default they
are percentiles of the file: another file of the same ground gets other limits, which changes gain and offset
alone, and descriptors are normalised for these. Limits of the whole collection, or fixed ones, give the same
sample the same level in every file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "PERCENTILES",
    "Rendering",
    "filled",
    "limits_of",
    "pooled_limits",
    "read_rendering",
    "stretch",
    "wanted_bands",
]

Limits = tuple[float, float]
Samples = npt.NDArray[Any]

PERCENTILES = (2.0, 98.0)
"""Percentiles of the valid samples that become black and white, as is common for satellite imagery (QGIS's
cumulative count cut has the same)."""

FILLED = 0.02
"""Share of the samples that, when they are all exactly that of a corner, are taken for a collar: as many as
the percentiles leave aside."""

NAMES = (
    ("red", "r", "b4", "b04", "band4"),
    ("green", "g", "b3", "b03", "band3"),
    ("blue", "b", "b2", "b02", "band2"),
)
"""Descriptions, in lower case, of red, green and blue bands; numbers as of Sentinel-2 and Landsat 8."""


@dataclass(frozen=True)
class Rendering:
    """How bands and depth become 8-bit RGB."""

    bands: tuple[int, int, int] | None = None
    """Numbers, from 1, of the bands to take as red, green and blue; None: by colour, by description, or the
    first three. Files of three bands or fewer are taken as they are."""
    limits: Limits | None = None
    """Samples that become black and white, of files of more than 8 bits; None: by file or by collection."""
    by_kind: Mapping[str, Sequence[Limits]] = field(default_factory=dict)
    """Limits of each band taken, by the kind of a file, as :func:`pooled_limits` gives them."""

    @classmethod
    def checked(
        cls, bands: Sequence[int] | None = None, stretch: str | tuple[float, float] = "file"
    ) -> Rendering:
        """A rendering as options name it.

        ``stretch`` is "file", "collection" (whose limits are still to be found) or two limits, as a pair or
        as "LOW:HIGH".

        Raises
        ------
        ValueError
            If there are not three bands from 1, or the limits are no two numbers, the lower one first.
        """
        if bands is not None and (len(bands) != 3 or any(band < 1 for band in bands)):
            raise ValueError(f"bands is {list(bands)}; name three, from 1, to take as red, green and blue.")
        three = None if bands is None else (int(bands[0]), int(bands[1]), int(bands[2]))
        if stretch in ("file", "collection"):
            return cls(three)
        pair = stretch.split(":") if isinstance(stretch, str) else stretch
        try:
            low, high = (float(value) for value in pair)
        except (TypeError, ValueError):
            low, high = math.nan, math.nan
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(
                f"stretch is {stretch!r}; it must be 'file', 'collection' or LOW:HIGH, the samples that "
                "become black and white."
            )
        return cls(three, (low, high))

    def record(self) -> dict[str, Any]:
        """What the pixels depend on, for JSON; empty where nothing was asked for."""
        found: dict[str, Any] = {}
        if self.bands is not None:
            found["bands"] = list(self.bands)
        if self.limits is not None:
            found["limits"] = list(self.limits)
        if self.by_kind:
            found["by_kind"] = {
                kind: [list(pair) for pair in self.by_kind[kind]] for kind in sorted(self.by_kind)
            }
        return found


def read_rendering(record: Mapping[str, Any]) -> Rendering:
    """The rendering that :meth:`Rendering.record` recorded.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        bands, limits = record.get("bands"), record.get("limits")
        by_kind = {
            str(kind): [(float(low), float(high)) for low, high in some]
            for kind, some in record.get("by_kind", {}).items()
        }
        found = Rendering.checked(bands, "file" if limits is None else (limits[0], limits[1]))
        return replace(found, by_kind=by_kind)
    except (AttributeError, IndexError, TypeError) as error:
        raise ValueError(f"{record!r} is no record of bands and a stretch ({error}).") from None


def wanted_bands(
    colours: Sequence[str], descriptions: Sequence[str | None], bands: tuple[int, int, int] | None
) -> tuple[list[int], str]:
    """Numbers, from 1, of the one or three bands to take, and the note on that.

    Parameters
    ----------
    colours : sequence of str
        Colour interpretation of each band, as GDAL names them in lower case; ``alpha`` is never taken.
    descriptions : sequence of str or None
        What the file calls each band.
    bands : (int, int, int), optional
        The bands that are asked for.

    Raises
    ------
    ValueError
        If there is no such band.
    """
    usable = [number for number, colour in enumerate(colours, 1) if colour != "alpha"]
    if bands is not None and len(usable) > 3:
        if missing := [band for band in bands if band > len(colours)]:
            raise ValueError(f"{len(colours)} bands; band {missing[0]} is asked for")
        return list(bands), f"bands {_listed(bands)} of {len(usable)} taken as red, green and blue"
    by_colour = [colours.index(colour) + 1 for colour in ("red", "green", "blue") if colour in colours]
    if len(by_colour) == 3:
        plain = by_colour == usable
        return (
            by_colour,
            "" if plain else f"bands {_listed(by_colour)} of {len(usable)}, red, green and blue by colour",
        )
    words = [re.sub(r"[\s_-]", "", text or "").lower() for text in descriptions]
    by_name = [next((number for number in usable if words[number - 1] in names), 0) for names in NAMES]
    if all(by_name):
        return by_name, f"bands {_listed(by_name)} of {len(usable)}, red, green and blue by description"
    if len(usable) >= 3:
        note = (
            "" if len(usable) == 3 else f"the first three of {len(usable)} bands taken as red, green and blue"
        )
        return usable[:3], note
    if not usable:
        return [1], "alpha alone, taken as grey"
    first = "grey" if len(usable) == 1 else f"the first of {len(usable)} bands"
    return usable[:1], f"{first}; taken as three equal channels"


def _listed(bands: Iterable[int]) -> str:
    return " ".join(map(str, bands))


def filled(samples: Samples) -> npt.NDArray[np.bool_]:
    """Where samples (bands, height, width) are those of a corner, if many are: (height, width) bool.

    Collars are often not declared as such; their level is no end of the range.
    """
    found = np.zeros(samples.shape[1:], bool)
    for y, x in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        alike = (samples == samples[:, y : y + 1 or None, x : x + 1 or None]).all(axis=0)
        if alike.mean() >= FILLED and not alike.all():
            found |= alike
    return found


def limits_of(samples: Samples, valid: npt.NDArray[np.bool_] | None) -> list[Limits]:
    """Limits of each band of samples (bands, height, width): :data:`PERCENTILES` of what is valid."""
    found = []
    for band in samples:
        values = band[np.isfinite(band)] if valid is None else band[valid & np.isfinite(band)]
        if not len(values):
            found.append((0.0, 1.0))
            continue
        low, high = (float(value) for value in np.percentile(values.astype(np.float64), PERCENTILES))
        if not high > low:  # nearly all of one value: what differs from it shall still be seen
            low, high = float(values.min()), float(values.max())
        found.append((low, high if high > low else low + 1.0))
    return found


def pooled_limits(
    samples: Iterable[tuple[str, Samples, npt.NDArray[np.bool_] | None]],
) -> dict[str, list[Limits]]:
    """Limits of each band over all files of a kind, from (kind, samples, valid) of each file."""
    pools: dict[str, list[list[Samples]]] = {}
    for kind, bands, valid in samples:
        pool = pools.setdefault(kind, [[] for _ in bands])
        for values, band in zip(pool, bands, strict=True):
            values.append(band.ravel() if valid is None else band[valid])
    return {
        kind: [limits_of(np.concatenate(values)[None, :], None)[0] for values in pool]
        for kind, pool in pools.items()
    }


def stretch(samples: Samples, limits: Sequence[Limits]) -> npt.NDArray[np.uint8]:
    """Samples (bands, height, width) stretched linearly to uint8 (height, width, bands); NaN becomes 0."""
    out = np.empty((*samples.shape[1:], len(samples)), np.uint8)
    for number, (band, (low, high)) in enumerate(zip(samples, limits, strict=True)):
        out[:, :, number] = _levels(band.dtype, low, high)(band)
    return out


def _levels(dtype: np.dtype[Any], low: float, high: float) -> Callable[[Samples], npt.NDArray[np.uint8]]:
    def convert(values: Samples) -> npt.NDArray[np.uint8]:
        scaled = (values.astype(np.float64) - low) * (255.0 / (high - low))
        return np.clip(np.rint(np.nan_to_num(scaled, nan=0.0)), 0, 255).astype(np.uint8)

    if dtype == np.uint16:  # by table: four times as fast
        table = convert(np.arange(65_536))
        return lambda values: table[values]
    return convert
