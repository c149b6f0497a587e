"""Results of a search that was not made: images at given places, and the overlaps that follow or are
given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dupnet.find.overlaps import COLUMNS, REJECTED_COLUMNS, REVISIT_COLUMNS, as_table, common_size
from dupnet.find.results import GROUP_COLUMNS, FindResult, write_run, write_tables
from dupnet.tiles import neighbours


def found(
    places: Sequence[Sequence[int]],
    *,
    names: Sequence[str] | None = None,
    size: int | Sequence[tuple[int, int]] = 100,
    overlaps: Sequence[Sequence[object]] | None = None,
    revisits: Sequence[Sequence[int]] = (),
    rejected: Sequence[Sequence[int]] = (),
    refused: Sequence[Sequence[int]] = (),
    groups: Sequence[int] | None = None,
) -> FindResult:
    """A result of images at ``places``: ``mosaic, y, x`` each.

    ``overlaps``, ``revisits``, ``rejected`` and ``refused`` are ``image1, image2, y_offset, x_offset[,
    verdict]`` by number; without ``overlaps``, duplicates wherever places of one mosaic share 32 px.
    ``groups`` are the mosaics unless given."""
    n = len(places)
    table = pd.DataFrame(list(places), columns=["mosaic", "y", "x"]).astype(np.int64)
    sizes = np.array([(size, size)] * n if isinstance(size, int) else size, np.int64).reshape(n, 2)
    images = list(names) if names is not None else [f"{number:03d}.jpg" for number in range(n)]
    table = table.assign(
        image=pd.Series(images, dtype=object),
        group=table["mosaic"] if groups is None else list(groups),
        height=sizes[:, 0],
        width=sizes[:, 1],
        row=pd.array([pd.NA] * n, dtype="Int64"),
        col=pd.array([pd.NA] * n, dtype="Int64"),
    )
    if overlaps is None:
        pairs = neighbours(table["mosaic"], table["y"], table["x"], sizes[:, 0], sizes[:, 1], 32)
        overlaps = list(zip(*pairs, strict=True))
    index = pd.Index(images)
    return FindResult(
        overlaps=_pairs(overlaps, sizes, index, COLUMNS),
        groups=table[list(GROUP_COLUMNS)],
        revisits=_pairs(revisits, sizes, index, REVISIT_COLUMNS),
        rejected=_pairs(rejected, sizes, index, REJECTED_COLUMNS),
        refused=_pairs(refused, sizes, index, COLUMNS).assign(verdict="refused"),
        unreadable=pd.DataFrame(columns=["image", "reason"], dtype=object),
        converted=pd.DataFrame(columns=["image", "note"], dtype=object),
        grid=None,
        folders=(Path("images"),),
        options={},
        searched={"offsets": "any", "grid": None, "smallest_region": 32, "against": False},
        counts={"images": n, "unreadable": 0, "converted": 0, "revisits": len(revisits)},
    )


def written(result: FindResult, out: Path) -> Path:
    """A result as `find` would have written it."""
    out.mkdir()
    write_tables(result, out)
    write_run(result, out)
    return out


def _pairs(
    rows: Sequence[Sequence[object]], sizes: np.ndarray, index: pd.Index, columns: Sequence[str]
) -> pd.DataFrame:
    table = pd.DataFrame(
        [(*row[:4], row[4] if len(row) > 4 else "duplicate") for row in rows],
        columns=["image1", "image2", "y_offset", "x_offset", "verdict"],
    ).astype(dict.fromkeys(("image1", "image2", "y_offset", "x_offset"), np.int64))
    height, width = common_size(table, sizes)
    table = table.assign(height=height, width=width, n_tiles=4, n_decidable=4, n_differing=0, score=0.99)
    table = table.assign(n_votes=9, reason="loop")
    for name in ("y_residual", "x_residual"):
        table[name] = pd.array([5] * len(table), dtype="Int64")
    return as_table(table, index, columns, None)
