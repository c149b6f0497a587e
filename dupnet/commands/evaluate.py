"""``dupnet evaluate``: a network judged by a table of pairs, or by overlaps that a person labelled."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dupnet.commands.arguments import (
    Commands,
    add_command,
    add_habits,
    add_pair_table,
    add_weights,
    add_workers,
    score,
    whole_number,
)
from dupnet.commands.output import say, say_json, without_remarks

if TYPE_CHECKING:
    from dupnet.network.descriptors import Weights
    from dupnet.pairs.reader import PairReader

__all__ = ["add", "run"]


class _LabelsOption(argparse.Action):
    """``--labels FILE``: the labels take the place of TABLE, so that one positional argument is left.

    The parser would name the wrong one if there is none, so that it is looked for later.
    """

    def __init__(self, *, positional: Iterable[argparse.Action], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.positional = positional

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, values)
        for one in self.positional:
            one.required = False


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "evaluate",
        "precision and recall of a network on a table of pairs, or on labels",
        "Measure a network on a table of pairs, or on overlaps labelled by a person: counts, and "
        "every label that the network contradicts.",
        [
            "dupnet evaluate pairs.parquet IMAGES",
            "dupnet evaluate pairs.parquet IMAGES --weights run/dupnet.npz --split validation",
            "dupnet evaluate --labels labels.csv IMAGES -o judged",
        ],
    )
    parser.usage = (
        "dupnet evaluate [options] TABLE IMAGES\n       dupnet evaluate [options] --labels FILE IMAGES"
    )
    positional = add_pair_table(parser)
    parser.add_argument(
        "--labels",
        metavar="FILE",
        action=_LabelsOption,
        positional=positional,
        help="labelled overlaps of `dupnet review --export`, in place of TABLE",
    )
    parser.add_argument(
        "-o", "--out", metavar="DIR", help="with --labels: folder for counts.csv and judged.csv"
    )
    parser.add_argument(
        "--model", metavar="MODEL.keras", help="a network saved by Keras, dupnet or dupnet_v0"
    )
    add_weights(parser)
    parser.add_argument("--split", metavar="NAME", help="rows of TABLE to evaluate on (default: test)")
    parser.add_argument(
        "--threshold",
        type=score,
        metavar="SCORE",
        help="least score of a duplicate (default: the threshold of the network)",
    )
    parser.add_argument(
        "--tile-size",
        type=whole_number(1),
        metavar="PX",
        help="side of a tile (default: that of TABLE; 256 with --labels)",
    )
    add_workers(parser)
    add_habits(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Print the counts; with ``--labels`` the contradicted labels too."""
    with without_remarks() if options.model else nullcontext():  # of TensorFlow, which a model needs
        if options.labels is not None:
            _judge_labels(options)
        else:
            _judge_pairs(options)


def _judge_pairs(options: argparse.Namespace) -> None:
    if options.out:
        raise ValueError("--out goes with --labels FILE; the counts of a table of pairs are only printed.")

    import numpy as np

    from dupnet.evaluation.scores import confusion
    from dupnet.pairs.reader import PairReader
    from dupnet.pairs.table import load_pairs

    pairs = load_pairs(options.pairs)
    split = "test" if options.split is None else options.split
    rows = pairs[pairs["split"] == split]
    if rows.empty:
        known = ", ".join(map(repr, pairs["split"].unique())) or "no rows"
        raise ValueError(f"{options.pairs} has no split {split!r}; it has {known}.")
    reader = PairReader(rows, options.images, tile_size=options.tile_size, workers=options.workers)
    predict, weights, threshold = _network(options)
    if predict:
        scores = predict(reader)
    else:
        from dupnet.network.comparison import compare

        judged = [compare(batch.tiles1, batch.tiles2, weights)["score"] for batch in reader.batches(64)]
        scores = np.concatenate(judged)
    counts = confusion(scores, rows["is_duplicate"].to_numpy(), threshold)
    say(options, f"{counts.n} pairs of split {split!r}, threshold {threshold:g}", detail=True)
    say(options, counts.table().to_string(index=False))
    say_json(options, {"split": split, "threshold": threshold, "counts": counts.table().to_dict("records")})


def _judge_labels(options: argparse.Namespace) -> None:
    from dupnet.files.atomic import write_csv
    from dupnet.pairs.labels import judge_labels, outcome_counts, read_labels
    from dupnet.tiles import TILE_SIZE

    if options.split is not None:
        raise ValueError(f"--split {options.split} goes with TABLE; of labels all are judged.")
    if options.pairs is None:
        raise ValueError("IMAGES is missing; with --labels FILE, name the folder of images too.")
    if options.images is not None:
        raise ValueError(f"{options.pairs}: with --labels FILE, name the folder of images alone.")
    labels = read_labels(options.labels)
    predict, weights, threshold = _network(options)
    judged = judge_labels(
        labels,
        options.pairs,
        threshold,
        predict,
        weights=weights,
        tile_size=TILE_SIZE if options.tile_size is None else options.tile_size,
        workers=options.workers,
    )
    counts, wrong = outcome_counts(judged), judged[judged["outcome"] == "wrong"]
    say(options, f"{len(judged)} labelled overlaps, threshold {threshold:g}", detail=True)
    say(options, counts.to_string(index=False))
    if len(wrong):
        say(options, f"\nWrong:\n{wrong.drop(columns='outcome').to_string(index=False)}", detail=True)
    if options.out:
        write_csv(counts, Path(options.out, "counts.csv"))
        write_csv(judged, Path(options.out, "judged.csv"))
        say(options, f"Written to {Path(options.out, 'counts.csv')} and judged.csv")
    record = {"counts": counts.to_dict("records"), "wrong": wrong.to_dict("records"), "out": options.out}
    say_json(options, {"threshold": threshold, **record})


def _network(options: argparse.Namespace) -> tuple[Callable[[PairReader], Any] | None, Weights, float]:
    """How ``--model`` scores the pairs of a reader (None: by the weights), the weights, and the threshold."""
    from dupnet.network.descriptors import load_weights

    predict: Callable[[PairReader], Any] | None = None
    weights = load_weights(options.weights)
    threshold = weights.threshold
    if options.model is not None:
        if options.weights is not None:
            raise ValueError("--model and --weights exclude each other: both name the network to judge.")
        from functools import partial

        from dupnet.files.atomic import check_keras_file

        check_keras_file(options.model)  # before Keras, which takes its time and has its say

        from dupnet.network.models import load_model
        from dupnet.training.batches import predict_pairs

        model = load_model(options.model)
        predict, threshold = partial(predict_pairs, model), model.settings.threshold
    return predict, weights, threshold if options.threshold is None else options.threshold
