"""What can be measured of one tile, and of two."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "pair_metrics": [
            "PAIR_METRICS",
            "absolute_difference",
            "colour_difference",
            "correlation",
            "local_correlation",
            "lowest_cell_correlation",
            "median_subtracted_difference",
            "structural_similarity",
            "structural_similarity_channels",
            "subtract_channel_medians",
            "unequal_values",
        ],
        "tile_metrics": [
            "TILE_METRICS",
            "block_medians",
            "channel_entropy",
            "cooccurrence",
            "decode_run_lengths",
            "grey_levels",
            "high_pass",
            "histogram_statistics",
            "ship_pixels",
        ],
    },
)
