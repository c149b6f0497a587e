"""Hard tiles and pairs, mining, and one training path for a table, a notebook and the shipped weights."""

from __future__ import annotations

from dupnet.files.extras import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submod_attrs={
        "batches": ["FeatureBatch", "PairBatches", "PairFeatures", "predict_pairs"],
        "config": ["TrainConfig"],
        "crops": ["Crop", "Place", "Source"],
        "fitting": ["fit"],
        "folder_sources": ["sources_of_folder"],
        "hard_pairs": [
            "KINDS",
            "USUAL_KINDS",
            "HardPair",
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
        "material": ["Material", "material_of_table", "write_rows"],
        "mining": ["confused", "write_confused"],
        "rare_pairs": ["RARE_KINDS", "draw_rare_pair"],
        "recipe": ["COLUMNS", "SHARES", "acquisitions", "airbus_parts"],
        "rounds": ["Trained", "train"],
    },
)
