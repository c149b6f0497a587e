"""Hard tiles and pairs, mining, training from a table, the recipe of the shipped weights."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "fitting": ["PairBatches", "TrainConfig", "Trained", "predict_pairs", "train"],
        "hard_pairs": [
            "KINDS",
            "USUAL_KINDS",
            "HardPair",
            "Place",
            "Source",
            "draw_faint_pair",
            "draw_pair",
            "draw_tile",
            "draw_usual_pair",
            "write_pairs",
        ],
        "hard_tiles": [
            "cut_by_solid",
            "detail_difference",
            "draw_dark_look",
            "draw_look",
            "draw_weak_look",
            "to_grey",
            "processed",
            "processed_gently",
            "replaced",
            "texture",
            "with_ship",
        ],
        "mining": ["confused", "write_confused"],
        "recipe": [
            "COLUMNS",
            "SHARES",
            "PairFeatures",
            "Recipe",
            "acquisitions",
            "airbus_parts",
            "fit",
            "train_from_pairs",
        ],
    },
)
