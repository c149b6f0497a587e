"""``dupnet find``: every overlap in a folder of images."""

from __future__ import annotations

import argparse
from pathlib import Path

from dupnet.commands.arguments import Commands, add_workers, named_images, whole_number

__all__ = ["add", "run"]


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "find",
        help="every overlap in a folder of images, groups, mosaics and a report",
        description="Find every overlap in a folder of images. Writes tables, mosaics and a report into DIR. "
        "Stopped at any moment, the same command goes on where it was.",
    )
    parser.add_argument(
        "images",
        metavar="IMAGES",
        nargs="*",
        help="folders of images, entered, or files (default: those that DIR remembers)",
    )
    parser.add_argument(
        "--from-file", metavar="FILE", help="also the paths that FILE lists, one a line (- is standard input)"
    )
    parser.add_argument(
        "--images",
        metavar="FOLDER",
        nargs="+",
        dest="moved_to",
        default=[],
        help="where the folders that DIR remembers are now, if they have moved",
    )
    parser.add_argument("--out", metavar="DIR", required=True, help="folder for the results")
    parser.add_argument(
        "--grid",
        type=whole_number(1),
        metavar="PX",
        help="search only whole tiles on a grid of PX pixels, a multiple of 32 and at least 64: quicker, and "
        "blind to any other offset",
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
        help="of files of more than three (default: by their colours or names, or the first three)",
    )
    parser.add_argument(
        "--stretch",
        default="file",
        metavar="HOW",
        help="black and white of files of more than 8 bits: file (default), collection, or LOW:HIGH",
    )
    parser.add_argument("--add", action="store_true", help="add IMAGES to the collection that DIR holds")
    parser.add_argument("--against", metavar="OTHER", help="only overlaps between IMAGES and this folder")
    parser.add_argument(
        "--check-content", action="store_true", help="tell a changed file by its bytes, not its time"
    )
    parser.add_argument(
        "--all-pairs", action="store_true", help="every pair of copies of one image, however many there are"
    )
    parser.add_argument(
        "--no-report", action="store_true", help="no report.html and mosaics/, nor earlier ones"
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="work on a Dask cluster; IMAGES and DIR may be URLs (docs/scaling.md)",
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    add_workers(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Find the overlaps, and say what was found and where it lies."""
    common = {
        "out": options.out,
        "grid": options.grid,
        "tile_size": options.tile_size,
        "stride": options.stride,
        "add": options.add,
        "against": options.against,
        "report": not options.no_report,
        "progress": not options.quiet,
    }
    if options.scheduler:
        from dupnet.cluster.distributed import find_on_cluster

        excluded = ("check_content", "workers", "from_file", "moved_to", "bands")
        if any(getattr(options, name) for name in excluded) or options.stretch != "file":
            raise ValueError(
                "--scheduler excludes --check-content, --workers, --from-file, --images, --bands, --stretch."
            )
        if len(options.images) != 1:
            raise ValueError(f"--scheduler takes one folder of images; {len(options.images)} are named.")
        result = find_on_cluster(options.images[0], options.scheduler, **common)
    else:
        from dupnet.find.engine import find_overlaps

        result = find_overlaps(
            named_images(options.images, options.from_file),
            moved_to=options.moved_to,
            bands=options.bands,
            stretch=options.stretch,
            check_content=options.check_content,
            all_pairs=options.all_pairs,
            workers=options.workers,
            **common,
        )
    print(result.summary())
    name = "overlaps.csv" if options.no_report else "report.html"
    # Path would make one slash of the two in a URL.
    where = f"{options.out.rstrip('/')}/{name}" if "://" in options.out else Path(options.out, name)
    print(f"Results: {where}")
