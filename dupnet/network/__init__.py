"""The networks ``dupnet`` and ``dupnet_v0``: encoder and comparison in numpy, the same in Keras, the
weights."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "architectures": ["DupnetConfig", "DupnetV0Config", "JudgeConfig", "dupnet", "dupnet_v0", "judges"],
        "comparison": [
            "DUPLICATE",
            "NOT_DUPLICATE",
            "UNDECIDABLE",
            "compare",
            "compare_cells",
            "score_pairs",
            "verdicts",
        ],
        "descriptors": [
            "Descriptors",
            "Judge",
            "Weights",
            "describe",
            "describe_cells",
            "join_cells",
            "load_weights",
            "untrained_weights",
            "verify_bytes",
        ],
        "filters": [
            "REDUCED_SIZE",
            "SEARCH_BYTES",
            "band_filters",
            "centred_filters",
            "orientations",
            "search_directions",
        ],
        "layers": [
            "Cascade",
            "CellFeatures",
            "CellProjection",
            "NeighbourhoodMean",
            "PoolCells",
            "TileFeatures",
        ],
        "models": [
            "FORMAT_VERSION",
            "build",
            "from_arrays",
            "layer_table",
            "load_arrays",
            "load_model",
            "save_arrays",
            "save_model",
            "to_arrays",
        ],
    },
)
