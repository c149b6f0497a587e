"""Crowds of nearly equal images, which are set aside before the join: one of each crowd stands for the rest.

A thousand copies of one image, each saved on its own, put a thousand points into every bucket of the join and
half a million pairs to the vote. Here copies are told without pairing them: an image is summed up by a few
*marks*, each the least of the hashes of some of its points, so that two images share a mark as often as they
share points (Broder, 1997, doi:10.1109/SEQUEN.1997.666900; one permutation as in Li, Owen and Zhang, 2012,
arXiv:1208.1259). A mark that very many images share tells a crowd. Each image of a crowd is compared with the
first, by its points and then by the judge of all overlaps: only a *duplicate* at offset zero is set aside.
What else an image of the crowd shares ground with follows from the place of the first.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial import KDTree

from dupnet.find.cache import Cache
from dupnet.find.groups import MAX_STACK
from dupnet.find.join import MIN_COSINE
from dupnet.find.overlaps import DUPLICATE, KEY, PLACE, Judge, overlap_keys
from dupnet.find.points import CODE_LENGTH, UNIT
from dupnet.find.votes import EXACT_FROM
from dupnet.tiles import CELL_SIZE

__all__ = ["CROWD", "NearCopies", "near_copies", "recalling"]

Numbers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

CROWD = 100
"""Images that share a mark from which on there is a crowd. A hundred copies are joined within seconds, and
the time grows with the square."""

LEAST_SHARE = 0.3
"""Share of the points of the poorer of the two that a copy has in common with the first of its crowd, at
least; and no fewer than tell an offset to the pixel. Saved at quality 60 and 95 they have half and more in
common, at another time few. The judge has the last word."""

N_MARKS = 64
"""Marks of an image. Of saved copies, which share half of their points and more, one in five is shared."""

MAX_ROUNDS = 8
"""Times that what is left of a crowd is marked anew, by other hashes."""

POINT_CELL = 16
"""Side in pixels of the squares by which the place of a point counts in its hash."""

N_SIGNS = 4
"""Signs of the first numbers of its code that count in the hash of a point."""

POINT_RADIUS = 1.5
"""How far in pixels a point may lie from that of another copy: half a pixel of a coarse one, each."""

LEAST_OFFSET = 0.5
"""Mean distance of matched points, in pixels along an axis, from which on images do not lie on each other."""

IMAGES_AT_A_TIME = 256

LEADERS_HELD = 64
"""Images whose points are held while others are compared with them."""


class NearCopies(NamedTuple):
    """What is set aside: overlaps of an image that is joined with its copies that are not.

    ``proposals``: :data:`~dupnet.find.overlaps.KEY` and ``n_votes``; ``image2`` is the copy. ``judged``: the
    same overlaps as the judge had them.
    """

    proposals: pd.DataFrame
    judged: pd.DataFrame


def near_copies(
    cache: Cache,
    names: list[str],
    sizes: Numbers,
    sides: npt.NDArray[np.bool_] | None,
    judge: Judge,
) -> NearCopies:
    """Images of crowds that are set aside, and the image that stands for each.

    Parameters
    ----------
    cache : Cache
        With the points of all images.
    names : list of str
        Name of every image, by its number.
    sizes : (number of images, 2) int64
        Height and width of every image.
    sides : (number of images,) bool, optional
        Only images of one side stand for each other.
    judge : callable
        Judges overlaps; only its duplicates are set aside.
    """
    votes_of = _Points(cache, names)
    left = np.arange(len(names))
    judged: list[pd.DataFrame] = []
    tried = np.zeros(0, np.int64)
    for number in range(MAX_ROUNDS):
        marks, owners = _marks(cache, names, left, sizes, sides, seed=number)
        if not number and not _has_crowd(marks):
            break
        leaders, copies = _candidates(marks, owners)
        if not len(copies):
            break
        untried = ~np.isin(leaders * len(names) + copies, tried)
        pairs = np.column_stack([leaders, copies])[untried]
        tried = np.concatenate([tried, pairs @ [len(names), 1]])
        n_votes = np.array([votes_of(one, two) for one, two in pairs.tolist()], np.int64)
        found = _as_proposals(pairs[:, 0], pairs[:, 1], n_votes)[n_votes > 0].reset_index(drop=True)
        verdicts = judge(found).assign(n_votes=found["n_votes"])
        judged.append(verdicts[verdicts["verdict"] == DUPLICATE])
        # An image that most of its crowd do not equal makes room for another.
        n_equal = np.bincount(judged[-1]["image1"], minlength=len(names))
        spent = np.flatnonzero(2 * n_equal < np.bincount(leaders, minlength=len(names)))
        left = np.setdiff1d(left, np.concatenate([judged[-1]["image2"], spent]))
        if number and not sum(map(len, judged[-2:])):
            break  # what all have in common is a watermark, say
    if not judged:
        none = np.zeros(0, np.int64)
        proposals = _as_proposals(none, none, none)
        return NearCopies(proposals, proposals)
    together = pd.concat(judged, ignore_index=True)
    return NearCopies(together[[*KEY, "n_votes"]], together)


def recalling(judge: Judge, judged: pd.DataFrame) -> Judge:
    """A judge that does not judge again what it judged on the lattice of image 1."""
    if judged.empty:
        return judge
    known = judged.set_index(overlap_keys([judged]))
    verdicts = [name for name in judged.columns if name not in (*KEY, "n_votes")]

    def judging(pairs: pd.DataFrame) -> pd.DataFrame:
        keys = overlap_keys([pairs])
        is_known = keys.isin(known.index)
        if "group" in pairs:
            is_known &= (pairs[PLACE[1:]].to_numpy(np.int64) % CELL_SIZE == 0).all(axis=1)
        if not is_known.any():
            return judge(pairs)
        new = judge(pairs[~is_known].reset_index(drop=True))
        old = pairs[is_known].reset_index(drop=True)
        old = old.assign(**{name: known.loc[keys[is_known], name].to_numpy() for name in verdicts})
        rows = np.concatenate([np.flatnonzero(~is_known), np.flatnonzero(is_known)])
        both = pd.concat([table for table in (new, old) if len(table)], ignore_index=True)
        return both.iloc[np.argsort(rows)].reset_index(drop=True)[list(new.columns)]

    return judging


def _as_proposals(leaders: Numbers, copies: Numbers, n_votes: Numbers) -> pd.DataFrame:
    zero = np.zeros(len(copies), np.int64)
    return pd.DataFrame(dict(zip([*KEY, "n_votes"], (leaders, copies, zero, zero, n_votes), strict=True)))


def _marks(
    cache: Cache,
    names: list[str],
    images: Numbers,
    sizes: Numbers,
    sides: npt.NDArray[np.bool_] | None,
    seed: int,
) -> tuple[Hashes, Numbers]:
    """The marks of images, sorted, and the image of each.

    A mark is of two hashes of all points, the least of each among those that fall into one of N_MARKS parts.
    """
    rng = np.random.default_rng([seed, N_MARKS])
    salts = rng.integers(0, 2**63, 2, np.uint64)
    shift = rng.uniform(0, POINT_CELL, 2)
    side = np.zeros(len(sizes), np.int64) if sides is None else sides.astype(np.int64)
    found: list[Hashes] = [np.zeros(0, np.uint64)]
    owners: list[Numbers] = [np.zeros(0, np.int64)]
    for start in range(0, len(images), IMAGES_AT_A_TIME):
        some = images[start : start + IMAGES_AT_A_TIME]
        place, keys = _point_keys(cache, [names[number] for number in some], shift)
        mark = np.zeros(len(some) * N_MARKS, np.uint64)
        is_whole = np.ones(len(mark), np.bool_)
        for salt in salts:
            hashes = _mixed(keys ^ salt)
            least = np.full(len(mark), np.iinfo(np.uint64).max)
            part = place * N_MARKS + (hashes % np.uint64(N_MARKS)).astype(np.int64)
            np.minimum.at(least, part, hashes)
            is_whole &= least != np.iinfo(np.uint64).max
            mark = _mixed(mark ^ least)
        owner = np.repeat(some, N_MARKS)
        about = (sizes[owner, 0] * 2**20 + sizes[owner, 1]) * 2 + side[owner]  # of one size and side
        found.append(_mixed(mark ^ about.astype(np.uint64))[is_whole])
        owners.append(owner[is_whole])
    marks, images_of = np.concatenate(found), np.concatenate(owners)
    order = np.argsort(marks, kind="stable")
    return marks[order], images_of[order]


def _point_keys(cache: Cache, names: list[str], shift: npt.NDArray[np.float64]) -> tuple[Numbers, Hashes]:
    """Of each point of some images the place of its image among them, and what it is known by."""
    rows = cache.rows_of(names)
    place = np.repeat(np.arange(len(names)), [cache.entries[name].n_rows for name in names])
    cell = [
        np.floor((cache.read(name, rows).reshape(-1).view(np.float32) + by) / POINT_CELL).astype(np.uint64)
        for name, by in zip(("y", "x"), shift, strict=True)
    ]
    signs = cache.read("codes", rows)[:, :N_SIGNS].view(np.int8) > 0
    packed = np.packbits(signs, axis=1)[:, 0].astype(np.uint64)
    kinds = cache.read("kinds", rows)[:, 0].astype(np.uint64)
    return place, (cell[0] << np.uint64(36)) | (cell[1] << np.uint64(16)) | (kinds << np.uint64(8)) | packed


def _mixed(values: Hashes) -> Hashes:
    """Numbers that depend on all bits of others (the finaliser of SplitMix64: Steele, Lea and Flood, 2014,
    doi:10.1145/2660193.2660195)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> np.uint64(31)))


