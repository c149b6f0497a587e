"""The audit of a split: which images and pixels of one split another split shows too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.find.overlaps import AGREEING_SHARE
from dupnet.images.transforms import is_transformed
from dupnet.splits.changed import areas_of_outlines, shares_of
from dupnet.splits.entries import BUFFER, Splits, entries_of
from dupnet.splits.ground import Found, areas_shown, common_ground, relations

__all__ = ["PAIR_COLUMNS", "Audit", "audit"]

PAIR_COLUMNS = (
    "image1",
    "split1",
    "image2",
    "split2",
    "group",
    "y_offset",
    "x_offset",
    "height",
    "width",
    "share",
    "evidence",
)
"""Columns of the pairs of an audit: image 2's origin in image 1, the common region and its share of the
smaller image, and what tells of it: an overlap (``duplicate`` or ``altered``), the ``place`` of both images
in one mosaic, or ``listed twice``, one file in two splits."""

Integers = npt.NDArray[np.int64]

ALIKE_SHARE = 0.5
"""Share of the ground of a revisit in which the pixels agree from which on it may be a copy that was edited:
photographed ones reach 0.13 (:data:`dupnet.find.overlaps.AGREEING_SHARE`)."""


@dataclass(frozen=True)
class Audit:
    """What a split leaks, and what the search for it could not see."""

    splits: pd.DataFrame
    """``split, images, leaked_images, image_share, pixels, leaked_pixels, pixel_share, revisited_images``,
    one row a split. A pixel leaks if an image of another split shows it too; none is counted twice.
    ``revisited_images`` show ground that another split shows at another time, which is no leak by itself."""
    groups: pd.DataFrame
    """``group, images, splits, leaked_images, leaked_pixels``: the groups that leak, most pixels first."""
    pairs: pd.DataFrame
    """The columns :data:`PAIR_COLUMNS`: every pair of images with common ground in two splits, most first."""
    revisits: pd.DataFrame
    """``image1, split1, image2, split2``, and the rest as the revisits table: one ground at two times in two
    splits."""
    doubtful: pd.DataFrame
    """As ``pairs``: overlaps in two splits that contradict the places of others, and so are not counted."""
    unmatched: pd.DataFrame
    """``name, split, reason``: rows of the split that fit no image, and are not audited."""
    unassigned: int
    """Images of the collection that are in no split."""
    buffered: int
    """Images that the split sets aside as ``buffer``."""
    coverage: list[str]
    """What was searched, and then what the search could not see."""

    @property
    def leaks(self) -> bool:
        """Whether there is any."""
        return len(self.pairs) > 0

    @property
    def n_alike(self) -> int:
        """Revisits that may be copies of which a part was edited."""
        return (
            int((self.revisits[AGREEING_SHARE] >= ALIKE_SHARE).sum())
            if AGREEING_SHARE in self.revisits
            else 0
        )

    def verdict(self) -> str:
        """One sentence: what leaks, or that nothing was found, and always what was searched."""
        searched = self.coverage[0] if self.coverage else "What was searched is unknown."
        if not self.leaks:
            number = int(self.splits["images"].sum())
            but = f", but {self.n_alike} pairs to look at: see the notes" if self.n_alike else ""
            return f"No leak found among {number} images in {len(self.splits)} splits{but}. {searched}"
        worst = self.splits.sort_values(["image_share", "split"], ascending=[False, True]).iloc[0]
        return (
            f"Leak: {len(self.pairs)} pairs of images share ground across splits; "
            f"{worst['leaked_images']} of {worst['images']} images of {worst['split']!r} "
            f"({worst['image_share']:.1%}) and {worst['pixel_share']:.1%} of its pixels are shown in "
            f"another. {searched}"
        )

    def limits(self) -> list[str]:
        """What the verdict does not cover, a sentence each."""
        said = list(self.coverage[1:])
        if len(self.doubtful):
            said.append(
                f"{len(self.doubtful)} overlaps across splits contradict the places of others, and are not "
                "counted"
            )
        if len(self.unmatched):
            said.append(f"{len(self.unmatched)} names of the split fit no image that was searched")
        if self.unassigned:
            said.append(f"{self.unassigned} images of the collection are in no split")
        if self.buffered:
            said.append(f"{self.buffered} images are set aside as {BUFFER!r}")
        if len(self.revisits):
            said.append(
                f"{len(self.revisits)} pairs show one ground at two times in two splits, which is not "
                "counted as a leak (`dupnet split --keep-revisits` keeps them together)"
            )
        if self.n_alike:
            said.append(
                f"{self.n_alike} of these agree in most of their ground, as a copy does that was edited or "
                f"marked: look at them (`{AGREEING_SHARE}` from {ALIKE_SHARE} in revisits.csv)"
            )
        return said

    def record(self) -> dict[str, Any]:
        """All of it as plain lists and numbers, for JSON."""
        tables = {name: getattr(self, name) for name in ("splits", "groups", "pairs", "revisits", "doubtful")}
        return {
            "leaks": self.leaks,
            "verdict": self.verdict(),
            "limits": self.limits(),
            "coverage": self.coverage,
            "unassigned": self.unassigned,
            "buffered": self.buffered,
            **{name: table.to_dict("records") for name, table in tables.items()},
            "unmatched": self.unmatched.to_dict("records"),
        }


def audit(splits: Splits, result: Found) -> Audit:
    """Count what a split leaks.

    A pixel leaks if an image of another split shows the same place at the same moment: because the images
    overlap (``duplicate`` or ``altered``), or because their places in one mosaic coincide.

    Parameters
    ----------
    splits : DataFrame, mapping or path
        ``image, split``: any split of the collection, or of a part of it. Names may have other folders before
        them, or no ending. An image listed in two splits is a leak itself.
    result : FindResult
        What ``find`` found, or :class:`dupnet.splits.ground.Tables`.

    Raises
    ------
    ValueError
        If no image is listed, a column is missing, an image has no split, or no name fits any image.
    OSError
        If a list cannot be read.
    """
    groups = result.groups.reset_index(drop=True)
    entries, unmatched = entries_of(splits, groups["image"].tolist())
    unassigned = len(groups) - entries["number"].nunique()
    buffered = int((entries["split"] == BUFFER).sum())
    entries = entries[entries["split"] != BUFFER].reset_index(drop=True)

    pairs = _across(common_ground(result.overlaps, groups), entries)
    pairs = pd.concat([_listed_twice(entries, groups), pairs], ignore_index=True)
    n_pixels = (groups["height"] * groups["width"]).to_numpy(np.int64)
    leaked = _leaked_pixels(pairs, groups, len(entries))
    revisits = _across(_with_extras(result.revisits, groups), entries)
    revisited = np.zeros(len(entries), dtype=np.int64)
    revisited[pd.unique(revisits[["entry1", "entry2"]].to_numpy(np.int64).ravel())] = 1
    counted = entries.assign(
        group=groups["group"].to_numpy()[entries["number"]],
        images=1,
        leaked_images=(leaked > 0).astype(np.int64),
        pixels=n_pixels[entries["number"]],
        leaked_pixels=leaked,
        revisited_images=revisited,
    )
    doubtful = _across(_with_extras(result.rejected, groups), entries)
    counted_pairs = pd.MultiIndex.from_frame(pairs[["entry1", "entry2"]])
    doubtful = doubtful[~pd.MultiIndex.from_frame(doubtful[["entry1", "entry2"]]).isin(counted_pairs)]
    extent = pairs["height"] * pairs["width"]
    pairs = pairs.loc[extent.sort_values(ascending=False, kind="stable").index]
    return Audit(
        splits=_by_split(counted),
        groups=_by_group(counted),
        pairs=_named(pairs, entries, groups)[list(PAIR_COLUMNS)],
        revisits=_named(revisits, entries, groups),
        doubtful=_named(doubtful, entries, groups),
        unmatched=unmatched,
        unassigned=unassigned,
        buffered=buffered,
        coverage=list(result.coverage()),
    )


def _across(pairs: pd.DataFrame, entries: pd.DataFrame) -> pd.DataFrame:
    """Pairs of images as pairs of entries, ``entry1, entry2``, of different splits."""
    numbered = entries.reset_index(names="entry")
    for end in ("1", "2"):
        side = numbered.rename(columns={name: name + end for name in ("entry", "number", "split")})
        pairs = pairs.merge(side, on=f"number{end}")
    across = pairs[pairs["split1"] != pairs["split2"]].drop(columns=["split1", "split2"])
    return across.sort_values(["entry1", "entry2"], kind="stable", ignore_index=True)


def _listed_twice(entries: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
    """Pairs of entries of one image."""
    both = entries.reset_index(names="entry").merge(
        entries.reset_index(names="entry"), on="number", suffixes=("1", "2")
    )
    both = both[both["entry1"] < both["entry2"]]
    number = both["number"].to_numpy(np.int64)
    return pd.DataFrame(
        {
            "number1": number,
            "number2": number,
            "y_offset": np.zeros(len(number), np.int64),
            "x_offset": np.zeros(len(number), np.int64),
            "height": groups["height"].to_numpy(np.int64)[number],
            "width": groups["width"].to_numpy(np.int64)[number],
            "share": np.ones(len(number)),
            "evidence": np.full(len(number), "listed twice", dtype=object),
            "entry1": both["entry1"].to_numpy(np.int64),
            "entry2": both["entry2"].to_numpy(np.int64),
        }
    )


def _leaked_pixels(pairs: pd.DataFrame, groups: pd.DataFrame, n_entries: int) -> Integers:
    """Pixels of each entry that lie in the common region with any entry of another split."""
    down, right = pairs["y_offset"].to_numpy(np.int64), pairs["x_offset"].to_numpy(np.int64)
    sides = [
        (pairs["entry1"], np.maximum(down, 0), np.maximum(right, 0)),
        (pairs["entry2"], np.maximum(-down, 0), np.maximum(-right, 0)),
    ]
    entry, top, left = (np.concatenate(columns) for columns in zip(*sides, strict=True))
    shape = [np.tile(pairs[side].to_numpy(np.int64), 2) for side in ("height", "width")]
    leaked = np.zeros(n_entries, dtype=np.int64)
    # Of entries that share ground with one that was changed, what is shared is no upright rectangle.
    changed = is_transformed(pairs)
    is_outlined = np.zeros(n_entries, np.bool_)
    is_outlined[pairs.loc[changed, ["entry1", "entry2"]].to_numpy(np.int64).ravel()] = True
    upright = ~is_outlined[entry]
    areas = areas_shown(entry[upright], top[upright], left[upright], *(side[upright] for side in shape))
    leaked[areas.index.to_numpy(np.int64)] = areas.to_numpy()
    ends = {end: pairs[end].to_numpy(np.int64) for end in ("entry1", "entry2")}
    near = is_outlined[ends["entry1"]] | is_outlined[ends["entry2"]]
    sizes = groups[["height", "width"]].to_numpy(np.int64)
    masks = areas_of_outlines(pairs[near], {end: of_end[near] for end, of_end in ends.items()}, sizes)
    for number, mask in masks.items():
        if is_outlined[number]:
            leaked[number] = mask.sum()
    return leaked


def _with_extras(table: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
    """Revisits or rejected overlaps by numbers, with the region's share of the smaller image."""
    found = relations(table, groups)
    return found.assign(share=shares_of(found, groups[["height", "width"]].to_numpy(np.int64)))


