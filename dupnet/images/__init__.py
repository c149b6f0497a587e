"""One image, or a folder of them, read as pixels; what was left out, and why."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "collars": ["collar_mask"],
        "georeference": ["Footprints", "Georeference", "footprint_pairs", "read_georeference"],
        "image": ["MAX_PIXELS", "Image", "UnreadableImage"],
        "jpeg": ["encode_jpeg"],
        "listing": ["Listing", "check_present", "list_collection", "list_images", "locate", "read_file_list"],
        "reading": [
            "Store",
            "decode",
            "load",
            "load_image",
            "load_named",
            "none_usable",
            "read_grey",
            "read_image",
        ],
        "stretch": ["Rendering"],
        "tiles_on_disk": ["save_tiles"],
        "transforms": ["TRANSFORM_COLUMNS", "is_transformed", "to_image1"],
        "windows": ["open_scene", "windows_of"],
    },
)
