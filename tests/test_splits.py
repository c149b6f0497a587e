import warnings
from collections import Counter
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st
from results import found
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from dupnet.splits.assignment import kept_together, random_split, split
from dupnet.splits.leaks import audit
from dupnet.splits.repair import repair
from dupnet.splits.strata import read_strata, strata_of

QUICK = settings(max_examples=40, deadline=None, derandomize=True)
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


@hypothesis_given(
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


@hypothesis_given(
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
    "ratios", [(1.0,), (0.8, 0.3), (0.8, 0.2, 0.0), (1.2, -0.2), (), (0.5, float("nan")), (1e308, 1e308)]
)
@pytest.mark.filterwarnings("error")
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
    result = found(np.stack([rng.integers(0, 20, 100), *np.zeros((2, 100), int)], axis=1))
    images = result.groups["image"].sample(frac=1, random_state=0).tolist()
    groups = result.groups_for(images)
    of_image = dict(zip(result.groups["image"], result.groups["group"], strict=True))
    assert groups.tolist() == [of_image[image] for image in images]
    # A table of one's own may have other folders before the names, or no ending.
    assert result.groups_for([f"/data/{image[:-4]}" for image in images]).tolist() == groups.tolist()
    labels = rng.integers(0, 2, len(images))
    for splitter in (GroupKFold(5), StratifiedGroupKFold(5)):
        for train, test in splitter.split(images, labels, groups):
            assert set(groups[train]).isdisjoint(groups[test])
    with pytest.raises(ValueError, match=r"'stray\.jpg' is not in the collection"):
        result.groups_for(["000.jpg", "stray.jpg"])


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
    path.write_bytes(b"\xff\xd8\xff\xe0\0 a photograph")
    with pytest.raises(ValueError, match=r"weather\.csv' is no table in CSV"):
        read_strata(path, ["a.jpg"])


def test_ships_are_counted_where_each_has_a_row(tmp_path):
    """The layout of the Airbus masks: one row a ship, an empty one for an image without."""
    path = tmp_path / "train_ship_segmentations_v2.csv"
    path.write_text("ImageId,EncodedPixels\na.jpg,1 2\na.jpg,5 2\nb.jpg,\nc.jpg,9 9\n")
    counts = read_strata(path, ["a.jpg", "b.jpg", "c.jpg"], "EncodedPixels")
    assert counts.to_dict() == {"a.jpg": 2, "b.jpg": 0, "c.jpg": 1}


def test_names_like_na_stay_names_and_labels_too(tmp_path):
    path = tmp_path / "cover.csv"
    path.write_text("file,cover\nNA,null\nnan,NA\n007,None\n")
    strata = read_strata(path, ["007.jpg", "NA.jpg", "nan.jpg"])
    assert strata.to_dict() == {"NA.jpg": "null", "nan.jpg": "NA", "007.jpg": "None"}
    table = split(groups_of_sizes(*[1] * 40).assign(image=[f"{n}" for n in range(39)] + ["NA"]), (0.5, 0.5))
    assert "NA" in set(table["image"])


# --- what is kept together ------------------------------------------------------------------------


def test_altered_and_contradicted_overlaps_are_kept_together():
    """One changed tile of nine no longer tears two copies apart."""
    result = found(
        [(0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0)],
        overlaps=[(0, 1, 0, 0, "altered"), (2, 3, 0, 0, "undecidable")],
        rejected=[(1, 2, 0, 5)],
    )
    assert kept_together(result)["group"].tolist() == [0, 0, 0, 1]
    table = split(result, (0.75, 0.25))
    assert table["split"].nunique() == 2 and table["split"][:3].nunique() == 1


def test_revisits_are_kept_together_if_wanted():
    result = found([(n, 0, 0) for n in range(40)], revisits=[(n, n + 20, 0, 0) for n in range(20)])
    alone, kept = split(result, (0.5, 0.5)), split(result, (0.5, 0.5), keep_revisits=True)
    assert len(audit(alone, result).revisits) and not len(audit(kept, result).revisits)
    assert sizes_of(kept, ("train", "test")) == [20, 20]
    with pytest.raises(ValueError, match="need the result of find"):
        split(result.groups, keep_revisits=True)


# --- blocks ---------------------------------------------------------------------------------------


def acquisition(n, side, seed=0, **options):
    """Crops of 100 px at random places of one acquisition."""
    rng = np.random.default_rng(seed)
    places = np.stack([np.zeros(n, int), *rng.integers(0, side - 100, (2, n))], axis=1)
    return found(places, groups=[0] * n, **options)


@pytest.mark.filterwarnings("ignore:Blocks cannot meet")
def test_a_group_of_one_acquisition_is_split_by_ground():
    result = acquisition(600, 3000)
    with pytest.raises(ValueError, match=r"1 groups cannot fill 3 splits.*--blocks PX"):
        split(result)
    table = split(result, blocks=700)
    assert set(table["split"]) == {"train", "validation", "test", "buffer"}
    assert (table["split"] == "buffer").mean() < 0.35
    assert not audit(table, result).leaks
    assert audit(table, result).buffered == (table["split"] == "buffer").sum()
    # Not a pixel in two splits, however narrow the strip.
    ground = {}
    for row, name in zip(result.groups.itertuples(), table["split"], strict=True):
        shown = ground.setdefault(name, np.zeros((3000, 3000), bool))
        shown[row.y : row.y + 100, row.x : row.x + 100] = True
    assert not (ground["train"] & (ground["test"] | ground["validation"])).any()
    assert not (ground["test"] & ground["validation"]).any()
    pd.testing.assert_frame_equal(split(result, blocks=700), table)
    assert (split(result, blocks=700, seed=1)["split"] != table["split"]).any()


@pytest.mark.filterwarnings("ignore:Blocks cannot meet")
def test_blocks_divide_large_groups_alone():
    many = acquisition(200, 2000)
    places = many.groups[["mosaic", "y", "x"]].to_numpy().tolist() + [(n, 0, 0) for n in range(1, 101)] * 2
    result = found(places)
    table = split(result, (0.5, 0.5), blocks=500)
    small = table[table["group"] > 0]
    assert (small["split"] != "buffer").all()
    assert (small.groupby("group")["split"].nunique() == 1).all()
    assert not audit(table, result).leaks


@pytest.mark.filterwarnings("ignore:Blocks cannot meet")
def test_blocks_heed_links_between_mosaics():
    result = acquisition(300, 3000, rejected=[(n, 299 - n, 0, 0) for n in range(20)])
    assert not len(audit(split(result, (0.5, 0.5), blocks=700), result).doubtful)
    result = acquisition(300, 3000, revisits=[(n, 299 - n, 0, 0) for n in range(20)])
    seen = [split(result, (0.5, 0.5), blocks=700, keep_revisits=kept) for kept in (False, True)]
    assert [bool(len(audit(table, result).revisits)) for table in seen] == [True, False]


def test_blocks_that_cannot_serve_are_refused():
    result = acquisition(50, 300)
    with pytest.raises(ValueError, match="1 blocks of 4000 px and groups cannot fill 2 splits"):
        split(result, (0.5, 0.5), blocks=4000)
    with pytest.raises(ValueError, match="a split is left empty"):
        split(found([(0, 0, n) for n in range(10)]), (0.5, 0.5), blocks=5)
    with pytest.raises(ValueError, match="blocks is 0"):
        split(result, blocks=0)
    with pytest.raises(ValueError, match="'buffer' is what images in no split"):
        split(result, (0.5, 0.5), names=("train", "buffer"))


# --- repair ---------------------------------------------------------------------------------------


def given(result, *names):
    return pd.DataFrame({"image": result.groups["image"], "split": names})


def test_a_split_is_repaired_with_the_fewest_moves():
    result = found([(0, 0, 0)] * 3 + [(1, 0, 0)] * 4 + [(2, 0, 0)])
    repaired = repair(given(result, "a", "a", "b", "b", "b", "b", "a", "a"), result)
    assert repaired.moves.values.tolist() == [["002.jpg", "b", "a"], ["006.jpg", "a", "b"]]
    assert repaired.splits["split"].tolist() == ["a"] * 3 + ["b"] * 4 + ["a"]
    assert list(repaired.splits) == ["image", "group", "split"]
    assert not audit(repaired.splits, result).leaks
    assert repair(repaired.splits, result).moves.empty


@QUICK
@hypothesis_given(st.integers(0, 10_000))
@pytest.mark.filterwarnings("ignore:The fewest moves")
def test_no_repair_moves_fewer(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 9))
    result = found([(int(mosaic), 0, 0) for mosaic in np.sort(rng.integers(0, 4, n))])
    before = given(result, *rng.choice(["a", "b", "c"], n))
    repaired = repair(before, result)
    groups = result.groups["group"].to_numpy()
    names = sorted(before["split"].unique())
    fewest = min(
        sum(choice[group] != split for group, split in zip(groups, before["split"], strict=True))
        for choice in product(names, repeat=int(groups.max()) + 1)
        # No split is left empty, if there are groups enough.
        if len(set(groups)) < len(names) or {choice[group] for group in groups} == set(names)
    )
    assert len(repaired.moves) == fewest
    assert not audit(repaired.splits, result).leaks


