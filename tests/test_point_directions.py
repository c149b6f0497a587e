import cv2
import numpy as np
import pytest

from dupnet.find.points import CODE_LENGTH, find_points, is_fine, load_directions, patches
from dupnet.training import point_directions
from dupnet.training.point_directions import COLUMNS, directions_of, draw_crops, learn, matched_patches


def acquisition(seed, height=700, width=700):
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for sigma, weight in ((1.2, 12), (3, 16), (8, 20)):
        noise = cv2.GaussianBlur(rng.normal(size=(height, width, 1)).astype(np.float32), (0, 0), sigma)
        total += weight * (noise / noise.std())[..., None]
    # Roofs, for straight borders.
    for top, left, tall, wide in rng.integers((0, 0, 20, 20), (height, width, 90, 90), (90, 4)):
        total[top : top + tall, left : left + wide] += rng.uniform(-90, 90)
    return np.clip(total + np.float32([120, 110, 90]), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def learned():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(point_directions, "SIDES", (440, 512))
        return learn([acquisition(0), acquisition(1)], (0.5, 0.5), 30)


def test_crops_of_one_place_lie_where_they_say():
    first, second, (dy, dx) = draw_crops(acquisition(0), np.random.default_rng(3))
    assert first.shape == second.shape and first.dtype == np.uint8
    assert max(abs(dy), abs(dx)) <= point_directions.MOVED
    height, width = first.shape
    one = first[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)].astype(float)
    two = second[max(0, -dy) : height + min(0, -dy), max(0, -dx) : width + min(0, -dx)].astype(float)
    assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.9


def test_matched_patches_are_alike():
    first, second, offset = draw_crops(acquisition(0), np.random.default_rng(4))
    for kind in range(2):
        one, two = matched_patches(first, second, offset, kind)
        assert len(one) == len(two) > 20
        assert np.median((one * two).sum(axis=1)) > 0.8
        # At another offset nothing is.
        astray, other = matched_patches(first, second, (offset[0] + 37, offset[1] - 11), kind)
        assert len(astray) < len(one) / 2
        assert ((astray * other).sum(axis=1) > 0.8).sum() <= 0.2 * len(astray)
    plain = np.full((200, 200), 90, np.uint8)
    assert len(matched_patches(plain, first, (0, 0), 0)[0]) == 0


def test_directions_are_those_with_much_signal_for_their_noise():
    rng = np.random.default_rng(0)
    # 60 dimensions: signal in the first 48, noise in the others.
    signal = np.where(np.arange(60) < CODE_LENGTH, 1.0, 0.1)
    noise = np.where(np.arange(60) < CODE_LENGTH, 0.1, 1.0)
    place = rng.normal(size=(5000, 60)) * signal
    one, two = (place + rng.normal(size=(5000, 60)) * noise + 3 for _ in range(2))
    mean, directions = directions_of(one.astype(np.float32), two.astype(np.float32))
    assert mean == pytest.approx(np.full(60, 3), abs=0.1)
    assert directions.shape == (60, CODE_LENGTH)
    power = (directions**2).sum(axis=1)
    assert power[:CODE_LENGTH].min() > 20 * power[CODE_LENGTH:].max()
    codes = (one - mean) @ directions
    assert np.cov(codes.T).diagonal() == pytest.approx(np.ones(CODE_LENGTH), abs=0.3)
    with pytest.raises(ValueError, match="10 pairs of patches of 60 pixels"):
        directions_of(one[:10].astype(np.float32), two[:10].astype(np.float32))


def test_what_is_learned_tells_places_apart(learned):
    first, second, (dy, dx) = draw_crops(acquisition(7), np.random.default_rng(5))
    one, two = (find_points(crop, directions=learned) for crop in (first, second))
    product = one.codes.astype(int) @ two.codes.T.astype(int) / 127**2
    away = np.hypot(one.y[:, None] - dy - two.y, one.x[:, None] - dx - two.x)
    kind = one.kinds[:, None] == two.kinds
    same, other = product[kind & (away < 1.5)], product[kind & (away > 20)]
    assert len(same) > 30
    assert np.median(same) > 0.85 and np.quantile(other, 0.999) < 0.75


