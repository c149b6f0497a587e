"""What ``find`` found, on one page that needs nothing beside itself: no network, no other file, no plug-in.

Names come from files of unknown origin: the template escapes them, control and direction characters are
spelled out, and a content security policy allows only the page's own script and style, named by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.files.atomic import atomic_path
from dupnet.images.reading import Sources, UnreadableImage, load_named
from dupnet.images.reduced import load_reduced
from dupnet.images.stretch import Rendering
from dupnet.report.histogram import histogram
from dupnet.report.links import Links
from dupnet.report.mosaics import MAX_SIDE, covering, mosaic, mosaic_name
from dupnet.report.pairs import QUALITY, THUMBNAIL_SIDE, cards, in_order, table_data, thumbnails
from dupnet.report.previews import data_uri, reduce_to, shown_name
from dupnet.report.stacks import fold

__all__ = ["add_label_conflicts", "render", "write"]

Pixels = npt.NDArray[np.uint8]

N_GROUPS, N_PAIRS, N_REVISITS, N_STACKS = 7, 12, 4, 12
"""What is shown as pictures: the largest groups, the pairs and revisits to look at first, the largest stacks
of copies."""

MAX_ROWS = 500
"""Rows that a list of files or rejected overlaps shows; the rest is in the CSV beside the report."""

LARGEST_SIDE, MOSAIC_SIDE = 1400, 560
"""Longest side in pixels of the mosaic of the largest group, and of the others."""

MAX_OUTLINES = 60
"""Images of a mosaic up to which all are outlined; of more, only those that cover the ground, and only where
the reader asks for it."""

LABELS = ("<!-- label conflicts -->", "<!-- end of label conflicts -->")
"""Between these stands what ``dupnet labels`` found."""

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
    "points_of_overlays": "points of overlays, ignored",
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
    mosaics: str | os.PathLike[str] | None = None,
) -> None:
    """Write the report as one HTML file.

    Parameters
    ----------
    result
        What ``find`` returned.
    images_folder
        The folder, or several, that hold the images; a name is looked up in their order. Images that have
        vanished meanwhile are left out. Of folders of this machine the page has links to the images.
    path
        The file to write.
    rendering
        What to take of files of more than three bands or 8 bits.
    mosaics
        The folder into which :func:`dupnet.report.mosaics.write_mosaics` wrote those of this result: they are
        shown, and linked, instead of being drawn again.
    """
    text = render(result, images_folder, rendering, beside=Path(path).parent, mosaics=mosaics)
    with atomic_path(path) as file:
        file.write_text(text, encoding="utf-8")


def render(
    result: Result,
    images_folder: Sources,
    rendering: Rendering = Rendering(),
    *,
    beside: Path | None = None,
    mosaics: str | os.PathLike[str] | None = None,
) -> str:
    """The report's HTML; see :func:`write`. The same result and images give the same text.

    ``beside``: the folder that the page will lie in, from which its links lead; without it there are none.
    """
    from dupnet import __version__

    read = _reader(images_folder, result.groups, rendering)
    small = _small_reader(images_folder, result.groups, rendering)
    links = Links(images_folder, beside)
    style, script = (_text(name) for name in ("report.css", "report.js"))
    folded = fold(result.overlaps, result.groups)
    ordered = in_order(folded.overlaps)
    duplicates = result.overlaps[result.overlaps["verdict"] == "duplicate"]
    # Those that may be edited copies first.
    unknown = {} if "agreeing_share" in result.revisits else {"agreeing_share": np.nan}
    revisits = result.revisits.assign(**unknown).sort_values("agreeing_share", ascending=False, kind="stable")
    table = table_data(ordered, result.groups, folded.stacks)
    names = pd.unique(ordered[["image1", "image2"]].to_numpy().ravel())[: len(table["names"])]
    groups = list(
        _groups(result.groups, images_folder, rendering, None if mosaics is None else Path(mosaics), links)
    )
    page: str = (
        _environment(links)
        .get_template("report.html")
        .render(
            version=__version__,
            style=style,
            script=script,
            policy="default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
            f"style-src {_source(style)}; script-src {_source(script)}",
            where=[shown_name(str(folder)) for folder in result.folders],
            headline=_counts(result, [name for name in HEADLINE if name in result.counts]),
            counts=_counts(result, [name for name in result.counts if name not in HEADLINE]),
            plot=histogram(duplicates["score"].astype(float)),
            follows=_follows(result),
            searched=result.coverage(),
            groups=groups,
            n_groups=int((result.groups["mosaic"].value_counts() > 1).sum()),
            pairs=list(cards(ordered, read, N_PAIRS)),
            n_pairs=len(ordered),
            n_rows=len(table["image1"]),
            data={**table, **links.data(names), "thumbnails": thumbnails(names, small)},
            stacks=_stacks(folded.stacks, small),
            n_stacks=len(folded.stacks),
            n_folded=folded.n_within + folded.n_repeated,
            unreadable=result.unreadable.head(MAX_ROWS).to_dict("records"),
            n_unreadable=len(result.unreadable),
            converted=result.converted.head(MAX_ROWS).to_dict("records"),
            n_converted=len(result.converted),
            rejected=_rejected(result.rejected),
            n_rejected=len(result.rejected),
            revisits=revisits.head(MAX_ROWS).to_dict("records"),
            revisit_cards=list(cards(revisits, read, N_REVISITS)),
            n_revisits=len(revisits),
            max_rows=MAX_ROWS,
            label_marks=LABELS,
        )
    )
    return page


def add_label_conflicts(path: str | os.PathLike[str], conflicts: pd.DataFrame, n_compared: int) -> bool:
    """Put what ``dupnet labels`` found into a report; False, and nothing is written, if there is none of this
    version.

    Parameters
    ----------
    path
        The report.
    conflicts
        The columns :data:`dupnet.splits.conflicts.CONFLICT_COLUMNS`.
    n_compared
        How many pairs were compared.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return False
    between = re.compile(f"({re.escape(LABELS[0])}).*?({re.escape(LABELS[1])})", re.DOTALL)
    if len(between.findall(text)) != 1:
        return False
    section = (
        _environment(Links((), None))
        .get_template("labels.html")
        .render(
            conflicts=conflicts.head(MAX_ROWS).to_dict("records"),
            n_conflicts=len(conflicts),
            n_pairs=len(conflicts[["image1", "image2"]].drop_duplicates()),
            n_compared=n_compared,
            max_rows=MAX_ROWS,
        )
    )
    with atomic_path(path) as file:
        new = between.sub(lambda marks: f"{marks[1]}\n{section}\n{marks[2]}", text)
        file.write_text(new, encoding="utf-8")
    return True


