"""``python -m benchmarks.accuracy.learning [--airbus DIR]``: errors against pairs seen, of both networks.

``dupnet`` and ``dupnet_v0``, each from new weights, see the same hard pairs of training ground, as RGB tiles
and in the same order, with the same optimizer, schedule and batches. After so many pairs both judge the
same hard pairs of validation ground. Of some learning rates each takes the one with the least loss there
after a short trial of its own. Processor time is that of training and, for dupnet, of describing the tiles;
drawing the pairs and judging are left out. Writes ``learning.csv`` and ``learning.png``. The held-out parts
are not touched.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from benchmarks.accuracy.pairs import add_collections, find_collections, hard_pairs, table_of_pairs
from benchmarks.accuracy.rare import BASELINES, errors_per
from dupnet import figures
from dupnet.evaluation.scores import best_threshold
from dupnet.files.atomic import atomic_path, write_csv
from dupnet.metrics.pair_metrics import PAIR_METRICS
from dupnet.network.architectures import DupnetConfig, dupnet_v0, heads
from dupnet.network.descriptors import describe, untrained_weights
from dupnet.network.head import compare_cells
from dupnet.network.layers import Cascade
from dupnet.tiles import grey_levels

Labels = npt.NDArray[np.float32]
AT_A_TIME = 64
"""Tiles that are described, or pairs that are judged, at a time."""


class DrawnPairs(NamedTuple):
    """``tiles`` (n, 2, 256, 256, 3) uint8 RGB, on disk, and ``is_duplicate`` (n,) float32."""

    tiles: npt.NDArray[np.uint8]
    is_duplicate: Labels


class Learner(Protocol):
    """A network that learns from some of the training pairs, and scores the validation pairs."""

    described: float
    """Processor seconds that describing a training pair took."""

    def learn(self, rows: npt.NDArray[np.int64]) -> None: ...

    def scores(self) -> npt.NDArray[np.float64]: ...


class Pixels:
    """``dupnet_v0``."""

    described = 0.0

    def __init__(self, train: DrawnPairs, validation: DrawnPairs, optimizer: keras.Optimizer) -> None:
        self._train, self._validation = train, validation
        self._model = dupnet_v0()
        self._model.compile(optimizer, "binary_crossentropy")

    def learn(self, rows: npt.NDArray[np.int64]) -> None:
        """One step."""
        tiles = self._train.tiles[rows]
        self._model.train_on_batch([tiles[:, 0], tiles[:, 1]], self._train.is_duplicate[rows, None])

    def scores(self) -> npt.NDArray[np.float64]:
        """Of every validation pair (n,)."""
        parts = [
            self._model.predict_on_batch(
                [self._validation.tiles[at : at + AT_A_TIME, side] for side in (0, 1)]
            )
            for at in range(0, len(self._validation.tiles), AT_A_TIME)
        ]
        return np.concatenate(parts).ravel().astype(np.float64)


class Features(NamedTuple):
    """What the head of ``dupnet`` sees of pairs: of the cells, and of the tile."""

    cells: npt.NDArray[np.float32]
    tile: npt.NDArray[np.float32]

    @classmethod
    def of(cls, pairs: DrawnPairs) -> Features:
        """Of pairs of tiles."""
        parts = []
        for at in range(0, len(pairs.tiles), AT_A_TIME):
            tiles = pairs.tiles[at : at + AT_A_TIME]
            one, two = (describe(grey_levels(tiles[:, side]), untrained_weights()).verify for side in (0, 1))
            parts.append(compare_cells(one, two, untrained_weights()))
        cells, tile = zip(*parts, strict=True)
        return cls(np.concatenate(cells), np.concatenate(tile))

    def levelled(self, like: Features) -> Features:
        """With the columns at the mean zero and deviation one that those of other pairs have then."""
        parts = []
        for part, other in zip(self, like, strict=True):
            columns = other.reshape(-1, other.shape[-1])
            deviation = columns.std(axis=0)
            parts.append((part - columns.mean(axis=0)) / np.where(deviation > 1e-6, deviation, 1))
        return Features(*parts)


class Described:
    """``dupnet``: its dense layers, on what the encoder makes of the tiles."""

    def __init__(
        self,
        train: Features,
        validation: Features,
        is_duplicate: Labels,
        described: float,
        optimizer: keras.Optimizer,
    ) -> None:
        self.described = described
        self._train, self._validation, self._labels = train, validation, is_duplicate
        config = DupnetConfig()
        self._model, self._cascade = heads(config), Cascade(config.deferral_band)
        self._model.compile(optimizer, _loss_of_each)

    def learn(self, rows: npt.NDArray[np.int64]) -> None:
        """One step."""
        self._model.train_on_batch([part[rows] for part in self._train], self._labels[rows, None])

    def scores(self) -> npt.NDArray[np.float64]:
        """Of every validation pair (n,)."""
        by_head = self._model.predict_on_batch(list(self._validation))
        return np.asarray(self._cascade(by_head), np.float64).ravel()


def _loss_of_each(is_duplicate: object, scores: object) -> object:
    """Cross entropy of every head's score of a pair, the mean of all."""
    same = keras.ops.broadcast_to(is_duplicate, keras.ops.shape(scores))
    return keras.losses.binary_crossentropy(same, scores)


