"""The recipe of the shipped network: sources, parts that never meet, hard pairs, training, threshold.

``python -m dupnet.training.recipe`` does all of it from scratch; ``make train`` calls it. Derna, Kitsap,
Yellowstone and Washington come from the package registries; Airbus images are used where their folder is
given.

The encoder is fixed (:func:`dupnet.network.filters.band_filters`), so a pair is drawn, described and
forgotten: what is trained, the dense layers, sees what :func:`dupnet.network.comparison.compare_cells` makes
of two descriptors.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from keras import ops

from dupnet.acquisitions import sources
from dupnet.evaluation.scores import threshold_for_precision
from dupnet.files.atomic import atomic_path, write_csv
from dupnet.files.workers import n_workers
from dupnet.images.reading import read_image
from dupnet.network.comparison import compare_cells
from dupnet.network.descriptors import load_weights, untrained_weights
from dupnet.network.models import (
    DupnetConfig,
    dupnet,
    from_arrays,
    load_model,
    save_arrays,
    save_model,
    to_arrays,
)
from dupnet.training.hard_pairs import Source, draw_faint_pair, draw_pair, draw_usual_pair, write_pairs
from dupnet.training.mining import write_confused

__all__ = [
    "COLUMNS",
    "SHARES",
    "PairFeatures",
    "Recipe",
    "acquisitions",
    "airbus_parts",
    "fit",
    "train",
    "train_from_pairs",
]

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


AT_A_TIME = 4096
"""Pairs whose features are computed at a time."""


@dataclass(frozen=True)
class Recipe:
    """Settings of a training from scratch, written beside its result.

    The defaults are those of the shipped weights: drawing ``n_train`` pairs takes the most of the time.
    Training is in ``n_rounds`` from the same start, of ``mining_epochs`` each and the last of ``epochs``:
    after each but the last its network finds ``n_confused`` pairs of tiles that it takes for each other
    (:mod:`dupnet.training.mining`). They join the others from the next on, and so do ``n_faint`` pairs that
    show little (:func:`dupnet.training.hard_pairs.draw_faint_pair`). The threshold must reach ``precision``
    on ``n_usual`` validation pairs as collections hold them.
    """

    model: DupnetConfig = field(default_factory=DupnetConfig)
    n_train: int = 465_000
    n_faint: int = 100_000
    n_validation: int = 24_000
    n_usual: int = 24_000
    n_confused: int = 20_000
    n_rounds: int = 3
    mining_epochs: int = 10
    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 1.5e-3
    weight_decay: float = 1e-4
    precision: float = 0.9999
    seed: int = 0


class PairFeatures(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of described pairs, ``((cells, tile), is_duplicate)``, in a new order each epoch that ``seed``
    gives; without a seed, as they lie in the files.

    ``cells`` (n, side, side, columns) float16, ``tile`` (n, columns) float32 and ``table`` hold all pairs of
    the files of :func:`dupnet.training.hard_pairs.write_pairs`, or the ``first`` of each.
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        batch_size: int,
        seed: int | None,
        first: int | None = None,
    ) -> None:
        super().__init__()
        found = [_read(path, first) for path in paths]
        self.cells = np.concatenate([cells for cells, _, _ in found])
        self.tile = np.concatenate([tile for _, tile, _ in found])
        self.table = pd.concat([table for _, _, table in found], ignore_index=True)
        self._labels = self.table["is_duplicate"].to_numpy(np.float32)[:, None]
        self._batch_size, self._seed, self._epoch = batch_size, seed, 0
        self._order = np.arange(len(self.table))
        self.on_epoch_end()

    @property
    def num_batches(self) -> int:
        return -(-len(self.table) // self._batch_size)

    def on_epoch_end(self) -> None:
        if self._seed is not None:
            self._order = np.random.default_rng((self._seed, self._epoch)).permutation(len(self.table))
        self._epoch += 1

    def __getitem__(self, index: int) -> tuple[tuple[npt.NDArray[np.float32], ...], npt.NDArray[np.float32]]:
        chosen = np.sort(self._order[index * self._batch_size : (index + 1) * self._batch_size])
        return (self.cells[chosen].astype(np.float32), self.tile[chosen]), self._labels[chosen]


def _read(
    path: str | os.PathLike[str], first: int | None
) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float32], pd.DataFrame]:
    """What the head sees of the pairs of a file, the cells at half precision: 3.5 kB a pair."""
    verify = np.load(path, mmap_mode="r", allow_pickle=False)[:first]
    table = pd.read_csv(os.fspath(path).removesuffix(".npy") + ".csv", keep_default_na=False, nrows=first)
    parts = []
    for start in range(0, len(verify), AT_A_TIME):
        one, two = (np.ascontiguousarray(verify[start : start + AT_A_TIME, side]) for side in (0, 1))
        cells, tile = compare_cells(one, two, untrained_weights())
        parts.append((cells.astype(np.float16), tile))
    halves, tiles = zip(*parts, strict=True)
    return np.concatenate(halves), np.concatenate(tiles), table


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

    ``groups`` maps image to group (:func:`dupnet.pairs.table.overlap_groups`). Groups with an image of
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
    usual: str | os.PathLike[str] | None = None,
) -> keras.Model:
    """Train on files of :func:`dupnet.training.hard_pairs.write_pairs`; writes weights, history and settings
    into ``out``.

    The threshold is one half, or where that falls short of the precision of ``recipe`` on the pairs of
    ``usual`` (by default those of validation), the least that reaches it. It goes into the settings of the
    model.
    """
    recipe, out = recipe or Recipe(), Path(out)
    keras.utils.set_random_seed(recipe.seed)
    model = dupnet(recipe.model)
    judges, cascade = (model.get_layer("head").get_layer(name) for name in ("judges", "score"))
    watched = PairFeatures([validation], 1024, None)
    history = fit(judges, PairFeatures(train, recipe.batch_size, recipe.seed), recipe, watched)
    judged = {"validation": watched, "usual": watched if usual is None else PairFeatures([usual], 1024, None)}
    for name, pairs in judged.items():
        pairs.table["score"] = np.asarray(cascade(judges.predict(pairs, verbose=0))).ravel()
        write_csv(pairs.table, out / f"{name}_scores.csv")
    threshold = _threshold(judged["usual"].table, recipe.precision)
    trained = from_arrays(to_arrays(model), replace(recipe.model, threshold=threshold))
    save_model(trained, out / "dupnet.keras")
    save_arrays(trained, out / "dupnet.npz")
    write_csv(history, out / "history.csv")
    with atomic_path(out / "recipe.json") as beside:
        beside.write_text(json.dumps(asdict(recipe), indent=1) + "\n", encoding="utf-8")
    return trained


def fit(
    judges: keras.Model, train: PairFeatures, recipe: Recipe, validation: PairFeatures | None = None
) -> pd.DataFrame:
    """Train the dense layers (:func:`dupnet.network.architectures.judges`) in place, each judge for itself;
    returns losses, one row an epoch.

    The learning rate falls along half a cosine to nought. Meanwhile every feature has mean nought and
    deviation one, for they differ tenfold in size; afterwards the layers that see them first hold that.
    """
    spreads = [_spread(features) for features in (train.cells, train.tile)]
    levelled = [
        (part - mean) / deviation for part, (mean, deviation) in zip(judges.inputs, spreads, strict=True)
    ]
    model = keras.Model(judges.inputs, judges(levelled))
    schedule = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, train.num_batches * recipe.epochs)
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=recipe.weight_decay)
    model.compile(optimizer, _loss_of_each)
    history = model.fit(train, validation_data=validation, epochs=recipe.epochs, verbose=2)
    for judge in (layer for layer in judges.layers if isinstance(layer, keras.Model)):
        names = [layer.name for layer in judge.layers]
        first_of_tile = names[names.index(f"{judge.name}_join") + 1]
        for name, (mean, deviation) in zip((f"{judge.name}_cell_1", first_of_tile), spreads, strict=True):
            kernel, bias = judge.get_layer(name).get_weights()
            seen = kernel[-len(mean) :]  # of the tile, behind what is pooled of its cells
            seen /= deviation[:, None]
            judge.get_layer(name).set_weights([kernel, bias - mean @ seen])
    return pd.DataFrame(history.history).rename_axis("epoch").reset_index()


def _loss_of_each(is_duplicate: Any, scores: Any) -> Any:
    """Cross entropy of every judge's score, the mean of all."""
    return keras.losses.binary_crossentropy(ops.broadcast_to(is_duplicate, ops.shape(scores)), scores)


