"""``dupnet split``: a leak-free split of what ``dupnet find`` wrote."""

from __future__ import annotations

import argparse
from pathlib import Path

from dupnet.commands.arguments import Commands, add_results, add_seed

__all__ = ["add", "run"]

MAX_ROWS = 20
"""Strata that are printed; of more, the first and the last."""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "split",
        help="split a collection without a leak, whole groups together",
        description="Split what `dupnet find` wrote into DIR, whole groups together: DIR/splits.csv.",
    )
    add_results(parser)
    parser.add_argument(
        "--ratios",
        type=float,
        nargs="+",
        default=[0.8, 0.1, 0.1],
        metavar="SHARE",
        help="share of the images in each split, which sum to 1 (default: 0.8 0.1 0.1)",
    )
    parser.add_argument(
        "--names",
        nargs="+",
        metavar="NAME",
        help="names of the splits, as many as ratios (default: train [validation] test)",
    )
    add_seed(parser)
    parser.add_argument("--stratify", metavar="CSV", help="one row an image, or one a ship")
    parser.add_argument("--column", help="column of that CSV to stratify by (default: the first)")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Write ``splits.csv``, and print what each split has: images, groups, its share of each stratum."""
    import pandas as pd

    from dupnet.files.atomic import write_csv
    from dupnet.find.results import read_results
    from dupnet.splits.assignment import SPLIT_NAMES, read_strata, split, strata_of

    if options.column and not options.stratify:
        raise ValueError(
            f"--column {options.column} goes with --stratify CSV, the table that has the column."
        )
    groups = read_results(options.dir).groups
    strata = None
    if options.stratify:
        strata = read_strata(options.stratify, list(groups["image"]), options.column)
    splits = split(groups, options.ratios, options.seed, strata, options.names)
    write_csv(splits, Path(options.dir, "splits.csv"))
    names = list(options.names or SPLIT_NAMES[len(options.ratios)])
    counts = splits.groupby("split").agg(images=("image", "size"), groups=("group", "nunique")).loc[names]
    counts.insert(1, "share", (counts["images"] / len(splits)).round(4))
    print(counts.to_string())
    if strata is not None:
        stratum = pd.Series(strata_of(splits["image"], strata), name=strata.name)
        shares = pd.crosstab(stratum, splits["split"], normalize="index")[names].round(4)
        shares.insert(0, "images", stratum.value_counts())
        print(f"\nShare of each stratum in each split:\n{shares.to_string(max_rows=MAX_ROWS)}")
    print(f"Written to {Path(options.dir, 'splits.csv')}")
