"""What ``find`` found, on one page that needs nothing beside itself: no network, no other file, no plug-in.

Names come from files of unknown origin: the template escapes them, control and direction characters are
spelled out, and a content security policy allows only the page's own script and style, named by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.files.atomic import atomic_path
from dupnet.images.reading import Sources, UnreadableImage, load_named
from dupnet.images.stretch import Rendering
from dupnet.report.mosaics import mosaic
from dupnet.report.previews import (
    data_uri,
    difference_map,
    reduce_to,
    region_boxes,
    shared_regions,
    shown_name,
)

__all__ = ["render", "write"]

Pixels = npt.NDArray[np.uint8]

N_BINS = 25
"""Bars of the score histogram."""

N_GROUPS, N_PAIRS = 8, 24
"""Largest groups shown as mosaics; least certain overlaps shown as pictures."""

MAX_ROWS = 500
"""Rows that a list of files or rejected overlaps shows; the rest is in the CSV beside the report."""

MOSAIC_SIDE, REGION_SIDE = 900, 320
"""Longest side in pixels of a mosaic and of a pair's region; ``QUALITY`` (WebP) keeps either under 150 kB."""
QUALITY = 70

HEADLINE = (
    "images",
    "unreadable",
    "duplicate",
    "groups_of_several",
    "images_in_groups",
    "largest_group",
    "rejected",
)
"""Counts of a run that stand in large figures; the others follow in a list."""

COUNTS = {
    "unreadable": "files left out",
    "converted": "images converted to RGB",
    "ignored": "hidden files and files that accompany images",
    "tiles_undecidable": "tiles with nothing to judge by (solid and the like)",
    "tiles_equal": "tiles equal to another, searched once",
    "candidates": "pairs of tiles that look alike",
    "proposals": "overlaps proposed",
    "proposals_false": "proposals that are accidents, by the control",
    "proposals_skipped": "proposals of crowds that were skipped",
    "matches_skipped": "pairs of like points that were not compared",
    "points_ignored": "points of overlays, ignored",
    "points": "points",
    "stacked": "copies listed with the first of their stack alone",
    "duplicate": "duplicate overlaps",
    "undecidable": "undecidable overlaps",
    "altered": "altered overlaps",
    "revisits": "pairs that show one ground at another time",
    "rejected": "contradictory overlaps",
    "groups_of_several": "groups of several images",
    "largest_group": "images in the largest group",
    "images_in_groups": "images that overlap another",
}
"""What the counts are called on the page, where their name does not say it."""


class Result(Protocol):
    """What the report reads of a :class:`dupnet.find.results.FindResult`."""

    @property
    def overlaps(self) -> pd.DataFrame: ...
    @property
    def groups(self) -> pd.DataFrame: ...
    @property
    def unreadable(self) -> pd.DataFrame: ...
    @property
    def converted(self) -> pd.DataFrame: ...
    @property
    def rejected(self) -> pd.DataFrame: ...
    @property
    def folders(self) -> Sequence[os.PathLike[str]]: ...
    @property
    def revisits(self) -> pd.DataFrame: ...
    def coverage(self) -> list[str]: ...
    @property
    def counts(self) -> Mapping[str, int]: ...


def write(
    result: Result,
    images_folder: Sources,
    path: str | os.PathLike[str],
    rendering: Rendering = Rendering(),
) -> None:
    """Write the report as one HTML file.

    Parameters
    ----------
    result
        What ``find`` returned.
    images_folder
        The folder, or several, that hold the images; a name is looked up in their order. Images that have
        vanished meanwhile are left out.
    path
        The file to write.
    rendering
        What to take of files of more than three bands or 8 bits.
    """
    text = render(result, images_folder, rendering)
    with atomic_path(path) as beside:
        beside.write_text(text, encoding="utf-8")


