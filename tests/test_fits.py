"""Transforms fitted to matched points and refined on pixels, and codes looked up among others."""

import numpy as np
import pytest
from textures import textured

from dupnet.find.fits import MIN_VOTES, fit_affine, fit_matches
from dupnet.find.loose_join import Lookup
from dupnet.find.registration import lay, registered
from dupnet.find.rescaled_search import steps_of
from dupnet.find.scaled_points import FACTORS, Step, scaled_points
from dupnet.images.transforms import decompose, inverse, moved, resampled

IMAGE = textured(1, 420, seed=2)[0]


def transform(degrees: float, scale: float, y: float = 0, x: float = 0) -> np.ndarray:
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([scale * turn, [y, x]])


def matches(n: int, n_false: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Matches of a true transform, roughly known, and false ones."""
    rng = np.random.default_rng(seed)
    true = transform(7, 0.6, 40, -20)
    two = rng.uniform(0, 500, (n + n_false, 2))
    one = moved(true, two) + rng.normal(0, 0.4, two.shape)
    one[n:] = rng.uniform(0, 300, (n_false, 2))
    linear = np.repeat(transform(6, 0.63)[None, :, :2], n + n_false, axis=0)
    return one, two, linear, np.arange(n + n_false)


@pytest.mark.parametrize("n", [MIN_VOTES + 1, 30])
def test_a_transform_is_fitted_in_spite_of_false_matches(n: int) -> None:
    fit = fit_matches(*matches(n, n // 2))
    assert fit is not None and fit.n_votes >= n - 1
    points = np.array([[0.0, 0.0], [500.0, 500.0], [0.0, 500.0]])
    missed = np.abs(moved(fit.matrix, points) - moved(transform(7, 0.6, 40, -20), points)).max()
    assert missed < (2 if n > 8 else 12)


def test_scattered_matches_fit_nothing() -> None:
    assert fit_matches(*matches(0, 12)) is None


def test_matches_of_one_point_count_once() -> None:
    one, two, linear, _ = matches(10, 0)
    assert fit_matches(one, two, linear, np.zeros(10, int)) is None


def test_points_on_a_line_span_no_transform() -> None:
    line = np.column_stack([np.arange(9.0), 2 * np.arange(9.0)])
    assert fit_affine(line, line, np.ones(9)) is None


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.8])
def test_a_rough_transform_is_refined(scale: float) -> None:
    """Whichever of the two is the finer one."""
    true = transform(5, scale, 30, 60)
    size = 300
    wide = np.pad(IMAGE, 400, "reflect")
    two = resampled(wide, inverse(transform(5, scale, 430, 460)), size, size)
    rough = transform(5.8, scale * 1.01, 30 + 2, 60 - 1)
    found = registered((IMAGE, None), (two, None), rough)
    assert found is not None and found.residual < 0.3
    points = np.array([(60.0, 60.0), (150.0, 150.0), (100.0, 200.0)])
    assert np.abs(moved(found.matrix, points) - moved(true, points)).max() < 0.7
    laid = lay((IMAGE, None), (two, None), found.matrix)
    assert laid is not None and laid.one[0].shape == laid.two[0].shape
    both = laid.one[1]
    assert both is not None and (both == laid.two[1]).all()
    assert np.corrcoef(laid.one[0][both], laid.two[0][both])[0, 1] > 0.9


def test_what_no_image_shows_is_not_compared() -> None:
    """Invalid pixels of either image, and what lies beyond the changed one."""
    hidden = np.ones(IMAGE.shape, bool)
    hidden[100:140, 100:140] = False
    laid = lay((IMAGE, None), (IMAGE, hidden), transform(10, 1, 0, 60))
    assert laid is not None and laid.one[1] is not None
    assert 1200 < np.count_nonzero(~laid.one[1]) - np.count_nonzero(
        ~lay((IMAGE, None), (IMAGE, None), transform(10, 1, 0, 60)).one[1]  # type: ignore[union-attr,operator]
    ) < 1700  # fmt: skip


def test_other_ground_does_not_register() -> None:
    other = textured(1, 420, seed=9)[0]
    assert registered((IMAGE, None), (other, None), transform(0, 0.8, 5, 5)) is None
    assert registered((IMAGE, None), (other, None), transform(0, 1, 410, 0)) is None


def test_codes_are_looked_up_among_others() -> None:
    found = scaled_points(IMAGE, None, [Step(1, 1, (0.0,))], fine=False, oriented=False)
    matches = Lookup(found.codes, found.kinds)(found.codes, found.kinds)
    same = matches.queries == matches.points
    assert set(matches.queries[same]) == set(range(len(found.y)))
    codes = found.codes.astype(int)
    cosine = (codes[matches.queries] * codes[matches.points]).sum(axis=1) / 127**2
    assert (cosine > 0.79).all()
    assert (found.kinds[matches.queries] == found.kinds[matches.points]).all()
    empty = Lookup(found.codes[:0], found.kinds[:0])(found.codes, found.kinds)
    assert len(empty.queries) == 0


@pytest.mark.parametrize(("degrees", "factor"), [(0, 0.5), (6, 0.76), (-12, 1.0)])
def test_a_step_shows_what_the_changed_image_shows(degrees: float, factor: float) -> None:
    """Points of an image at the right step have the codes of the changed image's points."""
    size = int(420 * factor)
    into = np.column_stack([transform(degrees, 1 / factor)[:, :2], [0, 0]])
    middle = np.array([209.5, 209.5]) - into[:, :2] @ np.array([(size - 1) / 2] * 2)
    into[:, 2] = middle
    changed = resampled(IMAGE, inverse(into), size, size)
    base = scaled_points(changed, None, [Step(1, 1, (0.0,))], fine=True, oriented=False)
    asked = [Step(factor, factor, (degrees, degrees + 45))]
    queried = scaled_points(IMAGE, None, asked, fine=True, oriented=False)
    matches = Lookup(base.codes, base.kinds)(queried.codes, queried.kinds)
    at = moved(into, np.column_stack([base.y, base.x]))[matches.points]
    right = np.abs(at - np.column_stack([queried.y, queried.x])[matches.queries]).max(axis=1) < 3
    assert right.sum() > 10 and right.mean() > 0.6
    assert (queried.angles[matches.queries[right]] == 0).mean() > 0.9


def test_stretches_follow_from_the_shapes() -> None:
    sizes = np.array([[640, 640], [600, 960], [640, 640]])
    factors = np.array([step.factor_y / step.factor_x for step in steps_of(1, sizes, False)])
    assert np.abs(factors - 1.6).min() < 0.1
    assert {step.factor_y for step in steps_of(0, sizes, False)} >= set(FACTORS)
    ratios = {}
    for turned in (False, True):
        steps = steps_of(1, sizes[1:2].repeat(2, 0), turned)
        ratios[turned] = np.array([step.factor_y / step.factor_x for step in steps])
    on_its_side = (960 / 600) ** 2
    assert np.abs(ratios[True] - on_its_side).min() < 0.2
    assert np.abs(ratios[False] - on_its_side).min() > 0.5


def test_the_words_of_a_fit() -> None:
    fit = fit_matches(*matches(30, 0))
    assert fit is not None
    said = decompose(fit.matrix)
    assert (said.scale, said.rotation) == pytest.approx((0.6, 7), abs=0.2)
