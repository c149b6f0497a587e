"""The command line: one thin command per step.
 Every command imports what it needs when it runs, so that ``dupnet --help`` answers at once. An error that
the user can mend (a ``ValueError`` or ``OSError`` of the package) becomes one line on standard error and exit
status 2.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from dupnet import __version__

__all__ = ["main"]

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 + SIGINT, as shells have it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` (default: those of the process) name; returns the exit status."""
    options = _parser().parse_args(arguments)
    command = options.command
    try:
        return int(command(options) or 0)
    except KeyboardInterrupt:
        print("\ndupnet: stopped; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe, such as head, has had enough
        sys.stderr.close()
        return 0
    except (ValueError, OSError) as error:
        print(f"dupnet: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dupnet",
        description="Find every duplicated tile of a satellite collection, rebuild the acquisitions, "
        "split without a leak.",
    )
    parser.add_argument("--version", action="version", version=f"dupnet {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_find, _add_split, _add_audit, _add_review, _add_tiles, _add_data):
        add(commands)
    return parser


def _add_find(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "find",
        help="every overlap in a folder of images, groups, mosaics and a report",
        description="Find every overlap in a folder of images. Writes overlaps.csv and .parquet, groups.csv, cuts.csv, "
        "unreadable.csv, report.html, mosaics/ and run.json into DIR. Stopped at any moment, the same command goes "
        "on where it was.",
    )
    parser.add_argument("images", metavar="IMAGES", help="folder of JPEG, PNG or TIFF images of one size")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder for the results")
    _add_tiling(parser)
    parser.add_argument(
        "--add", action="store_true", help="add IMAGES to the collection that DIR already holds"
    )
    parser.add_argument(
        "--against", metavar="OTHER", help="look only for overlaps between IMAGES and this folder"
    )
    _add_workers(parser)
    parser.add_argument("--no-report", action="store_true", help="leave out report.html and mosaics/")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.set_defaults(command=_find)


def _find(options: argparse.Namespace) -> None:
    from dupnet.find import find_overlaps

    result = find_overlaps(
        options.images,
        out=options.out,
        tile_size=options.tile_size,
        stride=options.stride,
        add=options.add,
        against=options.against,
        workers=options.workers,
        report=not options.no_report,
        progress=not options.quiet,
    )
    print(result.summary())
    print(f"Written to {options.out}")


def _add_split(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "split",
        help="split a collection without a leak: whole groups together",
        description="Split what `dupnet find` wrote into DIR: whole groups stay together. Writes DIR/splits.csv.",
    )
    parser.add_argument("dir", metavar="DIR", help="output folder of `dupnet find`")
    parser.add_argument(
        "--ratios", type=float, nargs="+", default=[0.8, 0.1, 0.1], help="default: 0.8 0.1 0.1"
    )
    parser.add_argument(
        "--names", nargs="+", help="names of the parts, as many as ratios (default: train ...)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--stratify", metavar="CSV", help="CSV with a column `image` and the column to stratify by"
    )
    parser.add_argument("--column", help="the column of that CSV (default: its second)")
    parser.set_defaults(command=_split)


def _split(options: argparse.Namespace) -> None:
    raise NotImplementedError


def _add_audit(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "audit",
        help="leaks of a given split: images, tiles, pixels; exit status 1 if there are any",
        description="Count the images, tiles and pixels that a given split (CSV with columns image and split) leaks, "
        "by the overlaps that `dupnet find` wrote into DIR. Exit status 1 if there is a leak.",
    )
    parser.add_argument("splits", metavar="SPLITS.csv")
    parser.add_argument("dir", metavar="DIR", help="output folder of `dupnet find`")
    parser.set_defaults(command=_audit)


def _audit(options: argparse.Namespace) -> int:
    raise NotImplementedError


def _add_review(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "review",
        help="judge the least certain overlaps by eye, in a browser",
        description="Judge overlaps by eye on a local web page, least certain first. Each answer is on disk "
        "before the next pair shows; stopped, the same command goes on where it was.",
    )
    parser.add_argument("dir", metavar="DIR", help="output folder of `dupnet find`, or a CSV of pairs")
    parser.add_argument("--images", metavar="IMAGES", help="folder of the images (default: that of `find`)")
    parser.add_argument("--judgements", metavar="CSV", help="file of answers (default: DIR/judgements.csv)")
    parser.add_argument("--tile-size", type=int, metavar="PX", help="side of a tile (default: as in `find`)")
    parser.add_argument("--port", type=int, default=0, help="port on this machine (default: any free one)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument("--export", metavar="CSV", help="only write the judgements so far as labels")
    parser.set_defaults(command=_review)


def _review(options: argparse.Namespace) -> None:
    from dupnet.review import export_labels, open_review, serve

    if options.export:
        n_labels = export_labels(options.dir, options.export, options.judgements)
        print(f"{n_labels} labels written to {options.export}")
        return
    review = open_review(options.dir, options.images, options.judgements, options.tile_size)
    serve(review, options.port, not options.no_browser)


def _add_tiles(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "tiles",
        help="save every tile of every image as IMAGE_INDEX.jpg",
        description="Save every tile of every image as IMAGE_INDEX.jpg in DIR. Stopped, it goes on where it was.",
    )
    parser.add_argument("images", metavar="IMAGES", help="folder of JPEG, PNG or TIFF images")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder for the tiles")
    parser.add_argument(
        "--tile-size", type=int, default=256, metavar="PX", help="side of a tile (default: 256)"
    )
    parser.add_argument("--quality", type=int, default=95, help="JPEG quality (default: 95)")
    _add_workers(parser)
    parser.set_defaults(command=_tiles)


def _tiles(options: argparse.Namespace) -> None:
    from dupnet.images import save_tiles

    left_out = save_tiles(
        options.images,
        options.out,
        tile_size=options.tile_size,
        quality=options.quality,
        workers=options.workers,
        progress=True,
    )
    for row in left_out.itertuples():
        print(f"dupnet: left out {row.image!r}: {row.reason}", file=sys.stderr)
    print(f"Tiles written to {options.out}; {len(left_out)} files left out")


def _add_data(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("data", help="fetch real imagery and cut it into collections")
    parser.set_defaults(command=_data)


def _data(options: argparse.Namespace) -> None:
    raise NotImplementedError


def _add_tiling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tile-size", type=int, default=256, metavar="PX", help="side of a tile (default: 256)"
    )
    parser.add_argument(
        "--stride",
        type=int,
        metavar="PX",
        help="stride at which images were cut; divides the tile (default: the tile)",
    )


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, metavar="N", help="threads (default: one for every core)")


if __name__ == "__main__":
    sys.exit(main())