def render(result: Result, images_folder: Sources, rendering: Rendering = Rendering()) -> str:
    """The report's HTML; see :func:`write`. The same result and images give the same text."""
    from jinja2 import Environment, FileSystemLoader

    from dupnet import __version__

    read = _reader(images_folder, result.groups, rendering)
    templates = files("dupnet.report") / "templates"
    style, script = ((templates / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    environment = Environment(loader=FileSystemLoader(str(templates)), autoescape=True, trim_blocks=True)
    environment.filters["shown"] = lambda name: shown_name(str(name))
    duplicates = result.overlaps[result.overlaps["verdict"] == "duplicate"]
    return environment.get_template("report.html").render(
        version=__version__,
        style=style,
        script=script,
        policy="default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src {_source(style)}; script-src {_source(script)}",
        headline=_counts(result, [name for name in HEADLINE if name in result.counts]),
        counts=_counts(result, [name for name in result.counts if name not in HEADLINE]),
        bars=_bars(duplicates["score"]),
        follows=_follows(result),
        searched=result.coverage(),
        groups=list(_groups(result.groups, images_folder, rendering)),
        pairs=list(_pairs(result.overlaps, read)),
        table=_table(result.overlaps),
        unreadable=result.unreadable.head(MAX_ROWS).to_dict("records"),
        n_unreadable=len(result.unreadable),
        converted=result.converted.head(MAX_ROWS).to_dict("records"),
        n_converted=len(result.converted),
        rejected=_rejected(result.rejected),
        n_rejected=len(result.rejected),
        revisits=result.revisits.head(MAX_ROWS).to_dict("records"),
        n_revisits=len(result.revisits),
        max_rows=MAX_ROWS,
    )


def _source(text: str) -> str:
    """A script or style as a content security policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _reader(folders: Sources, groups: pd.DataFrame, rendering: Rendering) -> Callable[[str], Pixels | None]:
    """A function from an image's name to its pixels, None if it is not there any more, or another."""
    sizes = dict(zip(groups["image"], zip(groups["height"], groups["width"], strict=True), strict=True))

    def read(name: str) -> Pixels | None:
        try:
            pixels = load_named(name, folders, grey=False, rendering=rendering)[0]
        except (UnreadableImage, FileNotFoundError):
            return None
        return pixels if pixels.shape[:2] == sizes[name] else None

    return read


def _counts(result: Result, names: Sequence[str]) -> list[tuple[str, str]]:
    return [(COUNTS.get(name, name.replace("_", " ")), f"{result.counts[name]:,}") for name in names]


def _follows(result: Result) -> str:
    """What the result means for a split, in one sentence."""
    n_images, n_joined = len(result.groups), int(result.counts.get("images_in_groups", 0))
    where = ", ".join(map(shown_name, map(str, result.folders)))
    where = where and f" of {where}"
    if not n_joined:
        return f"None of the {n_images:,} images{where} was found to share ground with another."
    return (
        f"{n_joined:,} of the {n_images:,} images{where} share ground with another: a random split "
        "leaks. `dupnet split` on this folder keeps them together."
    )


def _bars(scores: pd.Series) -> list[dict[str, Any]]:
    """The score histogram; heights grow with the logarithm, so that a few uncertain overlaps stay visible."""
    values = scores.dropna().to_numpy(float).clip(0, 1)
    lowest = values.min() if len(values) else 0.0
    start = max(edge for edge in (0.0, 0.5, 0.9, 0.99, 0.999) if edge <= lowest)
    counts, edges = np.histogram(values, np.linspace(start, 1, N_BINS + 1))
    heights = np.log1p(counts) / np.log1p(max(counts.max(), 1))
    return [
        {"count": int(count), "low": low, "high": high, "height": 100 * height}
        for count, low, high, height in zip(counts, edges[:-1], edges[1:], heights, strict=True)
    ]


def _groups(groups: pd.DataFrame, folders: Sources, rendering: Rendering) -> Iterator[dict[str, Any]]:
    sizes = groups["mosaic"].value_counts(sort=False).sort_index()
    largest = sizes[sizes > 1].sort_values(ascending=False, kind="stable").head(N_GROUPS)
    for number, n_images in largest.items():
        members = groups[groups["mosaic"] == number].sort_values(["y", "x", "image"])
        try:
            picture, _ = mosaic(members, int(number), folders, MOSAIC_SIDE, rendering=rendering)
        except (UnreadableImage, FileNotFoundError):
            picture = None
        yield {
            "group": int(members["group"].iloc[0]),
            "mosaic": int(number),
            "n_images": n_images,
            "height": int((members["y"] + members["height"]).max()),
            "width": int((members["x"] + members["width"]).max()),
            "picture": None if picture is None else data_uri(picture, ".webp", QUALITY),
            "shape": None if picture is None else picture.shape,
            "outlines": members[["y", "x", "height", "width"]].head(MAX_ROWS).to_numpy().tolist(),
            "images": members.head(MAX_ROWS).to_dict("records"),
        }


def _pairs(overlaps: pd.DataFrame, read: Callable[[str], Pixels | None]) -> Iterator[dict[str, Any]]:
    """The least certain overlaps first; those without a score, where nothing could be judged, last."""
    certainty = (overlaps["score"].astype(float) - 0.5).abs().sort_values(kind="stable", na_position="last")
    shown = 0
    for row in overlaps.loc[certainty.index].itertuples(index=False):
        if shown == N_PAIRS:
            return
        image1, image2 = read(row.image1), read(row.image2)
        if image1 is None or image2 is None:
            continue
        offset = int(row.y_offset), int(row.x_offset)
        region1, region2 = shared_regions(image1, image2, *offset)
        pictures = [region1, region2, difference_map(region1, region2)]
        shown += 1
        yield {
            "image1": row.image1,
            "image2": row.image2,
            "tag": row.overlap_tag,
            "y_offset": offset[0],
            "x_offset": offset[1],
            "height": int(row.height),
            "width": int(row.width),
            "score": None if pd.isna(row.score) else float(row.score),
            "verdict": row.verdict,
            "n_tiles": int(row.n_tiles),
            "n_decidable": int(row.n_decidable),
            "n_differing": int(row.n_differing),
            "pictures": [data_uri(reduce_to(picture, REGION_SIDE), ".webp", QUALITY) for picture in pictures],
            "key": _key(image1.shape[:2], image2.shape[:2], *offset),
        }


def _key(shape1: Sequence[int], shape2: Sequence[int], y_offset: int, x_offset: int) -> dict[str, Any]:
    """Where the two images lie, for a small drawing: image 1 at the origin, the larger side of both 10
    units."""
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


def _table(overlaps: pd.DataFrame) -> dict[str, Any]:
    """The overlaps by column, each name once: about 50 bytes an overlap."""
    codes, names = pd.factorize(overlaps[["image1", "image2"]].to_numpy().ravel())
    return {
        "names": [shown_name(str(name)) for name in names],
        "image1": codes[0::2].tolist(),
        "image2": codes[1::2].tolist(),
        "y_offset": overlaps["y_offset"].astype(int).tolist(),
        "x_offset": overlaps["x_offset"].astype(int).tolist(),
        "height": overlaps["height"].astype(int).tolist(),
        "width": overlaps["width"].astype(int).tolist(),
        "n_tiles": overlaps["n_tiles"].astype(int).tolist(),
        "n_decidable": overlaps["n_decidable"].astype(int).tolist(),
        "score": [None if np.isnan(score) else round(score, 4) for score in overlaps["score"].astype(float)],
        "verdict": overlaps["verdict"].astype(str).tolist(),
    }


def _rejected(rejected: pd.DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = rejected.head(MAX_ROWS).to_dict("records")
    for row in rows:
        row["missed"] = (
            "" if pd.isna(row["y_residual"]) else f"{row['y_residual']:+d}, {row['x_residual']:+d}"
        )
    return rows
