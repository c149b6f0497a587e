"""What a person judged by eye: verdicts on overlaps, and what follows from several of them.

A table of judgements has ``image1, image2, overlap_tag, verdict``. Off the grid, where overlaps have no tag,
the second image's offset in pixels stands in its place: ``+12-340`` (:func:`key_of`).

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

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.find.overlaps import DUPLICATE, KEY, UNDECIDABLE
from dupnet.tiles import Grid, overlap_of_tag

__all__ = [
    "COLUMNS",
    "FILE",
    "NOT_DUPLICATE",
    "Key",
    "VERDICTS",
    "Settled",
    "complete_rows",
    "holding_verdicts",
    "key_of",
    "offset_of",
    "read_judgements",
    "settle",
    "verdicts_table",
]

COLUMNS = ("time", "image1", "image2", "overlap_tag", "verdict")
"""Columns of the file of judgements."""

FILE = "judgements.csv"
"""Its name in the output folder of ``find``."""

NOT_DUPLICATE = "not_duplicate"

VERDICTS = (DUPLICATE, NOT_DUPLICATE, UNDECIDABLE)
"""What a person may say of an overlap."""

SAME_OFFSET = 2
"""Pixels by which two offsets may differ and mean the same: places are exact to a pixel or two."""

_OFFSET = re.compile(r"([+-]\d+)([+-]\d+)")

Offset = npt.NDArray[np.int64]

Key = tuple[str, str, str]
"""``image1, image2`` and the tag of an overlap."""


def read_judgements(path: str | os.PathLike[str]) -> pd.DataFrame:
    """The verdicts that hold by a file: ``image1, image2, overlap_tag, verdict``; takes no lock.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a table of judgements.
    """
    with open(path, "rb") as file:
        rows, _ = complete_rows(file, Path(path))
    return verdicts_table(holding_verdicts(rows[1:]))


def holding_verdicts(rows: Sequence[Sequence[str]]) -> dict[Key, str]:
    """The verdicts that hold after all rows of a file of judgements, in the order given."""
    holding: dict[Key, str] = {}
    for _time, image1, image2, tag, verdict in rows:
        if verdict == "undo":
            holding.pop((image1, image2, tag), None)
        else:
            holding.setdefault((image1, image2, tag), verdict)
    return holding


def verdicts_table(verdicts: Mapping[Key, str]) -> pd.DataFrame:
    """Verdicts as a table: ``image1, image2, overlap_tag, verdict``."""
    # As objects: pandas' own strings are UTF-8 and cannot hold a file name that is not.
    rows = [(*key, verdict) for key, verdict in verdicts.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS[1:]), dtype=object)


def complete_rows(file: io.BufferedRandom | io.BufferedReader, path: Path) -> tuple[list[list[str]], int]:
    """All whole rows from the start of a file of judgements, and the byte at which the last of them ends.

    Raises
    ------
    ValueError
        If it is not a table of judgements.
    """
    file.seek(0)
    rows: list[list[str]] = []
    pending, end = b"", 0
    for line in file:
        pending += line
        # A quoted name may hold a line end; quotes inside it are doubled, so an even number closes it.
        if line.endswith(b"\n") and pending.count(b'"') % 2 == 0:
            end += len(pending)
            text = pending.decode("utf-8", "surrogateescape")
            rows.extend(csv.reader(io.StringIO(text, newline="")))
            pending = b""
    known = {*VERDICTS, "undo"}
    sound = not rows or (
        tuple(rows[0]) == COLUMNS and all(len(row) == 5 and row[4] in known for row in rows[1:])
    )
    if not sound or (not rows and pending and not b",".join(c.encode() for c in COLUMNS).startswith(pending)):
        raise ValueError(
            f"{path} is not a table of judgements (columns {', '.join(COLUMNS)}); give another file name."
        )
    return rows, end


def key_of(overlap_tag: object, y_offset: int, x_offset: int) -> str:
    """What a judgement calls an overlap: its tag or, off the grid, its offset in pixels (``+12-340``)."""
    return str(overlap_tag) if isinstance(overlap_tag, str) and overlap_tag else f"{y_offset:+d}{x_offset:+d}"


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


def offset_of(key: str, grid: Grid | None) -> tuple[int, int] | None:
    """The offset in pixels of the overlap that a judgement names, see :func:`key_of`; None if it has none."""
    found = _OFFSET.fullmatch(key)
    if found:
        return int(found[1]), int(found[2])
    if grid is None:
        return None
    try:
        overlap = overlap_of_tag(key, grid)
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
