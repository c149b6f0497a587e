"""What ``dupnet find`` found: the tables in memory, and the output folder that holds them.

``run.json`` is written last and removed first: a folder without it holds the tables of no finished run.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.files.atomic import atomic_path, read_csv, write_csv, write_parquet, writes_parquet
from dupnet.find.coverage import coverage_of
from dupnet.find.describe import Described, versions
from dupnet.find.groups import Resolution, close_refusals
from dupnet.find.names import ImageNames
from dupnet.find.overlaps import (
    AGREEING_SHARE,
    COLUMNS,
    REJECTED_COLUMNS,
    REVISIT_COLUMNS,
    as_table,
    image_index,
)
from dupnet.images.georeference import DISAGREEMENT_COLUMNS
from dupnet.images.listing import locate
from dupnet.images.reading import Sources
from dupnet.images.stretch import Rendering
from dupnet.images.transforms import TRANSFORM_COLUMNS
from dupnet.network.descriptors import Weights
from dupnet.tiles import Grid

__all__ = [
    "GROUP_COLUMNS",
    "Clock",
    "FindResult",
    "conclude",
    "counts_of",
    "read_results",
    "read_table",
    "write_all",
    "write_run",
    "write_tables",
]

GROUP_COLUMNS = ("image", "group", "mosaic", "row", "col", "y", "x", "height", "width")
"""Columns of the groups table. ``group``: what must not be torn apart; ``mosaic``: images whose places agree;
``y, x``: the place of the image in its mosaic, ``height, width``: its size, all in pixels; ``row, col``: the
place in tiles of the grid, empty off it."""

_TABLES = {
    "overlaps": COLUMNS,
    "groups": GROUP_COLUMNS,
    "revisits": REVISIT_COLUMNS,
    "rejected": REJECTED_COLUMNS,
    "refused": COLUMNS,
    "unreadable": ("image", "reason"),
    "converted": ("image", "note"),
}
"""Columns of each table."""

_GEOREFERENCE = "georeference.csv"

_TEXT = ("image", "image1", "image2", "overlap_tag", "verdict", "reason", "note", "split")
_WHOLE = ("row", "col", "row_offset", "col_offset", "y_residual", "x_residual")
"""Whole numbers that may be missing."""


@dataclass
class FindResult:
    """Every overlap of a collection, and what follows from them."""

    overlaps: pd.DataFrame
    """The columns :data:`dupnet.find.overlaps.COLUMNS`."""
    groups: pd.DataFrame
    """The columns :data:`GROUP_COLUMNS`, one row an image."""
    revisits: pd.DataFrame
    """Pairs that show the same ground at another time: :data:`dupnet.find.overlaps.REVISIT_COLUMNS`."""
    rejected: pd.DataFrame
    """Overlaps given up because stronger ones contradict them: as ``overlaps``, with the reason."""
    refused: pd.DataFrame
    """What the network refused closely: as ``overlaps``, with the verdict ``refused``
    (:func:`dupnet.find.groups.close_refusals`). ``dupnet review --near`` shows them."""
    unreadable: pd.DataFrame
    """``image, reason``: every file that was left out."""
    converted: pd.DataFrame
    """``image, note``: images that are not plain RGB, and how they were taken."""
    grid: Grid | None
    """The tiles of one image, as overlap tags count them; None where there is no common grid."""
    folders: tuple[Path, ...]
    """Where the images are: a name is looked up in these folders, in order."""
    options: Mapping[str, Any]
    searched: Mapping[str, Any]
    """``offsets``: "any" or "grid"; ``grid``: its step in pixels, or None; ``smallest_region``: narrow side
    in pixels from which a common region was searched; ``against``: whether only pairs across two sides
    were; ``control``, of any offset: :meth:`dupnet.find.votes.Proposals.control`; ``judgements``: those by
    eye that were heeded, if any (:mod:`dupnet.find.judgements`); ``georeferences``, if any file has one:
    ``images`` that do, ``pairs`` of footprints that were compared, and those ``skipped``."""
    counts: Mapping[str, Any]
    georeference: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=list(DISAGREEMENT_COLUMNS))
    )
    """Where georeferences and pixels disagree (:data:`dupnet.images.georeference.DISAGREEMENT_COLUMNS`);
    written only where a file has a georeference."""
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

    def coverage(self) -> list[str]:
        """What was searched, and then what the search could not see, a sentence each."""
        return coverage_of(self.searched, self.counts, self.overlaps, self.unreadable, self.georeference)

    def groups_for(self, names: Sequence[str]) -> npt.NDArray[np.int64]:
        """The group of each image of a table of one's own, (n,) int64, for ``GroupKFold`` and the like.

        Names may have other folders before them, or no ending.

        Raises
        ------
        ValueError
            If a name fits no image of the collection, or several.
        """
        images = self.groups["image"].tolist()
        wanted = list(map(str, names))
        matched = ImageNames(images).match(wanted).set_index("name")
        found = pd.Index(images).get_indexer(matched["image"].loc[wanted])
        if (found < 0).any():
            name = wanted[int(np.argmin(found))]
            raise ValueError(f"{name!r} is not in the collection: {matched.loc[name, 'reason']}.")
        return np.asarray(self.groups["group"].to_numpy(dtype=np.int64)[found])

    def summary(self) -> str:
        """The counts, in a few lines of words, and what was searched."""
        counts = self.counts
        lines = [
            "{images} images",
            "{overlaps} overlaps: {duplicate} duplicate, {altered} altered, {undecidable} undecidable; "
            "{rejected} contradictions, {revisits} revisits",
            "{groups_of_several} groups of several images, the largest of {largest_group}",
        ]
        if "tiles" in counts:
            lines[0] += "; {tiles} whole tiles searched, {tiles_undecidable} of them with too little texture"
        if counts["unreadable"]:
            lines.append("{unreadable} files left out, listed with the reason")
        if counts.get("ignored"):
            lines.append("{ignored} hidden files and files that accompany images not looked at")
        if counts["converted"]:
            lines.append("{converted} images converted to RGB, listed with what they were")
        return "\n".join(
            [*lines, *(line.replace("{", "{{").replace("}", "}}") for line in self.coverage())]
        ).format(**counts)


class Clock:
    """Seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - start


