"""What ``dupnet find`` found: the tables in memory, and the output folder that holds them.

``run.json`` is written last and removed first: a folder without it holds the tables of no finished run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from dupnet.files.atomic import atomic_path, read_csv, write_csv, write_parquet
from dupnet.find.groups import CUT_COLUMNS
from dupnet.find.overlaps import COLUMNS as OVERLAP_COLUMNS
from dupnet.images.reading import locate
from dupnet.tiles import Grid

__all__ = ["FindResult", "read_results", "read_table", "write_run", "write_tables"]

_TABLES = {
    "overlaps": OVERLAP_COLUMNS,
    "groups": ("image", "group", "row", "col"),
    "cuts": CUT_COLUMNS,
    "unreadable": ("image", "reason"),
    "converted": ("image", "note"),
}
"""Columns of each table."""

_TEXT = ("image", "image1", "image2", "overlap_tag", "verdict", "reason", "note", "split")


@dataclass
class FindResult:
    """Every overlap of a collection, and what follows from them."""

    overlaps: pd.DataFrame
    """``image1, image2, overlap_tag, row_offset, col_offset, n_tiles, n_decidable, score, verdict``."""
    groups: pd.DataFrame
    """``image, group, row, col``: the place of each image in its group's mosaic, in tiles."""
    cuts: pd.DataFrame
    """Overlaps given up because stronger ones contradict them: as ``overlaps``, with the reason."""
    unreadable: pd.DataFrame
    """``image, reason``: every file that was left out."""
    converted: pd.DataFrame
    """``image, note``: images that are not plain RGB, and how they were taken."""
    grid: Grid
    """The tiles of one image, as overlap tags count them."""
    folders: tuple[Path, ...]
    """Where the images are: a name is looked up in these folders, in order."""
    options: Mapping[str, Any]
    counts: Mapping[str, Any]
    seconds: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def path(self, image: str) -> Path:
        """The file of an image.

        Raises
        ------
        FileNotFoundError
            If it is (no longer) in any of the folders.
        """
        return locate(image, self.folders)

    def summary(self) -> str:
        """The counts, in a few lines of words."""
        counts = self.counts
        lines = [
            "{images} images of {tiles} tiles, of which {tiles_undecidable} show nothing to judge by",
            "{overlaps} overlaps: {duplicate} duplicate, {undecidable} undecidable; {cuts} contradictions",
            "{groups_of_several} groups of several images, the largest of {largest_group}",
        ]
        if counts["unreadable"]:
            lines.append("{unreadable} files left out, listed with the reason")
        if counts["converted"]:
            lines.append("{converted} images converted to RGB, listed with what they were")
        return "\n".join(lines).format(**counts)


def write_tables(result: FindResult, out: str | os.PathLike[str]) -> None:
    """Write the tables into the folder ``out`` as CSV, the overlaps as Parquet too."""
    for name in _TABLES:
        write_csv(getattr(result, name), Path(out, f"{name}.csv"))
    write_parquet(result.overlaps, Path(out, "overlaps.parquet"))


def write_run(result: FindResult, out: str | os.PathLike[str]) -> None:
    """Write ``run.json``: versions, options, counts, seconds; with it a run is finished."""
    grid = {"rows": result.grid.rows, "cols": result.grid.cols, "tile_size": result.grid.tile_size}
    record = {
        "versions": dict(result.versions),
        "options": dict(result.options),
        "folders": [os.fspath(folder) for folder in result.folders],
        "grid": grid,
        "counts": dict(result.counts),
        "seconds": {step: round(seconds, 3) for step, seconds in result.seconds.items()},
    }
    with atomic_path(Path(out, "run.json")) as beside:
        beside.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def read_results(folder: str | os.PathLike[str]) -> FindResult:
    """The result that ``dupnet find`` wrote into a folder.

    Raises
    ------
    FileNotFoundError
        If no finished run of ``dupnet find`` is there.
    ValueError
        If its ``run.json`` is another program's, or another version's, or a table lacks a column.
    """
    record_path = Path(folder, "run.json")
    if not record_path.exists():
        raise FileNotFoundError(
            f"{os.fspath(folder)!r} holds no finished run of `dupnet find`; run that first, or let it finish."
        )
    try:
        record = json.loads(record_path.read_text(encoding="utf-8"))
        about = {name: record[name] for name in ("options", "counts", "seconds", "versions")}
        grid, folders = Grid(**record["grid"]), tuple(Path(path) for path in record["folders"])
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(
            f"{os.fspath(record_path)!r} was not written by this version of `dupnet find` ({error!r}); "
            "run it again into that folder, or into another one."
        ) from None
    tables = {}
    for name, columns in _TABLES.items():
        path = Path(folder, f"{name}.csv")
        tables[name] = read_table(path)
        if missing := [column for column in columns if column not in tables[name]]:
            raise ValueError(
                f"{os.fspath(path)!r} lacks the column(s) {', '.join(missing)}; write it with `dupnet find`."
            )
    return FindResult(**tables, grid=grid, folders=folders, **about)


def read_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """A table from a CSV file, names and tags as the text that they are.

    Raises
    ------
    ValueError
        If the file is no CSV table.
    OSError
        If it cannot be read.
    """
    # Names such as "NA" or "1e5.jpg" are text, and tags such as "07" are not numbers.
    columns = read_csv(path, nrows=0).columns
    text = {name: str for name in columns if name in _TEXT}
    empty_is_missing = {name: [""] for name in columns if name not in text}
    return read_csv(path, dtype=text, keep_default_na=False, na_values=empty_is_missing)
