"""The recipe of the shipped network: sources, parts that never meet, hard pairs, training, threshold.

``python -m dupnet.recipe`` does all of it from scratch; ``make train`` calls it. Derna, Kitsap, Yellowstone
and Washington come from the package registries; Airbus images are used where their folder is given.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet import sources
from dupnet.descriptors import load_weights
from dupnet.evaluation import threshold_for_precision
from dupnet.files import atomic_path, write_csv
from dupnet.hard_pairs import Source, write_pairs
from dupnet.images import n_workers, read_image
from dupnet.mining import doubted, write_confused
from dupnet.models import DupnetConfig, build, from_arrays, save_arrays, save_model, to_arrays

__all__ = ["COLUMNS", "SHARES", "Recipe", "acquisitions", "airbus_parts", "train_from_pairs"]

PARTS = ("train", "validation", "test")

COLUMNS = {
    "derna": {"train": (0, 8192), "validation": (8192, 9472), "test": (9472, 17408)},
    "kitsap": {"train": (0, 2304), "validation": (2304, 2560), "test": (2560, 5000)},
}
"""Columns in pixels of each acquisition that a part may draw from.

Yellowstone and Washington train only.
"""

SHARES = {"airbus": 0.45, "derna": 0.35, "kitsap": 0.10, "yellowstone": 0.05, "washington": 0.05}
"""Share of each source among the crops; those without a source in the part are left out."""

SHARD = 24_000
"""Pairs in one file, 3 GB; each file has a seed of its own."""


@dataclass(frozen=True)
class Recipe:
    """Settings of a training from scratch, written beside its result.

    ``n_mined`` pairs that the trained network doubts, each twice, and four times as many tiles that it takes
    for each other (:mod:`dupnet.mining`) join the others for ``mined_epochs`` more.
    ``precision`` sets the threshold.
    """

    model: DupnetConfig = field(default_factory=DupnetConfig)
    n_train: int = 42_000
    n_validation: int = 6_000
    epochs: int = 8
    n_mined: int = 400
    mined_epochs: int = 2
    batch_size: int = 128
    learning_rate: float = 2e-3
    precision: float = 0.999
    seed: int = 0


class _Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of hard pairs from memory-mapped files: ``((grey1, grey2), is_duplicate)``, a new order each
    epoch."""

    def __init__(
        self, parts: Sequence[tuple[npt.NDArray[np.uint8], pd.DataFrame]], batch_size: int, seed: int | None
    ):
        super().__init__()
        self._parts = parts
        self._rows = np.array(
            [(part, row) for part, (_, table) in enumerate(parts) for row in range(len(table))]
        )
        self._batch_size, self._seed, self._epoch = batch_size, seed, 0
        self._order = np.arange(len(self._rows))
        self.on_epoch_end()

    @property
    def num_batches(self) -> int:
        return -(-len(self._rows) // self._batch_size)

    def on_epoch_end(self) -> None:
        if self._seed is not None:
            self._order = np.random.default_rng((self._seed, self._epoch)).permutation(len(self._rows))
        self._epoch += 1

    def __getitem__(self, index: int) -> tuple[tuple[npt.NDArray[np.uint8], ...], npt.NDArray[np.float32]]:
        chosen = self._rows[np.sort(self._order[index * self._batch_size : (index + 1) * self._batch_size])]
        pixels = np.stack([self._parts[part][0][row] for part, row in chosen])[..., None]
        labels = [self._parts[part][1]["is_duplicate"].iat[row] for part, row in chosen]
        return (pixels[:, 0], pixels[:, 1]), np.array(labels, np.float32)[:, None]


def acquisitions(
    part: str, folder: str | os.PathLike[str], airbus: str | os.PathLike[str] | None = None
) -> list[Source]:
    """What a part (``train``, ``validation``, ``test``) may draw from, fetched below ``folder`` where
    missing.

    ``airbus`` is a folder with ``images`` and ``parts.csv`` (image, group, part; see :func:`airbus_parts`).

    Raises
    ------
    ValueError
        If there is no such part.
    """
    if part not in PARTS:
        raise ValueError(f"part is {part!r}; the parts are {', '.join(PARTS)}.")
    found: list[Source] = []
    for name, fetch in (("derna", sources.fetch_derna), ("kitsap", sources.fetch_kitsap)):
        first, end = COLUMNS[name][part]
        found.append(Source(name, name, sources.read_acquisition(fetch(folder))[:, first:end]))
    if part == "train":
        for path in sources.fetch_yellowstone(folder):
            found.append(Source("yellowstone", path.name, sources.read_acquisition(path)))
        found.append(
            Source("washington", "washington", sources.read_acquisition(sources.fetch_washington(folder)))
        )
    if airbus is not None:
        table = pd.read_csv(Path(airbus) / "parts.csv")
        for row in table[table["part"] == part].itertuples():
            found.append(
                Source("airbus", str(row.group), read_image(Path(airbus) / "images" / str(row.image)))
            )
    return found


def airbus_parts(groups: pd.Series, held_out: Sequence[str], seed: int = 0) -> pd.DataFrame:
    """Assign each image's overlap group to a part: columns ``image, group, part``.

    ``groups`` maps image to group (:func:`dupnet.pairs.overlap_groups`). Groups with an image of
    ``held_out`` (those of the human labels) go to ``test`` whole; of the rest 65 % train, 15 % validate and
    20 % test.
    """
    kept = set(groups[groups.index.isin(held_out)])
    rest = np.array(sorted(set(groups) - kept))
    np.random.default_rng(seed).shuffle(rest)
    ends = np.rint(np.array([0.65, 0.8]) * len(rest)).astype(int)
    part = dict.fromkeys(kept, "test")
    for name, members in zip(PARTS, np.split(rest, ends), strict=True):
        part.update(dict.fromkeys(members, name))
    return pd.DataFrame(
        {"image": groups.index, "group": groups.to_numpy(), "part": [part[g] for g in groups]}
    )


def train_from_pairs(
    train: Sequence[str | os.PathLike[str]],
    validation: str | os.PathLike[str],
    out: str | os.PathLike[str],
    recipe: Recipe | None = None,
    start: str | os.PathLike[str] | None = None,
) -> keras.Model:
    """Train on files of :func:`dupnet.hard_pairs.write_pairs`; writes weights, history and settings into
    ``out``.

    The learning rate falls along half a cosine to nought. The threshold is set on the validation pairs, for
    the precision that ``recipe`` asks; it goes into the settings of the model. ``start`` names weights to
    go on from.
    """
    recipe, out = recipe or Recipe(), Path(out)
    parts = [_read(path) for path in train]
    keras.utils.set_random_seed(recipe.seed)
    grey = _grey(recipe)
    model = build(grey)
    if start is not None:
        with np.load(start, allow_pickle=False) as stored:
            model.set_weights(from_arrays(stored, grey).get_weights())
    batches = _Batches(parts, recipe.batch_size, recipe.seed)
    schedule = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate, batches.num_batches * recipe.epochs
    )
    model.compile(keras.optimizers.Adam(schedule), "binary_crossentropy", metrics=["accuracy"])
    held_out = _read(validation)
    watched = _Batches([held_out], recipe.batch_size, None)
    history = model.fit(batches, validation_data=watched, epochs=recipe.epochs, verbose=2)
    scores = model.predict(watched, verbose=0).ravel()
    threshold = _threshold(held_out[1], scores, recipe.precision)
    config = DupnetConfig(**{**_settings(recipe.model), "threshold": float(threshold)})
    trained = from_arrays(to_arrays(model), config)
    save_model(trained, out / "dupnet.keras")
    save_arrays(trained, out / "dupnet.npz")
    write_csv(pd.DataFrame(history.history).rename_axis("epoch").reset_index(), out / "history.csv")
    write_csv(held_out[1].assign(score=scores), out / "validation.csv")
    with atomic_path(out / "recipe.json") as beside:
        beside.write_text(json.dumps(asdict(recipe), indent=1) + "\n", encoding="utf-8")
    return trained


