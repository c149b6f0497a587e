"""Small regions: of them the network's word is not enough, and the pixels must agree, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from dupnet.find.agreement import (
    CERTAIN,
    SMALLEST_TEMPLATE,
    correlation,
    differing_share,
    high_passed_both,
    is_elsewhere,
    median_window,
    refine_offset,
)
from dupnet.find.regions import Image, Region
from dupnet.tiles import CELL_SIZE

__all__ = ["SMALL_CELLS", "SMALL_SIDE", "Agreement", "is_misplaced", "pixels_agree"]

Images = tuple[Callable[[], Image], Callable[[], Image]]

SMALL_SIDE = 96
"""Narrow side in pixels below which the pixels of a region must agree, too."""

SMALL_CELLS = 32
"""Cells with evidence in both images below which they must, too, however wide the region."""

DIFFERING_WINDOWS = 0.02
"""Share of the windows of a small region from which on it differs. Of 8,194 true regions 32 to 95 px across,
of 64 to 128 px chips of Derna, Kitsap, a drawn sea and Airbus images, the highest was 0.011; of 1,531 of
another day 90 of 100 reach it. Copies saved at a JPEG quality below 50 can, too."""

UNSURE_SCORE = 0.99
"""Score below which a small region is looked for elsewhere: 199 of 200 true regions under 160 px reach 0.99,
and of those laid on each other a period aside most do not."""

SMALL_AREA = 16 * CELL_SIZE * CELL_SIZE
"""Pixels up to which a small region is looked for elsewhere whatever its score."""

TINY_AREA = 64 * 64
"""Pixels of a region below which a few votes may all come from one object, and two sheds look alike."""

TINY_CORRELATION = 0.65
"""Correlation that it takes then. Of 680 true regions of that size of 128 px chips the lowest was 0.80; that
of two sheds 20 km apart, which two votes proposed and the network accepted, was 0.53."""

REFINED_RADIUS = 8
"""How far from its place a better match is looked for, in pixels, as far as the region is wide enough."""

BETTER = 0.02
"""By how much the correlation of such a match must be better. Of 3,024 true regions of 128 px chips two have
such a match; 1 px off all have one, better by at least 0.024."""

SCANT_AREA = 96 * 96
"""Pixels of a region up to which one tile or two are all there is to judge by."""

SCANT_SCORE = 0.99
"""Score below which the network is in doubt there: of 11,801 true regions so small, of 64 to 128 px chips of
the parts of Airbus, Kitsap and Derna that are trained on, the lowest was 0.996. Strong compression and noise
lower it, too."""

CLEAN_WINDOW = 0.9
"""Correlation of the median window of 16 px from which on neither explains the doubt, for they lower that of
all windows: then a part differs. Of 257 true regions in doubt, nearly all of files saved at JPEG qualities of
18 to 49 or with noise of 2 to 8 levels, 4 reach it; of 33 of another day 20 do, and 12 of the rest differ by
:data:`DIFFERING_WINDOWS`."""

ELSEWHERE_RADIUS = 64
"""How far it is looked for, in pixels: two periods of roofs and containers at 0.3 m."""


class Agreement(NamedTuple):
    """Whether the pixels bear the network out, and if not, whether the images lie elsewhere."""

    agree: bool
    misplaced: bool = False


def pixels_agree(region: Region, images: Images, score: float, is_small: bool, is_sure: bool) -> Agreement:
    """Whether the pixels bear the network out, of a region that is small or an offset that is not sure."""
    is_open = is_small and (score < UNSURE_SCORE or region.height * region.width <= SMALL_AREA)
    if (is_open or not is_sure) and is_misplaced(region, images):
        return Agreement(False, misplaced=True)
    is_tiny = not is_sure and region.height * region.width < TINY_AREA
    if is_small and _differs(region, images, score, is_tiny):
        return Agreement(False)
    if is_open and is_elsewhere(images[0](), images[1](), region, ELSEWHERE_RADIUS):
        return Agreement(False, misplaced=True)
    return Agreement(True)


def is_misplaced(region: Region, images: Images) -> bool:
    """Whether two images agree better a few pixels from where they were laid on each other."""
    radius = min(REFINED_RADIUS, (min(region.height, region.width) - SMALLEST_TEMPLATE) // 2)
    if radius < 1:
        return False
    y, x = region.top1 - region.top2, region.left1 - region.left2
    found = refine_offset(images[0](), images[1](), y, x, radius)
    return bool(found and found.correlation > max(found.proposed + BETTER, CERTAIN))


def _differs(region: Region, images: Images, score: float, is_tiny: bool) -> bool:
    """Whether the pixels of a small region show something else in part, or (``is_tiny``) on the whole."""
    first, second = high_passed_both(region, images[0](), images[1]())
    if differing_share(first, second) >= DIFFERING_WINDOWS:
        return True
    is_in_doubt = region.height * region.width <= SCANT_AREA and score < SCANT_SCORE
    if is_in_doubt and median_window(first, second) >= CLEAN_WINDOW:
        return True
    return is_tiny and correlation(first, second) < TINY_CORRELATION
