"""``dupnet train``: a network trained on a table of pairs."""

from __future__ import annotations

import argparse
from pathlib import Path

from dupnet.commands.arguments import Commands, add_pair_table, add_seed, add_workers, whole_number

__all__ = ["add", "run"]


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "train",
        help="train a network on a table of pairs",
        description="Train a network on a table of pairs; goes on after the last epoch where it was stopped.",
    )
    add_pair_table(parser)
    parser.add_argument("--out", metavar="DIR", required=True, help="folder of the run")
    parser.add_argument(
        "--model", choices=["dupnet", "dupnet_v0"], default="dupnet", help="architecture (default: dupnet)"
    )
    parser.add_argument(
        "--epochs", type=whole_number(1), default=20, metavar="N", help="at most so many (default: 20)"
    )
    parser.add_argument(
        "--batch-size", type=whole_number(1), default=64, metavar="N", help="pairs of a step (default: 64)"
    )
    parser.add_argument(
        "--rows-per-epoch",
        type=whole_number(1),
        metavar="N",
        help="rows drawn anew for each epoch (default: all)",
    )
    add_seed(parser)
    add_workers(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Train, and print the history."""
    from dupnet.images.listing import list_images
    from dupnet.pairs.table import load_pairs

    pairs = load_pairs(options.pairs)
    list_images(options.images)  # says what is wrong, before Keras, which takes its time and has its say

    from dupnet.network.models import DupnetConfig, DupnetV0Config
    from dupnet.training.fitting import TrainConfig, train

    config = TrainConfig(
        model=DupnetConfig() if options.model == "dupnet" else DupnetV0Config(),
        epochs=options.epochs,
        batch_size=options.batch_size,
        rows_per_epoch=options.rows_per_epoch,
        seed=options.seed,
    )
    trained = train(pairs, options.images, options.out, config, workers=options.workers)
    print(trained.history.to_string(index=False))
    print(f"Written to {Path(options.out, 'model.keras')}")
