"""Train, validation and test: near-copies stay together, and the classes of all tasks are stratified at once.

split = make_split(table, {name: task.encode(table[name]) for name, task in tasks.items()}, groups)
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from painters_mtl.common.errors import UserError
from painters_mtl.data.duplicates import largest_group
from painters_mtl.data.stratify import classes_of_groups, stratify
from painters_mtl.data.values import clean

PARTS = ("train", "validation", "test")
FRACTIONS = (0.7, 0.15, 0.15)  # of train, validation and test, among the groups with a label
VALIDATION_OF_FOLD = 0.15  # of the groups outside the test part of a fold
COMPETITION_VALIDATION = 0.1  # of the competition's training set, when its test set is the test set
HELD_OUT = 0.2  # works of held-out painters, as a part of the other validation works
FEWEST_WORKS = 3  # of a held-out painter: fewer make hardly a pair by one painter
FEWEST_HELD_OUT = 10  # none of them may have more than a tenth of the works needed
# Painters with a thirtieth of them or less are drawn first: taking many small ones changes train least.
MANY_HELD_OUT = 30
FEWEST_GROUPS = 3  # a painter is not taken where a class would keep fewer groups in train

Labels = Mapping[str, np.ndarray]  # task name to int32 of shape (n,), -1 for "no label"


def given_parts(table: pd.DataFrame) -> np.ndarray:
    """The part that the data itself gives to each painting: "train", "validation", "test" or "", object of (n,).

    From the column `part`, a split that somebody made, else from the competition's training and test set.
    """
    parts = np.full(len(table), "", object)
    for column in ("competition", "part"):
        if column in table:
            parts = np.where(table[column] != "", table[column], parts)
    return parts.astype(object)


def make_split(
    table: pd.DataFrame,
    labels: Labels,
    groups: np.ndarray,
    seed: int = 0,
    given: np.ndarray | None = None,
) -> np.ndarray:
    """The part of each painting, an object array of str, shape (n,): "train", "validation", "test", "" for left out.

    What the data gives to test or validation stays there, and a part that is not given is drawn from train. Paintings
    that are given to no part are divided by `FRACTIONS`. Both by iterative stratification (`stratify`) over the
    classes of all tasks at once, on groups; every class of three groups or more is seen to in each part.

    No group is in two parts: of one that the given parts divide, the paintings are left out of train, then of
    validation; the competition's test works, of test. The order of the rows does not matter.

    Where validation is drawn, some painters who are no class leave train for it with all their works there, a fifth of
    what is in validation already: these held-out painters show what a network makes of painters that it has never
    seen, without the test set.

    Args:
        table: a catalogue's table with n rows.
        labels: rows without any label are in train, or left out when their group is elsewhere or they are not given
            to train.
        groups: int of shape (n,), from `duplicates.group_near_copies`.
        seed: the same seed gives the same split.
        given: object of shape (n,), by default `given_parts(table)`; "" everywhere asks for a new split of all.

    Raises `UserError` when there are too few paintings with a label.
    """
    given = given_parts(table) if given is None else given
    order = np.argsort(table["id"].to_numpy(str), kind="stable")
    ordered = {name: np.asarray(values)[order] for name, values in labels.items()}
    split = np.empty(len(table), object)
    split[order] = _split_in_order(
        table.iloc[order].reset_index(drop=True),
        ordered,
        pd.factorize(np.asarray(groups)[order])[0],
        seed,
        given[order],
    )
    return split


def _split_in_order(
    table: pd.DataFrame, labels: Labels, groups: np.ndarray, seed: int, given: np.ndarray
) -> np.ndarray:
    """`make_split` of rows in the order of their ids."""
    labelled = has_label(labels)
    split, to_train = _as_given(table, groups, labelled, given)
    missing = [part for part in PARTS[1:] if not (split == part).any()]
    shares = dict(zip(PARTS, FRACTIONS, strict=True))
    if missing == ["validation"] and (split[from_competition_test(table)] == "test").any():
        shares |= {"train": 1 - COMPETITION_VALIDATION, "validation": COMPETITION_VALIDATION}

    free = np.flatnonzero(to_train & labelled)
    members, number = np.unique(groups[free], return_inverse=True)
    matrix = classes_of_groups(labels, free, number, len(members))
    # Beside paintings that are given to parts, those of another folder (--task-data) need a test part of their own.
    new = np.ones(len(members), bool)
    if len(missing) < 2:
        np.logical_and.at(new, number, given[free] == "")
    if not len(members):
        raise UserError("no painting that may be trained on has a label; add some")
    part_of_member = np.full(len(members), "train", object)
    for chosen, parts in ((new, PARTS), (~new, ("train", *missing))):
        if 0 < chosen.sum() < len(parts):
            raise UserError(_too_few(table.iloc[free], groups[free], chosen[number], len(parts)))
        if chosen.any():
            wanted = np.array([shares[name] for name in parts])
            part_of_member[chosen] = np.array(parts, object)[stratify(matrix[chosen], wanted / wanted.sum(), seed)]
    of_group = np.full(int(groups.max()) + 1, "train", object)  # groups without a label are in train
    of_group[members] = part_of_member
    rows = to_train & (labelled | (of_group[groups] == "train"))
    split[rows] = of_group[groups[rows]]
    if "validation" in missing or (split[(given == "") & labelled] == "validation").any():
        held_out = _groups_of_held_out_painters(table, labels, groups, split, seed)
        split[np.isin(groups, held_out) & (split == "train")] = "validation"
    return split


def has_label(labels: Labels) -> np.ndarray:
    """Whether a painting has a label of any task: bool of shape (n,)."""
    return np.any([np.asarray(values) >= 0 for values in labels.values()], axis=0)


def from_competition_test(table: pd.DataFrame) -> np.ndarray:
    """Which paintings are of the competition's test set: bool of shape (n,)."""
    return (table["competition"] == "test").to_numpy() if "competition" in table else np.zeros(len(table), bool)


