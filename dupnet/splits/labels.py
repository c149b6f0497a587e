"""Labels as people have them: a table, class folders, boxes, COCO files, the ship masks of the Airbus set."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.find.names import ImageNames
from dupnet.splits.readers import (
    CLASS_COLUMNS,
    RUN_LENGTH_COLUMNS,
    SPLIT_WORDS,
    check_column,
    coco_name,
    files_in,
    image_column,
    is_coco,
    read_json,
    read_text_table,
    word_in,
)

__all__ = ["Labels", "Thing", "decode_counts", "mask_of_counts", "read_labels"]

BOX_COLUMNS = (("ymin", "xmin", "ymax", "xmax"), ("y1", "x1", "y2", "x2"), ("top", "left", "bottom", "right"))
"""Columns of boxes: upper, left, lower and right edge in pixels."""

_NO_CLASS = ("images", "image", "img", "imgs", "data", *SPLIT_WORDS)
"""Folders that are no class."""


class Thing(NamedTuple):
    """Something labelled in an image: its class, its box (top, left, height, width in pixels), and its
    outline, if there is one: polygons of (n, 2) x, y, or run lengths as COCO has them, with the mask's height
    and width."""

    label: str
    box: tuple[float, float, float, float]
    outline: Sequence[npt.NDArray[np.float64]] | tuple[list[int], tuple[int, int]] | None = None


@dataclass(frozen=True)
class Labels:
    """What is known of the images of a collection, by name. An image that is in none of the three is
    unlabelled."""

    classes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Labels of whole images."""
    things: Mapping[str, Sequence[Thing]] = field(default_factory=dict)
    """What is in images; an empty list where it was looked for and nothing is."""
    masks: Mapping[str, str] = field(default_factory=dict)
    """Run lengths of a mask, as :func:`dupnet.metrics.tile_metrics.decode_run_lengths` reads them."""
    unmatched: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["name", "reason"]))
    """``name, reason``: names that fit no image."""

    def labelled(self) -> set[str]:
        """The images that have a label; one without anything in it was looked at, and has one too."""
        return {*self.classes, *self.things, *self.masks}


def read_labels(
    sources: str | Sequence[str],
    images: Sequence[str],
    image: str | None = None,
    label: str | None = None,
) -> Labels:
    """Read labels.

    Parameters
    ----------
    sources : str or sequence of str
        A table with a column of images and one or more of labels, of boxes (``xmin, ymin, xmax, ymax`` and a
        class) or of run lengths (``ImageId, EncodedPixels``); a folder of class folders; or COCO files.
    images : sequence of str
        The images of the collection.
    image, label : str, optional
        Columns of a table: that of images, guessed where it is clear, and that of labels, by default all
        others.

    Raises
    ------
    ValueError
        If a file is none of these, or no name fits an image.
    OSError
        If a file cannot be read.
    """
    known = ImageNames(images)
    classes: dict[str, set[str]] = defaultdict(set)
    things: dict[str, list[Thing]] = {}
    masks: dict[str, list[str]] = {}
    strange: list[pd.DataFrame] = []

    for source in [sources] if isinstance(sources, str) else sources:
        if os.path.isdir(source):
            names = files_in(Path(source))
            found = _matched(names, known, [])  # a folder holds more than images
            for name in names:
                if name in found and (kind := _class_of(name)):
                    classes[found[name]].add(kind)
            continue
        if source.lower().endswith(".json"):
            _read_coco(source, known, things, strange)
            continue
        table = read_text_table(source)
        column = image or image_column(table, known, source)
        check_column(table, column, source, "--image-column")
        found = _matched(table[column], known, strange)
        table = table.assign(**{column: table[column].map(found)}).dropna(subset=[column])
        plain = {re.sub(r"[\s_\-.]", "", str(other)).lower(): str(other) for other in table}
        if label is not None:
            check_column(table, label, source, "--label-column")
        runs = next((plain[name] for name in RUN_LENGTH_COLUMNS if name in plain and label is None), None)
        edges = next((edges for edges in BOX_COLUMNS if set(edges) <= set(plain) and label is None), None)
        if runs is not None:
            for name, text in zip(table[column], table[runs], strict=True):
                masks.setdefault(name, []).append(text)
        elif edges is not None:
            label_column = next(
                (plain[name] for name in CLASS_COLUMNS if name in plain and plain[name] != column), None
            )
            _read_boxes(table, column, [plain[edge] for edge in edges], label_column, things, source)
        else:
            columns = [label] if label is not None else [str(other) for other in table if other != column]
            if not columns:
                raise ValueError(f"{source!r} has no column of labels beside {column!r}.")
            for row in table[[column, *columns]].itertuples(index=False, name=None):
                values = row[1:] if len(columns) == 1 else map("{}={}".format, columns, row[1:])
                classes[row[0]] |= set(map(str, values))
    unmatched = pd.concat(strange, ignore_index=True) if strange else Labels().unmatched
    if not (classes or things or masks):
        named = ", ".join(map(repr, [sources] if isinstance(sources, str) else sources))
        raise ValueError(
            f"{named} labels no image of the collection"
            + (f"; it has {unmatched['name'].iloc[0]!r}, say" if len(unmatched) else "")
            + "; name a table, COCO files, or a folder of class folders."
        )
    return Labels(
        {name: frozenset(values) for name, values in classes.items()},
        things,
        {name: " ".join(parts).strip() for name, parts in masks.items()},
        unmatched,
    )


