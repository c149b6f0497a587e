"""What to judge, in which order, and the pictures of it: the review without its user interface."""

from __future__ import annotations

import json
import os
from functools import lru_cache, partial
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.files.atomic import check_replaceable, write_csv
from dupnet.images.listing import Folders, locate
from dupnet.images.reading import UnreadableImage, load
from dupnet.images.stretch import Rendering, read_rendering
from dupnet.metrics.pair_metrics import subtract_channel_medians
from dupnet.network.descriptors import Weights, load_weights
from dupnet.pairs.table import tile_size_of
from dupnet.report.previews import (
    difference_map,
    outline,
    reduce_to,
    region_boxes,
    shared_regions,
    shown_name,
)
from dupnet.review.judgements import VERDICTS, Judgements, labels, read_judgements
from dupnet.review.tables import as_pairs, read_table
from dupnet.tiles import SMALLEST_TILE, Grid, overlap_of_tag

__all__ = ["PICTURES", "Review", "export_labels", "judgements_path", "open_review"]

Pixels = npt.NDArray[np.uint8]

PICTURES = ("image1", "image2", "region1", "region2", "levels1", "levels2", "absolute", "medians")
"""What can be shown: either image with its overlap outlined; the shared region of either; that region
less its channel medians, with wrap-around; the difference as it is, and of the regions less their medians."""

WHOLE = 768
"""Longest side in pixels at which a whole image is shown; larger ones are reduced."""


