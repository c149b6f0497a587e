"""``dupnet tiles``: every tile of every image as a file of its own."""

from __future__ import annotations

import argparse
import sys

from dupnet.commands.arguments import Commands, add_tile_size, add_workers, whole_number

__all__ = ["add", "run"]


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "tiles",
        help="save every tile of every image as IMAGE_INDEX.jpg",
        description="Save every tile of every image as IMAGE_INDEX.jpg in DIR; goes on where it was stopped.",
    )
    parser.add_argument("images", metavar="IMAGES", nargs="?", help="folder of images, entered")
    parser.add_argument(
        "--images",
        metavar="FOLDER",
        dest="moved_to",
        help="where the images are now of which DIR holds tiles, if they have moved",
    )
    parser.add_argument("--out", metavar="DIR", required=True, help="folder for the tiles")
    parser.add_argument("--quality", type=whole_number(1, 100), default=95, help="of the JPEGs (default: 95)")
    add_tile_size(parser)
    add_workers(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Save the tiles, and name every file that was left out."""
    from dupnet.images.tiles_on_disk import save_tiles

    if (options.images is None) == (options.moved_to is None):
        raise ValueError("Name either IMAGES, or with --images the folder to which they have moved.")
    left_out = save_tiles(
        options.images or options.moved_to,
        options.out,
        tile_size=options.tile_size,
        quality=options.quality,
        moved=options.moved_to is not None,
        workers=options.workers,
        progress=True,
    )
    for row in left_out.itertuples():
        print(f"dupnet: left out {row.image!r}: {row.reason}", file=sys.stderr)
    print(f"Tiles: {options.out} ({len(left_out)} files left out)")
