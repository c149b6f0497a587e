"""Splits that do not leak: images that share ground are in one split, all of them.

What must not be torn apart is a group: all that duplicate or altered overlaps join, contradicted ones
included. :meth:`dupnet.find.results.FindResult.groups_for` gives it in the order of one's own table, for
``GroupKFold`` and the other splitters of scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dupnet.splits.balance import balanced, counts_of
from dupnet.splits.blocks import split_blocks
from dupnet.splits.entries import BUFFER
from dupnet.splits.ground import Found, relations
from dupnet.splits.strata import strata_of

__all__ = ["SPLIT_NAMES", "checked_names", "kept_together", "random_split", "split"]

SPLIT_NAMES = {2: ("train", "test"), 3: ("train", "validation", "test")}
"""Names of the splits where none are given."""

TOLERATED = 0.01
"""A share of a split further than this from its ratio, and further than one image makes, is warned of."""

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def split(
    result: Found | pd.DataFrame,
    ratios: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    strata: Mapping[str, object] | pd.Series | None = None,
    names: Sequence[str] | None = None,
    *,
    keep_revisits: bool = False,
    blocks: int | None = None,
) -> pd.DataFrame:
    """Divide a collection into splits, whole groups together.

    Parameters
    ----------
    result : FindResult or DataFrame
        What ``find`` found; or a table ``image, group`` alone, where groups are all that is known.
    ratios : sequence of float
        Share of the images that each split is to have; together 1.
    seed : int
        Which of the equally good splits.
    strata : mapping or Series, optional
        A label or number for each image, whose shares are to be alike in all splits: the number of ships,
        say. Numbers of more than ``MAX_STRATA`` distinct values are grouped into deciles.
    names : sequence of str, optional
        Names of the splits; ``train, validation, test`` for three, ``train, test`` for two.
    keep_revisits : bool
        Keep images together, too, that show the same ground at another time.
    blocks : int, optional
        Divide groups that hold more images than the smallest split is to have: by square blocks of so many
        pixels in their mosaics. Images across two splits get the split ``buffer``.

    Returns
    -------
    DataFrame
        ``image, group, split``, sorted by image; ``group`` is what was kept together. Sizes of the splits,
        and of each stratum in them, come as close to the ratios as moving or exchanging groups can bring
        them, and no split is empty. A warning says so where a split misses its ratio by more than
        ``TOLERATED`` and more than an image.

    Raises
    ------
    ValueError
        If the ratios are not positive or do not sum to 1, names and ratios differ in number, a name is blank,
        there are fewer groups than splits, or an image has no stratum.
    """
    share, names = checked_names(ratios, names)
    if isinstance(result, pd.DataFrame):
        if keep_revisits or blocks is not None:
            raise ValueError("keep_revisits and blocks need the result of find, not a table of groups alone.")
        table = result[["image", "group"]].copy()
    else:
        table = kept_together(result, revisits=keep_revisits)
    table = table.sort_values("image", ignore_index=True)
    stratum = np.zeros(len(table), dtype=np.int64)
    if strata is not None:
        stratum = strata_of(table["image"], strata).codes.astype(np.int64)
    if blocks is not None and not isinstance(result, pd.DataFrame):
        assigned = split_blocks(result, table, share, seed, stratum, blocks, keep_revisits=keep_revisits)
    else:
        assigned = _whole_groups(table, share, seed, stratum)
    labels = np.array([*names, BUFFER], dtype=object)
    reason = f"the largest group holds {table['group'].value_counts().max()} of {len(table)} images"
    if blocks is not None:
        reason = f"{(assigned == len(share)).sum()} of {len(table)} images are in the buffer"
    _warn_of_misses(assigned, share, "Whole groups" if blocks is None else "Blocks", ratios, names, reason)
    return table.assign(split=labels[assigned])


def kept_together(result: Found, *, revisits: bool = False) -> pd.DataFrame:
    """What must not be torn apart, ``image, group``: the groups, joined by whatever duplicate or altered
    overlap (contradicted ones included) still crosses them; with ``revisits`` also by ground shown at another
    time.

    Groups are numbered by their first image.
    """
    groups = result.groups
    joining = result.overlaps[result.overlaps["verdict"].isin(("duplicate", "altered"))]
    tables = [joining, result.rejected, *([result.revisits] if revisits else [])]
    pairs = pd.concat([relations(table, groups)[["number1", "number2"]] for table in tables])
    code = pd.factorize(groups["group"])[0]
    first = np.unique(code, return_index=True)[1]
    one = np.concatenate([pairs["number1"].to_numpy(np.int64), np.arange(len(groups))])
    other = np.concatenate([pairs["number2"].to_numpy(np.int64), first[code]])
    links = coo_array((np.ones(len(one)), (one, other)), shape=(len(groups), len(groups)))
    component = connected_components(links.tocsr(), directed=False)[1]
    return pd.DataFrame({"image": groups["image"].to_numpy(object), "group": pd.factorize(component)[0]})


def random_split(
    images: Sequence[str],
    ratios: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    names: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The usual split, image by image and blind to overlaps, to measure what it leaks: ``image, split``."""
    share, names = checked_names(ratios, names)
    ends = np.rint(np.cumsum(share) * len(images)).astype(np.int64)
    rank = np.random.default_rng(seed).permutation(len(images))
    code = np.searchsorted(ends, rank, side="right")
    return pd.DataFrame({"image": sorted(images), "split": np.asarray(names, dtype=object)[code]})


