"""The pairs of the report: in which order they stand, as pictures, and as the data of its table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.images.transforms import (
    bounds,
    common_outline,
    in_words,
    inverse,
    is_transformed,
    laid,
    matrix_of,
    moved,
)
from dupnet.report.previews import (
    data_uri,
    difference_map,
    reduce_to,
    region_boxes,
    shared_regions,
    shown_name,
)

__all__ = ["MAX_TABLE", "cards", "in_order", "table_data", "thumbnails"]

Pixels = npt.NDArray[np.uint8]
Reader = Callable[[str], Pixels | None]

ORDER = {"altered": 0, "duplicate": 1, "undecidable": 2}
"""What a person should look at first: changed copies, then duplicates, the least certain first."""

MAX_TABLE = 80_000
"""Rows of the table of pairs; more would make a file of over 10 MB. The rest is in overlaps.csv."""

REGION_SIDE, THUMBNAIL_SIDE = 320, 160
"""Longest side in pixels of the common region in a card, and of an image in a row that was opened."""

QUALITY = 75
"""Of the JPEG pictures in the page, on libjpeg's scale."""

MAX_THUMBNAILS, THUMBNAIL_BYTES = 400, 3_000_000
"""Images that are embedded for the rows of the table, those of the first pairs first, and the bytes that they
may take together. Of the others a row has links only."""


def in_order(overlaps: pd.DataFrame) -> pd.DataFrame:
    """The overlaps as a person should look at them; those without a score, where nothing could be judged,
    last."""
    rank = overlaps["verdict"].map(ORDER).fillna(len(ORDER))
    certainty = (overlaps["score"].astype(float) - 0.5).abs().fillna(np.inf)
    area = -(overlaps["height"].astype(np.int64) * overlaps["width"].astype(np.int64))
    keys = pd.DataFrame({"rank": rank, "certainty": certainty, "area": area})
    return overlaps.loc[keys.sort_values(["rank", "certainty", "area"], kind="stable").index]


def cards(rows: pd.DataFrame, read: Reader, most: int) -> Iterator[dict[str, Any]]:
    """The first ``most`` pairs whose images can be read: what is said of them, and three pictures."""
    shown = 0
    for row in rows.to_dict("records"):
        if shown == most:
            return
        image1, image2 = read(row["image1"]), read(row["image2"])
        if image1 is None or image2 is None:
            continue
        offset = int(row["y_offset"]), int(row["x_offset"])
        changed = in_words(row)
        if changed:  # image 2 as it lies on image 1
            image2 = laid(image2, matrix_of(row))
        region1, region2 = shared_regions(image1, image2, *offset)
        pictures = [region1, region2, difference_map(region1, region2)]
        shown += 1
        yield {
            **row,
            "changed": changed,
            "score": None if pd.isna(row["score"]) else float(row["score"]),
            "pictures": [data_uri(reduce_to(picture, REGION_SIDE), ".jpg", QUALITY) for picture in pictures],
            "key": key(image1.shape[:2], image2.shape[:2], *offset),
        }


def key(shape1: Sequence[int], shape2: Sequence[int], y_offset: int, x_offset: int) -> dict[str, Any]:
    """Where two images lie, for a small drawing: image 1 at the origin, the larger side of both 10 units."""
    box, _ = region_boxes(shape1, shape2, y_offset, x_offset)
    top, left = min(0, y_offset), min(0, x_offset)
    bottom, right = max(shape1[0], y_offset + shape2[0]), max(shape1[1], x_offset + shape2[1])
    unit = max(bottom - top, right - left) / 10

    def scaled(x: int, y: int, width: int, height: int) -> list[float]:
        return [round(value / unit, 3) for value in (x, y, width, height)]

    return {
        "view": scaled(left, top, right - left, bottom - top),
        "one": scaled(0, 0, shape1[1], shape1[0]),
        "two": scaled(x_offset, y_offset, shape2[1], shape2[0]),
        "shared": scaled(box[1].start, box[0].start, box[1].stop - box[1].start, box[0].stop - box[0].start),
    }


def table_data(
    overlaps: pd.DataFrame, groups: pd.DataFrame, stacks: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """The overlaps by column, each name once: about 50 bytes an overlap.

    ``names`` are safe to look at, ``linked`` says which of them are those of a file as they stand; ``sizes``
    has height and width of each image; ``copies`` how many others show the very same.
    """
    shown = overlaps.head(MAX_TABLE)
    codes, names = pd.factorize(shown[["image1", "image2"]].to_numpy().ravel())
    sizes = groups.set_index("image")[["height", "width"]].reindex(names).to_numpy(np.int64)
    safe = [shown_name(str(name)) for name in names]
    verdicts = pd.factorize(shown["verdict"].astype(str))
    return {
        "names": safe,
        "unlinked": [
            number for number, (name, one) in enumerate(zip(names, safe, strict=True)) if name != one
        ],
        "sizes": sizes.tolist(),
        "copies": {number: len(stacks[name]) - 1 for number, name in enumerate(names) if name in stacks},
        "image1": codes[0::2].tolist(),
        "image2": codes[1::2].tolist(),
        **{
            name: shown[name].astype(int).tolist()
            for name in ("y_offset", "x_offset", "height", "width", "n_tiles", "n_decidable", "n_differing")
        },
        "score": [None if np.isnan(score) else round(score, 4) for score in shown["score"].astype(float)],
        "verdicts": verdicts[1].tolist(),
        "verdict": verdicts[0].tolist(),
        "changed": {
            int(number): _changed(shown.iloc[number], *sizes[codes[2 * number : 2 * number + 2]].tolist())
            for number in np.flatnonzero(is_transformed(shown))
        },
    }


def _changed(row: pd.Series[Any], size1: list[int], size2: list[int]) -> dict[str, Any]:
    """How image 2 is changed, its size then, and the common ground in it as it is: corners, x and y."""
    matrix = matrix_of(row)
    corners = common_outline(matrix, size1, size2)
    in_two = moved(inverse(matrix), corners - 0.5) + 0.5
    smaller = min(size1[0] * size1[1], size2[0] * size2[1] * abs(np.linalg.det(matrix[:, :2])))
    return {
        "how": in_words(row),
        "share": round(cv2.contourArea(corners.astype(np.float32)) / smaller, 4),
        "size": bounds(matrix, size2[0], size2[1])[2:],
        "two": in_two[:, ::-1].round(1).tolist(),
    }


def thumbnails(names: Iterable[str], read: Callable[[str, int], Pixels | None]) -> dict[int, str]:
    """Images as small pictures, by their number in ``names``, as many as the page can hold; those that cannot
    be read are left out. ``read`` takes a name and the side in pixels at which it is shown."""
    found: dict[int, str] = {}
    n_bytes = 0
    for number, name in enumerate(names):
        if len(found) == MAX_THUMBNAILS:
            break
        image = read(name, THUMBNAIL_SIDE)
        if image is None:
            continue
        found[number] = data_uri(reduce_to(image, THUMBNAIL_SIDE), ".jpg", QUALITY)
        n_bytes += len(found[number])
        if n_bytes > THUMBNAIL_BYTES:
            del found[number]
            break
    return found
