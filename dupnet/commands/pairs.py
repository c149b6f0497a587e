"""``dupnet pairs``: the labelled table of tile pairs of a collection."""

from __future__ import annotations

import argparse

from dupnet.commands.arguments import Commands, add_results, add_seed, add_workers, whole_number

__all__ = ["add", "run"]


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "pairs",
        help="labelled pairs of tiles for training, split by overlap group",
        description="Make the labelled table of tile pairs of a collection, as TABLE.parquet and TABLE.csv.",
    )
    add_results(parser)
    parser.add_argument(
        "--out", metavar="TABLE", required=True, help="file for the table, with .csv, .parquet or neither"
    )
    parser.add_argument(
        "--rows",
        type=whole_number(1),
        default=150_000,
        metavar="N",
        help="size of the sample (default: 150,000)",
    )
    parser.add_argument(
        "--ratios",
        type=float,
        nargs=3,
        default=[0.8, 0.1, 0.1],
        metavar="SHARE",
        help="shares of train, validation and test, which sum to 1 (default: 0.8 0.1 0.1)",
    )
    add_seed(parser)
    add_workers(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Write the table, and print its rows by split and label."""
    from dupnet.find.results import read_results
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
    pairs = make_pairs(
        result.folders[0],
        list(result.groups["image"]),
        result.overlaps,
        n_rows=options.rows,
        ratios=tuple(options.ratios),
        tile_size=result.grid.tile_size,
        seed=options.seed,
        workers=options.workers,
    )
    if pairs.empty:
        raise ValueError(
            f"{options.dir}: no tile of its images makes a pair (solid tiles make none); take other images."
        )
    save_pairs(pairs, options.out)
    print(pairs.groupby(["split", "is_duplicate"], sort=False).size().unstack().to_string())
    print(f"Written to {parquet} and {csv}")