def test_ties_go_where_images_are_lacking():
    result = found([(n // 2, 0, 0) for n in range(8)])
    assert Counter(repair(given(result, *"abababab"), result).splits["split"]) == {"a": 4, "b": 4}


def test_no_split_is_repaired_away():
    result = found([(0, 0, 0)] * 4 + [(1, 0, 0)] * 3)
    repaired = repair(given(result, *"aaabaab"), result)
    assert repaired.splits["split"].tolist() == list("aaaabbb")
    with pytest.warns(UserWarning, match="'b' keeps 1 of 4"):
        result = found([(0, 0, 0)] * 8 + [(1, 0, 0)])
        repair(given(result, *"aaaaabbbb"), result)


def test_a_repair_leaves_out_what_was_left_out():
    result = found([(0, 0, 0)] * 3 + [(1, 0, 0)] * 2)
    before = given(result, "a", "a", "buffer", "b", "b").iloc[[0, 2, 3, 4]]
    repaired = repair(before, result)
    assert repaired.splits["image"].tolist() == ["000.jpg", "002.jpg", "003.jpg", "004.jpg"]
    assert repaired.splits["split"].tolist() == ["a", "buffer", "b", "b"]
    strange = pd.concat([before, pd.DataFrame({"image": ["x.jpg"], "split": ["a"]})])
    assert repair(strange, result).unmatched["name"].tolist() == ["x.jpg"]


def test_an_image_in_two_splits_leaves_one():
    result = found([(0, 0, 0), (1, 0, 0), (2, 0, 0)])
    rows = [("000.jpg", "a"), ("000.jpg", "b"), ("001.jpg", "a"), ("002.jpg", "b")]
    repaired = repair(pd.DataFrame(rows, columns=["image", "split"]), result)
    assert len(repaired.moves) == 1 and len(repaired.splits) == 3
    assert not audit(repaired.splits, result).leaks


def test_a_repair_keeps_revisits_together_if_wanted():
    result = found([(0, 0, 0), (1, 0, 0), (2, 0, 0)], revisits=[(0, 1, 0, 0)])
    before = given(result, "a", "b", "b")
    assert repair(before, result).moves.empty
    assert len(repair(before, result, keep_revisits=True).moves) == 1
