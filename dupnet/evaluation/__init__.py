"""Thresholds, intervals, calibration; signals measured on known truth."""

from __future__ import annotations

from dupnet.files.extras import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submod_attrs={
        "scores": [
            "Confusion",
            "best_threshold",
            "bootstrap_groups",
            "compare_signals",
            "confusion",
            "cross_validated_scores",
            "exact_interval",
            "expected_calibration_error",
            "fit_tree",
            "log_losses",
            "lowest_of_overlaps",
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
    },
)