def _spread(features: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Mean and standard deviation of each column, from some of the rows; one for what never changes."""
    some = features[:: max(1, len(features) // 20_000)].reshape(-1, features.shape[-1]).astype(np.float32)
    mean, deviation = some.mean(axis=0, dtype=np.float64), some.std(axis=0, dtype=np.float64)
    return mean.astype(np.float32), np.where(deviation > 1e-6, deviation, 1).astype(np.float32)


def _threshold(usual: pd.DataFrame, precision: float) -> float:
    """One half, what a calibrated score asks for; where that is not precise enough, the least that is.

    ``usual`` holds ``score`` and ``is_duplicate`` of pairs as collections hold them.
    """
    scores, is_duplicate = usual["score"].to_numpy(), usual["is_duplicate"].to_numpy()
    if is_duplicate[scores >= 0.5].mean() >= precision:
        return 0.5
    precise, _ = threshold_for_precision(scores, is_duplicate, precision)
    return float(np.clip(precise, 0.5, 1.0))  # it may be beyond any score


def train(
    out: str | os.PathLike[str],
    data: str | os.PathLike[str] = "data/raw",
    airbus: str | os.PathLike[str] | None = None,
    recipe: Recipe | None = None,
) -> keras.Model:
    """Everything from scratch: draw, train, find what is confused, train again; ``history.csv`` has all
    rounds. A stopped run goes on with the next file that it lacks.

    ``data`` is where acquisitions are kept, and fetched to; ``airbus`` as in :func:`acquisitions`.

    Raises
    ------
    ValueError
        If ``out`` holds a run of other settings.
    """
    recipe, out = recipe or Recipe(), Path(out)
    _check_settings(out / "settings.json", recipe)
    hard, faint, validation, usual = (
        out / f"{name}.npy" for name in ("train", "faint", "validation", "usual")
    )
    for part, path, draw, n, seed in (
        ("train", hard, draw_pair, recipe.n_train, 0),
        ("train", faint, draw_faint_pair, recipe.n_faint, 0),
        ("validation", validation, draw_pair, recipe.n_validation, 1),
        ("validation", usual, draw_usual_pair, recipe.n_usual, 2),
    ):
        if not path.exists():
            found = acquisitions(part, data, airbus)
            seed += 1000 * recipe.seed
            write_pairs(found, SHARES, n, path, seed=seed, workers=n_workers(), draw=draw)
    pairs: list[Path] = [hard]
    mined: list[Path] = []
    histories: list[pd.DataFrame] = []
    for number in range(1, recipe.n_rounds + 1):
        folder, confused = out / f"round{number}", out / f"confused{number}.npy"
        if not (folder / "recipe.json").exists():
            epochs = recipe.epochs if number == recipe.n_rounds else recipe.mining_epochs
            train_from_pairs(pairs, validation, folder, replace(recipe, epochs=epochs), usual)
        histories.append(pd.read_csv(folder / "history.csv").assign(round=number))
        if number == recipe.n_rounds:
            break
        if not confused.exists():
            weights = load_weights(folder / "dupnet.npz")
            found = acquisitions("train", data, airbus)
            seed = 500 + 1000 * (recipe.seed + number - 1)
            write_confused(found, SHARES, recipe.n_confused, confused, weights, seed=seed)
        mined.append(confused)
        pairs = [hard, faint, *mined]
    for name in ("dupnet.keras", "dupnet.npz", "validation_scores.csv", "usual_scores.csv", "recipe.json"):
        with atomic_path(out / name) as beside:
            shutil.copyfile(folder / name, beside)
    history = pd.concat(histories, ignore_index=True)
    write_csv(history.assign(epoch=history.index), out / "history.csv")
    return load_model(out / "dupnet.keras")


def _check_settings(path: Path, recipe: Recipe) -> None:
    """Keep the settings of a run when it starts, and refuse to go on with others."""
    wanted = json.loads(json.dumps(asdict(recipe)))
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if other := sorted(name for name in wanted if kept.get(name) != wanted[name]):
            raise ValueError(
                f"{path.parent} holds a run with {other[0]} {kept.get(other[0])!r}, not "
                f"{wanted[other[0]]!r}; choose another folder, or remove it."
            )
    with atomic_path(path) as beside:
        beside.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m dupnet.training.recipe", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--out", type=Path, default=Path("runs/dupnet"), help="folder of the run")
    parser.add_argument("--data", type=Path, default=Path("data/raw"), help="where acquisitions are kept")
    parser.add_argument("--airbus", type=Path, help="folder with images/ and parts.csv")
    for name in (
        "n_train",
        "n_faint",
        "n_validation",
        "n_usual",
        "n_confused",
        "n_rounds",
        "mining_epochs",
        "epochs",
        "seed",
    ):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(Recipe, name))
    options = parser.parse_args(arguments)
    chosen = {name: value for name, value in vars(options).items() if name not in ("out", "data", "airbus")}
    train(options.out, options.data, options.airbus, Recipe(**chosen))


if __name__ == "__main__":
    main()