def _named(pairs: pd.DataFrame, entries: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
    """Pairs of entries with the names of images and splits, and the group of image 1."""
    images = groups["image"].to_numpy(object)
    named = {}
    for end in ("1", "2"):
        named[f"image{end}"] = images[pairs[f"number{end}"]]
        named[f"split{end}"] = entries["split"].to_numpy(object)[pairs[f"entry{end}"]]
    group = groups["group"].to_numpy()[pairs["number1"]]
    rest = pairs.drop(columns=["number1", "number2", "entry1", "entry2"]).reset_index(drop=True)
    rest["share"] = rest["share"].round(4)
    return pd.concat([pd.DataFrame({**named, "group": group}), rest], axis=1)


def _by_split(counted: pd.DataFrame) -> pd.DataFrame:
    counts = ["images", "leaked_images", "pixels", "leaked_pixels", "revisited_images"]
    table = counted.groupby("split")[counts].sum().reset_index()
    table.insert(3, "image_share", (table["leaked_images"] / table["images"]).round(4))
    table.insert(6, "pixel_share", (table["leaked_pixels"] / table["pixels"].clip(lower=1)).round(4))
    return table


def _by_group(counted: pd.DataFrame) -> pd.DataFrame:
    table = counted.groupby("group")[["images", "leaked_images", "leaked_pixels"]].sum().reset_index()
    sizes = counted.groupby(["group", "split"]).size().reset_index(name="size")
    words = sizes["split"] + " " + sizes["size"].astype(str)
    table.insert(2, "splits", table["group"].map(words.groupby(sizes["group"]).agg(", ".join)))
    return table[table["leaked_images"] > 0].sort_values(
        ["leaked_pixels", "group"], ascending=[False, True], ignore_index=True
    )
