"""``dupnet audit``: the leaks of any given split."""

from __future__ import annotations

import argparse

from dupnet.commands.arguments import Commands, add_results

__all__ = ["add", "run"]


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "audit",
        help="leaks of any given split: images, tiles, pixels; exit status 1 if there are any",
        description="Count what a split leaks, by what `dupnet find` wrote into DIR. Exit status 1 if any.",
    )
    parser.add_argument("splits", metavar="SPLITS.csv", help="table with the columns image and split")
    add_results(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print the leaks; returns 1 if there are any, else 0."""
    from dupnet.find.results import read_results, read_table
    from dupnet.splits.leaks import audit

    result = read_results(options.dir)
    splits = read_table(options.splits)
    if result.grid is None:
        raise ValueError(f"{options.dir!r} has no common grid.")
    try:
        found = audit(splits, result.overlaps, result.groups, result.grid)
    except ValueError as error:
        raise ValueError(f"{options.splits!r}: {error}") from None
    print(found.splits.to_string(index=False))
    if found.unassigned:
        print(
            f"{found.unassigned} images of {options.dir} are in no split; "
            f"if it has grown since it was split, run `dupnet split {options.dir}` again"
        )
    if not found.leaks:
        print("No leak among the images that are in one." if found.unassigned else "No leak.")
        return 0
    print(f"\n{len(found.groups)} groups leak; those with most tiles:")
    print(found.groups.head(10).to_string(index=False))
    print("\nPairs of images that share ground across splits, the most of each of these groups:")
    print(found.examples.to_string(index=False))
    return 1
