"""What can be measured of one tile, and of two."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "pair_metrics": [
            "PAIR_METRICS",
            "TILE_METRICS",
            "PairMetric",
            "absolute_difference",
            "block_medians",
            "channel_entropy",
            "colour_difference",
            "cooccurrence",
            "correlation",
            "decode_run_lengths",
            "exponential_distance",
            "grey_levels",
            "high_pass",
            "histogram_statistics",
            "local_correlation",
            "lowest_cell_correlation",
            "median_subtracted_difference",
            "ship_pixels",
            "structural_similarity",
            "structural_similarity_channels",
            "subtract_channel_medians",
            "unequal_values",
        ],
        "tile_metrics": [],
    },
)