def _environment(links: Links) -> Any:
    from jinja2 import Environment, FileSystemLoader

    templates = files("dupnet.report") / "templates"
    environment = Environment(
        loader=FileSystemLoader(str(templates)), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["shown"] = lambda name: shown_name(str(name))
    environment.filters["code"] = _code
    environment.filters["link"] = lambda name: links.of(str(name))
    return environment


def _code(sentence: str) -> Any:
    """A sentence with what stands between backticks as code."""
    from markupsafe import Markup, escape

    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(sentence))))


def _text(name: str) -> str:
    return (files("dupnet.report") / "templates" / name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    """A script or style as a content security policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _reader(folders: Sources, groups: pd.DataFrame, rendering: Rendering) -> Callable[[str], Pixels | None]:
    """A function from an image's name to its pixels, None if it is not there any more, or another."""
    sizes = dict(zip(groups["image"], zip(groups["height"], groups["width"], strict=True), strict=True))

    @lru_cache(maxsize=8)
    def read(name: str) -> Pixels | None:
        try:
            pixels = load_named(name, folders, grey=False, rendering=rendering)[0]
        except (UnreadableImage, FileNotFoundError):
            return None
        return pixels if pixels.shape[:2] == sizes[name] else None

    return read


def _small_reader(
    folders: Sources, groups: pd.DataFrame, rendering: Rendering
) -> Callable[[str, int], Pixels | None]:
    """As :func:`_reader`, of images that are to be shown with a longest side of so many pixels."""
    sizes = dict(zip(groups["image"], zip(groups["height"], groups["width"], strict=True), strict=True))

    def read(name: str, side: int) -> Pixels | None:
        try:
            pixels, size = load_reduced(name, folders, max(sizes[name]) / side, rendering)
        except (UnreadableImage, FileNotFoundError):
            return None
        return pixels if size == sizes[name] else None

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


def _groups(
    groups: pd.DataFrame, folders: Sources, rendering: Rendering, mosaics: Path | None, links: Links
) -> Iterator[dict[str, Any]]:
    """The groups of most images, as pictures with outlines."""
    sizes = groups["mosaic"].value_counts(sort=False).sort_index()
    largest = sizes[sizes > 1].sort_values(ascending=False, kind="stable").head(N_GROUPS)
    for place, (number, n_images) in enumerate(largest.items()):
        members = groups[groups["mosaic"] == number].sort_values(["y", "x", "image"])
        side = MOSAIC_SIDE if place else LARGEST_SIDE
        picture, full = _picture(members, int(number), folders, side, rendering, mosaics)
        outlined = members.iloc[covering(members, side)] if len(members) > MAX_OUTLINES else members
        yield {
            "group": int(members["group"].iloc[0]),
            "mosaic": int(number),
            "n_images": n_images,
            "height": int((members["y"] + members["height"]).max()),
            "width": int((members["x"] + members["width"]).max()),
            "picture": None if picture is None else data_uri(picture, ".jpg", QUALITY),
            "shape": None if picture is None else picture.shape,
            "full": None if full is None or mosaics is None else links.beside(full),
            "outlines": outlined.to_dict("records"),
            "images": members.head(MAX_ROWS).to_dict("records"),
        }


def _picture(
    members: pd.DataFrame,
    number: int,
    folders: Sources,
    side: int,
    rendering: Rendering,
    mosaics: Path | None,
) -> tuple[Pixels | None, Path | None]:
    """A mosaic with ``side`` as its longest, None if its images cannot be read; and its file."""
    if mosaics is not None and (file := mosaics / mosaic_name(number)).is_file():
        extent = max((members["y"] + members["height"]).max(), (members["x"] + members["width"]).max())
        try:
            longest = min(extent, MAX_SIDE)
            return reduce_to(load_reduced(file.name, mosaics, longest / side)[0], side), file
        except (UnreadableImage, FileNotFoundError):
            pass
    try:
        return mosaic(members, number, folders, side, rendering=rendering)[0], None
    except (UnreadableImage, FileNotFoundError):
        return None, None


def _stacks(
    stacks: Mapping[str, Sequence[str]], read: Callable[[str, int], Pixels | None]
) -> list[dict[str, Any]]:
    found = []
    for first, members in list(stacks.items())[:N_STACKS]:
        picture = read(first, THUMBNAIL_SIDE)
        shown = None if picture is None else data_uri(reduce_to(picture, THUMBNAIL_SIDE), ".jpg", QUALITY)
        found.append({"first": first, "n": len(members), "picture": shown, "images": members[:MAX_ROWS]})
    return found


def _rejected(rejected: pd.DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = rejected.head(MAX_ROWS).to_dict("records")
    for row in rows:
        row["missed"] = (
            "" if pd.isna(row["y_residual"]) else f"{row['y_residual']:+d}, {row['x_residual']:+d}"
        )
    return rows