def _as_given(
    table: pd.DataFrame, groups: np.ndarray, labelled: np.ndarray, given: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The split as far as it is given, "" elsewhere; and which rows may be trained on."""
    tested, validating = given == "test", given == "validation"
    competition = from_competition_test(table) & tested
    tested &= ~(competition & np.isin(groups, groups[~competition]))  # a network may have learned their near-copies
    tested &= labelled
    validating &= labelled & ~np.isin(groups, groups[tested])
    split = np.where(tested, "test", np.where(validating, "validation", "")).astype(object)
    return split, np.isin(given, ["train", ""]) & ~np.isin(groups, groups[split != ""])


def _too_few(table: pd.DataFrame, groups: np.ndarray, chosen: np.ndarray, parts: int) -> str:
    """Why the chosen paintings cannot be divided, in a sentence that names the title that binds most of them."""
    paintings, groups = int(chosen.sum()), groups[chosen]
    size, name = largest_group(table[chosen], groups)
    copies = len(np.unique(groups))
    together = f" (near-copies, such as {size} called {name}, stay together: {copies} groups)" if size > 1 else ""
    return f"{paintings} paintings with a label{together} cannot be split into {parts} parts; add some"


def _groups_of_held_out_painters(
    table: pd.DataFrame, labels: Labels, groups: np.ndarray, split: np.ndarray, seed: int
) -> np.ndarray:
    """Groups of train that go to validation because a painter of theirs is to be unknown to the network.

    Painters are drawn until their works are enough, first of those who have a thirtieth of what is needed or less.
    None has a class, fewer than three works or more than a tenth of what is needed, and none is taken whose works a
    class would miss in train.
    """
    if "painter" not in table:
        return np.zeros(0, int)
    painters = np.array([clean(name).casefold() for name in table["painter"]], object)
    train, validates = split == "train", split == "validation"
    needed, works_so_far = HELD_OUT * validates.sum(), 0
    classes = set(painters[np.asarray(labels["painter"]) >= 0]) if "painter" in labels else set()
    works = pd.Series(painters[train | validates]).value_counts()
    most = max(FEWEST_WORKS, needed / FEWEST_HELD_OUT)
    names = sorted(str(n) for n, k in works.items() if n and n not in classes and FEWEST_WORKS <= k <= most)
    matrix = classes_of_groups(labels, np.flatnonzero(train), groups[train], int(groups.max()) + 1)
    counts, taken = matrix.sum(axis=0), np.zeros(len(matrix), bool)
    drawn = np.random.default_rng([seed, 7]).permutation(np.array(names, object))
    for name in sorted(drawn, key=lambda name: bool(works[name] > needed / MANY_HELD_OUT)):
        if works_so_far >= needed:
            break
        own = np.unique(groups[(painters == name) & train])
        own = own[~taken[own]]
        left = counts - matrix[own].sum(axis=0)
        if not ((left < FEWEST_GROUPS) & (left < counts)).any():
            counts, works_so_far, taken[own] = left, works_so_far + works[name], True
    return np.flatnonzero(taken)


def make_folds(labels: Labels, groups: np.ndarray, folds: int, seed: int = 0) -> list[np.ndarray]:
    """Splits for cross-validation, as `make_split` returns one: each labelled painting is in test exactly once.

    Args:
        labels, groups, seed: as in `make_split`. Parts that the data comes with do not count here.
        folds: how many, at least 2.

    Raises `UserError` when there are fewer groups with a label than parts.
    """
    groups = np.unique(groups, return_inverse=True)[1]
    labelled = has_label(labels)
    rows = np.flatnonzero(labelled)
    members, number = np.unique(groups[rows], return_inverse=True)
    if len(members) < folds + 1:
        raise UserError(f"{len(members)} paintings with a label cannot be split into {folds} folds; add some")
    matrix = classes_of_groups(labels, rows, number, len(members))
    fold_of_group = stratify(matrix, np.full(folds, 1 / folds), seed)
    splits = []
    for fold in range(folds):
        of_members = np.where(fold_of_group == fold, 2, 0)
        rest = np.flatnonzero(fold_of_group != fold)
        of_members[rest] = stratify(matrix[rest], np.array([1 - VALIDATION_OF_FOLD, VALIDATION_OF_FOLD]), seed + fold)
        of_group = np.zeros(len(groups), int)
        of_group[members] = of_members
        splits.append(np.where(labelled | (of_group[groups] == 0), np.array(PARTS, object)[of_group[groups]], ""))
    return splits


def notes_about_split(labels: Labels, groups: np.ndarray, split: np.ndarray, given: np.ndarray) -> list[str]:
    """What was done about the parts that the data comes with: a sentence, with counts, each."""
    notes = []
    elsewhere = np.isin(groups, groups[np.isin(split, ["validation", "test"])])
    crossing = (split == "") & np.isin(given, ["train", "validation"]) & elsewhere & has_label(labels)
    if crossing.any():
        notes.append(
            f"{crossing.sum():,} paintings are left out of train or validation: near-copies are in the test or "
            "validation part that the data comes with."
        )
    for part in PARTS[1:]:
        if np.isin(["train", "validation", "test"], given).sum() > 1 and not (given == part).any():
            drawn = int((split == part).sum())
            notes.append(f"the data comes without a {part} part: {drawn:,} paintings of train are drawn for it.")
    left = int((split == "").sum() - crossing.sum())
    if left:
        notes.append(
            f"{left:,} paintings are left out: near-copies of paintings in another part, or without a label of these "
            "classes."
        )
    return notes
