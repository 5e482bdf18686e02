"""Train, validation and test: copies of a painting stay together, all tasks are stratified at once.

split = make_split(table, {name: task.encode(table[name]) for name, task in tasks.items()}, groups)
"""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from iterstrat.ml_stratifiers import IterativeStratification

from painters_mtl.common.errors import UserError
from painters_mtl.common.files import atomic_write
from painters_mtl.data.csv_table import read_csv
from painters_mtl.data.values import clean

PARTS = ("train", "validation", "test")
COMPETITION_VALIDATION = 0.1  # of the competition's training set, when its test set is the test set
STRANGERS = 0.2  # works of painters kept out of training, as a part of the other validation works
FEWEST_WORKS, FEWEST_STRANGERS = 3, 10  # so few make pairs by one painter; so many are not one painter's habits
FEWEST_GROUPS = 3  # of a class, in training, that no painter is taken away from


def make_split(
    table: pd.DataFrame,
    labels: Mapping[str, np.ndarray],
    groups: np.ndarray,
    seed: int = 0,
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
) -> np.ndarray:
    """Divide the paintings into train, validation and test.

    Iterative stratification (Sechidis, Tsoumakas, Vlahavas: On the Stratification of Multi-Label Data, ECML PKDD
    2011) over the classes of all tasks at once, on groups; then every class of three groups or more is seen to in each
    part. Where the competition's test rows have labels they are the test set, and a tenth of the rest validates.
    At last some painters who are no class leave train for validation with all their works there, a fifth of what is in
    validation already: what a network makes of painters that it has never seen can be asked without the test set.

    Args:
        table: a catalogue's table with n rows.
        labels: task name to int32 of shape (n,), -1 for "no label". Rows without any label are in train, or left out
            when their group is elsewhere; the competition's test rows are never in train.
        groups: int of shape (n,), from `duplicates.group_near_copies`; a group is never in two parts.
        seed: the same seed gives the same split.
        fractions: of train, validation and test, among the groups with a label.

    Returns an object array of str, shape (n,): "train", "validation", "test", or "" for left out.
    Raises `UserError` when there are too few paintings with a label.
    """
    groups = np.unique(groups, return_inverse=True)[1]
    known = np.any([np.asarray(values) >= 0 for values in labels.values()], axis=0)
    from_test = (table["competition"] == "test").to_numpy()
    mixed = np.isin(groups, groups[~from_test])  # the group has a row that may be trained on
    split = np.where(from_test & known & ~mixed, "test", "").astype(object)
    three, two = np.array(fractions, float), np.array([1 - COMPETITION_VALIDATION, COMPETITION_VALIDATION])
    # Beside the competition's paintings, those of another folder (--task-data) need a test part of their own.
    elsewhere = (table["competition"] == "").to_numpy() if (split == "test").any() else np.ones(len(table), bool)

    free = np.flatnonzero(~from_test & known)
    members, number = np.unique(groups[free], return_inverse=True)
    matrix = _classes_of_groups(labels, free, number, len(members))
    own = np.ones(len(members), bool)  # groups with nothing of the competition's
    np.logical_and.at(own, number, elsewhere[free])
    part = np.zeros(len(members), int)
    for chosen, shares in ((own, three), (~own, two)):
        if 0 < chosen.sum() < len(shares):
            raise UserError(f"{chosen.sum()} paintings with a label cannot be split into {len(shares)} parts; add some")
        if chosen.any():
            part[chosen] = _stratify(matrix[chosen], shares / shares.sum(), seed)
    if not len(members):
        raise UserError("no painting that may be trained on has a label; add some")
    of_group = np.zeros(len(groups), int)  # groups without a label are in train
    of_group[members] = part
    rows = ~from_test & (known | (of_group[groups] == 0))
    split[rows] = np.array(PARTS, object)[of_group[groups[rows]]]
    split[np.isin(groups, _strangers(table, labels, groups, split, seed)) & (split == "train")] = "validation"
    return split


