"""The recipe of the shipped network: its sources, and parts of them that never meet.

``python -m dupnet.training.recipe`` trains from scratch, or tunes what ``--start`` names; ``make train`` and
``make tune``, which made the shipped weights, call it with their numbers of pairs and rounds. Derna, Kitsap,
Yellowstone and Washington come from the package registries; Airbus images are used where their folder is
given. :mod:`dupnet.training.rounds` does the rest, as for ``dupnet train``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from dupnet.acquisitions import sources
from dupnet.images.reading import read_image
from dupnet.training.config import TrainConfig
from dupnet.training.crops import Source
from dupnet.training.material import Material
from dupnet.training.rounds import train

__all__ = ["COLUMNS", "SHARES", "acquisitions", "airbus_parts"]

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

NUMBERS = (
    "n_train",
    "n_faint",
    "n_rare",
    "n_validation",
    "n_usual",
    "n_confused",
    "n_rounds",
    "mining_epochs",
    "epochs",
    "seed",
)
"""Settings of :class:`dupnet.training.config.TrainConfig` that are options of the recipe."""


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Train or tune; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m dupnet.training.recipe", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--out", type=Path, default=Path("runs/dupnet"), help="folder of the run")
    parser.add_argument("--data", type=Path, default=Path("data/raw"), help="where acquisitions are kept")
    parser.add_argument("--airbus", type=Path, help="folder with images/ and parts.csv")
    for name in NUMBERS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(TrainConfig, name))
    parser.add_argument("--learning-rate", type=float, default=TrainConfig.learning_rate)
    parser.add_argument("--start", help="shipped weights to tune, a file of dupnet/network/weights")
    options = parser.parse_args(arguments)
    named = (*NUMBERS, "learning_rate", "start")
    config = TrainConfig(**{name: getattr(options, name) for name in named})
    material = Material(partial(acquisitions, folder=options.data, airbus=options.airbus), SHARES)
    train(material, options.out, config)


if __name__ == "__main__":
    main()