NewLearner = Callable[[keras.Optimizer], Learner]


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy.learning", description=__doc__.split("\n\n")[0]
    )
    add_collections(parser)
    parser.add_argument("--pairs", type=int, default=6000, help="training pairs, drawn once")
    parser.add_argument("--seen", type=int, default=18_432, help="pairs to learn from, each some times")
    parser.add_argument("--validation-pairs", type=int, default=2000)
    parser.add_argument("--trial", type=int, default=1500, help="pairs seen at each learning rate first")
    parser.add_argument("--learning-rates", type=float, nargs="+", default=[1e-3, 3e-4])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    train, validation = (
        draw(part, n, options)
        for part, n in (("train", options.pairs), ("validation", options.validation_pairs))
    )
    start = time.process_time()
    features = Features.of(train)
    described = (time.process_time() - start) / len(train.tiles)
    of_validation = Features.of(validation).levelled(features)
    features = features.levelled(features)
    networks: dict[str, NewLearner] = {
        "dupnet": lambda optimizer: Described(
            features, of_validation, train.is_duplicate, described, optimizer
        ),
        "dupnet_v0": lambda optimizer: Pixels(train, validation, optimizer),
    }
    rows = untrained(validation)
    for name, new in networks.items():
        losses = {}
        for rate in options.learning_rates:
            trial = curve(new, rate, options.trial, [options.trial], train, validation, options)
            losses[rate] = trial[-1]["loss"]
            rows += [{"network": name, "run": "trial", **row} for row in trial]
        best = min(losses, key=lambda rate: losses[rate])
        steps = checkpoints(options.seen, options.batch_size)
        whole = curve(new, best, options.seen, steps, train, validation, options)
        rows += [{"network": name, "run": "curve", **row} for row in whole]
        table = pd.DataFrame(rows)
        write_csv(table, options.out / "learning.csv")
        print(table[table["network"] == name].to_string(index=False), flush=True)
    draw_curves(table, options.out / "learning.png")
    return 0


def untrained(validation: DrawnPairs) -> list[dict[str, Any]]:
    """What correlations make of the validation pairs, one row each: ``run`` is ``untrained``."""
    rows: list[dict[str, Any]] = []
    for name in BASELINES:
        likeness = PAIR_METRICS[name].likeness
        scores = np.array([likeness(*tiles) for tiles in validation.tiles], np.float64)
        found = judged(np.nan_to_num(scores, nan=-1.0), validation.is_duplicate)
        none = {"loss": np.nan, "wrong_at_half": np.nan}  # it is no probability
        rows.append({"network": name, "run": "untrained", "pairs_seen": 0, **found, **none})
    return rows


def draw(part: str, n: int, options: argparse.Namespace) -> DrawnPairs:
    """``n`` hard pairs of a part, of all collections in turn and in an order of their own; those of a run
    before with the same settings are read."""
    acquisitions = {"derna": options.derna, "kitsap": options.kitsap}
    collections = find_collections(options.airbus, acquisitions, options.work, part)
    stem = options.work / f"learning_{part}_{n}_{options.seed}_{len(collections)}"
    pixels, labels = stem.with_suffix(".npy"), stem.with_suffix(".csv")
    if not labels.exists():
        options.work.mkdir(parents=True, exist_ok=True)
        tiles = np.lib.format.open_memmap(pixels, "w+", np.uint8, (n, 2, 256, 256, 3))
        is_duplicate = np.zeros(n, np.float32)
        order = np.random.default_rng(options.seed).permutation(n)
        with tqdm(total=n, desc=f"{part} pairs", unit="pair", file=sys.stderr) as progress:
            for number, (folder, groups) in enumerate(collections.values()):
                mine = order[number :: len(collections)]
                done = 0
                for batch, _ in hard_pairs(folder, table_of_pairs(folder, groups), len(mine), options.seed):
                    places = mine[done : done + len(batch.is_duplicate)]
                    tiles[places, 0], tiles[places, 1] = batch.tiles1, batch.tiles2
                    is_duplicate[places] = batch.is_duplicate
                    done += len(places)
                    progress.update(len(places))
        tiles.flush()
        write_csv(pd.DataFrame({"is_duplicate": is_duplicate.astype(int)}), labels)
    known = pd.read_csv(labels)["is_duplicate"].to_numpy(np.float32)
    return DrawnPairs(np.load(pixels, mmap_mode="r", allow_pickle=False), known)