def _runs(marks: Hashes) -> tuple[Numbers, Numbers]:
    """Where each run of equal marks starts, and its length."""
    starts = np.flatnonzero(np.concatenate([[True], marks[1:] != marks[:-1]])) if len(marks) else marks[:0]
    starts = starts.astype(np.int64)
    return starts, np.diff(np.append(starts, len(marks)))


def _has_crowd(marks: Hashes) -> bool:
    return bool(_runs(marks)[1].max(initial=0) >= CROWD)


def _candidates(marks: Hashes, owners: Numbers) -> tuple[Numbers, Numbers]:
    """Images that may stand for others, and these: of those that share a mark with more than a stack holds,
    the first; of those that are led themselves, none."""
    starts, lengths = _runs(marks)
    is_large = lengths > MAX_STACK
    first = np.repeat(owners[starts[is_large]], lengths[is_large])  # owners ascend within a run
    member = owners[np.repeat(is_large, lengths)]
    n_images = int(owners.max(initial=0)) + 1
    leader = np.full(n_images, n_images)
    np.minimum.at(leader, member, first)
    copies = np.flatnonzero(leader < np.arange(n_images))
    leads = leader[copies]
    is_first = leader[leads] == leads
    return leads[is_first], copies[is_first]


class _Points:
    """Counts the points that two images have in one place with nearly one code."""

    def __init__(self, cache: Cache, names: list[str]) -> None:
        self._cache = cache
        self._names = names
        self._of_leader = lru_cache(maxsize=LEADERS_HELD)(self._of)

    def __call__(self, leader: int, copy: int) -> int:
        """Their number; zero if it is less than a copy has, or they lie elsewhere."""
        (places1, codes1), (places2, codes2) = self._of_leader(int(leader)), self._of(int(copy))
        distance, nearest = KDTree(places1).query(places2, distance_upper_bound=POINT_RADIUS)
        near = np.flatnonzero(np.isfinite(distance))
        nearest = nearest[near]
        products = np.einsum("ij,ij->i", codes1[nearest], codes2[near])
        agree = products >= MIN_COSINE * UNIT**2
        n_votes = int(agree.sum())
        if n_votes < max(EXACT_FROM, LEAST_SHARE * min(len(codes1), len(codes2))):
            return 0
        apart = np.abs((places1[nearest[agree]] - places2[near[agree]])[:, :2].mean(axis=0))
        return n_votes if (apart < LEAST_OFFSET).all() else 0

    def _of(self, image: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
        """Place and kind of points, the kinds far from each other, and codes."""
        rows = self._cache.rows_of([self._names[image]])
        y, x = (self._cache.read(name, rows).reshape(-1).view(np.float32) for name in ("y", "x"))
        kinds = self._cache.read("kinds", rows)[:, 0]
        codes = self._cache.read("codes", rows).view(np.int8).reshape(-1, CODE_LENGTH)
        return np.column_stack([y, x, 2 * POINT_RADIUS * kinds]).astype(np.float64), codes.astype(np.int32)