def checked_names(ratios: Sequence[float], names: Sequence[str] | None) -> tuple[Floats, Sequence[str]]:
    """The shares of splits and their names.

    Raises
    ------
    ValueError
        If they are none.
    """
    share = np.asarray(ratios, dtype=np.float64)
    # Summed by Python: numpy warns where a sum is larger than any float.
    if len(share) < 2 or not (share > 0).all() or abs(sum(share.tolist()) - 1) > 1e-6:
        raise ValueError(f"ratios are {tuple(ratios)}; give at least two positive shares that sum to 1.")
    if names is None:
        if len(share) not in SPLIT_NAMES:
            raise ValueError(f"names: {len(share)} ratios have no names of their own; pass as many names.")
        names = SPLIT_NAMES[len(share)]
    if len(names) != len(share) or len(set(names)) != len(names):
        raise ValueError(f"names are {tuple(names)}; {len(share)} ratios need as many different names.")
    if not all(name.strip() for name in names):
        raise ValueError(f"names are {tuple(names)}; a split needs a name that is not blank.")
    if BUFFER in names:
        raise ValueError(f"names are {tuple(names)}; {BUFFER!r} is what images in no split are called.")
    return share / share.sum(), names


def _whole_groups(table: pd.DataFrame, share: Floats, seed: int, stratum: Integers) -> Integers:
    """A split for each image (n,), whole groups together."""
    _, group = np.unique(table["group"].to_numpy(), return_inverse=True)
    n_groups = int(group.max(initial=-1)) + 1
    if n_groups < len(share):
        raise ValueError(
            f"groups: {n_groups} groups cannot fill {len(share)} splits; groups stay whole, so that this "
            "collection needs fewer splits, or one inside its groups (--blocks PX)."
        )
    return balanced(counts_of(group, stratum), share, seed)[group]


def _warn_of_misses(
    assigned: Integers,
    share: Floats,
    parts: str,
    ratios: Sequence[float],
    names: Sequence[str],
    reason: str,
) -> None:
    n_images = np.bincount(assigned, minlength=len(share) + 1)[: len(share)]
    reached = n_images / max(n_images.sum(), 1)
    if np.abs(reached - share).max() > max(TOLERATED, 1 / len(assigned)):
        shares = ", ".join(f"{name} {value:.3f}" for name, value in zip(names, reached, strict=True))
        warnings.warn(
            f"{parts} cannot meet the ratios {tuple(ratios)}: got {shares}; {reason}.",
            stacklevel=3,
        )
