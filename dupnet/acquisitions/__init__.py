"""Real acquisitions fetched, synthetic ones drawn, both cut into collections with exact truth."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "alterations": [
            "ALTERATIONS",
            "SOLID_KINDS",
            "Processing",
            "alter",
            "another_day_tile",
            "draw_processing",
            "encode_jpeg",
            "process",
            "solid_tile",
        ],
        "crops": ["TRUTH_COLUMNS", "Crops", "cut_crops"],
        "harbour": ["draw_harbour"],
        "layouts": ["LAYOUTS", "common_regions", "grid_places", "random_places"],
        "registries": [
            "FetchError",
            "download_competition",
            "download_package",
            "extract",
            "sha256_of",
            "unpack",
        ],
        "scenes": [
            "HARD_ANOTHER_DAY_SHARE",
            "HARD_SOLID_SHARE",
            "Collection",
            "choose_positions",
            "cut_collection",
            "draw_solid",
            "file_names",
            "overlap_truth",
        ],
        "sea": ["Day", "draw_day", "ship_mask", "synthetic_sea"],
        "ships": ["Ship", "ShipLayers", "draw_ships"],
        "sources": [
            "ACQUISITIONS",
            "AIRBUS_NOTICE",
            "RemoteAcquisition",
            "fetch",
            "fetch_airbus",
            "fetch_derna",
            "fetch_kitsap",
            "fetch_washington",
            "fetch_yellowstone",
            "read_acquisition",
        ],
        "waves": [
            "GRAVITY",
            "fractal_noise",
            "directional_spread",
            "jonswap",
            "kelvin_wake",
            "mean_square_slope",
            "peak_frequency",
            "wave_slopes",
        ],
    },
)
