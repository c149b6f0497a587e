import warnings
from collections import Counter
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from dupnet.splits.assignment import group_array, random_split, read_strata, split, strata_of

QUICK = settings(max_examples=60, deadline=None, derandomize=True)
RATIOS = (0.8, 0.1, 0.1)


def groups_of_sizes(*sizes):
    group = np.repeat(np.arange(len(sizes)), sizes)
    return pd.DataFrame({"image": [f"{number:05d}.jpg" for number in range(len(group))], "group": group})


def sizes_of(table, names=("train", "validation", "test")):
    counts = Counter(table["split"])
    return [counts[name] for name in names]


def quiet_split(*arguments, **options):
    with pytest.warns(UserWarning, match="cannot meet the ratios"):
        return split(*arguments, **options)


def test_what_single_images_cannot_meet_either_is_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sizes_of(split(groups_of_sizes(*[1] * 36), (0.6, 0.2, 0.2))) == [22, 7, 7]
    assert sizes_of(quiet_split(groups_of_sizes(24, 6, 6), (0.6, 0.2, 0.2))) == [24, 6, 6]


@given(
    st.lists(st.integers(1, 30), min_size=3, max_size=40),
    st.sampled_from([RATIOS, (0.5, 0.3, 0.2), (1 / 3, 1 / 3, 1 / 3)]),
    st.integers(0, 5),
)
@QUICK
@pytest.mark.filterwarnings("ignore:Whole groups")
def test_groups_stay_whole_and_every_image_is_in_one_split(sizes, ratios, seed):
    groups = groups_of_sizes(*sizes)
    table = split(groups.sample(frac=1, random_state=seed), ratios, seed)
    assert list(table.columns) == ["image", "group", "split"]
    pd.testing.assert_frame_equal(table[["image", "group"]], groups)
    assert (table.groupby("group")["split"].nunique() == 1).all()
    assert set(table["split"]) == {"train", "validation", "test"}


def miss(held, wanted):
    return sum((got - want) ** 2 / max(want, 1) for got, want in zip(held, wanted, strict=True))


@given(
    st.lists(st.integers(1, 20), min_size=3, max_size=8),
    st.sampled_from([RATIOS, (0.5, 0.3, 0.2), (0.6, 0.3, 0.1)]),
)
@QUICK
@pytest.mark.filterwarnings("ignore:Whole groups")
def test_sizes_come_as_close_to_the_ratios_as_any_assignment(sizes, ratios):
    got = sizes_of(split(groups_of_sizes(*sizes), ratios))
    wanted = [ratio * sum(sizes) for ratio in ratios]
    best = min(
        miss(np.bincount(choice, weights=sizes, minlength=3), wanted)
        for choice in product(range(3), repeat=len(sizes))
        if len(set(choice)) == 3
    )
    # The size counts ten times, and shares below one image count as one: see splits._targets.
    assert miss(got, wanted) <= best + 1e-9


def test_the_ratios_are_met_exactly_where_small_groups_allow():
    groups = groups_of_sizes(300, 120, *[7] * 20, *[3] * 60, *[1] * 260)
    assert len(groups) == 1000
    for seed in range(5):
        assert sizes_of(split(groups, RATIOS, seed)) == [800, 100, 100]


def test_a_large_collection_meets_the_ratios():
    rng = np.random.default_rng(0)
    groups = groups_of_sizes(*np.minimum(rng.zipf(2.2, 3000), 800))
    held = np.array(sizes_of(split(groups))) / len(groups)
    np.testing.assert_allclose(held, RATIOS, atol=1e-3)


def test_the_seed_decides_and_the_order_of_rows_does_not():
    groups = groups_of_sizes(*[5] * 20, *[2] * 30, *[1] * 50)
    first = split(groups, seed=1)
    pd.testing.assert_frame_equal(split(groups, seed=1), first)
    pd.testing.assert_frame_equal(split(groups.iloc[::-1], seed=1), first)
    assert (split(groups, seed=2)["split"] != first["split"]).any()


def test_group_numbers_need_not_be_consecutive():
    groups = groups_of_sizes(4, 4, 1, 1)
    assert sizes_of(split(groups.assign(group=groups["group"] * 100 + 7))) == [8, 1, 1]


def test_a_group_too_large_for_its_ratio_is_warned_of():
    with pytest.warns(UserWarning, match=r"train 0\.900.*largest group holds 90 of 100"):
        table = split(groups_of_sizes(90, 4, 6))
    assert sorted(sizes_of(table)) == [4, 6, 90]
    # A miss of less than a hundredth is not worth a warning.
    split(groups_of_sizes(805, 100, 95))


