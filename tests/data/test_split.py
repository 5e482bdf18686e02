"""The split: groups stay together, proportions, painters within a class, parts that the data comes with."""

import numpy as np
import pandas as pd
import pytest

from painters_mtl.common.errors import UserError
from painters_mtl.data.catalog import read_catalog
from painters_mtl.data.classes import choose_classes
from painters_mtl.data.duplicates import group_near_copies, is_distinctive_title
from painters_mtl.data.split import given_parts, has_label, make_folds, make_split, notes_about_split


def catalogue(n: int, competition: object = "") -> pd.DataFrame:
    return pd.DataFrame(
        {"id": [f"{i}.jpg" for i in range(n)], "painter": "", "style": "", "genre": "", "title": "",
         "competition": competition}, dtype=object)  # fmt: skip


def labels_like_real(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Labels with a few frequent and many rare classes, a third of each task missing."""
    random = np.random.default_rng(seed)
    labels = {}
    for name, classes in (("painter", 8), ("style", 10), ("genre", 23)):
        values = np.minimum(random.geometric(0.25, n) - 1, classes - 1)
        labels[name] = np.where(random.random(n) < 1 / 3, -1, values).astype(np.int32)
    return labels


# ------------------------------------------------------------------------------------------------- the split


def test_proportions_hold_for_every_class_of_every_task():
    n = 3000
    labels = labels_like_real(n)
    split = make_split(catalogue(n), labels, np.arange(n))
    assert split.shape == (n,) and set(split) == {"train", "validation", "test"}
    for values in labels.values():
        for label in range(values.max() + 1):
            mine = split[values == label]
            for part, share in (("train", 0.7), ("validation", 0.15), ("test", 0.15)):
                assert abs((mine == part).sum() - share * len(mine)) <= 2 + 0.03 * len(mine), (label, part, len(mine))
    unlabelled = np.all([values < 0 for values in labels.values()], axis=0)
    assert unlabelled.any() and set(split[unlabelled]) == {"train"}


def test_better_than_chance():
    """The sum of deviations from the wished counts is under half of that of a random split."""
    n = 1000
    labels = labels_like_real(n, seed=5)

    def deviation(split: np.ndarray) -> float:
        return sum(abs((split[values == k] == "test").sum() - 0.15 * (values == k).sum())
                   for values in labels.values() for k in range(values.max() + 1))  # fmt: skip

    random = np.random.default_rng(0).choice(["train", "validation", "test"], n, p=[0.7, 0.15, 0.15])
    assert deviation(make_split(catalogue(n), labels, np.arange(n))) < deviation(random) / 2


def test_groups_stay_together_and_seeds_decide():
    n = 2000
    labels, groups = labels_like_real(n, 1), np.random.default_rng(3).integers(0, 900, n)
    split = make_split(catalogue(n), labels, groups, seed=4)
    parts = pd.DataFrame({"g": groups, "s": split})[split != ""].groupby("g")["s"].nunique()
    assert parts.max() == 1
    known = np.any([values >= 0 for values in labels.values()], axis=0)
    assert not (split[known] == "").any()
    outside = np.isin(groups, groups[(split == "validation") | (split == "test")])
    assert (~known & outside).any()
    assert set(split[~known & outside]) == {""} and set(split[~known & ~outside]) == {"train"}
    assert (split == make_split(catalogue(n), labels, groups, seed=4)).all()
    assert (split != make_split(catalogue(n), labels, groups, seed=5)).any()
    assert 0.66 < (split == "train").sum() / (split != "").sum() < 0.76


@pytest.mark.parametrize("seed", range(12))
def test_every_class_of_three_groups_is_in_each_part(seed):
    random = np.random.default_rng(seed)
    n = 120  # 23 genres of three or four works: the rarest real case
    genre = np.repeat(np.arange(23), [3 + (k < 5) for k in range(23)])
    labels = {name: np.full(n, -1, np.int32) for name in ("painter", "style", "genre")}
    labels["genre"][: len(genre)] = genre
    labels["painter"][:] = random.integers(0, 8, n)
    labels["style"][:] = random.integers(0, 10, n)
    split = make_split(catalogue(n), labels, np.arange(n), seed=seed)
    for values in labels.values():
        for label in range(values.max() + 1):
            if (values == label).sum() >= 3:
                assert set(split[values == label]) == {"train", "validation", "test"}


def test_the_competition_test_rows_are_the_test_set():
    n = 1000
    labels = labels_like_real(n, 2)
    test = np.arange(n) >= 800
    groups = np.arange(n)
    groups[800:820] = np.arange(20)  # twenty test works have a copy in train
    split = make_split(catalogue(n, np.where(test, "test", "train")), labels, groups)
    known = np.any([values >= 0 for values in labels.values()], axis=0)
    assert set(split[800:820]) == {""}
    assert set(split[820:][known[820:]]) == {"test"} and set(split[820:][~known[820:]]) == {""}
    assert set(split[:800]) == {"train", "validation"}
    assert abs((split[:800][known[:800]] == "validation").mean() - 0.1) < 0.02
    assert set(split[:800][~known[:800]]) == {"train"}


def with_other_painters(n: int, seed: int) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Labels as above; who has none of the eight painters is by one of 60 others, or of nobody."""
    labels, random = labels_like_real(n, seed), np.random.default_rng(seed)
    other = np.array([f"other {k}" for k in np.minimum(random.geometric(0.05, n), 60)], object)
    other[random.random(n) < 0.1] = ""
    names = np.array([f"painter {k}" for k in range(8)], object)
    return catalogue(n).assign(painter=np.where(labels["painter"] < 0, other, names[labels["painter"]])), labels


@pytest.mark.parametrize("seed", range(4))
def test_some_painters_are_kept_out_of_training(seed):
    n = 4000
    table, labels = with_other_painters(n, seed)
    table.loc[::7, "painter"] = table.loc[::7, "painter"].str.upper()  # one painter, spelled in two ways
    painters = table["painter"].str.lower().to_numpy()
    titles = np.random.default_rng(seed).integers(0, 200, n)  # some works of a painter are copies of each other
    groups = pd.factorize(pd.Series(painters) + "|" + titles.astype(str))[0]
    split = make_split(table, labels, groups, seed)
    held_out = set(painters[split == "validation"]) - set(painters[split == "train"]) - {""}
    mine = np.isin(painters, list(held_out))
    others = (split == "validation") & ~mine
    assert len(held_out) >= 10 and not any(name.startswith("painter") for name in held_out)
    assert 0.18 < (mine & (split == "validation")).sum() / others.sum() < 0.28
    assert set(split[mine]) <= {"validation", "test", ""}
    assert pd.Series(split[split != ""]).groupby(groups[split != ""]).nunique().max() == 1
    for values in labels.values():
        assert set(values[split == "train"]) == set(values)  # no class is lost to training
    assert (split == make_split(table, labels, groups, seed)).all()
    assert (split != make_split(table, labels, groups, seed + 1)).any()


def test_painters_are_kept_out_where_only_painters_are_said():
    """Works of the others then have no label at all, and are in training for the head over all painters."""
    n = 3000
    table, labels = with_other_painters(n, 1)
    split = make_split(table, {"painter": labels["painter"]}, np.arange(n), 1)
    painters = table["painter"].to_numpy()
    held_out = (split == "validation") & ~np.isin(painters, painters[split == "train"])
    others = (split == "validation") & ~held_out
    assert (labels["painter"][held_out] < 0).all() and "" not in set(painters[held_out])
    assert 0.18 < held_out.sum() / others.sum() < 0.28


def test_many_small_painters_are_held_out_rather_than_a_few_large_ones():
    works = np.random.default_rng(0).permutation(np.repeat([4, 40], [400, 200]))
    painters = np.repeat([f"P{k}" for k in range(600)], works).astype(object)
    n = len(painters)
    labels = {"style": np.random.default_rng(1).integers(0, 5, n).astype(np.int32)}
    split = make_split(catalogue(n).assign(painter=painters), labels, np.arange(n))
    held_out = pd.Series(painters[(split == "validation") & ~np.isin(painters, painters[split == "train"])])
    assert held_out.value_counts().max() <= 4 and held_out.nunique() > 70


def test_a_class_keeps_its_works_where_a_painter_has_most_of_them():
    n = 1200
    table, labels = with_other_painters(n, 0)
    rare = np.flatnonzero(labels["painter"] < 0)[:300]
    table.loc[rare, "painter"] = [f"specialist {k // 6}" for k in range(300)]  # 50 of them, who alone have these:
    for values in (labels["style"], labels["genre"]):
        values[values == 0] = -1
    labels["genre"][rare[:12]] = 0  # twelve works by two, who would leave fewer than three in training
    for seed in range(8):
        split = make_split(table, labels, np.arange(n), seed)
        assert ((split == "train") & (labels["genre"] == 0)).sum() >= 3


def test_without_labels_on_its_test_rows_the_train_rows_are_divided_in_three():
    n = 300
    labels = labels_like_real(n)
    test = np.arange(n) >= 200
    for values in labels.values():
        values[test] = -1
    split = make_split(catalogue(n, np.where(test, "test", "train")), labels, np.arange(n))
    assert set(split[~test]) == {"train", "validation", "test"} and set(split[test]) == {""}


def test_too_few():
    with pytest.raises(UserError, match="2 paintings"):
        make_split(catalogue(4), {"style": np.array([0, 1, -1, -1])}, np.arange(4))


def test_eighty_thousand_rows():
    n = 80_000
    labels, groups = labels_like_real(n), np.random.default_rng(0).integers(0, 70_000, n)
    split = make_split(catalogue(n), labels, groups)
    shares = {part: np.mean(split == part) for part in ("train", "validation", "test")}
    assert shares == pytest.approx({"train": 0.7, "validation": 0.15, "test": 0.15}, abs=0.01)
    used = split != ""
    assert (pd.Series(split[used]).groupby(groups[used]).nunique() == 1).all()  # copies stay together


# ------------------------------------------------------------------------------------------------- painters in a class


def sorted_by_painter(seed: int = 0) -> tuple[pd.DataFrame, dict[str, np.ndarray], np.ndarray]:
    """A collection as WikiArt's copies have it: folders of styles, in each the works in the order of their painters.

    Eight painters are classes; the others are of no class, so that nothing but chance divides their works. Every tenth
    work is one of a pair that stays together.
    """
    random = np.random.default_rng(seed)
    names = [f"{style}-{k:02d}" for style in range(10) for k in range(30)]
    works = np.minimum(random.geometric(0.04, len(names)) + 2, 120)
    painters = np.repeat(np.array(names, object), works)
    n = len(painters)
    style = np.array([int(name.split("-")[0]) for name in painters], np.int32)
    largest = pd.Series(painters).value_counts().index[:8]
    painter = pd.Series(painters).map({name: k for k, name in enumerate(largest)}).fillna(-1).to_numpy(np.int32)
    genre = np.where(random.random(n) < 0.2, -1, random.integers(0, 23, n)).astype(np.int32)
    groups = np.arange(n)
    groups[10::10] = groups[9:-1:10]
    return catalogue(n).assign(painter=painters), {"painter": painter, "style": style, "genre": genre}, groups


def total_variation(painters: np.ndarray, style: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """For each style, half the sum over painters of |share of `one` - share of `other`|; the parts are masks."""
    numbers = pd.factorize(painters)[0]
    counts = np.zeros((2, style.max() + 1, numbers.max() + 1))
    for part, mask in enumerate((one, other)):
        np.add.at(counts[part], (style[mask], numbers[mask]), 1)
    shares = counts / counts.sum(axis=2, keepdims=True)
    return np.abs(shares[0] - shares[1]).sum(axis=1) / 2


def random_split(groups: np.ndarray, seed: int, shares: tuple[float, ...]) -> np.ndarray:
    """The part of each row when whole groups are drawn by chance alone."""
    numbers = np.unique(groups, return_inverse=True)[1]
    return np.random.default_rng(seed).choice(len(shares), numbers.max() + 1, p=shares)[numbers]


def assert_as_by_chance(distances: list[np.ndarray], by_chance: list[np.ndarray]) -> None:
    """Total variations (splits, styles) are within what random splits give, for each style and on average."""
    mean, spread = np.mean(by_chance, axis=0), np.std(by_chance, axis=0)
    assert (np.array(distances) <= mean + 4 * spread).all()
    assert np.mean(distances) <= np.mean(by_chance) + 2 * np.std(np.mean(by_chance, axis=1))


def test_painters_within_a_style_are_divided_as_by_chance():
    table, labels, groups = sorted_by_painter()
    painters, style = table["painter"].to_numpy(), labels["style"]
    by_chance, distances = {"validation": [], "test": []}, {"validation": [], "test": []}
    for seed in range(20):
        drawn = random_split(groups, seed, (0.7, 0.15, 0.15))
        by_chance["validation"].append(total_variation(painters, style, drawn == 0, drawn == 1))
        by_chance["test"].append(total_variation(painters, style, drawn == 0, drawn == 2))
    for seed in range(3):
        split = make_split(table, labels, groups, seed)
        train = split == "train"
        held_out = ~np.isin(painters, painters[train])  # painters that leave training on purpose
        for part, rows in distances.items():
            rows.append(total_variation(painters, style, train, (split == part) & ~held_out))
    for part in distances:
        assert_as_by_chance(distances[part], by_chance[part])


def test_painters_within_a_style_are_divided_as_by_chance_in_folds_too():
    table, labels, groups = sorted_by_painter(1)
    painters, style = table["painter"].to_numpy(), labels["style"]
    by_chance, distances = {"validation": [], "test": []}, {"validation": [], "test": []}
    for seed in range(20):
        drawn = random_split(groups, seed, (0.68, 0.12, 0.2))
        by_chance["validation"].append(total_variation(painters, style, drawn == 0, drawn == 1))
        by_chance["test"].append(total_variation(painters, style, drawn == 0, drawn == 2))
    for split in make_folds(labels, groups, 5, seed=2):
        for part, rows in distances.items():
            rows.append(total_variation(painters, style, split == "train", split == part))
    for part in distances:
        assert_as_by_chance(distances[part], by_chance[part])


# ------------------------------------------------------------------------------------------------- given parts


def parts_of(split: np.ndarray) -> dict[str, int]:
    return {part: int((split == part).sum()) for part in ("train", "validation", "test", "")}


def given_split(n: int, seed: int, **shares: float) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.choice(np.array(list(shares), object), n, p=list(shares.values()))


def test_a_split_that_somebody_made_is_used():
    n = 600
    labels = labels_like_real(n)
    given = given_split(n, 0, train=0.6, validation=0.2, test=0.2)
    table, labelled = catalogue(n).assign(part=given), has_label(labels)
    split = make_split(table, labels, np.arange(n))
    assert (split[labelled] == given[labelled]).all()
    assert set(split[~labelled & (given == "train")]) == {"train"} and set(split[~labelled & (given != "train")]) == {
        ""
    }
    assert notes_about_split(labels, np.arange(n), split, given_parts(table)) == [
        f"{(split == '').sum()} paintings are left out: near-copies of paintings in another part, or without a label "
        "of these classes."
    ]
    new = make_split(table, labels, np.arange(n), given=np.full(n, "", object))
    assert (new != split).any() and (new == make_split(catalogue(n), labels, np.arange(n))).all()


def test_near_copies_across_given_parts_leave_train_then_validation():
    n = 400
    labels = {"style": np.arange(n, dtype=np.int32) % 4}
    given = np.repeat(np.array(["train", "validation", "test"], object), (200, 100, 100))
    groups = np.arange(n)
    groups[:10] = groups[300:310]  # train and test
    groups[10:15] = groups[200:205]  # train and validation
    groups[205:208] = groups[310:313]  # validation and test
    split = make_split(catalogue(n).assign(part=given), labels, groups)
    assert parts_of(split) == {"train": 185, "validation": 97, "test": 100, "": 18}
    assert (split[given == "test"] == "test").all() and set(split[:15]) == {""} == set(split[205:208])
    assert pd.Series(split[split != ""]).groupby(groups[split != ""]).nunique().max() == 1
    (note,) = notes_about_split(labels, groups, split, given)
    assert note.startswith("18 paintings are left out of train or validation: near-copies")


@pytest.mark.parametrize("missing", ["validation", "test"])
def test_a_part_that_is_missing_is_drawn_from_train_by_groups(missing):
    n = 1000
    other = "test" if missing == "validation" else "validation"
    labels, groups = labels_like_real(n), np.random.default_rng(1).integers(0, 700, n)
    given = np.where(groups < 120, other, "train").astype(object)
    table, labelled = catalogue(n).assign(part=given), has_label(labels)
    split = make_split(table, labels, groups)
    assert (split[labelled & (given == other)] == other).all()
    drawn = split[labelled & (given == "train")]
    assert set(drawn) == {"train", missing} and 0.15 < (drawn == missing).mean() < 0.25
    assert pd.Series(split[split != ""]).groupby(groups[split != ""]).nunique().max() == 1
    notes = notes_about_split(labels, groups, split, given)
    assert f"the data comes without a {missing} part: {(split == missing).sum()} paintings" in notes[0]


def test_held_out_painters_leave_train_only_where_validation_is_drawn():
    n = 4000
    table, labels = with_other_painters(n, 0)
    painters = table["painter"].to_numpy()
    for given in (given_split(n, 1, train=0.7, validation=0.15, test=0.15), given_split(n, 1, train=0.8, test=0.2)):
        split = make_split(table.assign(part=given), labels, np.arange(n))
        held_out = (split == "validation") & ~np.isin(painters, painters[split == "train"]) & (painters != "")
        if "validation" in given:
            assert (split[has_label(labels)] == given[has_label(labels)]).all()
        else:
            assert held_out.sum() > 50 and not held_out[given == "test"].any()


def test_paintings_of_another_folder_get_parts_of_their_own_beside_given_ones():
    n = 900
    labels = labels_like_real(n)
    given = np.where(np.arange(n) < 300, "", given_split(n, 2, train=0.8, test=0.2))
    split = make_split(catalogue(n).assign(part=given), labels, np.arange(n))
    labelled = has_label(labels)
    assert (split[labelled & (given == "test")] == "test").all() and not (split[given == "train"] == "test").any()
    shares = {part: np.mean(split[labelled & (given == "")] == part) for part in ("train", "validation", "test")}
    assert shares == pytest.approx({"train": 0.7, "validation": 0.15, "test": 0.15}, abs=0.03)


def test_the_message_names_the_title_that_binds_the_works():
    table = catalogue(30).assign(painter="Monet", title=["Nymphéas"] * 20 + ["Haystacks"] * 10)
    with pytest.raises(UserError, match=r"30 paintings.*20 called 'Nymphéas' by Monet, stay together: 2 groups"):
        make_split(table, {"style": np.arange(30) % 2}, group_near_copies(table))


@pytest.mark.parametrize("part", ["", "train", "given"])
def test_the_order_of_the_rows_does_not_matter(part):
    n = 1500
    table, labels = with_other_painters(n, 3)
    given = given_split(n, 3, train=0.7, test=0.3) if part == "given" else part
    table, groups = table.assign(part=given), np.random.default_rng(3).integers(0, 1200, n)
    split = make_split(table, labels, groups, 1)
    order = np.random.default_rng(4).permutation(n)
    moved = table.iloc[order].reset_index(drop=True)
    renumbered = np.random.default_rng(5).permutation(1200)[groups[order]]
    again = make_split(moved, {name: values[order] for name, values in labels.items()}, renumbered, 1)
    assert (again == split[order]).all()


# ------------------------------------------------------------------------------------------------- the real data


@pytest.mark.real
def test_the_real_split(paintings):
    table = read_catalog(paintings / "pbn64").table
    tasks, _ = choose_classes(table, {"painter": 8, "style": 10, "genre": 23})
    labels = {name: task.encode(table[name]) for name, task in tasks.items()}
    split = make_split(table, labels, group_near_copies(table))
    key = table["painter"].str.lower() + "|" + table["title"].str.lower()
    used = (split != "") & (table["painter"] != "").to_numpy() & table["title"].map(is_distinctive_title).to_numpy()
    assert pd.Series(split[used]).groupby(key[used].to_numpy()).nunique().max() == 1
    test = (table["competition"] == "test").to_numpy()
    assert set(split[~test]) == {"train", "validation"} and set(split[test]) == {"test", ""}
    painters = table["painter"].to_numpy()
    held_out = (split == "validation") & ~np.isin(painters, painters[split == "train"]) & (painters != "")
    others = (split == "validation") & ~held_out
    assert (split == "test").sum() == 1466 and 1050 < others.sum() < 1250
    assert 0.2 <= held_out.sum() / others.sum() <= 0.25 and len(set(painters[held_out])) >= 15
    for values in labels.values():  # each class has a tenth of its training works in validation
        for label in range(values.max() + 1):
            mine = (values == label) & ~test & ~held_out
            assert abs((mine & others).sum() - 0.1 * mine.sum()) <= 2 + 0.03 * mine.sum()


@pytest.mark.real
def test_the_painters_of_real_styles_are_divided_as_by_chance(paintings):
    """On files sorted by painter; held-out painters leave train alone, so a little more is allowed than above."""
    table = read_catalog(paintings / "wikiart").table
    tasks, _ = choose_classes(table, {"painter": 8, "style": 11, "genre": 23})
    labels = {name: task.encode(table[name]) for name, task in tasks.items()}
    groups = group_near_copies(table)
    painters, style = table["painter"].to_numpy(), labels["style"]
    split = make_split(table, labels, groups)
    distances = total_variation(painters, style, split == "train", split == "test")
    by_chance = []
    for seed in range(20):
        drawn = random_split(groups, seed, (0.7, 0.15, 0.15))
        by_chance.append(total_variation(painters, style, drawn == 0, drawn == 2))
    assert (distances <= 1.2 * np.max(by_chance, axis=0)).all()
    assert distances.mean() <= 1.1 * np.mean(by_chance)
