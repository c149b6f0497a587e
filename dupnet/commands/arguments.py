"""Arguments that several commands take, and the kinds of number that options hold."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

__all__ = [
    "Commands",
    "add_pair_table",
    "add_results",
    "add_seed",
    "add_tile_size",
    "add_workers",
    "score",
    "whole_number",
]

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
else:  # not generic when it runs
    Commands = argparse._SubParsersAction
"""What a command's parser is added to; argparse has no public name for it."""


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
        "--seed", type=whole_number(0), default=0, metavar="N", help="of whatever is drawn (default: 0)"
    )


def add_tile_size(parser: argparse.ArgumentParser, limits: str = "") -> None:
    """Add ``--tile-size``; ``limits`` is what its help says of the sizes that the command takes."""
    parser.add_argument(
        "--tile-size",
        type=whole_number(1),
        default=256,
        metavar="PX",
        help=f"side of a tile{limits and f', {limits}'} (default: 256)",
    )


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add ``--workers``."""
    parser.add_argument(
        "--workers", type=whole_number(1), metavar="N", help="threads (default: one for every core)"
    )