def decode_counts(counts: str | bytes | Sequence[int]) -> list[int]:
    """Run lengths of a COCO mask: as they are, or from the compressed text.

    Each number is in characters of five bits, lowest first, a sixth bit tells that more follow; from the
    fourth on it is the difference to the last but one.

    Raises
    ------
    ValueError
        If the text is cut off.
    """
    if not isinstance(counts, str | bytes):
        return [int(count) for count in counts]
    codes = [ord(letter) - 48 for letter in (counts if isinstance(counts, str) else counts.decode("ascii"))]
    numbers: list[int] = []
    value, shift = 0, 0
    for code in codes:
        value |= (code & 0x1F) << shift
        shift += 5
        if code & 0x20:
            continue
        if code & 0x10:
            value -= 1 << shift
        numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise ValueError(f"counts {counts[:40]!r} are cut off.")
    return numbers


def mask_of_counts(counts: Sequence[int], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """A COCO mask (height, width) bool from its run lengths, column by column, unmarked first."""
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(shape[1], shape[0]).T


def _matched(
    names: Sequence[str] | pd.Series, known: ImageNames, strange: list[pd.DataFrame]
) -> dict[str, str]:
    """The image of each name that fits one; the others are added to ``strange``."""
    matched = known.match(names)
    is_known = matched["image"] != ""
    strange.append(matched.loc[~is_known, ["name", "reason"]])
    return dict(zip(matched.loc[is_known, "name"], matched.loc[is_known, "image"], strict=True))


def _class_of(name: str) -> str:
    """The class folder of an image: the last folder in its name that is neither a split nor ``images``."""
    folders = [part for part in name.split("/")[:-1] if part.lower() not in _NO_CLASS and not word_in(part)]
    return folders[-1] if folders else ""


def _read_boxes(
    table: pd.DataFrame,
    column: str,
    edges: Sequence[str],
    kind: str | None,
    things: dict[str, list[Thing]],
    source: str,
) -> None:
    for row in table.to_dict("records"):
        found = things.setdefault(row[column], [])
        texts = [row[edge] for edge in edges]
        if not any(texts):  # an image without anything
            continue
        try:
            top, left, bottom, right = map(float, texts)
        except ValueError:
            raise ValueError(
                f"{source!r}: the box {texts} of {row[column]!r} is not of four numbers."
            ) from None
        found.append(Thing(row[kind] if kind else "", (top, left, bottom - top, right - left)))


def _read_coco(
    source: str, known: ImageNames, things: dict[str, list[Thing]], strange: list[pd.DataFrame]
) -> None:
    content = read_json(source)
    if not is_coco(content):
        raise ValueError(f"{source!r} is JSON, but no COCO file: it has no list of 'images'.")
    try:
        names = {entry.get("id"): coco_name(entry, source) for entry in content["images"]}
        categories = content.get("categories", [])
        kinds = {entry.get("id"): str(entry.get("name", entry.get("id"))) for entry in categories}
    except (AttributeError, TypeError) as error:  # an id that is a list, an entry that is none
        raise ValueError(f"{source!r}: images or categories are not as COCO has them ({error}).") from None
    found = _matched(list(names.values()), known, strange)
    for name in found.values():
        things.setdefault(name, [])
    try:
        for entry in content.get("annotations", []):
            image = found.get(names.get(entry.get("image_id"), ""))
            if image is not None and not entry.get("iscrowd"):
                things[image].append(_thing(entry, kinds))
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        fault = " ".join(str(error).split())[:80]
        raise ValueError(f"{source!r}: an annotation is not as COCO has them ({fault}).") from None


def _thing(entry: dict[str, Any], kinds: Mapping[Any, str]) -> Thing:
    kind = entry.get("category_id")
    outline = _outline(entry.get("segmentation"))
    box = entry.get("bbox") or _box_around(outline)
    if box is None:
        raise ValueError(f"annotation {entry.get('id')!r} has neither a bbox nor an outline")
    left, top, width, height = map(float, box)
    return Thing(kinds.get(kind, str(kind)), (top, left, height, width), outline)


def _outline(
    segmentation: Any,
) -> Sequence[npt.NDArray[np.float64]] | tuple[list[int], tuple[int, int]] | None:
    if isinstance(segmentation, Mapping):
        height, width = segmentation["size"]
        return decode_counts(segmentation["counts"]), (int(height), int(width))
    if isinstance(segmentation, list) and segmentation:
        return [np.asarray(polygon, dtype=np.float64).reshape(-1, 2) for polygon in segmentation]
    return None


def _box_around(outline: Any) -> tuple[float, float, float, float] | None:
    """``left, top, width, height`` of polygons."""
    if not isinstance(outline, list):
        return None
    points = np.concatenate(outline)
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return left, top, right - left, bottom - top
