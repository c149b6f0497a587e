"""The labelled table of tile pairs, and reading it; overlaps that a person labelled."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "labels": ["COLUMNS", "OUTCOMES", "judge_labels", "outcome_counts", "read_labels", "tile_pairs"],
        "reader": ["PairBatch", "PairReader", "is_another"],
        "table": [
            "MAX_NON_DUPLICATES",
            "PAIR_COLUMNS",
            "SPLITS",
            "TileSignatures",
            "leaked_tiles",
            "load_pairs",
            "make_pairs",
            "overlap_groups",
            "pair_files",
            "pairs_across_images",
            "pairs_within_images",
            "sample_pairs",
            "save_pairs",
            "tile_signatures",
            "tile_size_of",
        ],
    },
)
