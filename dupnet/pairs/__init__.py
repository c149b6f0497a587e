"""The labelled table of tile pairs, and reading it; overlaps that a person labelled."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "candidates": [
            "BUFFER",
            "MAX_NON_DUPLICATES",
            "SPLITS",
            "TileSignatures",
            "pairs_across_images",
            "pairs_within_images",
            "tile_signatures",
        ],
        "labels": ["COLUMNS", "OUTCOMES", "judge_labels", "outcome_counts", "read_labels", "tile_pairs"],
        "reader": ["PairBatch", "PairReader", "is_another"],
        "table": [
            "PAIR_COLUMNS",
            "leaked_tiles",
            "load_pairs",
            "make_pairs",
            "overlap_groups",
            "pair_files",
            "sample_pairs",
            "save_pairs",
            "tile_size_of",
        ],
    },
)
