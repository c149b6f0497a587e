"""Every pair of tiles of different ground: of images that do not overlap, and of two collections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from dupnet.images.reading import read_grey
from dupnet.network import comparison, descriptors
from dupnet.tiles import split_tiles

HIGHEST = 10
NOT_HELD_OUT = "not held out"
"""In the name of a collection that networks were trained on."""
PAIRS_AT_A_TIME = 16_384


def describe_images(folder: Path, names: list[str]) -> descriptors.Descriptors:
    """Descriptors of the nine tiles of each image, in order."""
    found = [
        descriptors.describe(np.asarray(split_tiles(read_grey(folder / name)), np.uint8)) for name in names
    ]
    return descriptors.Descriptors(
        np.concatenate([one.search for one in found]),
        np.concatenate([one.verify for one in found]),
        np.concatenate([one.decidable for one in found]),
    )


def cross_pairs(
    collections: dict[str, tuple[Path, dict[str, str]]],
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Score every pair of decidable tiles of images of different overlap groups: none of them is a duplicate.

    ``collections`` gives the folder of each, and the overlap group of each image.

    Returns
    -------
    counts, highest, decidable : pandas.DataFrame
        ``collection1, collection2, n_pairs, n_false_duplicates, highest_score, threshold``, then all
        together, last those that no network was trained on; the ten highest scores, ``collection1, image1,
        tile1, collection2, image2, tile2, score``; and ``collection, n_images, n_tiles, n_undecidable,
        undecidable_share``.
    """
    parts, described = [], []
    for name, (folder, groups) in collections.items():
        images = sorted(groups)
        table = pd.DataFrame({"image": np.repeat(images, 9), "tile": np.tile(np.arange(9), len(images))})
        parts.append(table.assign(collection=name, group=name + " " + table["image"].map(groups)))
        described.append(describe_images(folder, images))
    tiles = pd.concat(parts, ignore_index=True)
    tiles["decidable"] = np.concatenate([one.decidable for one in described])
    verify = np.concatenate([one.verify for one in described])
    usable = np.flatnonzero(tiles["decidable"])
    group, collection = (tiles[name].factorize()[0] for name in ("group", "collection"))
    threshold = descriptors.load_weights().threshold
    n_collections = len(collections)
    counts = np.zeros((n_collections**2, 2), np.int64)
    largest = np.full(n_collections**2, -1.0)
    best = pd.DataFrame({"one": [], "two": [], "score": []})
    for one, two in tqdm(list(_blocks(usable)), desc="pairs of unrelated tiles"):
        apart = group[one] != group[two]
        one, two = one[apart], two[apart]
        scores = comparison.score_pairs(verify[one], verify[two])
        which = collection[one] * n_collections + collection[two]
        counts[:, 0] += np.bincount(which, minlength=len(counts))
        counts[:, 1] += np.bincount(which[scores >= threshold], minlength=len(counts))
        np.maximum.at(largest, which, scores)
        rows = np.argsort(-scores, kind="stable")[:HIGHEST]
        part = pd.DataFrame({"one": one[rows], "two": two[rows], "score": scores[rows]})
        best = pd.concat([best, part] if len(best) else [part], ignore_index=True)
        best = best.nlargest(HIGHEST, "score")
    names = list(collections)
    table = pd.DataFrame(
        [
            (names[row // n_collections], names[row % n_collections], *counts[row], largest[row], threshold)
            for row in np.flatnonzero(counts[:, 0])
        ],
        columns=["collection1", "collection2", "n_pairs", "n_false_duplicates", "highest_score", "threshold"],
    )
    table.loc[len(table)] = ("all", "all", *counts.sum(axis=0), largest.max(), threshold)
    unseen = np.array([NOT_HELD_OUT not in name for name in names])
    held_out = np.logical_and.outer(unseen, unseen).ravel()
    held = (*counts[held_out].sum(axis=0), largest[held_out].max(initial=-1), threshold)
    table.loc[len(table)] = ("all held out", "all held out", *held)
    columns = {}
    for side, rows in (("1", best["one"].astype(int)), ("2", best["two"].astype(int))):
        for name in ("collection", "image", "tile"):
            columns[f"{name}{side}"] = tiles[name].to_numpy()[rows]
    highest = pd.DataFrame({**columns, "score": best["score"].to_numpy()})
    by_collection = tiles.assign(undecidable=~tiles["decidable"]).groupby("collection", sort=False)
    decidable = by_collection.agg(
        n_images=("image", "nunique"), n_tiles=("tile", "size"), n_undecidable=("undecidable", "sum")
    )
    decidable["undecidable_share"] = decidable["n_undecidable"] / decidable["n_tiles"]
    return table, highest, decidable.reset_index()


def _blocks(rows: npt.NDArray[np.int64]) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """All pairs of ``rows``, each once, in blocks of about :data:`PAIRS_AT_A_TIME`."""
    step = max(1, PAIRS_AT_A_TIME // max(len(rows), 1))
    for start in range(0, len(rows), step):
        first, second = np.arange(start, min(start + step, len(rows))), np.arange(start, len(rows))
        one, two = (grid.ravel() for grid in np.meshgrid(first, second, indexing="ij"))
        later = two > one
        yield rows[one[later]], rows[two[later]]