class Review:
    """Overlaps to judge, least certain first, and the judgements on them.

    Parameters
    ----------
    pairs
        As :func:`~dupnet.review.tables.as_pairs` gives it: ``image1, image2, overlap_tag, score, verdict``.
    images
        The folder, or several, that hold the images; a name is looked up in their order.
    judgements
        Where the answers go.
    grid
        The tiles of one image.
    rendering
        What to take of files of more than three bands or 8 bits.
    weights
        The network that scores single tiles; the shipped one by default.

    Raises
    ------
    ValueError
        If there is no pair, or the grid has no such overlap tag.
    """

    def __init__(
        self,
        pairs: pd.DataFrame,
        images: Folders,
        judgements: Judgements,
        grid: Grid = Grid(),
        rendering: Rendering = Rendering(),
        weights: Weights | None = None,
    ) -> None:
        if pairs.empty:
            raise ValueError("pairs is empty; there is nothing to judge.")
        self.judgements = judgements
        self.grid = grid
        self._read = lru_cache(maxsize=8)(partial(_read_from, images, rendering=rendering))
        self._weights = weights
        certainty = (pairs["score"].astype(float) - 0.5).abs().fillna(np.inf)
        # Stable, so that pairs of one certainty stay in the order of the table.
        self.pairs = pairs.iloc[np.argsort(certainty.to_numpy(), kind="stable")].reset_index(drop=True)
        self._overlaps = {tag: overlap_of_tag(tag, self.grid) for tag in self.pairs["overlap_tag"].unique()}
        self._keys = [
            (str(a), str(b), str(tag)) for a, b, tag in self.pairs.iloc[:, :3].itertuples(index=False)
        ]
        self._numbers = {key: number for number, key in enumerate(self._keys)}

    def next_pair(self, after: int = -1) -> int | None:
        """The first pair without a judgement after pair ``after``, round the end; None if all have one."""
        n_pairs = len(self.pairs)
        for step in range(1, n_pairs + 1):
            pair = (after + step) % n_pairs
            if self.judgements.verdict(*self._keys[pair]) is None:
                return pair
        return None

    def judge(self, pair: int, verdict: str) -> bool:
        """Put a verdict on disk; False if the pair has one already.

        Raises
        ------
        ValueError
            If the verdict or the pair is unknown.
        """
        self._check(pair)
        return self.judgements.judge(*self._keys[pair], verdict)

    def undo(self) -> int | None:
        """Take back the latest judgement on a pair of this table; returns the pair, None if there is none."""
        key = self.judgements.undo(self._numbers)
        return None if key is None else self._numbers[key]

    def state(self, pair: int | None) -> dict[str, Any]:
        """What a screen shows beside the pictures, names made safe to look at; pair None: all are judged."""
        done = [verdict for key in self._keys if (verdict := self.judgements.verdict(*key)) is not None]
        counts = {verdict: done.count(verdict) for verdict in VERDICTS}
        progress = {"judged": len(done), "total": len(self.pairs), "counts": counts, "can_undo": bool(done)}
        if pair is None:
            return {"pair": None, **progress}
        row, overlap = self.pairs.iloc[pair], self._overlaps[self._keys[pair][2]]
        shown = {
            "id": pair,
            "image1": shown_name(self._keys[pair][0]),
            "image2": shown_name(self._keys[pair][1]),
            "overlap_tag": overlap.tag,
            "row_offset": overlap.row_offset,
            "col_offset": overlap.col_offset,
            "tiles1": overlap.tiles1,
            "tiles2": overlap.tiles2,
            "score": None if np.isnan(row["score"]) else float(row["score"]),
            "verdict": row["verdict"],
        }
        return {"pair": shown, **progress}

    def picture(self, pair: int, name: str, tile: int | None = None) -> Pixels:
        """One of :data:`PICTURES` as RGB uint8; ``tile`` k: only the k-th shared tile.

        Raises
        ------
        ValueError
            If there is no such pair, picture or tile, or a name leads out of the folder.
        UnreadableImage
            If an image cannot be read (any more).
        """
        self._check(pair)
        image1, image2, tag = self._keys[pair]
        overlap = self._overlaps[tag]
        if name not in PICTURES:
            raise ValueError(f"picture is {name!r}; it must be one of {', '.join(PICTURES)}.")
        offset = overlap.row_offset * self.grid.tile_size, overlap.col_offset * self.grid.tile_size
        if name in ("image1", "image2"):
            whole = self._read(image1), self._read(image2)
            number = int(name == "image2")
            box = region_boxes(whole[0].shape[:2], whole[1].shape[:2], *offset)[number]
            image = reduce_to(whole[number], WHOLE)
            return outline(image, box, image.shape[1] / whole[number].shape[1])
        if tile is not None and not 0 <= tile < overlap.n_tiles:
            raise ValueError(f"tile is {tile}; the overlap shares tiles 0 to {overlap.n_tiles - 1}.")
        region1, region2 = shared_regions(self._read(image1), self._read(image2), *offset)
        match name:
            case "region1" | "region2":
                shown = region1 if name == "region1" else region2
            case "levels1" | "levels2":
                shown = subtract_channel_medians(region1 if name == "levels1" else region2)
            case _:
                shown = difference_map(region1, region2, medians=name == "medians")
        if tile is None:
            return shown
        row, col = divmod(overlap.tiles1[tile], self.grid.cols)
        top, left = divmod(overlap.tiles1[0], self.grid.cols)
        size = self.grid.tile_size
        return shown[
            (row - top) * size : (row - top + 1) * size, (col - left) * size : (col - left + 1) * size
        ]

    def tile_scores(self, pair: int) -> list[dict[str, Any]]:
        """Score and verdict of each shared tile by the network of the review; raises as :meth:`picture`.

        Tiles that are too small to judge (of a stride below 64 px) are undecidable.
        """
        from dupnet.network.comparison import UNDECIDABLE, compare

        self._check(pair)
        n_tiles = self._overlaps[self._keys[pair][2]].n_tiles
        tiles1, tiles2 = (
            np.stack([self.picture(pair, name, tile) for tile in range(n_tiles)])
            for name in ("region1", "region2")
        )
        if tiles1.shape[1] < SMALLEST_TILE:
            return [{"score": 0.0, "verdict": UNDECIDABLE}] * n_tiles
        table = compare(tiles1, tiles2, self._weights)
        return [{"score": float(row.score), "verdict": str(row.verdict)} for row in table.itertuples()]

    def _check(self, pair: int) -> None:
        if not 0 <= pair < len(self.pairs):
            raise ValueError(f"pair is {pair}; there are pairs 0 to {len(self.pairs) - 1}.")


