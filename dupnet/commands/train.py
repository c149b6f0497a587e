"""``dupnet train``: a network trained on a table of pairs and its images."""

from __future__ import annotations

import argparse
from pathlib import Path

from dupnet.commands.arguments import (
    Commands,
    add_command,
    add_habits,
    add_pair_table,
    add_seed,
    add_workers,
    whole_number,
)
from dupnet.commands.output import say, say_json, without_remarks

__all__ = ["add", "run"]


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "train",
        "train a network on a table of pairs and its images",
        "Train a network on the rows of a table and on hard pairs drawn from its images, split by "
        "split, as the shipped network was trained. Resumes after the last epoch if it was stopped. "
        "`dupnet find --weights DIR/dupnet.npz` uses the result.",
        [
            "dupnet train pairs.parquet IMAGES -o run         # about 40 minutes",
            "dupnet train pairs.parquet IMAGES -o run --pairs 465000 --epochs 40",
            "dupnet train pairs.parquet IMAGES -o old --model dupnet_v0",
        ],
    )
    add_pair_table(parser)
    parser.add_argument("-o", "--out", metavar="DIR", required=True, help="folder for the results")
    parser.add_argument(
        "--model", choices=["dupnet", "dupnet_v0"], default="dupnet", help="architecture (default: dupnet)"
    )
    parser.add_argument(
        "--pairs",
        dest="n_train",
        type=whole_number(1),
        default=100_000,
        metavar="N",
        help="dupnet: hard pairs drawn in addition to the table (default: 100,000, about 40 minutes)",
    )
    parser.add_argument(
        "--rounds",
        type=whole_number(1),
        default=3,
        metavar="N",
        help="dupnet: training rounds; between two, pairs that it confuses are added (default: 3)",
    )
    parser.add_argument(
        "--epochs",
        type=whole_number(1),
        default=30,
        metavar="N",
        help="epochs of the last round (default: 30)",
    )
    parser.add_argument(
        "--batch-size",
        type=whole_number(1),
        metavar="N",
        help="pairs per step (default: 128; dupnet_v0: 64)",
    )
    parser.add_argument(
        "--rows-per-epoch",
        type=whole_number(1),
        metavar="N",
        help="pairs drawn at random for each epoch (default: all)",
    )
    add_seed(parser)
    add_workers(parser)
    add_habits(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Train, and print the history."""
    with without_remarks():
        _train(options)


def _train(options: argparse.Namespace) -> None:
    from dupnet.images.listing import list_images
    from dupnet.pairs.table import load_pairs, tile_size_of

    pairs = load_pairs(options.pairs)
    list_images(options.images)  # says what is wrong, before Keras, which takes its time and has its say

    from dupnet.network.architectures import DupnetConfig, DupnetV0Config
    from dupnet.training.config import TrainConfig
    from dupnet.training.material import material_of_table
    from dupnet.training.rounds import train

    common = {"epochs": options.epochs, "rows_per_epoch": options.rows_per_epoch, "seed": options.seed}
    if options.model == "dupnet":
        config = TrainConfig.of_size(
            options.n_train,
            model=DupnetConfig(),
            n_rounds=options.rounds,
            mining_epochs=min(TrainConfig.mining_epochs, options.epochs),
            batch_size=options.batch_size or TrainConfig.batch_size,
            **common,
        )
    else:
        model = DupnetV0Config(tile_size=tile_size_of(pairs))
        batch_size = options.batch_size or 64
        config = TrainConfig(model=model, batch_size=batch_size, learning_rate=1e-3, **common)
    material = material_of_table(pairs, options.images, config, workers=options.workers)
    trained = train(material, options.out, config, workers=options.workers)
    say(options, trained.history.to_string(index=False), detail=True)
    files = [f"{Path(options.out, options.model)}.{ending}" for ending in ("npz", "keras")]
    say(options, f"Written to {' and '.join(files)}")
    say_json(options, {"history": trained.history.to_dict("records"), "files": files})