def checkpoints(seen: int, batch_size: int) -> list[int]:
    """Pairs seen when validation pairs are judged: about twice as many each time, and the last."""
    found = []
    at = batch_size * max(1, seen // 64 // batch_size)
    while at < seen:
        found.append(at)
        at *= 2
    return [*found, seen]


def curve(
    new: NewLearner,
    rate: float,
    seen: int,
    steps: list[int],
    train: DrawnPairs,
    validation: DrawnPairs,
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    """Train a network on ``seen`` pairs: one row at each of ``steps``.

    The pairs come in one order whatever the network; the learning rate falls along half a cosine to zero.
    """
    keras.utils.set_random_seed(options.seed)
    schedule = keras.optimizers.schedules.CosineDecay(rate, -(-seen // options.batch_size))
    learner = new(keras.optimizers.AdamW(schedule, weight_decay=1e-4))
    rng = np.random.default_rng(options.seed)
    passes = -(-seen // len(train.tiles))
    order = np.concatenate([rng.permutation(len(train.tiles)) for _ in range(passes)])[:seen]
    rows: list[dict[str, Any]] = []
    seconds, done = 0.0, 0
    for step in steps:
        while done < step:
            batch = order[done : min(done + options.batch_size, step)]
            start = time.process_time()
            learner.learn(batch)
            spent = time.process_time() - start
            if done:  # the first step builds the graph, too
                seconds += spent
            done += len(batch)
        drawn = min(done, len(train.tiles))
        rows.append(
            {
                "learning_rate": rate,
                "pairs_seen": done,
                "pairs_drawn": drawn,
                "processor_seconds": seconds + drawn * learner.described,
                **judged(learner.scores(), validation.is_duplicate),
            }
        )
    return rows


def judged(scores: npt.NDArray[np.float64], is_duplicate: Labels) -> dict[str, Any]:
    """Loss, errors at one half, the fewest errors at any threshold, and these for 38,780."""
    likely = np.clip(np.where(is_duplicate == 1, scores, 1 - scores), 1e-7, 1)
    threshold, fewest = best_threshold(scores, is_duplicate)
    return {
        "validation_pairs": len(scores),
        "loss": float(-np.log(likely).mean()),
        "wrong_at_half": int(((scores >= 0.5) != (is_duplicate == 1)).sum()),
        "wrong": fewest,
        "threshold": threshold,
        **errors_per(fewest, len(scores)),
    }


def draw_curves(table: pd.DataFrame, path: Path) -> None:
    """Errors at the best threshold against pairs seen, and against processor time; no error is drawn at 1."""
    with figures.style():
        figure = figures.new_figure(height=3.2)
        axes = figure.subplots(1, 2, sharey=True)
        for axis, column, label in (
            (axes[0], "pairs_seen", "pairs seen"),
            (axes[1], "processor_seconds", "processor time, s"),
        ):
            for name, rows in table[table["run"] == "curve"].groupby("network"):
                colour = figures.COLOURS["accent" if name == "dupnet" else "duplicate"]
                bounds = [np.maximum(rows[f"errors_per_38780{end}"], 1) for end in ("_low", "_high")]
                axis.fill_between(rows[column], *bounds, color=colour, alpha=0.15, linewidth=0)
                errors = np.maximum(rows["errors_per_38780"], 1)
                axis.plot(rows[column], errors, "o-", color=colour, label=name, markersize=4)
            for row, dashes in zip(
                table[table["run"] == "untrained"].to_dict("records"), ("--", ":"), strict=True
            ):
                errors = max(float(row["errors_per_38780"]), 1)
                axis.axhline(
                    errors, color=figures.COLOURS["undecidable"], linestyle=dashes, label=row["network"]
                )
            axis.set_xscale("log")
            axis.set_xlabel(label)
            axis.grid(visible=True)
        axes[0].set_yscale("log")
        axes[0].set_ylabel("errors per 38,780 hard pairs")
        axes[1].legend(loc="center right", fontsize=8)
        with atomic_path(path) as beside:
            figure.savefig(beside, format="png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    sys.exit(main())