def _strangers(
    table: pd.DataFrame, labels: Mapping[str, np.ndarray], groups: np.ndarray, split: np.ndarray, seed: int
) -> np.ndarray:
    """Groups of train that go to validation because a painter of theirs is to be unknown to the network.

    Painters are drawn until their works are enough. None has a class, fewer than three works or more than a tenth of
    what is wanted, and none is taken whose works a class would miss in train.
    """
    painters = np.array([clean(name).casefold() for name in table["painter"]], object)
    train, validates = split == "train", split == "validation"
    wanted, found = STRANGERS * validates.sum(), 0
    classed = set(painters[np.asarray(labels["painter"]) >= 0]) if "painter" in labels else set()
    works = pd.Series(painters[train | validates]).value_counts()
    most = max(FEWEST_WORKS, wanted / FEWEST_STRANGERS)
    names = sorted(str(n) for n, k in works.items() if n and n not in classed and FEWEST_WORKS <= k <= most)
    matrix = _classes_of_groups(labels, np.flatnonzero(train), groups[train], int(groups.max()) + 1)
    counts, taken = matrix.sum(axis=0), np.zeros(len(matrix), bool)
    for name in np.random.default_rng([seed, 7]).permutation(np.array(names, object)):
        if found >= wanted:
            break
        own = np.unique(groups[(painters == name) & train])
        own = own[~taken[own]]
        left = counts - matrix[own].sum(axis=0)
        if not ((left < FEWEST_GROUPS) & (left < counts)).any():
            counts, found, taken[own] = left, found + works[name], True
    return np.flatnonzero(taken)


def make_folds(
    labels: Mapping[str, np.ndarray], groups: np.ndarray, folds: int, seed: int = 0, validation: float = 0.15
) -> list[np.ndarray]:
    """Splits for cross-validation, as `make_split` returns one: each labelled painting is in test exactly once.

    Args:
        labels, groups, seed: as in `make_split`; the competition's own test rows are like all others here.
        folds: how many, at least 2.
        validation: share of the groups outside the test part that validates.

    Raises `UserError` when there are fewer groups with a label than parts.
    """
    groups = np.unique(groups, return_inverse=True)[1]
    known = np.any([np.asarray(values) >= 0 for values in labels.values()], axis=0)
    rows = np.flatnonzero(known)
    members, number = np.unique(groups[rows], return_inverse=True)
    if len(members) < folds + 1:
        raise UserError(f"{len(members)} paintings with a label cannot be split into {folds} folds; add some")
    matrix = _classes_of_groups(labels, rows, number, len(members))
    part = _stratify(matrix, np.full(folds, 1 / folds), seed)
    found = []
    for fold in range(folds):
        of_members = np.where(part == fold, 2, 0)
        rest = np.flatnonzero(part != fold)
        of_members[rest] = _stratify(matrix[rest], np.array([1 - validation, validation]), seed + fold)
        of_group = np.zeros(len(groups), int)
        of_group[members] = of_members
        found.append(np.where(known | (of_group[groups] == 0), np.array(PARTS, object)[of_group[groups]], ""))
    return found


def _classes_of_groups(labels: Mapping[str, np.ndarray], rows: np.ndarray, number: np.ndarray, n: int) -> np.ndarray:
    """Bool of shape (groups, classes of all tasks): a group has the labels of all its rows."""
    columns = []
    for values in labels.values():
        values = np.asarray(values)
        matrix = np.zeros((n, int(values.max(initial=-1)) + 1), bool)
        has = values[rows] >= 0
        matrix[number[has], values[rows][has]] = True
        columns.append(matrix)
    return np.concatenate(columns, axis=1)


def _stratify(matrix: np.ndarray, shares: np.ndarray, seed: int, tries: int = 8) -> np.ndarray:
    """The part (0, 1 ...) of each group: the first try in which no class lacks a part, or else the best one.

    Each try begins by shuffling the groups. Iterative stratification takes them in the order given, and with unequal
    shares it puts the first ones of every class into the largest part: in a folder sorted by painter, train and test
    would hold different painters. A class in fewer groups than there are parts has to lack one; that is not held
    against a try.
    """
    random = np.random.RandomState(seed)
    enough = matrix.sum(axis=0) >= len(shares)
    best, least = np.zeros(len(matrix), int), np.inf
    for _ in range(tries):
        order = random.permutation(len(matrix))
        shuffled = matrix[order]
        drawn, counts = _repaired(shuffled, np.asarray(IterativeStratification(shuffled, shares, random)), len(shares))
        if (lacking := int((counts[:, enough] == 0).sum())) < least:
            least = lacking
            best[order] = drawn
        if not least:
            break
    return best


