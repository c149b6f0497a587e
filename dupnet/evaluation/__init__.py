"""Thresholds, intervals, calibration; signals measured on known truth."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "scores": [
            "ORIGINAL_OVERLAPS",
            "TARGET_PRECISION",
            "Confusion",
            "Interval",
            "SignalQuality",
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
            "roc_auc",
            "threshold_for_precision",
            "wilson_interval",
        ],
        "signals": [
            "ORIGINS",
            "every_pair",
            "known_overlaps",
            "labelled_pairs",
            "measure",
            "pairs_of_overlaps",
            "separation",
        ],
    },
)
