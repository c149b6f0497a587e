"""``dupnet review``: overlaps judged by eye."""

from __future__ import annotations

import argparse

from dupnet.commands.arguments import Commands, add_weights, whole_number

__all__ = ["add", "run"]


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "review",
        help="judge overlaps by eye in a browser, least certain first",
        description="Judge overlaps by eye in a browser, least certain first. Each answer is saved at once; "
        "--export writes them as labels.",
    )
    parser.add_argument("dir", metavar="DIR", help="output folder of `dupnet find`, or a table of pairs")
    parser.add_argument(
        "--images", metavar="FOLDER", help="where the images are now (default: as recorded in DIR)"
    )
    parser.add_argument("--judgements", metavar="CSV", help="file for the answers (default: in DIR)")
    parser.add_argument(
        "--tile-size", type=whole_number(1), metavar="PX", help="with a table: side of a tile (default: 256)"
    )
    add_weights(parser)
    parser.add_argument(
        "--near",
        action="store_true",
        help="also pairs that were narrowly refused by the network, contradictions and revisits",
    )
    parser.add_argument("--reviewer", metavar="NAME", default="", help="your name, saved with the answers")
    parser.add_argument(
        "--port",
        type=whole_number(0, 65535),
        default=0,
        help="port to listen on (default: a free one); over SSH, with a free port LOCAL of your machine: "
        "ssh -N -L LOCAL:127.0.0.1:PORT HOST, then open the address with LOCAL in place of PORT",
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument("--export", metavar="CSV", help="write the answers so far as labels, and exit")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Serve the page until it is interrupted, or write the labels."""
    from dupnet.review import export_labels, open_review, serve

    if options.export:
        n_labels = export_labels(options.dir, options.export, options.judgements)
        print(f"{n_labels} labels written to {options.export}")
        return
    review = open_review(
        options.dir,
        options.images,
        options.judgements,
        options.tile_size,
        options.weights,
        options.reviewer,
        options.near,
    )
    serve(review, options.port, open_browser=not options.no_browser)
