"""Evaluation: against brute force, published values and what must hold for any data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import binom
from sklearn.metrics import roc_auc_score

from dupnet.evaluation.scores import (
    Confusion,
    best_threshold,
    bootstrap_groups,
    confusion,
    exact_interval,
    expected_calibration_error,
    quality,
    reliability_table,
    threshold_for_precision,
    wilson_interval,
)
from dupnet.evaluation.trees import (
    compare_signals,
    cross_validated_scores,
    fit_tree,
    log_losses,
    lowest_of_overlaps,
)

# Few distinct scores, so that ties are common.
LABELLED = st.integers(2, 40).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.float64, n, elements=st.integers(0, 9).map(lambda level: level / 10)),
        hnp.arrays(np.int64, n, elements=st.integers(0, 1)),
    )
)


def all_thresholds(scores: np.ndarray) -> list[float]:
    return [*np.unique(scores), np.inf]


@given(LABELLED)
def test_best_threshold_against_every_threshold(data: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = data
    threshold, errors = best_threshold(scores, labels)
    assert errors == min(int(((scores >= t) != labels).sum()) for t in all_thresholds(scores))
    assert confusion(scores, labels, threshold).errors == errors


@given(LABELLED, st.sampled_from([0.5, 0.8, 0.9999, 1.0]))
def test_threshold_for_precision_against_every_threshold(
    data: tuple[np.ndarray, np.ndarray], target: float
) -> None:
    scores, labels = data
    if not labels.any():
        with pytest.raises(ValueError, match="no duplicate"):
            threshold_for_precision(scores, labels, target)
        return

    def precise(threshold: float) -> bool:
        called = scores >= threshold
        return not called.any() or labels[called].mean() >= target

    threshold, recall = threshold_for_precision(scores, labels, target)
    allowed = [t for t in all_thresholds(scores) if all(precise(u) for u in all_thresholds(scores) if u >= t)]
    assert threshold in allowed
    recalls = [labels[scores >= t].sum() / labels.sum() for t in allowed]
    assert (
        recall
        == pytest.approx(max(recalls))
        == pytest.approx(labels[scores >= threshold].sum() / labels.sum())
    )
    if recall:
        # The threshold is a duplicate's own score: no higher one recalls as much.
        assert all(r < recall for t, r in zip(allowed, recalls, strict=True) if t > threshold)


@given(LABELLED)
def test_auc_and_errors_of_quality(data: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = data
    found = quality(scores, labels)
    assert found.errors_per_38780 == pytest.approx(38_780 * best_threshold(scores, labels)[1] / len(labels))
    if 0 < labels.sum() < len(labels):
        assert found.auc == pytest.approx(roc_auc_score(labels, scores))
        assert found.recall == pytest.approx(threshold_for_precision(scores, labels)[1])
    else:
        assert np.isnan(found.auc)


@given(LABELLED, st.integers(0, 99))
def test_weights_count_rows(data: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    scores, labels = data
    times = np.random.default_rng(seed).integers(0, 3, len(scores))
    if len(set(labels[times > 0])) < 2:
        return
    weighted = quality(scores, labels, times.astype(float))
    repeated = quality(np.repeat(scores, times), np.repeat(labels, times))
    assert weighted == pytest.approx(repeated)


@given(LABELLED, st.sampled_from([lambda s: 3 * s - 7, np.exp, lambda s: s**3]))
def test_quality_depends_on_ranks_alone(data: tuple[np.ndarray, np.ndarray], transform: object) -> None:
    scores, labels = data
    assert quality(transform(scores), labels) == pytest.approx(quality(scores, labels), nan_ok=True)  # type: ignore[operator]


def test_perfect_and_useless_signals() -> None:
    labels = np.array([0, 0, 1, 1])
    assert quality(np.array([0.1, 0.2, 0.8, 0.9]), labels) == (0.0, 1.0, 1.0)
    assert quality(np.zeros(4), labels) == (38_780 / 2, 0.0, 0.5)
    with pytest.raises(ValueError, match="NaN"):
        quality(np.array([0.1, np.nan, 0.8, 0.9]), labels)
    with pytest.raises(ValueError, match="shape"):
        quality(np.zeros(3), labels)


def test_precision_target_is_missed_by_one_false_duplicate_in_ten_thousand() -> None:
    labels = np.concatenate([np.ones(9_998), [0], np.ones(10)])
    scores = np.linspace(1, 0, len(labels))
    threshold, recall = threshold_for_precision(scores, labels)
    assert recall == pytest.approx(9_998 / 10_008)
    assert threshold == scores[9_997]
    # With twice as many duplicates before it, one false duplicate is within the allowance.
    labels = np.concatenate([np.ones(19_998), [0], np.ones(10)])
    assert threshold_for_precision(np.linspace(1, 0, len(labels)), labels)[1] == 1.0


def test_intervals_published() -> None:
    # Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert exact_interval(81, 263) == pytest.approx((0.2527, 0.3676), abs=1e-4)
    assert exact_interval(0, 20) == pytest.approx((0.0, 0.1684), abs=1e-4)
    assert wilson_interval(20, 20).high == exact_interval(20, 20).high == 1.0
    for bad in ((-1, 5), (6, 5), (0, 0)):
        with pytest.raises(ValueError, match="count"):
            wilson_interval(*bad)


def test_exact_interval_covers_at_least_its_level() -> None:
    n = 25
    spans = [exact_interval(count, n) for count in range(n + 1)]
    for share in np.linspace(0.01, 0.99, 33):
        covered = sum(binom.pmf(count, n, share) for count, (a, b) in enumerate(spans) if a <= share <= b)
        assert covered >= 0.95 - 1e-9


def test_confusion_and_its_table() -> None:
    found = confusion(np.array([0.9, 0.5, 0.4, 0.6, 0.1]), np.array([1, 1, 1, 0, 0]), 0.5)
    assert found == Confusion(true_duplicates=2, missed=1, false_duplicates=1, true_non_duplicates=1)
    table = found.table().set_index("rate")
    assert table.loc["precision", "value"] == table.loc["recall", "value"] == pytest.approx(2 / 3)
    assert table.loc["errors_per_38780", "value"] == pytest.approx(38_780 * 2 / 5)
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()
    nothing_called = Confusion(0, 3, 0, 4).table().set_index("rate")
    assert np.isnan(nothing_called.loc["precision", "value"])


def test_bootstrap_draws_whole_groups() -> None:
    groups = np.array([7, 7, 7, 2, 2, 5])
    seen = []

    def keep(weights: np.ndarray) -> list[float]:
        seen.append(weights.copy())
        return [float(weights.sum())]

    bootstrap_groups(keep, groups, n_draws=50)
    for weights in seen:
        for group in (7, 2, 5):
            assert len(set(weights[groups == group])) == 1
        assert sum(weights[groups == group][0] for group in (7, 2, 5)) == 3


def test_bootstrap_is_wider_when_rows_of_a_group_agree() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=40).repeat(25)
    mean = lambda weights: [float(np.average(values, weights=weights))]  # noqa: E731
    together = bootstrap_groups(mean, np.arange(40).repeat(25), 400)[0]
    apart = bootstrap_groups(mean, np.arange(1000), 400)[0]
    assert 3 < (together.high - together.low) / (apart.high - apart.low) < 7  # sqrt(25) in theory
    # The textbook interval of a mean of 40 independent values.
    half = 1.96 * values[::25].std() / np.sqrt(40)
    assert (together.high - together.low) / 2 == pytest.approx(half, rel=0.15)
    assert bootstrap_groups(mean, np.arange(1000), 20) == bootstrap_groups(mean, np.arange(1000), 20, seed=0)


def test_calibration() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(20_000)
    honest = (rng.random(20_000) < scores).astype(int)
    assert expected_calibration_error(scores, honest) < 0.02
    assert expected_calibration_error(scores, np.ones(20_000)) == pytest.approx(0.5, abs=0.02)
    table = reliability_table(np.array([0.05, 0.05, 0.95, 1.0]), np.array([0, 1, 1, 1]))
    assert list(table["n"]) == [2, 2]
    assert list(table["share_duplicate"]) == [0.5, 1.0]
    assert list(table["low"]) == [0.0, 0.9]
    assert expected_calibration_error(
        np.array([0.05, 0.05, 0.95, 1.0]), np.array([0, 1, 1, 1])
    ) == pytest.approx((0.45 * 2 + 0.025 * 2) / 4)
    with pytest.raises(ValueError, match="0 to 1"):
        reliability_table(np.array([-0.1, 0.5]), np.array([0, 1]))


def test_cross_validation_never_sees_the_group_it_judges() -> None:
    # The feature names the group, and every group has one label: a row from the same group would give it
    # away.
    rng = np.random.default_rng(0)
    groups = np.arange(40).repeat(5)
    label_of_group = rng.integers(0, 2, 40)
    features = pd.DataFrame({"group_name": rng.permutation(40)[groups], "noise": rng.random(200)})
    scores = cross_validated_scores(features, label_of_group[groups], groups)
    assert not np.isnan(scores).any()
    assert quality(scores, label_of_group[groups]).auc < 0.75
    with pytest.raises(ValueError, match="groups"):
        cross_validated_scores(features, label_of_group[groups], groups // 20)


def test_compare_signals_ranks_them() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 300)
    features = pd.DataFrame(
        {
            "good": labels + rng.normal(0, 0.3, 300),
            "noise": rng.normal(size=300),
            "copy_of_label": labels * 1.0,
        }
    )
    groups = np.arange(300) // 6
    found = compare_signals(features, labels, groups, {"all": ["good", "noise"]}).set_index("signal")
    assert list(found.index) == ["good", "noise", "copy_of_label", "all"]
    assert found.loc["copy_of_label", "cross_validated_errors"] == 0
    assert found.loc["copy_of_label", "auc"] == 1.0
    assert found.loc["good", "cross_validated_errors"] < 45
    assert found.loc["good", "auc"] > 0.9 > 0.65 > found.loc["noise", "auc"]
    assert (found["auc_low"] <= found["auc"] + 1e-9).all() and (
        found["auc"] <= found["auc_high"] + 1e-9
    ).all()
    per_38780 = found["cross_validated_per_38780"]
    assert per_38780["noise"] == pytest.approx(found.loc["noise", "cross_validated_errors"] / 300 * 38_780)
    assert (found["cross_validated_per_38780_low"] <= per_38780).all()
    assert (per_38780 <= found["cross_validated_per_38780_high"]).all()
    assert found.loc["noise", "cross_validated_per_38780_low"] > 0
    # A threshold learnt elsewhere cannot do better than the best one chosen in hindsight.
    assert (
        (found["cross_validated_per_38780"] >= found["errors_per_38780"] - 1e-9).loc[["good", "noise"]].all()
    )


def test_loss_beside_the_score_leaks_the_label() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    scores = rng.random(400)  # knows nothing
    losses = log_losses(scores, labels)
    # Whoever has score and loss has the label: exp(-loss) is the score for a duplicate, 1 - score otherwise.
    np.testing.assert_array_equal(np.isclose(np.exp(-losses), scores), labels == 1)
    alone = fit_tree(pd.DataFrame({"prediction": scores}), labels)
    with_loss = fit_tree(pd.DataFrame({"prediction": scores, "loss": losses}), labels, max_depth=None)
    assert alone.score(pd.DataFrame({"prediction": scores}), labels) < 0.65
    assert with_loss.score(pd.DataFrame({"prediction": scores, "loss": losses}), labels) == 1.0
    assert np.isfinite(log_losses(np.array([0.0, 1.0]), np.array([1, 0]))).all()


def test_an_overlap_is_judged_by_its_lowest_tile() -> None:
    found = lowest_of_overlaps(np.array([0.9, 0.2, 0.8, 0.7]), np.array(["a", "a", "b", "b"]))
    assert found.to_dict() == {"a": 0.2, "b": 0.7} and found.name == "score"
