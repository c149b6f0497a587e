"""Tiles varied as collections vary them: JPEG, hue, lightness and saturation, flips and turns, another
day."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "gimp": ["HLSComparison", "copy_name", "parse_copy_name", "read_comparisons"],
        "shifts": [
            "STEPS",
            "find_limits",
            "measure_shifts",
            "nearest_similarity",
            "resaved_similarity",
            "share_by_shift",
        ],
        "variation": [
            "N_DIHEDRAL",
            "AugmentConfig",
            "another_day",
            "augment_pair",
            "dihedral",
            "hls_shift",
            "jpeg",
            "random_hls_shift",
            "random_jpeg",
            "reprocess",
            "soft_blobs",
        ],
    },
)
