"""``dupnet labels``: duplicates whose labels disagree."""

from __future__ import annotations

import argparse
from pathlib import Path

from dupnet.commands.arguments import Commands, add_command, add_habits, add_judgements, share
from dupnet.commands.output import say, say_json

__all__ = ["add", "run"]

N_SHOWN = 20
"""Conflicts that are printed; ``--verbose`` prints all."""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "labels",
        "duplicates whose labels disagree; exit status 1 if there are any",
        "Compare the labels of overlapping images: labels of whole images if two share at least --share "
        "of the smaller one; boxes and masks in any common region. LABELS is a table (image and labels, "
        "boxes, or the run lengths of the Airbus set), a folder of class folders, or COCO files. DIR is the "
        "output folder of `dupnet find`. Exit status 1 if any disagree.",
        [
            "dupnet labels labels.csv DIR --label-column ship",
            "dupnet labels FOLDER DIR                           # class folders",
            "dupnet labels instances_train.json instances_val.json DIR",
            "dupnet labels train_ship_segmentations_v2.csv DIR  # ship masks",
        ],
    )
    parser.add_argument("labels", nargs="+", metavar="LABELS", help="a table, COCO files, or a folder")
    parser.add_argument("dir", metavar="DIR", help="output folder of `dupnet find`")
    parser.add_argument("--image-column", metavar="NAME", help="column of images (default: guessed)")
    parser.add_argument("--label-column", metavar="NAME", help="column of labels (default: all others)")
    parser.add_argument(
        "--share",
        type=share,
        default=0.5,
        metavar="SHARE",
        help="least common share of the smaller image to compare labels of whole images (default: 0.5)",
    )
    parser.add_argument(
        "--iou",
        type=share,
        default=0.5,
        metavar="SHARE",
        help="least intersection over union for two boxes or masks to match (default: 0.5)",
    )
    parser.add_argument(
        "-o", "--out", metavar="CSV", help="file for the conflicts (default: DIR/label_conflicts.csv)"
    )
    add_judgements(parser)
    add_habits(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Write and print the conflicts; returns 1 if there are any, else 0."""
    from dupnet.files.atomic import check_replaceable, write_csv
    from dupnet.find.judgements import heed
    from dupnet.find.results import read_results
    from dupnet.report.page import add_label_conflicts
    from dupnet.splits.conflicts import CONFLICT_COLUMNS, compare_labels
    from dupnet.splits.labels import read_labels

    out = Path(options.out or Path(options.dir, "label_conflicts.csv"))
    check_replaceable(out, CONFLICT_COLUMNS)
    result = heed(read_results(options.dir), options.dir, ignore=options.ignore_judgements)
    images = result.groups["image"].tolist()
    labels = read_labels(options.labels, images, options.image_column, options.label_column)
    found = compare_labels(labels, result, options.share, options.iou)
    write_csv(found.table, out)
    add_label_conflicts(Path(options.dir, "report.html"), found.table, found.n_compared)
    if len(found.table):
        rows = found.table.head(None if options.verbose else N_SHOWN).drop(columns=["height", "width"])
        say(options, rows.to_string(index=False), detail=True)
    n_pairs = len(found.table[["image1", "image2"]].drop_duplicates())
    say(
        options,
        f"{n_pairs} of {found.n_compared} pairs of images that show the same have labels that disagree. "
        f"Written to {out}",
    )
    limits = [*result.coverage()]
    if found.n_unlabelled:
        limits.append(f"{found.n_unlabelled} pairs with an image without labels are not compared.")
    if len(labels.unmatched):
        limits.append(f"{len(labels.unmatched)} names of the labels fit no image that was searched.")
    for limit in limits:
        say(options, limit, detail=True)
    say_json(
        options,
        {
            "conflicts": found.table.to_dict("records"),
            "compared": found.n_compared,
            "unlabelled": found.n_unlabelled,
            "unmatched": labels.unmatched.to_dict("records"),
            "coverage": limits,
            "out": str(out),
        },
    )
    return int(len(found.table) > 0)