def _threshold(table: pd.DataFrame, scores: npt.NDArray[np.float32], precision: float) -> float:
    """The threshold for a precision, at least one half.

    Set without the kinds ``small`` and ``ship``: changes so small that no one can tell them from what
    compression does are drawn far more often than they are met, and would push the threshold past real
    duplicates.
    """
    counted = ~table["kind"].isin(["small", "ship"]).to_numpy()
    labels = table["is_duplicate"].to_numpy()[counted]
    # A network that reaches the precision nowhere accepts nothing but certainty.
    return float(np.clip(threshold_for_precision(scores[counted], labels, precision)[0], 0.5, 1.0))


def _settings(config: DupnetConfig) -> dict[str, Any]:
    return {name: value for name, value in asdict(config).items() if name != "architecture"}


def _grey(recipe: Recipe) -> DupnetConfig:
    """The network on grey tiles, which are all that it sees of colour ones: a third of the bytes."""
    return DupnetConfig(**{**_settings(recipe.model), "channels": 1})


def _read(path: str | os.PathLike[str]) -> tuple[npt.NDArray[np.uint8], pd.DataFrame]:
    table = pd.read_csv(os.fspath(path).removesuffix(".npy") + ".csv")
    return np.load(path, mmap_mode="r", allow_pickle=False), table


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m dupnet.recipe", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/dupnet"), help="folder of the run")
    parser.add_argument("--data", type=Path, default=Path("data/raw"), help="where acquisitions are kept")
    parser.add_argument("--airbus", type=Path, help="folder with images/ and parts.csv")
    parser.add_argument("--n-train", type=int, default=Recipe.n_train)
    parser.add_argument("--n-validation", type=int, default=Recipe.n_validation)
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    parser.add_argument("--n-mined", type=int, default=Recipe.n_mined)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    options = parser.parse_args(arguments)
    recipe = Recipe(
        n_train=options.n_train,
        n_validation=options.n_validation,
        epochs=options.epochs,
        n_mined=options.n_mined,
        seed=options.seed,
    )
    train, validation = [], options.out / "validation.npy"
    missing = []
    for first in range(0, recipe.n_train, SHARD):
        train.append(options.out / f"train_{first // SHARD}.npy")
        missing.append(("train", train[-1], min(SHARD, recipe.n_train - first), 100 * (first // SHARD)))
    missing.append(("validation", validation, recipe.n_validation, 1))
    for part, path, n, seed in missing:
        if not path.exists():  # a stopped run goes on with the next file
            drawn = acquisitions(part, options.data, options.airbus)
            write_pairs(drawn, SHARES, n, path, seed=seed + 1000 * recipe.seed, workers=n_workers())
    first = options.out if not recipe.n_mined else options.out / "first"
    if not (first / "dupnet.npz").exists():
        train_from_pairs(train, validation, first, recipe)
    if recipe.n_mined:
        mined, confused = options.out / "mined.npy", options.out / "confused.npy"
        weights = load_weights(first / "dupnet.npz")
        if not confused.exists():
            drawn = acquisitions("train", options.data, options.airbus)
            seed = 500 + 1000 * recipe.seed
            write_pairs(
                drawn, SHARES, recipe.n_mined, mined, seed=seed, workers=n_workers(), keep=doubted(weights)
            )
            write_confused(drawn, SHARES, 4 * recipe.n_mined, confused, weights, seed=seed)
        tuned = replace(recipe, epochs=recipe.mined_epochs, learning_rate=recipe.learning_rate / 4)
        train_from_pairs(
            [*train, mined, mined, confused], validation, options.out, tuned, first / "dupnet.npz"
        )


if __name__ == "__main__":
    main()
