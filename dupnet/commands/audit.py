"""``dupnet audit``: the leaks of any given split."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dupnet.commands.arguments import (
    Commands,
    add_command,
    add_habits,
    add_judgements,
    add_transforms,
    add_workers,
    default_out,
    whole_number,
)
from dupnet.commands.output import progress_of, say, say_json

if TYPE_CHECKING:
    from dupnet.find.results import FindResult
    from dupnet.splits.leaks import Audit
    from dupnet.splits.lists import Lists

__all__ = ["add", "run"]

N_SHOWN = 10
"""Leaking groups and pairs that are printed; ``--verbose`` prints all."""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "audit",
        "leaks of a given split: images, pixels, pairs; exit status 1 if there are any",
        "Count what a split leaks: the images and pixels of each split that another split also shows. SPLITS "
        "is a table (CSV, TSV, Parquet, JSON), NAME=LIST for each split, COCO files, a YOLO data.yaml, or a "
        "folder of split folders. DIR is the output folder of `dupnet find`. If only a FOLDER of images is "
        "given, its overlaps are searched first, and the split is that of its folders (train/, val/, ...) or "
        "of the lists in it. Exit status 1 if anything leaks. Every answer says what was searched.",
        [
            "dupnet audit FOLDER                      # with train/, val/, test/ in it; searches first",
            "dupnet audit splits.csv DIR              # with the results of `dupnet find` in DIR",
            "dupnet audit train=train.txt val=val.txt DIR --pairs leaks.csv",
            "dupnet audit instances_train2017.json instances_val2017.json DIR",
            "dupnet audit labels.csv DIR --image-column file --split-column fold --json",
        ],
    )
    parser.add_argument("what", nargs="+", metavar="SPLITS DIR | FOLDER", help="a split and DIR, or a FOLDER")
    parser.add_argument("--image-column", metavar="NAME", help="column of images (default: guessed)")
    parser.add_argument(
        "--split-column", metavar="NAME", help="column of splits (default: guessed; check it)"
    )
    parser.add_argument(
        "--images", metavar="FOLDER", help="where the images of DIR are now, if their folders are the split"
    )
    parser.add_argument("--pairs", metavar="CSV", help="write every leaking pair, with its common share")
    add_judgements(parser)
    search = parser.add_argument_group("if only FOLDER is given")
    search.add_argument("-o", "--out", metavar="DIR", help="folder for the results (default: FOLDER-dupnet)")
    search.add_argument(
        "--grid", type=whole_number(1), metavar="PX", help="search only whole tiles on a grid of PX"
    )
    add_transforms(search)
    add_workers(search)
    add_habits(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print the leaks; returns 1 if there are any, else 0."""
    from dupnet.files.atomic import check_replaceable, write_csv
    from dupnet.splits.leaks import PAIR_COLUMNS, audit

    if options.pairs:
        check_replaceable(options.pairs, PAIR_COLUMNS)
    result, where = _searched(options)
    lists = _lists(options, result)
    try:
        found = audit(lists.table, result)
    except ValueError as error:
        raise ValueError(f"{lists.description}: {error}") from None
    if options.pairs:
        write_csv(found.pairs, options.pairs)
    say_json(options, {"split": lists.description, "results": str(where), **found.record()})
    _print(options, found, lists)
    return int(found.leaks)


def _searched(options: argparse.Namespace) -> tuple[FindResult, Path]:
    """What was found of the images, now or before, and the folder that holds it."""
    from dupnet.find.judgements import heed
    from dupnet.find.results import read_results

    last = options.what[-1]
    if Path(last, "run.json").exists() or not Path(last).is_dir():
        if options.out or options.grid or options.turned or options.rescaled or options.workers:
            raise ValueError(
                f"--out, --grid, --turned, --rescaled and --workers are of a search, and {last!r} is no "
                "folder to search."
            )
        if not Path(last).exists() or Path(last).is_file():
            raise ValueError(
                f"{last!r} is neither the output folder of `dupnet find` nor a folder of images; end with "
                "one."
            )
        result = read_results(last, options.images or ())
        return heed(result, last, ignore=options.ignore_judgements), Path(last)
    if options.images:
        raise ValueError(f"--images tells where the images of DIR are now; {last!r} holds images itself.")
    from dupnet.find.engine import find_overlaps

    out = Path(options.out) if options.out else default_out([last])
    say(options, f"Searching {last!r}; results go to {str(out)!r}", detail=True)
    result = find_overlaps(
        last,
        out=out,
        **({"grid": options.grid} if options.grid else {}),
        turned=options.turned,
        rescaled=options.rescaled,
        workers=options.workers,
        ignore_judgements=options.ignore_judgements,
        progress=progress_of(options),
    )
    return result, out


def _lists(options: argparse.Namespace, result: FindResult) -> Lists:
    """The split: as given, else what `dupnet split` wrote, else that of the folder of images."""
    from dupnet.splits.lists import find_lists, read_lists

    *sources, last = options.what
    images = result.groups["image"].tolist()
    columns = options.image_column, options.split_column
    if sources:
        return read_lists(sources, images, *columns)
    if Path(last, "run.json").exists() and Path(last, "splits.csv").exists():
        return read_lists([str(Path(last, "splits.csv"))], images, *columns)
    return find_lists(last if not Path(last, "run.json").exists() else result.folders[0], images)


def _print(options: argparse.Namespace, found: Audit, lists: Lists) -> None:
    shown = None if options.verbose else N_SHOWN
    say(options, f"Split: {lists.description}", detail=True)
    say(options, found.splits.to_string(index=False), detail=True)
    if found.leaks:
        say(options, f"\n{len(found.groups)} groups leak; those with most pixels:", detail=True)
        say(options, found.groups.head(shown).to_string(index=False), detail=True)
        say(options, "\nPairs of images that share ground across splits, the most first:", detail=True)
        say(options, found.pairs.head(shown).to_string(index=False), detail=True)
        if options.pairs:
            say(options, f"All {len(found.pairs)} pairs: {options.pairs}", detail=True)
        say(options, "", detail=True)
    if len(found.unmatched):
        say(options, "Names that fit no image:", detail=True)
        say(options, found.unmatched.head(shown).to_string(index=False), detail=True)
    say(options, found.verdict())
    for limit in found.limits():
        say(options, f"  note: {limit}")
