"""Duplicates whose labels disagree: labels of whole images, boxes and masks in the common region."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import linear_sum_assignment

from dupnet.images.transforms import common_outline, is_transformed, matrix_of
from dupnet.metrics.tile_metrics import decode_run_lengths
from dupnet.splits.changed import inside, mask_carried, things_carried
from dupnet.splits.ground import Found, common_ground
from dupnet.splits.labels import Labels, Thing, mask_of_counts

__all__ = ["CONFLICT_COLUMNS", "Conflicts", "compare_labels"]

CONFLICT_COLUMNS = (
    "image1", "image2", "group", "y_offset", "x_offset", "height", "width", "share", "kind", "label1",
    "label2", "agreement",
)  # fmt: skip
"""Columns of the table of conflicts. ``kind``: ``class``, ``boxes`` or ``mask``; ``label1``, ``label2``: what
each image has in the common region; ``agreement``: of the labels (intersection over union), of the boxes
(share of those that have a partner), or of the mask's pixels (intersection over union)."""

VISIBLE = 0.5
"""Share of a box that must lie in the common region for its partner to be missed: what the border of an image
cuts is often left out."""

SMALLEST_DIFFERENCE = 16
"""Pixels in which two masks must differ at least, less than a boat of 4 x 4 px: outlines are drawn by
hand."""

Mask = npt.NDArray[np.bool_]
Boxes = npt.NDArray[np.float64]


class Conflicts(NamedTuple):
    """``table``: the columns :data:`CONFLICT_COLUMNS`, least agreement first. ``n_compared``: pairs of images
    whose labels were compared; ``n_unlabelled``: pairs of which one has no label or both have none."""

    table: pd.DataFrame
    n_compared: int
    n_unlabelled: int


def compare_labels(labels: Labels, result: Found, share: float = 0.5, iou: float = 0.5) -> Conflicts:
    """Find the duplicates whose labels disagree.

    Parameters
    ----------
    labels : Labels
        As :func:`dupnet.splits.labels.read_labels` gives them.
    result : FindResult
        What ``find`` found.
    share : float
        Of the smaller image, from which on labels of whole images must be the same. Boxes and masks are
        compared in any common region.
    iou : float
        Intersection over union from which on two boxes, or two masks, are the same.

    Raises
    ------
    ValueError
        If run lengths do not fit their image.
    """
    groups = result.groups.reset_index(drop=True)
    images = groups["image"].tolist()
    sizes = groups[["height", "width"]].to_numpy(np.int64)

    @lru_cache(maxsize=256)
    def mask_of(number: int) -> Mask:
        try:
            return decode_run_lengths(labels.masks[images[number]], tuple(sizes[number].tolist()))
        except ValueError as error:
            raise ValueError(f"{images[number]!r}: {error}") from None

    labelled = labels.labelled()
    rows, n_compared, n_unlabelled = [], 0, 0
    pairs = common_ground(result.overlaps, groups)
    for pair, changed in zip(pairs.itertuples(index=False), is_transformed(pairs).tolist(), strict=True):
        one, other = images[pair.number1], images[pair.number2]
        region1 = max(pair.y_offset, 0), max(pair.x_offset, 0), pair.height, pair.width
        region2 = max(-pair.y_offset, 0), max(-pair.x_offset, 0), pair.height, pair.width
        laid: _Laid | None = None
        if changed:  # then image 2 lies in image 1's frame
            laid = _Laid.of(pair._asdict(), sizes[pair.number1], sizes[pair.number2])
            region2 = region1
        found: list[tuple[str, str, str, float]] = []
        compared = False
        if one in labels.classes and other in labels.classes and pair.share >= share:
            compared = True
            found += _compare_classes(labels.classes[one], labels.classes[other])
        if one in labels.things and other in labels.things:
            compared = True
            things1, things2 = labels.things[one], labels.things[other]
            if laid is not None:
                things1, things2 = laid.things(things1, things2)
            found += _compare_boxes(things1, region1, things2, region2, iou)
            found += _compare_outlines(things1, region1, things2, region2, iou)
        if one in labels.masks and other in labels.masks:
            compared = True
            masks = mask_of(pair.number1), mask_of(pair.number2)
            if laid is not None:
                masks = laid.masks(*masks)
            parts = _part(masks[0], region1), _part(masks[1], region2)
            found += _compare_masks(*parts, "", iou)
        n_compared += compared
        n_unlabelled += not (one in labelled and other in labelled)
        where = pair.y_offset, pair.x_offset, pair.height, pair.width, round(pair.share, 4)
        rows += [(one, other, groups["group"].iat[pair.number1], *where, *conflict) for conflict in found]
    table = pd.DataFrame(rows, columns=list(CONFLICT_COLUMNS)).sort_values(
        ["agreement", "image1", "image2"], kind="stable", ignore_index=True
    )
    return Conflicts(table, n_compared, n_unlabelled)


