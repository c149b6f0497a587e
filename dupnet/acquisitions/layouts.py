"""Where crops of an acquisition lie, on grids as splitting tools cut or anywhere, and which share ground."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["LAYOUTS", "common_regions", "grid_places", "random_places"]

Places = npt.NDArray[np.int64]

LAYOUTS = {
    "dota": (1024, 824, 0),
    "sahi": (512, 410, 0),
    "half": (256, 128, 0),
    "jitter": (768, 256, 3),
    "apart": (768, 768, 48),
}
"""Regular layouts by name: side, stride and jitter in pixels, for :func:`grid_places`. ``dota``: as the
DOTA data set is split, chips of 1024 px with a gap of 200. ``sahi``: slices of 512 px that overlap by 20 %.
``half``: 256 px at half their side. ``jitter``: as the Airbus images lie, up to 3 px off here and there.
``apart``: side by side but for up to 48 px, so that few share ground, and little."""

JITTERED_SHARE = 0.5
"""Share of the crops that a jitter moves."""

MEAN_COVER = 3.0
"""How many crops of a random layout show one place on average, unless said otherwise."""

_PLACES = 10
"""Stream of random numbers, apart from those of :mod:`dupnet.acquisitions.crops` and of its neighbours."""


def grid_places(height: int, width: int, side: int, stride: int, jitter: int = 0, seed: int = 0) -> Places:
    """Places of square crops on a grid: (n, 4) as y, x, height, width.

    The last of a row and of a column is moved back to the border, as splitting tools do. ``jitter`` moves a
    share of :data:`JITTERED_SHARE` of the crops by up to so many pixels in y and in x, inside the area, as
    ``seed`` draws.

    Raises
    ------
    ValueError
        If the area is smaller than one crop, or the stride or the jitter out of range.
    """
    if stride < 1 or jitter < 0:
        raise ValueError(f"stride is {stride} and jitter {jitter} px; they must be at least 1 and 0.")
    if not 1 <= side <= min(height, width):
        raise ValueError(f"side is {side} px; it must be at least 1 and fit into {height} x {width} px.")
    rows, cols = (np.append(np.arange(0, length - side, stride), length - side) for length in (height, width))
    origins = np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1).reshape(-1, 2)
    if jitter:
        rng = np.random.default_rng([seed, _PLACES])
        shift = rng.integers(-jitter, jitter + 1, origins.shape)
        shift *= rng.random((len(origins), 1)) < JITTERED_SHARE
        origins = np.clip(origins + shift, 0, np.array([height - side, width - side]))
    return np.concatenate([origins, np.full_like(origins, side)], axis=1).astype(np.int64)


def random_places(
    height: int,
    width: int,
    n_images: int,
    sides: tuple[int, ...] = (768,),
    side_range: tuple[int, int] | None = None,
    *,
    logarithmic: bool = False,
    cover: float = MEAN_COVER,
    seed: int = 0,
) -> Places:
    """Places of crops anywhere: (n, 4) as y, x, height, width.

    Parameters
    ----------
    height, width : int
        Of the area, in pixels.
    n_images : int
        How many crops.
    sides : tuple of int
        Squares of these sides in pixels, each as often as the others.
    side_range : (int, int), optional
        Rectangles instead, their sides drawn between these, both included, at most 1.5 times as long as wide.
    logarithmic : bool
        Whether ``side_range`` is drawn uniformly in the logarithm: as many between 100 and 200 as between 200
        and 400.
    cover : float
        How many crops show one place on average. They lie in a part of the area, as square as possible, at a
        random place, that is so large; the whole area if it is smaller.
    seed : int
        Seeds all that is drawn.

    Raises
    ------
    ValueError
        If a number is out of range, or a crop does not fit.
    """
    low, high = side_range or (min(sides, default=0), max(sides, default=0))
    if not 1 <= low <= high <= min(height, width):
        raise ValueError(
            f"sides of {low} to {high} px; crops must have at least 1 px and fit into {height} x {width} px."
        )
    if n_images < 1 or not cover > 0:
        raise ValueError(f"n_images is {n_images} and cover {cover}; they must be at least 1 and above 0.")
    rng = np.random.default_rng([seed, _PLACES])
    if side_range is None:
        heights = rng.choice(np.array(sides), n_images)
        widths = heights.copy()
    else:
        drawn = rng.random(n_images)
        exact = low * (high / low) ** drawn if logarithmic else low + (high - low) * drawn
        heights = np.rint(exact).astype(np.int64)
        widths = np.rint(exact * 1.5 ** rng.uniform(-1, 1, n_images)).astype(np.int64).clip(low, high)
    side = np.sqrt((heights * widths).sum() / cover)
    area_height = int(np.clip(side, heights.max(), height))
    area_width = int(np.clip(side * side / area_height, widths.max(), width))
    area_height = int(np.clip(side * side / area_width, area_height, height))
    top, left = rng.integers(height - area_height + 1), rng.integers(width - area_width + 1)
    y = top + rng.integers(area_height - heights + 1)
    x = left + rng.integers(area_width - widths + 1)
    return np.stack([y, x, heights, widths], axis=1).astype(np.int64)


def common_regions(places: Places) -> pd.DataFrame:
    """Every two of n rectangles, (n, 4) as y, x, height, width, that share a pixel.

    Returns
    -------
    DataFrame
        ``first, second`` (numbers, first < second), ``y_offset, x_offset`` (second's origin less first's),
        ``height, width`` of what they share; sorted by the first two.
    """
    order = np.argsort(places[:, 0], kind="stable")
    top = places[order, 0]
    found = []
    for place, number in enumerate(order):
        y, x, height, width = places[number]
        below = order[place + 1 : np.searchsorted(top, y + height, side="left")]
        shared = (places[below, 1] < x + width) & (places[below, 1] + places[below, 3] > x)
        others = below[shared]
        found.append(np.stack([np.minimum(others, number), np.maximum(others, number)]))
    pairs = np.concatenate(found, axis=1)
    first, second = pairs[:, np.lexsort((pairs[1], pairs[0]))]
    one, two = places[first], places[second]
    begin, end = (
        np.maximum(one[:, :2], two[:, :2]),
        np.minimum(one[:, :2] + one[:, 2:], two[:, :2] + two[:, 2:]),
    )
    offset, shape = two[:, :2] - one[:, :2], end - begin
    return pd.DataFrame(
        {
            "first": first, "second": second, "y_offset": offset[:, 0], "x_offset": offset[:, 1],
            "height": shape[:, 0], "width": shape[:, 1],
        }
    )  # fmt: skip
