"""Thresholds, intervals, calibration; signals measured on known truth."""

from __future__ import annotations

from dupnet.files.extras import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submod_attrs={
        "planted": ["planted_overlaps"],
        "scores": [
            "Confusion",
            "best_threshold",
            "bootstrap_groups",
            "confusion",
            "exact_interval",
            "expected_calibration_error",
            "quality",
            "quality_with_intervals",
            "reliability_table",
            "threshold_for_precision",
            "wilson_interval",
        ],
        "signals": [
            "acquisitions",
            "every_pair",
            "known_overlaps",
            "known_tiles",
            "labelled_pairs",
            "measure",
            "pairs_of_overlaps",
            "reach",
            "separation",
        ],
        "trees": [
            "compare_signals",
            "cross_validated_scores",
            "fit_tree",
            "log_losses",
            "lowest_of_overlaps",
        ],
    },
)
