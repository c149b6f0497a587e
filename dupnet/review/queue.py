"""What to judge, in which order, and the pictures of it: the review without its user interface."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.find.region_tiles import ScoredTile, tiles_of_grid, tiles_of_region
from dupnet.find.regions import Region, common_region
from dupnet.find.verdicts import Settled, settle
from dupnet.images.image import Image
from dupnet.images.listing import Folders
from dupnet.images.stretch import Rendering
from dupnet.images.transforms import is_transformed, laid, matrix_of
from dupnet.metrics.pair_metrics import subtract_channel_medians
from dupnet.network.descriptors import Weights
from dupnet.report.previews import (
    difference_map,
    outline,
    reduce_to,
    region_boxes,
    shared_regions,
    shown_name,
)
from dupnet.review.images import read_grey, read_image
from dupnet.review.judgements import VERDICTS, Judged, Judgements
from dupnet.tiles import CELL_SIZE, TILE_SIZE

__all__ = ["PICTURES", "Review"]

Pixels = npt.NDArray[np.uint8]

PICTURES = ("image1", "image2", "region1", "region2", "levels1", "levels2", "absolute", "medians")
"""What can be shown: either image with its overlap outlined; the shared region of either; that region
less its channel medians, with wrap-around; the difference as it is, and of the regions less their medians."""

WHOLE = 768
"""Longest side in pixels at which a whole image is shown; larger ones are reduced."""

LISTED = 200
"""Pairs that a list shows at most."""


class Review:
    """Overlaps to judge, least certain first, and the judgements on them.

    Parameters
    ----------
    pairs
        As :func:`~dupnet.review.tables.as_pairs` gives it: ``image1, image2, overlap_tag, y_offset, x_offset,
        score, verdict``. Of a pair that has a transform, image 2 is shown and scored as it lies on image 1.
    images
        The folder, or several, that hold the images; a name is looked up in their order.
    judgements
        Where the answers go.
    tile_size, stride
        Side of the tiles of a grid, and its step (by default that side): what is scored of pairs that lie on
        it.
    places
        Of images that were searched at any offset the place ``y, x``, in pixels, as seen from where the
        lattice of their group begins: their pairs are scored on it, as the search did.
    groups
        The group of each image, of which the pairs can be accepted together.
    rendering
        What to take of files of more than three bands or 8 bits.
    weights
        The network that scores single tiles; the shipped one by default.

    Raises
    ------
    ValueError
        If there is no pair.
    """

    def __init__(
        self,
        pairs: pd.DataFrame,
        images: Folders,
        judgements: Judgements,
        *,
        tile_size: int = TILE_SIZE,
        stride: int | None = None,
        places: Mapping[str, tuple[int, int]] | None = None,
        groups: Mapping[str, int] | None = None,
        rendering: Rendering = Rendering(),
        weights: Weights | None = None,
    ) -> None:
        if pairs.empty:
            raise ValueError("pairs is empty; there is nothing to judge.")
        self.judgements = judgements
        self._tile_size, self._stride, self._places = tile_size, stride or tile_size, places
        self._read = lru_cache(maxsize=8)(partial(read_image, images, rendering=rendering))
        self._read_grey = lru_cache(maxsize=8)(partial(read_grey, images, rendering=rendering))
        self._tiles = lru_cache(maxsize=32)(self._scored_tiles)
        self._weights = weights
        certainty = (pairs["score"].astype(float) - 0.5).abs().fillna(np.inf)
        # Stable, so that pairs of one certainty stay in the order of the table.
        self.pairs = pairs.iloc[np.argsort(certainty.to_numpy(), kind="stable")].reset_index(drop=True)
        columns = ["image1", "image2", "y_offset", "x_offset", "overlap_tag"]
        self._overlaps = [
            Judged(str(one), str(two), int(y), int(x), str(tag))
            for one, two, y, x, tag in self.pairs[columns].itertuples(index=False)
        ]
        self._changed = {
            number: matrix_of(self.pairs.iloc[number])
            for number in np.flatnonzero(is_transformed(self.pairs)).tolist()
        }
        self._numbers = {overlap.key: number for number, overlap in enumerate(self._overlaps)}
        self._of_image: dict[str, list[int]] = defaultdict(list)
        for number, overlap in enumerate(self._overlaps):
            self._of_image[overlap.image1].append(number)
        self._of_group: dict[int, list[int]] = defaultdict(list)
        self._group = groups or {}
        for number, (overlap, said) in enumerate(zip(self._overlaps, self.pairs["verdict"], strict=True)):
            if said == "duplicate" and overlap.image1 in self._group:
                self._of_group[self._group[overlap.image1]].append(number)
        self._together: list[set[int]] = []
        self._said: dict[int, str] = {}
        self._settle()

    def next_pair(self, after: int = -1) -> int | None:
        """The first pair after pair ``after``, round the end, without a judgement given or following from
        others; None if all have one."""
        n_pairs = len(self.pairs)
        for step in range(1, n_pairs + 1):
            pair = (after + step) % n_pairs
            if pair not in self._said:
                return pair
        return None

    def judge(self, pair: int, verdict: str) -> str:
        """Put a verdict on disk; what is to be told of it: that the pair has another one, which stays, or
        that it contradicts others; else the empty text.

        Raises
        ------
        ValueError
            If the verdict or the pair is unknown.
        """
        self._check(pair)
        overlap, before = self._overlaps[pair], len(self._settled.contradictions)
        if not self.judgements.judge(overlap, verdict):
            known = self.judgements.of(overlap)
            if known is None or known.verdict == verdict:
                return ""
            by = f" by {shown_name(known.reviewer)}" if known.reviewer else ""
            return (
                f"Not kept: this pair was judged {known.verdict.replace('_', ' ')} before{by}. Take that "
                "back first to change it."
            )
        self._settle()
        if len(self._settled.contradictions) <= before:
            return ""
        reasons = self._settled.contradictions["reason"]
        return f"Kept, but it contradicts other judgements, of which the earliest hold: {reasons.iloc[-1]}."

    def accept_group(self, pair: int) -> int:
        """Judge duplicate every pair of a pair's group that the search calls one and nobody has judged;
        returns how many. :meth:`undo` takes them back together, as long as this review is open.

        Raises
        ------
        ValueError
            If the pair is unknown.
        """
        self._check(pair)
        given = self.judgements.judge_all(
            [self._overlaps[one] for one in self._open_in_group(pair)], "duplicate"
        )
        self._together.append({self._numbers[overlap.key] for overlap in given})
        self._settle()
        return len(given)

    def undo(self, pair: int | None = None) -> int | None:
        """Take back the latest judgement on a pair of this table, or that on ``pair``; returns the pair, None
        if there is none that this reviewer gave. Of the latest, those that were given together with it go,
        too.

        Raises
        ------
        ValueError
            If the pair is unknown.
        """
        if pair is not None:
            self._check(pair)
        among = self._numbers if pair is None else {self._overlaps[pair].key}
        overlap = self.judgements.undo(among)
        if pair is None and overlap is not None:
            number = self._numbers[overlap.key]
            beside = set().union(*(given for given in self._together if number in given))
            self.judgements.undo_all({self._overlaps[one].key for one in beside})
            self._together = [given for given in self._together if number not in given]
        self._settle()
        return None if overlap is None else self._numbers[overlap.key]

    def state(self, pair: int | None) -> dict[str, Any]:
        """What a screen shows beside the pictures, names made safe to look at; pair None: all are judged."""
        given = [one for overlap in self._overlaps if (one := self.judgements.of(overlap)) is not None]
        verdicts = [one.verdict for one in given]
        progress = {
            "judged": len(given),
            "implied": sum(self.judgements.of(self._overlaps[number]) is None for number in self._said),
            "total": len(self.pairs),
            "counts": {verdict: verdicts.count(verdict) for verdict in VERDICTS},
            "contradictions": len(self._settled.contradictions),
            "can_undo": self.judgements.can_undo(self._numbers),
            "reviewer": shown_name(self.judgements.reviewer),
        }
        if pair is None:
            return {"pair": None, **progress}
        return {"pair": self._shown(pair) | {"open_in_group": len(self._open_in_group(pair))}, **progress}

    def listed(self, text: str = "", kind: str = "", start: int = 0) -> dict[str, Any]:
        """Pairs in their order, at most :data:`LISTED` from number ``start`` on: ``total`` and ``pairs``.

        Only those with ``text`` in the name of an image, and of one kind: "open" (without a judgement),
        "judged", or a verdict that a person or the search gave.
        """
        wanted = [number for number in range(len(self.pairs)) if self._is_listed(number, text.lower(), kind)]
        start = max(0, start)
        shown = [self._shown(number) for number in wanted[start : start + LISTED]]
        return {"total": len(wanted), "pairs": shown}

    def picture(self, pair: int, name: str, tile: int | None = None) -> Pixels:
        """One of :data:`PICTURES` as RGB uint8; ``tile`` k: only the k-th of :meth:`tiles`.

        Raises
        ------
        ValueError
            If there is no such pair, picture or tile, the images share nothing there, or a name leads out of
            the folder.
        UnreadableImage
            If an image cannot be read (any more).
        """
        self._check(pair)
        overlap = self._overlaps[pair]
        if name not in PICTURES:
            raise ValueError(f"picture is {name!r}; it must be one of {', '.join(PICTURES)}.")
        offset = int(overlap.y_offset or 0), int(overlap.x_offset or 0)
        images = self._read(overlap.image1), self._read(overlap.image2)
        if pair in self._changed:
            images = images[0], laid(images[1], self._changed[pair])
        if name in ("image1", "image2"):
            number = int(name == "image2")
            box = region_boxes(images[0].shape[:2], images[1].shape[:2], *offset)[number]
            image = reduce_to(images[number], WHOLE)
            return outline(image, box, image.shape[1] / images[number].shape[1])
        region1, region2 = shared_regions(*images, *offset)
        match name:
            case "region1" | "region2":
                shown = region1 if name == "region1" else region2
            case "levels1" | "levels2":
                shown = subtract_channel_medians(region1 if name == "levels1" else region2)
            case _:
                shown = difference_map(region1, region2, medians=name == "medians")
        if tile is None:
            return shown
        tiles = self._tiles(pair)
        if not 0 <= tile < len(tiles):
            raise ValueError(f"tile is {tile}; the overlap has tiles 0 to {len(tiles) - 1}.")
        part = tiles[tile]
        return shown[part.top : part.top + part.height, part.left : part.left + part.width]

    def tiles(self, pair: int) -> list[dict[str, Any]]:
        """The tiles by which the search judged a pair: ``name``, ``top, left, height, width`` in the region,
        and ``score`` by the network of the review, None where there is nothing to judge by; raises as
        :meth:`picture`."""
        self._check(pair)
        region, step = self._region(pair), self._stride
        shapes = [image.pixels.shape for image in self._grey(pair)]
        cols = [shape[1] // step for shape in shapes]
        is_numbered = step == self._tile_size and self._is_on_grid(pair)
        found = []
        for part in self._tiles(pair):
            name = f"{part.top}, {part.left}"
            if is_numbered:
                one = (region.top1 + part.top) // step * cols[0] + (region.left1 + part.left) // step
                two = (region.top2 + part.top) // step * cols[1] + (region.left2 + part.left) // step
                name = f"{one} ↔ {two}"
            found.append({"name": name, **part._asdict()})
        return found

    def places(self, pair: int) -> list[dict[str, float]]:
        """Where the common region lies in either image: ``height, width`` of the image in pixels, and
        ``y, x``, the centre of the region; raises as :meth:`picture`."""
        self._check(pair)
        overlap, found = self._overlaps[pair], list[dict[str, float]]()
        shape1, shape2 = (self._read(name).shape[:2] for name in (overlap.image1, overlap.image2))
        boxes = region_boxes(shape1, shape2, int(overlap.y_offset or 0), int(overlap.x_offset or 0))
        for (height, width), box in zip((shape1, shape2), boxes, strict=True):
            y, x = ((side.start + side.stop) / 2 for side in box)
            found.append({"height": height, "width": width, "y": y, "x": x})
        return found

    def _shown(self, pair: int) -> dict[str, Any]:
        row, overlap = self.pairs.iloc[pair], self._overlaps[pair]
        known = self.judgements.of(overlap)
        return {
            "id": pair,
            "image1": shown_name(overlap.image1),
            "image2": shown_name(overlap.image2),
            "overlap_tag": overlap.overlap_tag,
            "y_offset": overlap.y_offset,
            "x_offset": overlap.x_offset,
            "score": None if np.isnan(row["score"]) else float(row["score"]),
            "verdict": row["verdict"],
            "judged": known.verdict if known else None,
            "by": shown_name(known.reviewer) if known else "",
            "implied": self._said.get(pair) if known is None else None,
        }

    def _open_in_group(self, pair: int) -> list[int]:
        """The pairs of a pair's group that the search calls duplicates, and of which nothing is said yet."""
        group = self._group.get(self._overlaps[pair].image1)
        return [] if group is None else [one for one in self._of_group[group] if one not in self._said]

    def _is_listed(self, pair: int, text: str, kind: str) -> bool:
        overlap = self._overlaps[pair]
        if text and text not in overlap.image1.lower() and text not in overlap.image2.lower():
            return False
        if kind in ("open", "judged"):
            return (pair in self._said) == (kind == "judged")
        return not kind or kind in (self._said.get(pair), self.pairs["verdict"].iat[pair])

    def _settle(self) -> None:
        """What all judgements say together, of the pairs of this table."""
        judged = self.judgements.table().dropna(subset=["y_offset", "x_offset"])
        rows = [
            (one, two, int(y), int(x), said) if one < two else (two, one, -int(y), -int(x), said)
            for one, two, y, x, said in judged[
                ["image1", "image2", "y_offset", "x_offset", "verdict"]
            ].itertuples(index=False)
            if one != two and not self._is_changed(one, two, int(y), int(x))
        ]
        columns = ["image1", "image2", "y_offset", "x_offset", "verdict"]
        self._settled: Settled = settle(pd.DataFrame(rows, columns=columns, dtype=object))
        near = [pair for image in self._settled.roots for pair in self._of_image.get(image, ())]
        near = [*(pair for pair in near if pair not in self._changed), *self._changed]
        given = {pair: self.judgements.of(self._overlaps[pair]) for pair in near}
        said = {pair: one.verdict for pair, one in given.items() if one is not None}
        open_pairs = [pair for pair in near if pair not in said and pair not in self._changed]
        follows = self._settled.of(self.pairs.loc[open_pairs])
        self._said = said | {pair: one for pair, one in follows.items() if one}

    def _scored_tiles(self, pair: int) -> list[ScoredTile]:
        one, two = ((image.pixels, image.valid) for image in self._grey(pair))
        region = self._region(pair)
        if self._is_on_grid(pair):
            return tiles_of_grid(one, two, region, self._tile_size, self._stride, self._weights)
        y, x = (self._places or {}).get(self._overlaps[pair].image1, (0, 0))
        return tiles_of_region(one, two, region, (-y % CELL_SIZE, -x % CELL_SIZE), self._weights)

    def _is_on_grid(self, pair: int) -> bool:
        """Whether a pair consists of whole tiles, and was not searched at any offset."""
        shapes = [image.pixels.shape for image in self._grey(pair)]
        overlap = self._overlaps[pair]
        lengths = (*shapes[0], *shapes[1], overlap.y_offset or 0, overlap.x_offset or 0)
        return self._places is None and not any(length % self._stride for length in lengths)

    def _grey(self, pair: int) -> tuple[Image, Image]:
        overlap = self._overlaps[pair]
        one, two = self._read_grey(overlap.image1), self._read_grey(overlap.image2)
        if pair not in self._changed:
            return one, two
        valid = np.ones(two.pixels.shape, np.uint8) if two.valid is None else two.valid.astype(np.uint8)
        shown = laid(valid, self._changed[pair], nearest=True) > 0
        return one, two._replace(pixels=laid(two.pixels, self._changed[pair]), valid=shown)

    def _is_changed(self, image1: str, image2: str, y: int, x: int) -> bool:
        """Whether an overlap is one of a changed image, from whose offset nothing follows."""
        return self._numbers.get(Judged(image1, image2, y, x, "").key) in self._changed

    def _region(self, pair: int) -> Region:
        overlap, (one, two) = self._overlaps[pair], self._grey(pair)
        y, x = overlap.y_offset or 0, overlap.x_offset or 0
        region_boxes(one.pixels.shape, two.pixels.shape, y, x)  # says so, if they share nothing
        return common_region(one.pixels.shape, two.pixels.shape, y, x)

    def _check(self, pair: int) -> None:
        if not 0 <= pair < len(self.pairs):
            raise ValueError(f"pair is {pair}; there are pairs 0 to {len(self.pairs) - 1}.")
