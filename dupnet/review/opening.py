"""A review of what ``find`` wrote, or of a table of pairs; and what was judged, as labels."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dupnet.files.atomic import check_replaceable, write_csv
from dupnet.find.results import read_table as read_result
from dupnet.images.listing import Folders
from dupnet.images.reading import UnreadableImage
from dupnet.images.stretch import Rendering, read_rendering
from dupnet.images.transforms import is_transformed
from dupnet.network.descriptors import load_weights
from dupnet.pairs.table import tile_size_of
from dupnet.review.images import read_image
from dupnet.review.judgements import Judgements, labels, read_judgements
from dupnet.review.queue import Review
from dupnet.review.tables import KEY, as_pairs, read_table
from dupnet.tiles import Grid

__all__ = ["export_labels", "judgements_path", "open_review"]


def open_review(
    source: str | os.PathLike[str],
    images: Folders | None = None,
    judgements: str | os.PathLike[str] | None = None,
    tile_size: int | None = None,
    weights: str | os.PathLike[str] | None = None,
    reviewer: str = "",
    near: bool = False,
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
    reviewer
        Who judges: the name that the answers bear.
    near
        Of an output folder also what the search refused: closely by the network (``refused.csv``), by what
        contradicts it (``rejected.csv``), or as another time (``revisits.csv``).

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
    stride: int | None = None
    places: dict[str, tuple[int, int]] | None = None
    groups: dict[str, int] | None = None
    table_path, answers = source, judgements or judgements_path(source)
    if source.is_dir():
        table_path = source / "overlaps.csv"
        if (source / "groups.csv").is_file():
            table = read_result(source / "groups.csv", ["image", "group"])
            groups = table.set_index("image")["group"].to_dict()
        if (source / "run.json").is_file():
            run = _run_of(source)
            folders = images or run["folders"]
            weights = _weights_of(run, weights, source)
            rendering = read_rendering(run.get("options", {}).get("rendering", {}))
            stride = run["grid"] and run["grid"]["tile_size"]
            if tile_size is not None and tile_size != stride:
                unit = f"tiles of {stride} px" if stride else "pixels"
                raise ValueError(
                    f"tile_size is {tile_size}; {os.fspath(source)!r} counts in {unit}: leave it out "
                    "(--tile-size)."
                )
            tile_size = run.get("options", {}).get("tile_size") or stride
            if run.get("searched", {}).get("offsets") == "any":
                places = _lattice_places(source / "groups.csv")
    elif near:
        raise ValueError(
            f"--near goes with the output folder of `dupnet find`; {os.fspath(source)!r} is a table."
        )
    if not table_path.is_file():
        raise FileNotFoundError(
            f"There is no {os.fspath(table_path)!r}; give the output folder of `dupnet find` or a table."
        )
    if folders is None and (table_path.parent / "images").is_dir():
        folders = table_path.parent / "images"
    if folders is None and source.is_dir():
        raise ValueError(
            f"{os.fspath(source)!r} holds no finished run of `dupnet find`; run that first, or let it finish."
        )
    if folders is None:
        raise ValueError(
            f"The images of {os.fspath(table_path)!r} are not known; name their folder (--images)."
        )
    tables = [read_table(table_path)]
    if near:
        refused = {"refused": "refused", "rejected": "rejected", "revisits": "revisit"}
        tables += [
            read_table(source / f"{name}.csv").assign(verdict=verdict) for name, verdict in refused.items()
        ]
    table = pd.concat([one for one in tables if len(one)] or tables[:1], ignore_index=True)
    tile_size = tile_size_of(table, tile_size)
    height, width = _first_size(table, folders)
    step = stride or tile_size
    pairs = as_pairs(table, os.fspath(table_path), partial(Grid.of_image, height, width, step))
    is_whole = not height % step and not width % step
    grid = Grid.of_image(height, width, step) if is_whole else None
    return Review(
        pairs,
        folders,
        Judgements(answers, grid, reviewer),
        tile_size=tile_size,
        stride=stride,
        places=places,
        groups=groups,
        rendering=rendering,
        weights=load_weights(weights),
    )


def _run_of(source: Path) -> dict[str, Any]:
    """The record of the run that wrote a folder."""
    path = source / "run.json"
    try:
        run: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        is_complete = "folders" in run and (not run["grid"] or "tile_size" in run["grid"])
        if is_complete and all(isinstance(run.get(name, {}), dict) for name in ("options", "searched")):
            return run
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        pass
    raise ValueError(
        f"{os.fspath(path)!r} was not written by this version of `dupnet find`; run it again into its folder."
    )


def _lattice_places(path: Path) -> dict[str, tuple[int, int]]:
    """The place of each image as seen from the first of its mosaic, from which its lattice counts."""
    groups = read_result(path, ["image", "mosaic", "y", "x"])
    first = groups.groupby("mosaic")[["y", "x"]].transform("first")
    seen = (groups[["y", "x"]] - first).to_numpy(np.int64).tolist()
    return {image: (y, x) for image, (y, x) in zip(groups["image"], seen, strict=True)}


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

    Overlaps of images that were turned or resized are none: labels are of images as they are.

    Parameters
    ----------
    source, judgements
        As for :func:`open_review`.
    path
        The CSV to write: ``image1, image2, overlap_tag, y_offset, x_offset, is_duplicate``.

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
    overlaps = Path(source, "overlaps.csv") if Path(source).is_dir() else Path(source)
    if overlaps.is_file():  # of changed images an offset alone is no label
        known = read_result(overlaps)
        changed = known[is_transformed(known)]
        if len(changed):
            keys = (pd.MultiIndex.from_frame(rows[KEY].astype(object)) for rows in (table, changed))
            table = table[~next(keys).isin(next(keys))]
    check_replaceable(path, table.columns)
    write_csv(table, path)
    return len(table)


def _first_size(table: pd.DataFrame, folders: Folders) -> tuple[int, int]:
    """Height and width of the first image of the table that can be read."""
    if table.empty:
        raise ValueError("The table of pairs is empty; there is nothing to judge.")
    reason = ""
    for name in pd.unique(table[["image1", "image2"]].to_numpy().ravel())[:100]:
        try:
            height, width = read_image(folders, str(name)).shape[:2]
            return height, width
        except UnreadableImage as error:
            reason = reason or f"{error}. Name their folder (--images)."
        except ValueError as error:
            reason = reason or str(error)
    raise ValueError(f"No image of these pairs can be shown: {reason}")