def conclude(
    resolution: Resolution,
    described: Described,
    *,
    grid: Grid | None,
    weights: Weights,
    folders: Sequence[Path],
    options: Mapping[str, Any],
    searched: Mapping[str, Any],
    counts: Mapping[str, int],
    seconds: Mapping[str, float],
) -> FindResult:
    """The result, with names in place of numbers; ``counts`` are those of the search, to which others are
    added."""
    index = image_index(described.images)
    # Of a search for transformed images, tables say of each pair how the second must be changed.
    more = tuple(name for name in TRANSFORM_COLUMNS if name in resolution.overlaps)
    revisits = resolution.revisits
    if AGREEING_SHARE not in revisits:  # on a grid, tile by tile, there are none
        revisits = revisits.assign(**{AGREEING_SHARE: np.nan})
    result = FindResult(
        overlaps=as_table(resolution.overlaps, index, (*COLUMNS, *more), grid),
        groups=_groups(resolution.places, described, grid),
        revisits=as_table(revisits, index, (*REVISIT_COLUMNS, AGREEING_SHARE, *more)),
        rejected=as_table(resolution.rejected, index, (*REJECTED_COLUMNS, *more), grid),
        refused=as_table(close_refusals(resolution.refused), index, (*COLUMNS, *more), grid),
        unreadable=described.unreadable,
        converted=described.converted,
        grid=grid,
        folders=tuple(folders),
        options=options,
        searched=searched,
        counts={
            "images": len(described.images),
            "unreadable": len(described.unreadable),
            "converted": len(described.converted),
            **counts,
            "stacked": resolution.n_stacked,
        },
        seconds=seconds,
        versions=versions(weights),
    )
    return replace(result, counts={**result.counts, **counts_of(result)})


def counts_of(result: FindResult) -> dict[str, int]:
    """How many overlaps and groups of each kind the tables of a result have, as its ``counts`` tell."""
    sizes = result.groups["group"].value_counts()
    verdicts = result.overlaps["verdict"].value_counts()
    return {
        "overlaps": len(result.overlaps),
        **{verdict: int(verdicts.get(verdict, 0)) for verdict in ("duplicate", "altered", "undecidable")},
        "revisits": len(result.revisits),
        "rejected": len(result.rejected),
        "refused_closely": len(result.refused),
        "groups": len(sizes),
        "groups_of_several": int((sizes > 1).sum()),
        "largest_group": int(sizes.max()),
        "images_in_groups": int(sizes[sizes > 1].sum()),
    }


def _groups(places: pd.DataFrame, described: Described, grid: Grid | None) -> pd.DataFrame:
    position = places[["y", "x"]].to_numpy(dtype=np.int64)
    tiles, rest = np.divmod(position, grid.tile_size if grid else 1)
    is_off_grid = rest.any(axis=1) | (grid is None)
    in_tiles = {
        name: pd.arrays.IntegerArray(np.ascontiguousarray(values), is_off_grid)
        for name, values in zip(("row", "col"), tiles.T, strict=True)
    }
    height, width = described.sizes.T
    table = places.assign(
        image=pd.Series(described.images, dtype=object), height=height, width=width, **in_tiles
    )
    return table[list(GROUP_COLUMNS)]