def test_no_split_is_left_empty():
    assert 0 not in sizes_of(quiet_split(groups_of_sizes(50, 50, 1)))
    assert 0 not in sizes_of(quiet_split(groups_of_sizes(1, 1, 1)))
    names = [f"fold {number}" for number in range(5)]
    table = split(groups_of_sizes(1, 1, 1, 1, 1), [0.2] * 5, names=names)
    assert sizes_of(table, names) == [1] * 5
    assert 0 not in sizes_of(quiet_split(groups_of_sizes(40, 1, 1, 1), (0.98, 0.01, 0.01)))


# --- strata ---------------------------------------------------------------------------------------


def stratum_shares(table, strata):
    shares = pd.crosstab(
        strata.reindex(table["image"]).to_numpy(), table["split"].to_numpy(), normalize="index"
    )
    return shares[["train", "validation", "test"]].to_numpy()


def test_strata_are_alike_in_all_splits():
    rng = np.random.default_rng(0)
    groups = groups_of_sizes(*rng.integers(1, 12, 300))
    # Strata differ from group to group as ships do: harbours have many.
    harbour = np.repeat(rng.random(300) < 0.2, groups["group"].value_counts(sort=False))
    strata = pd.Series(np.where(harbour, "harbour", "sea"), index=groups["image"])
    table = split(groups, strata=strata)
    np.testing.assert_allclose(stratum_shares(table, strata), [RATIOS] * 2, atol=0.01)
    np.testing.assert_allclose(np.array(sizes_of(table)) / len(groups), RATIOS, atol=1e-3)
    # The sizes alone would not have brought that about.
    assert np.abs(stratum_shares(split(groups), strata) - RATIOS).max() > 0.02


def test_strata_may_be_a_mapping_and_numbers_are_grouped_into_deciles():
    rng = np.random.default_rng(1)
    groups = groups_of_sizes(*[1] * 1000)
    ships = rng.poisson(2, 1000) * rng.integers(0, 2, 1000) + rng.random(1000)
    strata = dict(zip(groups["image"], ships, strict=True))
    table = split(groups, strata=strata)
    decile = pd.Series(np.argsort(np.argsort(ships)) // 100, index=groups["image"])
    assert sizes_of(table) == [800, 100, 100]
    np.testing.assert_allclose(stratum_shares(table, decile), [RATIOS] * 10, atol=0.011)


def test_few_distinct_numbers_are_labels_of_their_own():
    groups = groups_of_sizes(*[1] * 400)
    ships = pd.Series([0] * 390 + [15] * 10, index=groups["image"])
    table = split(groups, strata=ships)
    assert stratum_shares(table, ships).tolist() == [list(RATIOS)] * 2


def test_a_rare_stratum_does_not_upset_the_sizes():
    groups = groups_of_sizes(*[1] * 60)
    rare = pd.Series(["common"] * 57 + ["rare"] * 3, index=groups["image"])
    assert sizes_of(split(groups, strata=rare)) == [48, 6, 6]


def test_strata_have_names_in_the_order_of_their_numbers():
    images = [f"{number:05d}.jpg" for number in range(200)]
    few = strata_of(images, dict.fromkeys(images, 2) | {images[0]: 10})
    assert few.categories.tolist() == [2, 10] and few.codes[:2].tolist() == [1, 0]
    labels = strata_of(images[:3], dict(zip(images, ("sea", "harbour", "sea"), strict=False)))
    assert list(labels) == ["sea", "harbour", "sea"]
    ships = [0] * 100 + list(range(1, 101))
    deciles = strata_of(images[::-1], dict(zip(images, ships, strict=True)))
    assert list(deciles[:1]) == ["81 to 100"] and list(deciles[-100:]) == ["0"] * 100
    assert deciles.categories.tolist() == ["0", "1 to 20", "21 to 40", "41 to 60", "61 to 80", "81 to 100"]


def test_more_strata_than_a_byte_holds():
    groups = groups_of_sizes(*[1] * 600)
    strata = {image: f"harbour {number // 4}" for number, image in enumerate(groups["image"])}
    table = split(groups, (0.75, 0.25), strata=strata)
    assert sizes_of(table, ("train", "test")) == [450, 150]


def test_every_image_needs_a_stratum():
    groups = groups_of_sizes(1, 1, 1, 1)
    with pytest.raises(ValueError, match=r"'00003\.jpg' has no value"):
        split(groups, strata={f"0000{number}.jpg": number for number in range(3)})


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ratios", [(1.0,), (0.8, 0.3), (0.8, 0.2, 0.0), (1.2, -0.2), (), (0.5, float("nan"))]
)
def test_ratios_must_be_positive_and_sum_to_one(ratios):
    with pytest.raises(ValueError, match="ratios are"):
        split(groups_of_sizes(1, 1, 1), ratios)


