"""``dupnet split``: a leak-free split of what ``dupnet find`` wrote, or the repair of a given one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dupnet.commands.arguments import (
    Commands,
    add_command,
    add_habits,
    add_judgements,
    add_results,
    add_seed,
    whole_number,
)
from dupnet.commands.output import say, say_json

if TYPE_CHECKING:
    import pandas as pd

    from dupnet.find.results import FindResult

__all__ = ["add", "run"]

MAX_ROWS = 20
"""Strata and moves that are printed; of more, the first and the last. ``--verbose`` prints all."""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "split",
        "split a collection without a leak, whole groups together; or repair a given split",
        "Split the images of DIR, keeping groups whole; writes DIR/splits.csv. With --from, move "
        "the fewest images of a given split that leave no group torn; the moves go into moved.csv beside it.",
        [
            "dupnet split DIR                                  # 80 : 10 : 10",
            "dupnet split DIR --ratios .7 .3 --names learn judge --seed 3",
            "dupnet split DIR --stratify ships.csv --column ships",
            "dupnet split DIR --blocks 2048                    # one large acquisition, by ground",
            "dupnet split DIR --from old.csv -o repaired.csv   # as few moves as can be",
        ],
    )
    add_results(parser)
    parser.add_argument(
        "--ratios",
        type=float,
        nargs="+",
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
    parser.add_argument(
        "--stratify", metavar="CSV", help="balance the splits by this table: one row per image, or per object"
    )
    parser.add_argument("--column", help="column of that table to stratify by (default: the first)")
    parser.add_argument(
        "--keep-revisits", action="store_true", help="also keep revisits of the same ground together"
    )
    parser.add_argument(
        "--blocks",
        type=whole_number(1),
        metavar="PX",
        help="divide groups larger than the smallest split into blocks of PX; those on a border get `buffer`",
    )
    parser.add_argument(
        "--from",
        dest="given",
        nargs="+",
        metavar="SPLITS",
        help="repair this split: a table, NAME=LIST, COCO files, data.yaml or a folder, as in `dupnet audit`",
    )
    parser.add_argument(
        "--image-column", metavar="NAME", help="with --from: column of images (default: guessed)"
    )
    parser.add_argument(
        "--split-column", metavar="NAME", help="with --from: column of splits (default: guessed)"
    )
    parser.add_argument("-o", "--out", metavar="CSV", help="file for the split (default: DIR/splits.csv)")
    add_judgements(parser)
    add_habits(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Write the split, and print what each part has: images, groups, its share of each stratum."""
    from dupnet.find.judgements import heed
    from dupnet.find.results import read_results

    if options.column and not options.stratify:
        raise ValueError(
            f"--column {options.column} goes with --stratify CSV, the table that has the column."
        )
    if not options.given and (options.image_column or options.split_column):
        raise ValueError("--image-column and --split-column go with --from SPLITS, the table that has them.")
    excluded = {
        "--ratios": options.ratios,
        "--names": options.names,
        "--stratify": options.stratify,
        "--blocks": options.blocks,
    }
    wrong = [name for name, value in excluded.items() if value is not None]
    if options.given and wrong:
        raise ValueError(f"--from keeps the given split as far as it can, and excludes {', '.join(wrong)}.")
    result = heed(read_results(options.dir), options.dir, ignore=options.ignore_judgements)
    path = Path(options.out or Path(options.dir, "splits.csv"))
    (_repair if options.given else _split)(options, result, path)
    for line in result.coverage():
        say(options, line, detail=True)


def _split(options: argparse.Namespace, result: FindResult, path: Path) -> None:
    import pandas as pd

    from dupnet.splits.assignment import SPLIT_NAMES, split
    from dupnet.splits.entries import BUFFER
    from dupnet.splits.strata import read_strata, strata_of

    ratios = options.ratios or [0.8, 0.1, 0.1]
    strata = None
    if options.stratify:
        strata = read_strata(options.stratify, result.groups["image"].tolist(), options.column)
    splits = split(
        result,
        ratios,
        options.seed,
        strata,
        options.names,
        keep_revisits=options.keep_revisits,
        blocks=options.blocks,
    )
    _write(splits, path)
    names = list(options.names or SPLIT_NAMES[len(ratios)])
    names += [BUFFER] * bool((splits["split"] == BUFFER).any())
    counts = _counts(splits).loc[names]
    say(options, counts.to_string())
    record: dict[str, Any] = {"splits": counts.reset_index().to_dict("records"), "out": str(path)}
    if strata is not None:
        stratum = pd.Series(strata_of(splits["image"], strata), name=strata.name)
        shares = pd.crosstab(stratum, splits["split"], normalize="index")[names].round(4)
        shares.insert(0, "images", stratum.value_counts())
        rows = shares.to_string(max_rows=None if options.verbose else MAX_ROWS)
        say(options, f"\nShare of each stratum in each split:\n{rows}", detail=True)
        record["strata"] = shares.reset_index().to_dict("records")
    say_json(options, {**record, "coverage": result.coverage()})
    say(options, f"Written to {path}")


def _repair(options: argparse.Namespace, result: FindResult, path: Path) -> None:
    from dupnet.files.atomic import check_replaceable, write_csv
    from dupnet.splits.lists import read_lists
    from dupnet.splits.repair import MOVE_COLUMNS, repair

    moved = path.with_name("moved.csv")
    check_replaceable(moved, MOVE_COLUMNS)
    images = result.groups["image"].tolist()
    lists = read_lists(options.given, images, options.image_column, options.split_column)
    try:
        repaired = repair(lists.table, result, keep_revisits=options.keep_revisits)
    except ValueError as error:
        raise ValueError(f"{lists.description}: {error}") from None
    _write(repaired.splits, path)
    write_csv(repaired.moves, moved)
    counts = _counts(repaired.splits)
    say(options, counts.to_string())
    if len(repaired.moves):
        say(options, f"\n{len(repaired.moves)} images move:", detail=True)
        rows = repaired.moves.to_string(index=False, max_rows=None if options.verbose else MAX_ROWS)
        say(options, rows, detail=True)
    else:
        say(options, "No image moves.")
    if len(repaired.unmatched):
        say(options, f"{len(repaired.unmatched)} names of the given split fit no image:", detail=True)
        say(options, repaired.unmatched.to_string(index=False, max_rows=MAX_ROWS), detail=True)
    left_out = len(images) - len(repaired.splits)
    if left_out:
        say(
            options,
            f"{left_out} images of {options.dir} are not in the given split, nor in this one",
            detail=True,
        )
    say_json(
        options,
        {
            "splits": counts.reset_index().to_dict("records"),
            "moves": repaired.moves.to_dict("records"),
            "unmatched": repaired.unmatched.to_dict("records"),
            "left_out": left_out,
            "out": str(path),
            "coverage": result.coverage(),
        },
    )
    say(options, f"Written to {path}, the moves to {moved}")


def _write(splits: pd.DataFrame, path: Path) -> None:
    from dupnet.files.atomic import check_replaceable, write_csv

    check_replaceable(path, list(splits))
    write_csv(splits, path)


def _counts(splits: pd.DataFrame) -> pd.DataFrame:
    counts = splits.groupby("split").agg(images=("image", "size"), groups=("group", "nunique"))
    counts.insert(1, "share", (counts["images"] / len(splits)).round(4))
    return counts
