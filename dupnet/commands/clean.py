"""``dupnet clean``: one of each of the duplicates, as lists and as a folder of links."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dupnet.commands.arguments import (
    Commands,
    add_command,
    add_habits,
    add_judgements,
    add_results,
    share,
)
from dupnet.commands.output import say, say_json

if TYPE_CHECKING:
    from dupnet.find.results import FindResult

__all__ = ["add", "run"]

N_SHOWN = 10
"""Images left out that are printed; ``--verbose`` prints all."""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "clean",
        "keep one of each of the duplicates: lists, and a folder of links; nothing is deleted",
        "Keep one image of each set of duplicates that `dupnet find` found. Writes keep.csv and remove.csv; "
        "remove.csv says for each image which kept image shows the same, and why. None of your files "
        "is deleted, moved or changed.",
        [
            "dupnet clean DIR                                   # keeps the larger of two that share half",
            "dupnet clean DIR --share 0 --keep sharpest         # any common ground counts",
            "dupnet clean DIR --keep labelled --labels labels.csv",
            "dupnet clean DIR --link CLEAN                      # a folder of links to what is kept",
        ],
    )
    add_results(parser)
    parser.add_argument(
        "--keep",
        choices=("largest", "sharpest", "first", "labelled"),
        default="largest",
        help="which of two to keep: the one with more pixels (default), more detail, the first name, a label",
    )
    parser.add_argument(
        "--share",
        type=share,
        default=0.5,
        metavar="SHARE",
        help="least common share of the smaller image to be a duplicate (default: 0.5; 0: any common ground)",
    )
    parser.add_argument(
        "--labels", metavar="LABELS", help="labels for --keep labelled, as for `dupnet labels`"
    )
    parser.add_argument("--link", metavar="FOLDER", help="create this folder with links to the kept images")
    parser.add_argument(
        "--images", metavar="FOLDER", help="where the images are now (default: as recorded in DIR)"
    )
    parser.add_argument(
        "-o", "--out", metavar="DIR", help="folder for keep.csv and remove.csv (default: DIR)"
    )
    add_judgements(parser)
    add_habits(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Write the lists and the links, and say what is kept."""
    from dupnet.files.atomic import check_replaceable, write_csv
    from dupnet.find.judgements import heed
    from dupnet.find.results import read_results
    from dupnet.splits.keeping import KEEP_COLUMNS, REMOVE_COLUMNS, clean, link_images

    if (options.keep == "labelled") != bool(options.labels):
        raise ValueError("--labels LABELS and --keep labelled go together.")
    out = Path(options.out or options.dir)
    tables = {out / "keep.csv": KEEP_COLUMNS, out / "remove.csv": REMOVE_COLUMNS}
    for path, columns in tables.items():
        check_replaceable(path, columns)
    result = heed(read_results(options.dir), options.dir, ignore=options.ignore_judgements)
    if options.images:
        result.folders = (Path(options.images), *result.folders)
    kept = clean(
        result,
        options.keep,
        options.share,
        labelled=_labelled(options, result),
        detail=lambda image: _detail(result, image),
    )
    made = None
    if options.link:
        made = link_images({image: result.path(image) for image in kept.keep["image"]}, options.link)
    for path, table in zip(tables, kept, strict=True):
        write_csv(table, path)
    if len(kept.remove):
        say(
            options,
            kept.remove.head(None if options.verbose else N_SHOWN).to_string(index=False),
            detail=True,
        )
    say(
        options,
        f"{len(kept.keep)} of {len(result.groups)} images are kept; {len(kept.remove)} show "
        f"{options.share:.0%} or more of a kept one. Written to {out / 'keep.csv'} and {out / 'remove.csv'}",
    )
    if made:
        say(options, f"{options.link}: {len(kept.keep)} {made}")
    for line in result.coverage():
        say(options, line, detail=True)
    say_json(
        options,
        {
            "kept": kept.keep.to_dict("records"),
            "removed": kept.remove.to_dict("records"),
            "link": {"folder": options.link, "made": made} if made else None,
            "coverage": result.coverage(),
        },
    )


def _labelled(options: argparse.Namespace, result: FindResult) -> set[str]:
    if not options.labels:
        return set()
    from dupnet.splits.labels import read_labels

    return read_labels(options.labels, result.groups["image"].tolist()).labelled()


def _detail(result: FindResult, image: str) -> float:
    from dupnet.images.reading import load_named
    from dupnet.splits.keeping import sharpness

    return sharpness(load_named(image, result.folders, grey=True)[0])