def test_the_seed_and_the_shares_decide_what_is_drawn(monkeypatch):
    drawn = []

    def draw(acquisition, rng):
        drawn.append((int(acquisition[0, 0, 0]), rng.integers(1000)))
        return acquisition[..., 0], acquisition[..., 0], (0, 0)

    monkeypatch.setattr(point_directions, "draw_crops", draw)
    random = np.random.default_rng(0).normal(size=(2, 256, 256)).astype(np.float32)
    monkeypatch.setattr(point_directions, "matched_patches", lambda *_: (random[0], random[1]))
    sources = [np.full((4, 4, 3), value, np.uint8) for value in (1, 2)]
    for shares, seed in (((0.5, 0.5), 0), ((0.5, 0.5), 0), ((0.5, 0.5), 1), ((0.0, 1.0), 0)):
        learn(sources, shares, 20, seed)
    first, again, other, second_only = (drawn[at : at + 20] for at in range(0, 80, 20))
    assert first == again != other
    assert {source for source, _ in first} == {1, 2} and {source for source, _ in second_only} == {2}


def test_the_command_writes_what_points_load(tmp_path, monkeypatch, learned):
    asked = []

    def learn_nothing(acquisitions, shares, n_crops, seed):
        asked.append(([part.shape for part in acquisitions], shares, n_crops, seed))
        return learned

    monkeypatch.setattr(point_directions, "learn", learn_nothing)
    monkeypatch.setattr(point_directions, "COLUMNS", {"derna": (0, 600), "kitsap": (150, 700)})
    for name in ("derna", "kitsap"):
        path = tmp_path / point_directions.FILES[name]
        path.parent.mkdir()
        cv2.imwrite(str(path), acquisition(0))
    point_directions.main(
        ["--raw", str(tmp_path), "--out", str(tmp_path / "a.npz"), "--n-crops", "40", "--seed", "3"]
    )
    assert asked == [([(700, 600, 3), (700, 550, 3)], (2 / 3, 1 / 3), 40, 3)]
    written = np.load(tmp_path / "a.npz")
    assert np.allclose(written["means"], learned.means, atol=1e-3)
    assert np.allclose(written["directions"], learned.directions, atol=0.05)
    with pytest.raises(FileNotFoundError):
        point_directions.main(["--raw", str(tmp_path / "nowhere"), "--out", str(tmp_path / "b.npz")])


def test_the_command_needs_a_file_to_write(capsys):
    with pytest.raises(SystemExit):
        point_directions.main([])
    assert "required: --out" in capsys.readouterr().err


def test_the_shipped_directions_are_complete():
    shipped = load_directions()
    assert shipped.means.shape == (4, 256) and shipped.directions.shape == (4, 256, CODE_LENGTH)
    assert np.isfinite(shipped.directions).all() and np.isfinite(shipped.means).all()
    # A patch of rows alone has no straight code.
    rows = np.repeat(np.arange(16.0, dtype=np.float32) ** 2, 16)
    assert np.abs(rows @ shipped.directions[2]).max() < 1e-2 * np.abs(rows).sum()
    assert COLUMNS["derna"][1] <= 8192


def test_points_of_the_sample_match_those_of_its_copies():
    grey = cv2.cvtColor(acquisition(9), cv2.COLOR_RGB2GRAY)
    copy = cv2.imdecode(cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 75])[1], cv2.IMREAD_GRAYSCALE)
    one, two = find_points(grey), find_points(copy)
    alike = (one.codes.astype(int) @ two.codes.T.astype(int)).max(axis=1) >= 0.8 * 127**2
    assert alike[is_fine(one.kinds)].mean() > 0.6 and alike[~is_fine(one.kinds)].mean() > 0.6
    assert len(patches(grey, None, 0)[0]) > 100
