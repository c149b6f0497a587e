"""``dupnet find``: every overlap in a folder of images."""

from __future__ import annotations

import argparse
from pathlib import Path

from dupnet.commands.arguments import (
    Commands,
    add_command,
    add_habits,
    add_judgements,
    add_transforms,
    add_weights,
    add_workers,
    default_out,
    named_images,
    whole_number,
)
from dupnet.commands.output import progress_of, say, say_json

__all__ = ["add", "run"]


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "find",
        "overlaps in a folder of images, groups, mosaics and a report",
        "Find the overlaps in a folder of images. Writes tables, mosaics and a report into DIR. "
        "If it was stopped, the same command resumes.",
        [
            "dupnet find IMAGES                     # into IMAGES-dupnet, beside IMAGES",
            "dupnet find IMAGES -o DIR --grid 256   # only whole tiles of 256 px, faster",
            "dupnet find MORE -o DIR --add          # more images of the collection in DIR",
            "dupnet find NEW -o DIR --against OLD   # only overlaps between the two",
            "dupnet find IMAGES --turned --rescaled # also mirrored, resized and rotated copies",
        ],
    )
    parser.add_argument(
        "images",
        metavar="IMAGES",
        nargs="*",
        help="folders of images, searched recursively, or files (default: those of DIR)",
    )
    parser.add_argument(
        "--from-file",
        metavar="FILE",
        help="also the paths listed in FILE, one per line (- is standard input)",
    )
    parser.add_argument(
        "--images",
        metavar="FOLDER",
        nargs="+",
        dest="moved_to",
        default=[],
        help="where the images of DIR are now, if they have moved",
    )
    parser.add_argument(
        "-o", "--out", metavar="DIR", help="folder for the results (default: IMAGES-dupnet, beside IMAGES)"
    )
    parser.add_argument(
        "--grid",
        type=whole_number(1),
        metavar="PX",
        help="search only whole tiles on a grid of PX pixels, a multiple of 32 and at least 64: faster, but "
        "finds no other offset",
    )
    parser.add_argument(
        "--tile-size", type=whole_number(1), metavar="PX", help="as --grid, side of a tile (default: 256)"
    )
    parser.add_argument(
        "--stride",
        type=whole_number(1),
        metavar="PX",
        help="as --grid, stride at which the images were cut; it divides the side of a tile (its default)",
    )
    parser.add_argument(
        "--bands",
        type=whole_number(1),
        nargs=3,
        metavar=("RED", "GREEN", "BLUE"),
        help="bands to use if there are more than three (default: by colour or name, or the first three)",
    )
    parser.add_argument(
        "--stretch",
        default="file",
        metavar="HOW",
        help="how files of more than 8 bits are stretched: by file (default), collection, or LOW:HIGH",
    )
    parser.add_argument("--add", action="store_true", help="add IMAGES to the collection that DIR holds")
    parser.add_argument("--against", metavar="OTHER", help="only overlaps between IMAGES and this folder")
    add_transforms(parser)
    parser.add_argument(
        "--check-content", action="store_true", help="detect changed files by content, not by time"
    )
    parser.add_argument(
        "--all-pairs",
        action="store_true",
        help="list every pair of copies of one image, even if there are many",
    )
    add_weights(parser)
    parser.add_argument(
        "--no-report", action="store_true", help="no report.html and mosaics/; removes earlier ones"
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="run on a Dask cluster; IMAGES and DIR may be URLs (docs/scaling.md)",
    )
    add_judgements(parser)
    add_workers(parser)
    add_habits(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Find the overlaps, and say what was found and where it lies."""
    if options.out is None and (not options.images or options.add):
        raise ValueError("Say where the results go, or are (--out).")
    out = options.out if options.out is not None else str(default_out(options.images))
    common = {
        "out": out,
        "grid": options.grid,
        "tile_size": options.tile_size,
        "stride": options.stride,
        "add": options.add,
        "against": options.against,
        "all_pairs": options.all_pairs,
        "ignore_judgements": options.ignore_judgements,
        "weights": options.weights,
        "report": not options.no_report,
        "progress": progress_of(options),
    }
    if options.scheduler:
        from dupnet.cluster.distributed import find_on_cluster

        excluded = ("check_content", "workers", "from_file", "moved_to", "bands", "turned", "rescaled")
        if any(getattr(options, name) for name in excluded) or options.stretch != "file":
            raise ValueError(
                "--scheduler excludes --check-content, --workers, --from-file, --images, --bands, --stretch, "
                "--turned, --rescaled."
            )
        if len(options.images) != 1:
            raise ValueError(f"--scheduler takes one folder of images; {len(options.images)} are named.")
        result = find_on_cluster(options.images[0], options.scheduler, **common)
    else:
        from dupnet.find.engine import find_overlaps

        result = find_overlaps(
            named_images(options.images, options.from_file),
            turned=options.turned,
            rescaled=options.rescaled,
            moved_to=options.moved_to,
            bands=options.bands,
            stretch=options.stretch,
            check_content=options.check_content,
            workers=options.workers,
            **common,
        )
    name = "overlaps.csv" if options.no_report else "report.html"
    # Path would make one slash of the two in a URL.
    where = f"{out.rstrip('/')}/{name}" if "://" in out else str(Path(out, name))
    say(options, result.summary())
    if options.verbose:
        for step, seconds in result.seconds.items():
            say(options, f"{step}: {seconds:.1f} s")
        for image, reason in result.unreadable.itertuples(index=False):
            say(options, f"left out {image!r}: {reason}")
    say(options, f"Results: {where}")
    say_json(
        options,
        {
            "results": where,
            "searched": dict(result.searched),
            "coverage": result.coverage(),
            "counts": dict(result.counts),
            "seconds": {step: round(seconds, 3) for step, seconds in result.seconds.items()},
            "unreadable": result.unreadable.to_dict("records"),
        },
    )