def test_names_must_suit_the_ratios():
    groups = groups_of_sizes(*[1] * 10)
    assert sizes_of(split(groups, (0.8, 0.2)), ("train", "test")) == [8, 2]
    assert sizes_of(split(groups, (0.8, 0.2), names=("a", "b")), ("a", "b")) == [8, 2]
    with pytest.raises(ValueError, match="4 ratios have no names"):
        split(groups, (0.4, 0.2, 0.2, 0.2))
    for names in (("a",), ("a", "a")):
        with pytest.raises(ValueError, match="names are"):
            split(groups, (0.8, 0.2), names=names)
    for blank in ("", " "):
        with pytest.raises(ValueError, match="a split needs a name that is not blank"):
            split(groups, (0.8, 0.2), names=(blank, "b"))


def test_there_must_be_as_many_groups_as_splits():
    with pytest.raises(ValueError, match="2 groups cannot fill 3 splits"):
        split(groups_of_sizes(50, 50))
    with pytest.raises(ValueError, match="0 groups"):
        split(groups_of_sizes())


# --- the usual split, scikit-learn, CSV -----------------------------------------------------------


def test_a_random_split_meets_the_ratios_and_ignores_groups():
    images = [f"{number:04d}.jpg" for number in range(995)]
    table = random_split(images[::-1], seed=3)
    assert table["image"].tolist() == images
    assert sizes_of(table) == [796, 99, 100] or sizes_of(table) == [796, 100, 99]
    pd.testing.assert_frame_equal(random_split(images, seed=3), table)
    assert (random_split(images, seed=4)["split"] != table["split"]).any()
    changes = (table["split"].to_numpy()[1:] != table["split"].to_numpy()[:-1]).sum()
    assert changes > 200


def test_groups_serve_the_splitters_of_scikit_learn():
    rng = np.random.default_rng(0)
    table = groups_of_sizes(*rng.integers(1, 9, 60))
    images = table["image"].sample(frac=1, random_state=0).tolist()
    groups = group_array(table, images)
    assert groups.tolist() == [
        dict(zip(table["image"], table["group"], strict=True))[image] for image in images
    ]
    labels = rng.integers(0, 2, len(images))
    for splitter in (GroupKFold(5), StratifiedGroupKFold(5)):
        for train, test in splitter.split(images, labels, groups):
            assert set(groups[train]).isdisjoint(groups[test])
    with pytest.raises(ValueError, match=r"'stray\.jpg' is not in the groups table"):
        group_array(table, ["00000.jpg", "stray.jpg"])


def test_strata_are_read_from_a_csv(tmp_path):
    path = tmp_path / "weather.csv"
    path.write_text("cloud,image,haze\n1,b.jpg,x\n3,a.jpg,y\n9,other.jpg,z\n")
    assert read_strata(path, ["a.jpg", "b.jpg"], "haze").to_dict() == {"a.jpg": "y", "b.jpg": "x"}
    assert read_strata(path, ["a.jpg"]).to_dict() == {"a.jpg": 3}
    with pytest.raises(ValueError, match=r"column is 'ships'.*beside 'image': \['cloud', 'haze'\]"):
        read_strata(path, ["a.jpg"], "ships")
    with pytest.raises(ValueError, match="column is 'image'"):
        read_strata(path, ["a.jpg"], "image")
    with pytest.raises(ValueError, match=r"no row for 2 images, such as 'c\.jpg'"):
        read_strata(path, ["a.jpg", "d.jpg", "c.jpg"])
    path.write_text("image\na.jpg\n")
    with pytest.raises(ValueError, match="column is None"):
        read_strata(path, ["a.jpg"])
    path.write_bytes(b"\xff\xd8\xff\xe0 a photograph")
    with pytest.raises(ValueError, match=r"weather\.csv' is no table in CSV"):
        read_strata(path, ["a.jpg"])


def test_ships_are_counted_where_each_has_a_row(tmp_path):
    """The layout of the Airbus masks: one row a ship, an empty one for an image without."""
    path = tmp_path / "train_ship_segmentations_v2.csv"
    path.write_text("ImageId,EncodedPixels\na.jpg,1 2\na.jpg,5 2\nb.jpg,\nc.jpg,9 9\n")
    counts = read_strata(path, ["a.jpg", "b.jpg", "c.jpg"], "EncodedPixels")
    assert counts.to_dict() == {"a.jpg": 2, "b.jpg": 0, "c.jpg": 1}