def open_review(
    source: str | os.PathLike[str],
    images: Folders | None = None,
    judgements: str | os.PathLike[str] | None = None,
    tile_size: int | None = None,
    weights: str | os.PathLike[str] | None = None,
) -> Review:
    """A review of what ``find`` wrote into a folder, or of any table of pairs.

    Parameters
    ----------
    source
        Output folder of ``find``, or a CSV or Parquet file (:func:`~dupnet.review.tables.as_pairs`).
    images
        Folder of the images; without it the one that ``find`` was run on, or ``images/`` beside the table.
    judgements
        File for the answers; without it ``judgements.csv`` in the output folder, or beside the table with the
        table's name before it.
    tile_size
        Side of a tile; without it the one that ``find`` was run with, or a table of pairs holds, or 256.
    weights
        File of the network that scores single tiles; without it the one that ``find`` was run with, or the
        shipped one for a table.

    Raises
    ------
    FileNotFoundError
        If there is no such folder or table.
    ValueError
        If the folder of images or the network is not known, the tile size is another than that of the
        output folder, or as :class:`Review`.
    """
    source = Path(source)
    folders: Folders | None = images
    rendering = Rendering()
    table_path, answers = source, judgements or judgements_path(source)
    if source.is_dir():
        table_path = source / "overlaps.csv"
        if (source / "run.json").is_file():
            run = json.loads((source / "run.json").read_text(encoding="utf-8"))
            folders = images or run["folders"]
            weights = _weights_of(run, weights, source)
            rendering = read_rendering(run.get("options", {}).get("rendering", {}))
            known_size = run["grid"]["tile_size"]
            if tile_size not in (None, known_size):
                raise ValueError(
                    f"tile_size is {tile_size}; {os.fspath(source)!r} counts in tiles of {known_size} px: "
                    "leave it out (--tile-size)."
                )
            tile_size = known_size
    if not table_path.is_file():
        raise FileNotFoundError(
            f"There is no {os.fspath(table_path)!r}; give the output folder of `dupnet find` or a table."
        )
    if folders is None and (table_path.parent / "images").is_dir():
        folders = table_path.parent / "images"
    if folders is None:
        raise ValueError(
            f"The images of {os.fspath(table_path)!r} are not known; name their folder (--images)."
        )
    table = read_table(table_path)
    grid = _grid_of(table, folders, tile_size_of(table, tile_size))
    pairs = as_pairs(table, os.fspath(table_path), grid)
    return Review(pairs, folders, Judgements(answers), grid, rendering, load_weights(weights))


def _weights_of(
    run: dict[str, Any], weights: str | os.PathLike[str] | None, source: Path
) -> str | os.PathLike[str] | None:
    """The file of the network that ``find`` was run with, unless another was asked for."""
    known = run.get("options", {}).get("weights")
    if weights is None and known is not None and not Path(known).is_file():
        raise ValueError(
            f"{os.fspath(source)!r} was found with a network that is not there any more ({known}); name its "
            "file (--weights)."
        )
    return known if weights is None else weights


def judgements_path(source: str | os.PathLike[str]) -> Path:
    """Where answers about a folder of ``find`` or about a table of pairs are kept."""
    path = Path(source)
    return path / "judgements.csv" if path.is_dir() else path.with_name(f"{path.stem}_judgements.csv")


def export_labels(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    judgements: str | os.PathLike[str] | None = None,
) -> int:
    """Write what was judged as labels to train and evaluate with; returns their number.

    Parameters
    ----------
    source, judgements
        As for :func:`open_review`.
    path
        The CSV to write: ``image1, image2, overlap_tag, is_duplicate``.

    Raises
    ------
    FileNotFoundError
        If nothing was judged yet.
    ValueError
        If the judgements are none, or ``path`` is a file of another kind.
    """
    answers = Path(judgements or judgements_path(source))
    if not answers.is_file():
        raise FileNotFoundError(
            f"There are no judgements to export ({os.fspath(answers)!r} is missing); judge pairs first: "
            f"dupnet review {os.fspath(source)}"
        )
    table = labels(read_judgements(answers))
    check_replaceable(path, table.columns)
    write_csv(table, path)
    return len(table)


def _read_from(folders: Folders, name: str, rendering: Rendering = Rendering()) -> Pixels:
    # A name from a table of unknown origin does not lead out of the folder.
    parts = PurePath(name).parts
    if not parts or ".." in parts or PurePath(name).is_absolute():
        raise ValueError(f"image name {name!r} leads elsewhere; only files of the folder are shown.")
    try:
        return load(locate(name, folders), grey=False, rendering=rendering)[0]
    except FileNotFoundError:
        raise UnreadableImage(name, "not in the folder of images") from None


def _grid_of(table: pd.DataFrame, folders: Folders, tile_size: int) -> Grid:
    """The tiles of the first image of the table that can be read."""
    if table.empty:
        raise ValueError("The table of pairs is empty; there is nothing to judge.")
    reason = ""
    for name in pd.unique(table[["image1", "image2"]].to_numpy().ravel())[:100]:
        try:
            height, width = _read_from(folders, str(name)).shape[:2]
            return Grid.of_image(height, width, tile_size)
        except UnreadableImage as error:
            reason = reason or f"{error}. Name their folder (--images)."
        except ValueError as error:
            reason = reason or str(error)
    raise ValueError(f"No image of these pairs can be shown: {reason}")
