"""The images of a folder as sources of pairs, whole acquisitions on one side each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dupnet.evaluation.signals import acquisitions, known_overlaps
from dupnet.images.listing import list_images
from dupnet.images.reading import read_image
from dupnet.pairs.table import overlap_groups
from dupnet.training.crops import Source

__all__ = ["sources_of_folder"]


def sources_of_folder(
    folder: str | os.PathLike[str], held_out: Sequence[str], seed: int = 0
) -> dict[str, list[Source]]:
    """Sources for training and validation, so that no pixel of one is seen in the other.

    Parameters
    ----------
    folder
        Images of a tile and more.
    held_out
        Acquisitions for validation, by the names that ``images.csv`` beside the folder has for them. Without
        that file a third of the overlap groups takes their place.
    seed
        Draws that third.

    Returns
    -------
    ``train`` and ``validation``: one source an image.

    Raises
    ------
    FileNotFoundError
        If neither ``images.csv`` nor ``truth.csv`` lies beside the folder.
    """
    names = list_images(folder)
    groups = acquisitions(folder, names)
    apart = set(held_out)
    if (groups == "").all():
        groups = overlap_groups(names, known_overlaps(folder)).astype(str)
        shuffled = np.random.default_rng(seed).permutation(groups.unique())
        apart = set(shuffled[: len(shuffled) // 3])
    found: dict[str, list[Source]] = {"train": [], "validation": []}
    for name, group in groups.items():
        part = "validation" if group in apart else "train"
        found[part].append(Source("sample", str(group), read_image(Path(folder, str(name)))))
    return found
