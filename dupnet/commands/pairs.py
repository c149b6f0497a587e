"""``dupnet pairs``: the labelled table of tile pairs of a collection."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dupnet.commands.arguments import (
    Commands,
    add_command,
    add_habits,
    add_results,
    add_seed,
    add_workers,
    whole_number,
)
from dupnet.commands.output import say, say_json

if TYPE_CHECKING:
    import pandas as pd

    from dupnet.find.results import FindResult

__all__ = ["add", "run"]

RATIOS = (0.8, 0.1, 0.1)


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "pairs",
        "labelled pairs of tiles for training, each within one split",
        "Make the labelled table of tile pairs of a collection, as TABLE.parquet and TABLE.csv.",
        [
            "dupnet pairs DIR -o pairs                     # within the splits of DIR/splits.csv",
            "dupnet pairs DIR -o pairs --rows 30000 --seed 1",
            "dupnet pairs DIR -o pairs --splits mine.csv --tile-size 128",
        ],
    )
    add_results(parser)
    parser.add_argument(
        "-o",
        "--out",
        metavar="TABLE",
        required=True,
        help="file for the table, with or without .csv or .parquet",
    )
    parser.add_argument(
        "--rows",
        type=whole_number(1),
        default=150_000,
        metavar="N",
        help="number of rows (default: 150,000)",
    )
    parser.add_argument(
        "--splits",
        metavar="FILE",
        help="the split to use, as `dupnet split` writes it (default: DIR/splits.csv, if it exists)",
    )
    parser.add_argument(
        "--ratios",
        type=float,
        nargs=3,
        metavar="SHARE",
        help="if there is no split: shares of train, validation and test to split by as `dupnet split` does "
        "(default: 0.8 0.1 0.1)",
    )
    parser.add_argument(
        "--tile-size",
        type=whole_number(1),
        metavar="PX",
        help="side of a tile, which must divide the sides of the images (default: the step of the grid that "
        "`dupnet find` detected)",
    )
    add_seed(parser)
    add_workers(parser)
    add_habits(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Write the table, and print its rows by split and label."""
    from dupnet.files.atomic import writes_parquet
    from dupnet.find.results import read_results
    from dupnet.images.transforms import is_transformed
    from dupnet.pairs.table import make_pairs, pair_files, save_pairs

    result = read_results(options.dir)
    if len(result.folders) != 1:
        held = "several folders" if result.folders else "a store"
        raise ValueError(
            f"{options.dir} holds images of {held}; pairs are made of one folder of this machine."
        )
    if result.grid is None:
        raise ValueError(
            f"{options.dir} was searched at any offset, and pairs are whole tiles: run `dupnet find` with "
            "--tile-size."
        )
    parquet, csv = pair_files(options.out)
    splits, source = _splits(options, result)
    pairs = make_pairs(
        result.folders[0],
        splits,
        result.overlaps[~is_transformed(result.overlaps)],
        n_rows=options.rows,
        tile_size=options.tile_size or result.grid.tile_size,
        seed=options.seed,
        workers=options.workers,
    )
    if pairs.empty:
        raise ValueError(
            f"{options.dir}: no tile of its images makes a pair (solid tiles make none); take other images."
        )
    save_pairs(pairs, options.out)
    counts = pairs.groupby(["split", "is_duplicate"], sort=False).size()
    say(options, f"Split: {source}", detail=True)
    say(options, counts.unstack().to_string())
    written = [*([parquet] if writes_parquet() else []), csv]
    say(options, f"Written to {' and '.join(map(str, written))}")
    rows = counts.rename("pairs").reset_index().to_dict("records")
    say_json(options, {"split": source, "pairs": rows, "files": [str(path) for path in written]})


def _splits(options: argparse.Namespace, result: FindResult) -> tuple[pd.DataFrame, str]:
    """``image, group, split``, the group as ``find`` has it, and where the split is from."""
    path = Path(options.splits or Path(options.dir, "splits.csv"))
    if options.splits or path.exists():
        given, source = _given(path, options, result), str(path)
    else:
        from dupnet.splits.assignment import split

        given = split(result, options.ratios or RATIOS, options.seed)
        source = f"made here, seed {options.seed}"
    # Of a split by blocks, the groups are others: what shares ground is not always in one.
    table = result.groups[["image", "group"]].merge(given[["image", "split"]], on="image")
    return table.sort_values("image", ignore_index=True), source


def _given(path: Path, options: argparse.Namespace, result: FindResult) -> pd.DataFrame:
    """``image, split`` of a file that has every image of the collection."""
    if options.ratios:
        raise ValueError(
            f"--ratios are for a collection without a split, and there is {path}; leave them out, or split "
            "it anew with `dupnet split`."
        )
    from dupnet.find.results import read_table

    given = read_table(path)
    if missing := [column for column in ("image", "split") if column not in given.columns]:
        raise ValueError(f"{path} lacks the column(s) {', '.join(missing)}; write it with `dupnet split`.")
    if given["image"].duplicated().any():
        raise ValueError(f"{path} lists {given['image'][given['image'].duplicated()].iloc[0]!r} twice.")
    images = result.groups["image"]
    without = images[~images.isin(given["image"])]
    unknown = given["image"][~given["image"].isin(images)]
    if len(without) or len(unknown):
        fault = f"lacks {without.iloc[0]!r}" if len(without) else f"lists {unknown.iloc[0]!r}, which it lacks"
        raise ValueError(f"{path} is no split of {options.dir}: it {fault}; run `dupnet split` again.")
    return given
