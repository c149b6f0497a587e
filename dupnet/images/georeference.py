"""Where images lie on the earth, as far as their files say: who can overlap, and at which offset.

What a file says is a proposal; the pixels confirm it. Where the two disagree, one of them is wrong: a
georeference that does not belong to its pixels, or one chip that was filed at two places.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.images.image import UnreadableImage
from dupnet.images.raster import open_raster
from dupnet.images.reading import kind_of_file
from dupnet.images.stretch import Rendering

__all__ = [
    "DISAGREEMENT_COLUMNS",
    "FOOTPRINT_COLUMNS",
    "Footprints",
    "Georeference",
    "disagreements",
    "footprint_pairs",
    "predicted_offset",
    "read_georeference",
]

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

TOLERANCE = 2.0
"""Pixels by which an offset that was found may differ from the predicted one: each file's corner is rounded
to a pixel when a chip is cut, and products of one scene are registered to about one."""

LEAST_SIDE = 64
"""Side in pixels of the smallest common region of two footprints that the pixels should confirm."""

MOST_DRIFT = 0.5
"""Pixels by which the far corner of an image may lie beside the grid of another that it is a part of."""

QUERIES_AT_A_TIME = 256
"""Footprints that are looked up together: of a stack of 10,000 images, 2.5 million pairs."""

POINTS_A_SIDE = 5
"""Points of each side of a footprint that are projected, for straight sides become curves."""

FOOTPRINT_COLUMNS = ("image1", "image2", "y_offset", "x_offset", "height", "width")
"""Columns of :class:`Footprints`, as of ``overlaps.csv``; offsets in fractions of a pixel."""

DISAGREEMENT_COLUMNS = ("image1", "image2", "predicted_y", "predicted_x", "found_y", "found_x", "reason")
"""Columns of ``georeference.csv``: offsets of image 2 in image 1, in pixels."""


class Footprints(NamedTuple):
    """Pairs of images whose footprints overlap."""

    pairs: pd.DataFrame
    """:data:`FOOTPRINT_COLUMNS`, image1 < image2, sorted. ``height, width``: of the common region, in
    pixels."""
    n_skipped: int
    """Pairs that were left out, since there are too many of one image."""


class Georeference(NamedTuple):
    """Where an image lies."""

    height: int
    width: int
    transform: tuple[float, float, float, float, float, float]
    """a, b, c, d, e, f: the corner of pixel (row, column) lies at x = a column + b row + c,
    y = d column + e row + f."""
    crs: str
    """The coordinate reference system, as ``EPSG:n`` or WKT; "" where the file names none."""

    @property
    def corners(self) -> Floats:
        """The outline, (4 (:data:`POINTS_A_SIDE` - 1), 2) x and y, round the image."""
        along = np.linspace(0, 1, POINTS_A_SIDE)[:-1]
        zero, one = np.zeros_like(along), np.ones_like(along)
        cols = np.concatenate([along, one, 1 - along, zero]) * self.width
        rows = np.concatenate([zero, along, one, 1 - along]) * self.height
        a, b, c, d, e, f = self.transform
        return np.stack([a * cols + b * rows + c, d * cols + e * rows + f], axis=1)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Least x and y, largest x and y."""
        corners = self.corners
        low, high = corners.min(axis=0), corners.max(axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def read_georeference(path: str | os.PathLike[str]) -> Georeference | None:
    """Where an image lies, from its header alone; None if its file does not say, or cannot be read."""
    try:
        kind = kind_of_file(path)
        if kind.reader != "raster":
            return None
        # With limits named, no pixel is read.
        with open_raster(path, kind.driver, Rendering(limits=(0.0, 1.0))) as raster:
            found = raster.georeference()
    except UnreadableImage:
        return None
    if found is None or not all(map(math.isfinite, found[0])):
        return None
    transform, wkt = found
    a, b, _, d, e, _ = transform
    if a * e - b * d == 0:
        return None
    return Georeference(raster.height, raster.width, transform, _name_of(wkt))


@lru_cache(maxsize=64)
def _name_of(wkt: str) -> str:
    from rasterio.crs import CRS
    from rasterio.errors import RasterioError

    try:
        number = CRS.from_wkt(wkt).to_epsg() if wkt else None
    except RasterioError:  # a system that its own library cannot make sense of
        number = None
    return wkt if number is None else f"EPSG:{number}"


def footprint_pairs(
    georeferences: Mapping[str, Georeference], against: Collection[str] | None = None, most: int | None = None
) -> Footprints:
    """The pairs of images whose footprints overlap.

    Offsets are missing (NaN) where one image is no shifted part of the grid of the other: of another
    projection, resolution or orientation.

    Parameters
    ----------
    georeferences : mapping
        Image to where it lies.
    against : collection of str, optional
        Only pairs of which one image is among these, and one is not.
    most : int, optional
        Of how many pairs an image is the first at most: those of one grid before others, and of these the
        ones that share most. The pairs of a stack would otherwise grow with the square of its images.
    """
    import shapely

    images = sorted(georeferences)
    rows: list[tuple[str, str, float, float, float, float]] = []
    n_skipped = 0
    for members in _comparable(images, georeferences):
        outlines = _in_one_system([georeferences[image] for image in members])
        usable = [number for number, outline in enumerate(outlines) if np.isfinite(outline).all()]
        names = [members[number] for number in usable]
        polygons = np.asarray(shapely.polygons([outlines[number] for number in usable]))
        tree = shapely.STRtree(polygons)
        sides = np.array([name in against for name in names]) if against is not None else None
        for start in range(0, len(names), QUERIES_AT_A_TIME):
            first, second = tree.query(polygons[start : start + QUERIES_AT_A_TIME], predicate="intersects")
            first = first + start
            wanted = first < second if sides is None else (first < second) & (sides[first] != sides[second])
            first, second = first[wanted], second[wanted]
            if most is not None:
                chosen = _largest(first, second, polygons, [georeferences[name] for name in names], most)
                n_skipped += len(first) - len(chosen)
                first, second = first[chosen], second[chosen]
            for one, other in zip(first.tolist(), second.tolist(), strict=True):
                image1, image2 = names[one], names[other]
                offset = predicted_offset(georeferences[image1], georeferences[image2])
                height, width = _common(offset, georeferences[image1], georeferences[image2])
                if offset is None:
                    if shapely.area(shapely.intersection(polygons[one], polygons[other])) == 0:
                        continue
                elif height < 1 or width < 1:
                    continue
                y, x = (math.nan, math.nan) if offset is None else offset
                rows.append((image1, image2, y, x, height, width))
    table = pd.DataFrame(rows, columns=list(FOOTPRINT_COLUMNS))
    return Footprints(table.sort_values(["image1", "image2"], ignore_index=True), n_skipped)


def _largest(
    first: Numbers,
    second: Numbers,
    polygons: npt.NDArray[np.object_],
    georeferences: list[Georeference],
    most: int,
) -> Numbers:
    """Which pairs to keep of each first image: so many of one grid that share the largest boxes."""
    import shapely

    if not len(first) or np.bincount(first).max() <= most:
        return np.arange(len(first))
    bounds = shapely.bounds(polygons)
    low = np.maximum(bounds[first, :2], bounds[second, :2])
    high = np.minimum(bounds[first, 2:], bounds[second, 2:])
    area = np.prod(high - low, axis=1)
    systems = np.unique([one.crs for one in georeferences], return_inverse=True)[1].ravel()
    scale = np.array([one.transform for one in georeferences])[:, [0, 1, 3, 4]].reshape(-1, 2, 2)
    size = np.array([(one.width, one.height) for one in georeferences], np.float64)
    drift = np.linalg.solve(scale[first], scale[second]) - np.eye(2)
    beside = np.einsum("nij,nj->ni", np.abs(drift), size[second]).max(axis=1) > MOST_DRIFT
    beside |= systems[first] != systems[second]
    order = np.lexsort([second, -area, beside, first])
    ordered = first[order]
    rank = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    return np.sort(order[rank < most])


def predicted_offset(one: Georeference, other: Georeference) -> tuple[float, float] | None:
    """The offset (y, x) in pixels of another image's origin in the frame of one; None if the grids differ."""
    if one.crs != other.crs:
        return None
    a, b, c, d, e, f = one.transform
    inverse = np.linalg.inv(np.array([[a, b], [d, e]]))
    a2, b2, c2, d2, e2, f2 = other.transform
    shape = inverse @ np.array([[a2, b2], [d2, e2]])
    # How far the corners of the other would lie beside this grid.
    drift = np.abs(shape - np.eye(2)) @ np.array([other.width, other.height])
    if drift.max() > MOST_DRIFT:
        return None
    x, y = inverse @ np.array([c2 - c, f2 - f])
    return float(y), float(x)


def disagreements(
    pairs: pd.DataFrame,
    overlaps: pd.DataFrame,
    revisits: pd.DataFrame,
    georeferences: Mapping[str, Georeference],
) -> pd.DataFrame:
    """Where footprints and pixels disagree, for ``georeference.csv``.

    Parameters
    ----------
    pairs : pandas.DataFrame
        :attr:`Footprints.pairs`.
    overlaps, revisits : pandas.DataFrame
        What was found: ``image1, image2, y_offset, x_offset`` at least.
    georeferences : mapping
        Image to where it lies; images without one are left out.

    Returns
    -------
    pandas.DataFrame
        :data:`DISAGREEMENT_COLUMNS`, sorted.
    """
    rows = []
    found_pairs = set(zip(revisits["image1"], revisits["image2"], strict=True))
    offsets = overlaps[["image1", "image2", "y_offset", "x_offset"]]
    for image1, image2, y, x in offsets.itertuples(index=False, name=None):
        found_pairs.add((image1, image2))
        if image1 not in georeferences or image2 not in georeferences:
            continue
        one, other = georeferences[image1], georeferences[image2]
        predicted = predicted_offset(one, other)
        if predicted is None:
            reason = "the pixels are those of one grid, the georeferences are not"
            rows.append((image1, image2, math.nan, math.nan, y, x, reason))
            continue
        if max(abs(predicted[0] - y), abs(predicted[1] - x)) <= TOLERANCE:
            continue
        height, width = _common(predicted, one, other)
        apart = height < 1 or width < 1
        reason = (
            "the same pixels at two places: a wrong georeference, or a chip filed twice"
            if apart
            else "the pixels show another offset than the georeferences"
        )
        rows.append((image1, image2, *predicted, y, x, reason))
    predicted_pairs = pairs[pairs["y_offset"].notna()]
    for image1, image2, y, x, height, width in predicted_pairs.itertuples(index=False, name=None):
        if (image1, image2) in found_pairs or min(height, width) < LEAST_SIDE:
            continue
        reason = "footprints overlap and the pixels do not agree: another time, or a wrong georeference"
        rows.append((image1, image2, y, x, math.nan, math.nan, reason))
    table = pd.DataFrame(rows, columns=list(DISAGREEMENT_COLUMNS))
    return table.sort_values(["image1", "image2", "found_y", "found_x"], ignore_index=True)


def _common(
    offset: tuple[float, float] | None, one: Georeference, other: Georeference
) -> tuple[float, float]:
    """Height and width of the common region in pixels; NaN where the grids differ."""
    if offset is None:
        return math.nan, math.nan
    y, x = offset
    height = min(one.height, y + other.height) - max(0.0, y)
    return height, min(one.width, x + other.width) - max(0.0, x)


def _comparable(images: list[str], georeferences: Mapping[str, Georeference]) -> list[list[str]]:
    """Images of a known system, of whatever kind, and images whose files name none."""
    known = [image for image in images if georeferences[image].crs]
    unknown = [image for image in images if not georeferences[image].crs]
    return [members for members in (known, unknown) if len(members) > 1]


def _in_one_system(georeferences: list[Georeference]) -> list[Floats]:
    """Outlines in one system: their own if they share it, else longitude and latitude."""
    if len({one.crs for one in georeferences}) == 1:
        return [one.corners for one in georeferences]
    from rasterio.errors import RasterioError
    from rasterio.warp import transform

    found = []
    for one in georeferences:
        corners = one.corners
        try:
            x, y = transform(one.crs, "EPSG:4326", corners[:, 0], corners[:, 1])
        except (RasterioError, ValueError):
            x, y = [math.nan] * len(corners), [math.nan] * len(corners)
        found.append(np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)], axis=1))
    return found