def write_tables(result: FindResult, out: str | os.PathLike[str]) -> None:
    """Write the tables into the folder ``out`` as CSV, the overlaps as Parquet too where pyarrow is there."""
    for name in _TABLES:
        write_csv(getattr(result, name), Path(out, f"{name}.csv"))
    if "georeferences" in result.searched:
        write_csv(result.georeference, Path(out, _GEOREFERENCE))
    else:
        Path(out, _GEOREFERENCE).unlink(missing_ok=True)
    if writes_parquet():
        write_parquet(result.overlaps, Path(out, "overlaps.parquet"))
    else:  # what an earlier run wrote tells of another result
        Path(out, "overlaps.parquet").unlink(missing_ok=True)


def write_run(result: FindResult, out: str | os.PathLike[str]) -> None:
    """Write ``run.json``: versions, options, counts, seconds; with it a run is finished."""
    grid = result.grid and {
        "rows": result.grid.rows,
        "cols": result.grid.cols,
        "tile_size": result.grid.tile_size,
    }
    record = {
        "versions": dict(result.versions),
        "options": dict(result.options),
        "searched": dict(result.searched),
        "folders": [os.fspath(folder) for folder in result.folders],
        "grid": grid,
        "counts": dict(result.counts),
        "seconds": {step: round(seconds, 3) for step, seconds in result.seconds.items()},
    }
    with atomic_path(Path(out, "run.json"), sync=True) as beside:
        beside.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def write_all(
    result: FindResult,
    out: Path,
    images: Sources | None,
    workers: int,
    clock: Clock,
    rendering: Rendering = Rendering(),
) -> None:
    """Write the tables, with ``images`` the mosaics and the report too, and last run.json.

    What an earlier run drew goes: it shows other groups, or may.
    """
    for name in ("run.json", "report.html"):
        (out / name).unlink(missing_ok=True)
    if images is None and (out / "mosaics").is_dir():
        shutil.rmtree(out / "mosaics")
    with clock("tables"):
        write_tables(result, out)
    if images is not None:
        from dupnet.report.mosaics import write_mosaics
        from dupnet.report.page import write

        with clock("mosaics"):
            written = write_mosaics(
                result.groups, images, out / "mosaics", workers=workers, rendering=rendering
            )
            drawn = set(written["file"])
            for path in (out / "mosaics").iterdir():
                if path.is_file() and path.name not in drawn:
                    path.unlink()
        with clock("report"):
            write(result, images, out / "report.html", rendering, out / "mosaics")
    write_run(result, out)


def read_results(
    folder: str | os.PathLike[str], images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = ()
) -> FindResult:
    """The result that ``dupnet find`` wrote into a folder.

    ``images`` is the folder, or the folders, in which its images are found now, if they have moved.

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
        names = ("options", "searched", "counts", "seconds", "versions")
        about = {name: record[name] for name in names}
        grid = None if record["grid"] is None else Grid(**record["grid"])
        folders = tuple(Path(path) for path in record["folders"])
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(
            f"{os.fspath(record_path)!r} was not written by this version of `dupnet find` ({error!r}); "
            "run it again into that folder, or into another one."
        ) from None
    tables = {}
    optional = {"georeference": DISAGREEMENT_COLUMNS} if "georeferences" in about["searched"] else {}
    for name, columns in (_TABLES | optional).items():
        tables[name] = read_table(Path(folder, f"{name}.csv"), columns)
    now = [images] if isinstance(images, str | os.PathLike) else images
    return FindResult(**tables, grid=grid, folders=tuple(map(Path, now)) or folders, **about)


def read_table(path: str | os.PathLike[str], columns: Collection[str] = ()) -> pd.DataFrame:
    """A table from a CSV file, names and tags as the text that they are.

    Raises
    ------
    ValueError
        If the file is no CSV table, or lacks one of the ``columns``.
    OSError
        If it cannot be read.
    """
    # Names such as "NA" or "1e5.jpg" are text, and tags such as "07" are not numbers.
    found = read_csv(path, nrows=0).columns
    if missing := [column for column in columns if column not in found]:
        raise ValueError(
            f"{os.fspath(path)!r} lacks the column(s) {', '.join(missing)}; write it with `dupnet find`."
        )
    kinds = {name: "Int64" if name in _WHOLE else str for name in found if name in (*_TEXT, *_WHOLE)}
    empty_is_missing = {name: [""] for name in found if name not in _TEXT}
    return read_csv(path, dtype=kinds, keep_default_na=False, na_values=empty_is_missing)