class _Laid(NamedTuple):
    """How a changed image 2 lies in image 1's frame, and the outline of what they share there."""

    matrix: Boxes
    outline: Boxes
    size1: npt.NDArray[np.int64]

    @classmethod
    def of(cls, pair: Mapping[str, Any], size1: npt.NDArray[np.int64], size2: npt.NDArray[np.int64]) -> _Laid:
        matrix = matrix_of(pair)
        return cls(matrix, common_outline(matrix, size1.tolist(), size2.tolist()), size1)

    def things(self, one: Sequence[Thing], two: Sequence[Thing]) -> tuple[list[Thing], list[Thing]]:
        """Things of both images in this frame, those whose middle lies on common ground."""
        carried = things_carried(two, self.matrix, self.size1.tolist())
        kept = [[thing for thing in things if self._shows(thing.box)] for things in (list(one), carried)]
        return kept[0], kept[1]

    def _shows(self, box: tuple[float, float, float, float]) -> bool:
        middle = box[1] + box[3] / 2, box[0] + box[2] / 2
        outline = self.outline[:, ::-1].astype(np.float32)
        return len(outline) > 0 and cv2.pointPolygonTest(outline, middle, False) >= 0

    def masks(self, one: Mask, two: Mask) -> tuple[Mask, Mask]:
        """Masks of both images in this frame, on common ground."""
        shared = inside(self.outline, 0, 0, *self.size1.tolist())
        return one & shared, mask_carried(two, self.matrix, self.size1.tolist()) & shared


def _compare_classes(one: frozenset[str], other: frozenset[str]) -> Iterable[tuple[str, str, str, float]]:
    if one != other:
        yield (
            "class",
            ", ".join(sorted(one)),
            ", ".join(sorted(other)),
            round(len(one & other) / len(one | other), 4),
        )


def _compare_boxes(
    things1: Sequence[Thing],
    region1: tuple[int, ...],
    things2: Sequence[Thing],
    region2: tuple[int, ...],
    iou: float,
) -> Iterable[tuple[str, str, str, float]]:
    """Boxes, each with the partner of its class that it overlaps most; those without one are missed."""
    (boxes1, visible1), (boxes2, visible2) = _boxes(things1, region1), _boxes(things2, region2)
    names1, names2 = (
        np.array([thing.label for thing in things], dtype=object) for things in (things1, things2)
    )
    overlap = _iou(boxes1, boxes2) * (names1[:, None] == names2[None])
    partners = np.stack(linear_sum_assignment(-overlap))
    partners = partners[:, overlap[partners[0], partners[1]] >= iou]
    is_missed1, is_missed2 = visible1 >= VISIBLE, visible2 >= VISIBLE
    is_missed1[partners[0]] = is_missed2[partners[1]] = False
    n_missed = int(is_missed1.sum() + is_missed2.sum())
    if n_missed:
        agreement = partners.shape[1] / (partners.shape[1] + n_missed)
        words = (_counted(names[seen > 0]) for names, seen in ((names1, visible1), (names2, visible2)))
        yield "boxes", *words, round(agreement, 4)


def _compare_outlines(
    things1: Sequence[Thing],
    region1: tuple[int, ...],
    things2: Sequence[Thing],
    region2: tuple[int, ...],
    iou: float,
) -> Iterable[tuple[str, str, str, float]]:
    """The outlines of each class, all of them together."""
    outlined = [thing.label for thing in (*things1, *things2) if thing.outline is not None]
    for label in sorted(set(outlined)):
        masks = [
            _drawn([thing for thing in things if thing.label == label], region)
            for things, region in ((things1, region1), (things2, region2))
        ]
        yield from _compare_masks(masks[0], masks[1], f"{label}: ", iou)


def _compare_masks(one: Mask, other: Mask, label: str, iou: float) -> Iterable[tuple[str, str, str, float]]:
    common, together = int((one & other).sum()), int((one | other).sum())
    if together - common >= SMALLEST_DIFFERENCE and common < iou * together:
        yield "mask", f"{label}{one.sum()} px", f"{label}{other.sum()} px", round(common / together, 4)


def _boxes(things: Sequence[Thing], region: tuple[int, ...]) -> tuple[Boxes, Boxes]:
    """Boxes (n, 4) as ``top, left, bottom, right`` within a region, and the share (n,) of each that is in
    it."""
    top, left, height, width = region
    boxes = np.array([thing.box for thing in things], dtype=np.float64).reshape(-1, 4)
    edges = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1) - (top, left, top, left)
    inside = np.clip(edges, 0, (height, width, height, width))
    area = np.prod(boxes[:, 2:], axis=1)
    return inside, np.prod(inside[:, 2:] - inside[:, :2], axis=1) / np.maximum(area, 1e-9)


def _iou(one: Boxes, other: Boxes) -> Boxes:
    """Intersection over union of each box of ``one`` (n, 4) with each of ``other`` (m, 4): (n, m)."""
    least = np.minimum(one[:, None, 2:], other[None, :, 2:])
    most = np.maximum(one[:, None, :2], other[None, :, :2])
    common = np.prod(np.clip(least - most, 0, None), axis=2)
    area1, area2 = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (one, other))
    return np.asarray(common / np.maximum(area1[:, None] + area2[None] - common, 1e-9))


def _drawn(things: Sequence[Thing], region: tuple[int, ...]) -> Mask:
    """The outlines of things as a mask of the region."""
    top, left, height, width = region
    mask = np.zeros((height, width), dtype=np.uint8)
    for thing in things:
        if isinstance(thing.outline, tuple):
            mask |= _part(mask_of_counts(*thing.outline), region).astype(np.uint8)
        elif thing.outline is not None:
            points = [np.rint(polygon - (left, top)).astype(np.int32) for polygon in thing.outline]
            cv2.fillPoly(mask, points, 1)
    return mask.astype(bool)


def _part(mask: Mask, region: tuple[int, ...]) -> Mask:
    top, left, height, width = region
    return mask[top : top + height, left : left + width]


def _counted(labels: Iterable[str]) -> str:
    counts = Counter(labels)
    return ", ".join(f"{count} {label}".strip() for label, count in sorted(counts.items())) or "none"