def _repaired(matrix: np.ndarray, part: np.ndarray, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """Fill the parts that a class lacks, the rarest class first; also the counts (parts, classes) that come of it."""
    counts = np.stack([matrix[part == k].sum(axis=0) for k in range(parts)])
    for label in np.argsort(matrix.sum(axis=0), kind="stable"):
        for k in np.flatnonzero(counts[:, label] == 0):
            # move a group from where no class goes missing by it, the one with the fewest classes first
            spare = (counts[part] > 1) | ~matrix
            able = np.flatnonzero(matrix[:, label] & spare.all(axis=1))
            if len(able):
                moved = able[np.argmin(matrix[able].sum(axis=1))]
                counts[part[moved]] -= matrix[moved]
                counts[k] += matrix[moved]
                part[moved] = k
    return part, counts


# ------------------------------------------------------------------------------------------------- split.csv


def save_split(path: Path, table: pd.DataFrame, split: np.ndarray) -> None:
    """Write the columns id, split, painter, style, genre and the user's own tasks, without rows of no part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    others = ("file", "member", "title", "date", "competition", "part")
    rows = table.loc[np.asarray(split) != "", [name for name in table if name not in others]]
    rows.insert(1, "split", np.asarray(split)[np.asarray(split) != ""])
    with atomic_write(path) as temporary:
        rows.to_csv(temporary, index=False, quoting=csv.QUOTE_MINIMAL, encoding="utf-8", lineterminator="\n")


def check_split_file(path: Path) -> None:
    """Raise `UserError` for a split that is no file."""
    if not path.is_file():
        raise UserError(f"--split {path} is not there (no such file); give a split.csv of an earlier run")


def load_split(path: Path, table: pd.DataFrame, groups: np.ndarray | None = None) -> tuple[np.ndarray, list[str]]:
    """Read a split for the paintings of `table`, by id; those that the file does not name are left out ("").

    Returns the split as `make_split` does, and notes: how many paintings the file does not name, how many of its ids
    are not here, and, with `groups`, how many groups of copies it parts. Raises `UserError` for a file that is not
    there, lacks the columns id and split, holds another value than the three, contradicts itself, or fits no painting.
    """
    path, notes = Path(path), list[str]()
    check_split_file(path)
    rows = read_csv(path, notes)
    if not {"id", "split"} <= set(rows):
        raise UserError(f"{path}: needs the columns id and split; it has {', '.join(rows.columns)}")
    parts: dict[str, str] = {}
    for line, name, value in zip(rows.index, rows["id"], rows["split"], strict=True):
        part = clean(value)
        if part not in PARTS:
            raise UserError(f"{path}, line {line}: the split is {value!r}; it must be {', '.join(PARTS)}")
        if parts.setdefault(name, part) != part:
            raise UserError(f"{path}, line {line}: {name} is in {part} and in {parts[name]}; remove one of the lines")
    split = np.array([parts.get(name, "") for name in table["id"]], object)
    found = int((split != "").sum())
    if not found:
        raise UserError(f"{path}: none of its {len(parts):,} ids is in the data (the file has {next(iter(parts))!r}, "
                        f"the data {next(iter(table['id']), '')!r}); it belongs to other data")  # fmt: skip
    if found < len(table):
        notes.append(f"{len(table) - found:,} of {len(table):,} paintings are not in {path.name} and are left out.")
    if found < len(parts):
        notes.append(f"{len(parts) - found:,} ids of {path.name} are not in the data.")
    if groups is not None:
        named = split != ""
        parted = int((pd.Series(split[named]).groupby(np.asarray(groups)[named]).nunique() > 1).sum())
        if parted:
            notes.append(f"{parted:,} groups of copies are in more than one part of {path.name}: figures will flatter.")
    return split, notes
