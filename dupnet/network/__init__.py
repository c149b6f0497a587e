"""The networks ``dupnet`` and ``dupnet_v0``: encoder and comparison in numpy, the same in Keras, the
weights."""

from __future__ import annotations

from dupnet.files.extras import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submod_attrs={
        "architectures": ["DupnetConfig", "DupnetV0Config", "dupnet", "dupnet_v0"],
        "comparison": ["compare", "score_pairs"],
        "descriptors": ["WEIGHTS", "Weights", "describe", "load_weights", "weights_bytes"],
        "models": ["layer_table", "load_arrays", "load_model", "save_arrays", "save_model"],
    },
)
