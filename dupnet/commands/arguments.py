"""Arguments that several commands take, and the kinds of number that options hold."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

__all__ = [
    "Commands",
    "add_command",
    "add_habits",
    "add_judgements",
    "add_pair_table",
    "add_results",
    "add_seed",
    "add_transforms",
    "add_weights",
    "add_workers",
    "default_out",
    "named_images",
    "score",
    "share",
    "whole_number",
]

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
else:  # not generic when it runs
    Commands = argparse._SubParsersAction
"""What a command's parser is added to; argparse has no public name for it."""


class _Help(argparse.HelpFormatter):
    """Help whose examples keep their lines."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith(_EXAMPLES) else super()._fill_text(text, width, indent)


_EXAMPLES = "examples:"


def add_command(
    commands: Commands, name: str, summary: str, description: str, examples: Sequence[str]
) -> argparse.ArgumentParser:
    """Add the parser of a command, with examples at the end of its help."""
    return commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog="\n  ".join([_EXAMPLES, *examples]),
        formatter_class=_Help,
    )


def add_habits(parser: argparse.ArgumentParser) -> None:
    """Add ``-q``, ``-v`` and ``--json``."""
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("-q", "--quiet", action="store_true", help="print only the result, no progress")
    amount.add_argument("-v", "--verbose", action="store_true", help="print every row of every list")
    parser.add_argument(
        "--json", action="store_true", help="print the whole result as JSON on standard output"
    )


def add_judgements(parser: argparse.ArgumentParser) -> None:
    """Add ``--ignore-judgements``."""
    parser.add_argument(
        "--ignore-judgements",
        action="store_true",
        help="ignore what was judged by eye (DIR/judgements.csv)",
    )


def default_out(images: Sequence[str], ending: str = "dupnet") -> Path:
    """Where results go if nobody says: ``IMAGES-ENDING``, a folder beside the images and in none of theirs.

    Raises
    ------
    ValueError
        If that cannot be said of an address, or of the root.
    """
    if any("://" in folder for folder in images):
        raise ValueError(f"{images[0]!r} is a URL; say where the results go (--out).")
    folders = [Path(folder).resolve() for folder in images]
    for beside in (folders[0], Path(os.path.commonpath(folders))):
        if beside.name:
            out = beside.with_name(f"{beside.name}-{ending}")
            if not any(out.is_relative_to(folder) for folder in folders):
                return out
    raise ValueError(f"There is no room for results beside {images[0]!r}; say where they go (--out).")


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """A type for ``add_argument``: whole numbers of at least ``least``, and at most ``most`` if given."""
    expected = (
        f"a whole number of at least {least}" if most is None else f"a whole number in {least} to {most}"
    )

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
        return value

    return convert


def score(text: str) -> float:
    """A type for ``add_argument``: what a score can be, 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:  # nor if it is NaN
        raise argparse.ArgumentTypeError(f"{text!r} is not a number in 0 to 1")
    return value


def share(text: str) -> float:
    """A type for ``add_argument``: a share, 0 to 1, or as percentage (``50%``)."""
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share in 0 to 1")
    return value


def named_images(images: list[str], from_file: str | None) -> str | list[str] | None:
    """The images of a call, of which some may be listed in a file: a folder, a list, or None where no image
    is named.

    Raises
    ------
    ValueError
        If the file names none.
    OSError
        If it cannot be read.
    """
    if from_file is not None:
        from dupnet.images.listing import read_file_list

        return [*images, *read_file_list(from_file)]
    if len(images) == 1 and not os.path.isfile(images[0]):
        return images[0]
    return images or None


def add_results(parser: argparse.ArgumentParser) -> None:
    """Add ``DIR``, the output folder of ``dupnet find``."""
    parser.add_argument("dir", metavar="DIR", help="output folder of `dupnet find`")


def add_pair_table(parser: argparse.ArgumentParser) -> tuple[argparse.Action, argparse.Action]:
    """Add ``TABLE`` and ``IMAGES``, a pair table and its images; returns both arguments."""
    return (
        parser.add_argument("pairs", metavar="TABLE", help="table that `dupnet pairs` wrote"),
        parser.add_argument("images", metavar="IMAGES", help="folder of its images"),
    )


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Add ``--seed``; numpy takes no negative ones."""
    parser.add_argument(
        "--seed", type=whole_number(0), default=0, metavar="N", help="seed of all random draws (default: 0)"
    )


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Add ``--weights``."""
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="your own network, dupnet.npz of `dupnet train` (default: the shipped one)",
    )


def add_transforms(parser: argparse._ActionsContainer) -> None:
    """Add ``--turned`` and ``--rescaled``."""
    parser.add_argument(
        "--turned",
        action="store_true",
        help="also images that were mirrored, rotated by quarter turns, or both",
    )
    parser.add_argument(
        "--rescaled",
        action="store_true",
        help="also images that were resized by 0.4 to 2.5, each side by its own factor, or rotated by up to "
        "15 degrees; combines with --turned",
    )


def add_workers(parser: argparse._ActionsContainer) -> None:
    """Add ``--workers``."""
    parser.add_argument(
        "--workers",
        type=whole_number(1),
        metavar="N",
        help="number of threads or processes (default: one per core)",
    )
