"""``dupnet tiles``: every tile of every image as a file of its own."""

from __future__ import annotations

import argparse
import sys

from dupnet.commands.arguments import (
    Commands,
    add_command,
    add_habits,
    add_workers,
    default_out,
    whole_number,
)
from dupnet.commands.output import printable, progress_of, say, say_json

__all__ = ["add", "run"]


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "tiles",
        "save every tile of every image as IMAGE_INDEX.jpg",
        "Save every tile of every image as IMAGE_INDEX.jpg in DIR; resumes if it was stopped.",
        [
            "dupnet tiles IMAGES                             # into IMAGES-tiles, beside IMAGES",
            "dupnet tiles IMAGES -o TILES --tile-size 128 --quality 100",
            "dupnet tiles --images MOVED -o TILES            # the images have moved",
        ],
    )
    parser.add_argument("images", metavar="IMAGES", nargs="?", help="folder of images, searched recursively")
    parser.add_argument(
        "--images",
        metavar="FOLDER",
        dest="moved_to",
        help="where the images of DIR are now, if they have moved",
    )
    parser.add_argument(
        "-o", "--out", metavar="DIR", help="folder for the tiles (default: IMAGES-tiles, beside IMAGES)"
    )
    parser.add_argument("--quality", type=whole_number(1, 100), default=95, help="JPEG quality (default: 95)")
    parser.add_argument(
        "--tile-size", type=whole_number(1), default=256, metavar="PX", help="side of a tile (default: 256)"
    )
    add_workers(parser)
    add_habits(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Save the tiles, and name every file that was left out."""
    from dupnet.images.tiles_on_disk import save_tiles

    if (options.images is None) == (options.moved_to is None):
        raise ValueError("Name either IMAGES, or with --images the folder to which they have moved.")
    if options.out is None and options.images is None:
        raise ValueError("Say which folder holds the tiles of images that have moved (--out).")
    out = options.out if options.out is not None else str(default_out([options.images], "tiles"))
    left_out = save_tiles(
        options.images if options.moved_to is None else options.moved_to,
        out,
        tile_size=options.tile_size,
        quality=options.quality,
        moved=options.moved_to is not None,
        workers=options.workers,
        progress=progress_of(options),
    )
    for row in left_out.itertuples():
        if not options.quiet:
            print(f"dupnet: left out {printable(row.image)!r}: {printable(row.reason)}", file=sys.stderr)
    say(options, f"Tiles: {out} ({len(left_out)} files left out)")
    say_json(options, {"tiles": out, "left_out": left_out[["image", "reason"]].to_dict("records")})
