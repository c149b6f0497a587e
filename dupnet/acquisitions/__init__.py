"""Real acquisitions fetched, synthetic ones drawn, both cut into collections with exact truth."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "crops": ["cut_crops"],
        "scenes": ["cut_collection", "overlap_truth"],
        "sea": ["ship_mask", "synthetic_sea"],
        "sources": ["ACQUISITIONS", "FetchError", "fetch", "fetch_airbus", "read_acquisition"],
    },
)
