"""What a person judged by eye: verdicts on overlaps, and what follows from several of them.

A table of judgements has ``image1, image2, overlap_tag, y_offset, x_offset, verdict, reviewer``. An overlap
is known by its two images and the offset, in pixels, of the second one's origin in the first one's frame;
the tag is empty off the grid. Older files have tags alone: their offsets follow from the grid.

If A and B were judged duplicates, and B and C, then A and C are duplicates at the sum of the offsets; and if
C and D are none, then A and D are none. Where judgements contradict each other, the earlier one holds, and
both are listed.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.files.atomic import plain_name
from dupnet.find.overlaps import DUPLICATE, KEY, UNDECIDABLE
from dupnet.tiles import Grid, overlap_of_tag

__all__ = [
    "COLUMNS",
    "FILE",
    "NOT_DUPLICATE",
    "TAGS_ONLY",
    "VERDICTS",
    "Judged",
    "Judgement",
    "Key",
    "Settled",
    "complete_rows",
    "holding",
    "offset_of",
    "parse",
    "read_judgements",
    "settle",
    "verdicts_table",
]

COLUMNS = ("time", "image1", "image2", "overlap_tag", "y_offset", "x_offset", "verdict", "reviewer")
"""Columns of the file of judgements."""

TAGS_ONLY = ("time", "image1", "image2", "overlap_tag", "verdict")
"""Columns of older ones."""

FILE = "judgements.csv"
"""Its name in the output folder of ``find``."""

NOT_DUPLICATE = "not_duplicate"

VERDICTS = (DUPLICATE, NOT_DUPLICATE, UNDECIDABLE)
"""What a person may say of an overlap."""

SAME_OFFSET = 2
"""Pixels by which two offsets may differ and mean the same: places are exact to a pixel or two."""

Offset = npt.NDArray[np.int64]

Key = tuple[str, str, int | None, int | None, str]
"""What tells one overlap from another: ``image1, image2, y_offset, x_offset`` and an empty text; where no
offset is known, None in their place and the tag."""


class Judged(NamedTuple):
    """An overlap that was, or can be, judged; without an offset where a tag alone is known of it."""

    image1: str
    image2: str
    y_offset: int | None
    x_offset: int | None
    overlap_tag: str = ""

    @property
    def key(self) -> Key:
        """What tells it from others: not its tag, where its offset is known."""
        return (*self[:4], "") if self.y_offset is not None else self[:]


class Judgement(NamedTuple):
    """What somebody said of an overlap."""

    overlap: Judged
    verdict: str
    """One of :data:`VERDICTS`, or ``undo``."""
    reviewer: str = ""


def read_judgements(path: str | os.PathLike[str]) -> pd.DataFrame:
    """The verdicts that hold by a file, see :func:`verdicts_table`; takes no lock.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a table of judgements.
    """
    with open(path, "rb") as file:
        rows, _ = complete_rows(file, Path(path))
    return verdicts_table(holding(parse(rows)))


def parse(rows: Sequence[Sequence[str]], grid: Grid | None = None) -> list[Judgement]:
    """The judgements in the rows of a file, of which the first names the columns.

    ``grid`` says where overlaps lie of which the tag alone is known.
    """
    found = []
    for row in rows[1:]:
        if len(row) == len(TAGS_ONLY):
            _, image1, image2, tag, verdict = row
            y, x, reviewer = "", "", ""
        else:
            _, image1, image2, tag, y, x, verdict, reviewer = row
            image1, image2, reviewer = plain_name(image1), plain_name(image2), plain_name(reviewer)
        offset = (int(y), int(x)) if y else offset_of(tag, grid)
        down, right = offset or (None, None)
        found.append(Judgement(Judged(image1, image2, down, right, tag), verdict, reviewer))
    return found


def holding(judgements: Sequence[Judgement]) -> dict[Key, Judgement]:
    """The verdicts that hold after all judgements, in the order given."""
    verdicts: dict[Key, Judgement] = {}
    for one in judgements:
        if one.verdict == "undo":
            verdicts.pop(one.overlap.key, None)
        else:
            verdicts.setdefault(one.overlap.key, one)
    return verdicts


def verdicts_table(verdicts: Mapping[Key, Judgement]) -> pd.DataFrame:
    """Verdicts as a table: :data:`COLUMNS` without the time; no offset where it is not known."""
    rows = [
        (one.image1, one.image2, one.overlap_tag, one.y_offset, one.x_offset, verdict, reviewer)
        for one, verdict, reviewer in verdicts.values()
    ]
    # As objects: pandas' own strings are UTF-8 and cannot hold a file name that is not.
    table = pd.DataFrame(rows, columns=list(COLUMNS[1:]), dtype=object)
    return table.astype({"y_offset": "Int64", "x_offset": "Int64"})


def complete_rows(file: io.BufferedRandom | io.BufferedReader, path: Path) -> tuple[list[list[str]], int]:
    """All whole rows from the start of a file of judgements, and the byte at which the last of them ends.

    Raises
    ------
    ValueError
        If it is not a table of judgements.
    """
    file.seek(0)
    rows: list[list[str]] = []
    pending, end, is_csv = b"", 0, True
    for line in file:
        pending += line
        # A quoted name may hold a line end; quotes inside it are doubled, so an even number closes it.
        if line.endswith(b"\n") and pending.count(b'"') % 2 == 0:
            end += len(pending)
            text = pending.decode("utf-8", "surrogateescape")
            try:
                rows.extend(csv.reader(io.StringIO(text, newline="")))
            except csv.Error:  # a field of more than 131,072 characters
                is_csv = False
            pending = b""
    started = any(",".join(columns).encode().startswith(pending) for columns in (COLUMNS, TAGS_ONLY))
    if not (is_csv and _is_sound(rows)) or (not rows and pending and not started):
        raise ValueError(
            f"{path} is not a table of judgements (columns {', '.join(COLUMNS)}); correct it or move it away."
        )
    return rows, end


def _is_sound(rows: Sequence[Sequence[str]]) -> bool:
    if not rows:
        return True
    columns, known = tuple(rows[0]), {*VERDICTS, "undo"}
    if columns not in (COLUMNS, TAGS_ONLY) or any(len(row) != len(columns) for row in rows):
        return False
    if columns == TAGS_ONLY:
        return all(row[4] in known for row in rows[1:])
    return all(
        row[6] in known and ((not row[4] and not row[5]) or (_is_whole(row[4]) and _is_whole(row[5])))
        for row in rows[1:]
    )


def _is_whole(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]{1,9}", text) is not None


@dataclass(frozen=True)
class Settled:
    """What judgements say together, of any overlap of the images judged."""

    roots: Mapping[str, str]
    """The first of the images that an image was judged to show the same moment with."""
    positions: Mapping[str, Offset]
    """Its place, seen from there: y, x in pixels."""
    different: Mapping[tuple[str, str], Sequence[Offset]]
    """Offsets at which two such sets of images are none, seen from the first."""
    undecidable: frozenset[tuple[str, str, int, int]]
    direct: frozenset[tuple[str, str, int, int]]
    """The overlaps that were judged themselves."""
    contradictions: pd.DataFrame
    """``image1, image2, y_offset, x_offset, verdict, reason``: judgements that earlier ones contradict."""

    def of(self, overlaps: pd.DataFrame) -> pd.Series:
        """The verdict on each overlap (``image1, image2, y_offset, x_offset``), judged or implied; else
        empty."""
        rows = overlaps[KEY].itertuples(index=False, name=None)
        return pd.Series([self._verdict(*row) for row in rows], index=overlaps.index, dtype=object)

    def _verdict(self, image1: str, image2: str, y: int, x: int) -> str:
        if image1 not in self.roots or image2 not in self.roots:
            return ""
        if (image1, image2, y, x) in self.undecidable:
            return UNDECIDABLE
        root1, root2 = self.roots[image1], self.roots[image2]
        between = self.positions[image1] + (y, x) - self.positions[image2]
        if root1 == root2:
            return DUPLICATE if _same(between, np.zeros(2, np.int64)) else ""
        if root1 > root2:
            root1, root2, between = root2, root1, -between
        return (
            NOT_DUPLICATE if any(_same(between, at) for at in self.different.get((root1, root2), ())) else ""
        )


def offset_of(tag: str, grid: Grid | None) -> tuple[int, int] | None:
    """The offset in pixels of the overlap that a tag names; None if the grid has none of that name."""
    if grid is None or not tag:
        return None
    try:
        overlap = overlap_of_tag(tag, grid)
    except ValueError:
        return None
    return overlap.row_offset * grid.tile_size, overlap.col_offset * grid.tile_size


def settle(judged: pd.DataFrame) -> Settled:
    """What judgements say together.

    Parameters
    ----------
    judged : DataFrame
        ``image1, image2, y_offset, x_offset, verdict`` (one of :data:`VERDICTS`), in the order given.
    """
    rows = list(judged[[*KEY, "verdict"]].itertuples(index=False, name=None))
    roots = {image: image for row in rows for image in row[:2]}
    members = {image: [image] for image in roots}
    positions = {image: np.zeros(2, np.int64) for image in roots}
    wrong: list[tuple[object, ...]] = []

    # Duplicates first: what is none is said of whole sets of them.
    for image1, image2, y, x, _ in (row for row in rows if row[4] == DUPLICATE):
        root1, root2 = roots[image1], roots[image2]
        between = positions[image1] + (y, x) - positions[image2]
        if root1 == root2:
            if not _same(between, np.zeros(2, np.int64)):
                wrong.append((image1, image2, y, x, DUPLICATE, "others put these images elsewhere"))
            continue
        for image in members.pop(root2):
            roots[image], positions[image] = root1, positions[image] + between
            members[root1].append(image)

    different: dict[tuple[str, str], list[Offset]] = {}
    for image1, image2, y, x, _ in (row for row in rows if row[4] == NOT_DUPLICATE):
        root1, root2 = roots[image1], roots[image2]
        between = positions[image1] + (y, x) - positions[image2]
        if root1 == root2:
            if _same(between, np.zeros(2, np.int64)):
                reason = "others make these images duplicates here"
                wrong.append((image1, image2, y, x, NOT_DUPLICATE, reason))
            continue
        if root1 > root2:
            root1, root2, between = root2, root1, -between
        different.setdefault((root1, root2), []).append(between)
    columns = [*KEY, "verdict", "reason"]
    return Settled(
        roots,
        positions,
        different,
        frozenset(row[:4] for row in rows if row[4] == UNDECIDABLE),
        frozenset(row[:4] for row in rows),
        pd.DataFrame(wrong, columns=columns).astype({"y_offset": np.int64, "x_offset": np.int64}),
    )


def _same(one: Offset, other: Offset) -> bool:
    return bool((np.abs(one - other) <= SAME_OFFSET).all())
