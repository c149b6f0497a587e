"""The settings of a training, kept with its result, and the refusal to go on with others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras

from dupnet import __version__
from dupnet.augment.variation import AugmentConfig
from dupnet.files.atomic import atomic_path
from dupnet.network.architectures import DupnetConfig, DupnetV0Config

__all__ = ["TrainConfig", "keep_settings"]


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training; the defaults are of a large one from scratch. All numbers of the pairs that it
    learns from and is watched on, of rounds and of epochs are at least 1.

    ``dupnet`` learns from ``n_train`` hard pairs that are drawn and described once, which takes the most of
    the time. Training is in ``n_rounds`` from the same start, of ``mining_epochs`` each and the last of
    ``epochs``: after each but the last its network finds ``n_confused`` pairs of tiles that it takes for each
    other (:mod:`dupnet.training.mining`). They join the others from the next on, and so do ``n_faint`` pairs
    that show little (:func:`dupnet.training.hard_pairs.draw_faint_pair`). ``n_rare`` pairs of rare kinds
    (:func:`dupnet.training.rare_pairs.draw_rare_pair`) are there from the first. It is watched on
    ``n_validation`` hard pairs. The threshold must reach ``precision`` on ``n_usual`` validation pairs as
    collections hold them; without any, on those that it is watched on.

    ``dupnet_v0`` sees the pixels of a table's pairs, for ``epochs``. Rows of a table are varied by
    ``augment``, and ``another_day_share`` of the duplicates become one place on another day.

    With a ``start``, the name of shipped weights, a training of ``dupnet`` tunes these: every round begins
    with them, and the first has all kinds of pairs.

    The learning rate falls along half a cosine to zero, with decoupled ``weight_decay``. ``rows_per_epoch``
    limits an epoch to so many pairs drawn anew each time, as the original took 5 % of its pairs.
    """

    model: DupnetConfig | DupnetV0Config = field(default_factory=DupnetConfig)
    n_train: int = 465_000
    n_faint: int = 100_000
    n_rare: int = 100_000
    n_validation: int = 24_000
    n_usual: int = 24_000
    n_confused: int = 20_000
    n_rounds: int = 3
    mining_epochs: int = 10
    epochs: int = 30
    rows_per_epoch: int | None = None
    batch_size: int = 128
    learning_rate: float = 1.5e-3
    weight_decay: float = 1e-4
    precision: float = 0.9999
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    another_day_share: float = 0.25
    seed: int = 0
    start: str | None = None

    def __post_init__(self) -> None:
        for name in ("n_train", "n_validation", "n_rounds", "mining_epochs", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1.")

    @classmethod
    def of_size(cls, n_train: int, **others: Any) -> TrainConfig:
        """Settings with ``n_train`` hard pairs, and of the other kinds as large a share as the defaults
        have."""
        kinds = ("n_faint", "n_rare", "n_validation", "n_usual", "n_confused")
        numbers = {name: max(16, round(getattr(cls, name) * n_train / cls.n_train)) for name in kinds}
        return cls(n_train=n_train, **{**numbers, **others})


def keep_settings(out: Path, config: TrainConfig, drawn_from: Mapping[str, Any]) -> None:
    """Write ``train.json`` when a run starts, and refuse to go on with others.

    ``drawn_from`` tells what the pairs are drawn from, as far as JSON can.

    Raises
    ------
    ValueError
        If ``out`` holds a run of other settings.
    """
    path = out / "train.json"
    versions = {"dupnet": __version__, "keras": keras.__version__, "backend": keras.backend.backend()}
    wanted = json.loads(json.dumps({"config": asdict(config), "drawn_from": drawn_from}))
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        for part in ("config", "drawn_from"):
            kept = known.get(part, {})
            other = sorted(
                name for name in {*wanted[part], *kept} if kept.get(name) != wanted[part].get(name)
            )
            if other:
                raise ValueError(
                    f"{out} holds a run with {other[0]} {kept.get(other[0])!r}, not "
                    f"{wanted[part].get(other[0])!r}; choose another folder, or remove it."
                )
    with atomic_path(path) as beside:
        beside.write_text(json.dumps({**wanted, "versions": versions}, indent=1) + "\n", encoding="utf-8")
