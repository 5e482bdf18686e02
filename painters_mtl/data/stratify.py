"""Groups divided at random into parts of given sizes, so that every class of every task is in each of them."""

from collections.abc import Mapping

import numpy as np
from iterstrat.ml_stratifiers import IterativeStratification


def classes_of_groups(labels: Mapping[str, np.ndarray], rows: np.ndarray, number: np.ndarray, n: int) -> np.ndarray:
    """Which classes each of n groups has among the labels of its rows: bool of shape (n, classes of all tasks).

    Args:
        labels: task name to int32 of shape (paintings,), -1 for "no label".
        rows: positions of the paintings that count.
        number: the group, 0 to n - 1, of each of `rows`.
    """
    columns = []
    for values in labels.values():
        values = np.asarray(values)
        matrix = np.zeros((n, int(values.max(initial=-1)) + 1), bool)
        has = values[rows] >= 0
        matrix[number[has], values[rows][has]] = True
        columns.append(matrix)
    return np.concatenate(columns, axis=1)


def stratify(matrix: np.ndarray, shares: np.ndarray, seed: int, tries: int = 8) -> np.ndarray:
    """The part (0, 1 ...) of each group: the first try in which no class lacks a part, or else the best one.

    Iterative stratification (Sechidis, Tsoumakas, Vlahavas: On the Stratification of Multi-Label Data, ECML PKDD
    2011). Each try begins by shuffling the groups, for the method takes them in the order given, and with unequal
    shares it puts the first ones of every class into the largest part: in a folder sorted by painter, train and test
    would hold different painters.

    Args:
        matrix: as `classes_of_groups` gives it. A class in fewer groups than there are parts has to lack one; that is
            not held against a try.
        shares: of each part; they add up to 1.
    """
    random = np.random.RandomState(seed)
    enough = matrix.sum(axis=0) >= len(shares)
    best, least = np.zeros(len(matrix), int), np.inf
    for _ in range(tries):
        order = random.permutation(len(matrix))
        shuffled = matrix[order]
        drawn = np.asarray(IterativeStratification(shuffled, shares, random))
        drawn, counts = _with_every_class(shuffled, drawn, len(shares))
        if (lacking := int((counts[:, enough] == 0).sum())) < least:
            least = lacking
            best[order] = drawn
        if not least:
            break
    return best


def _with_every_class(matrix: np.ndarray, part_of_group: np.ndarray, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """Fill the parts that a class lacks, the rarest class first; also the counts (parts, classes) that come of it."""
    counts = np.stack([matrix[part_of_group == k].sum(axis=0) for k in range(parts)])
    for label in np.argsort(matrix.sum(axis=0), kind="stable"):
        for k in np.flatnonzero(counts[:, label] == 0):
            # move a group from where no class goes missing by it, the one with the fewest classes first
            spare = (counts[part_of_group] > 1) | ~matrix
            able = np.flatnonzero(matrix[:, label] & spare.all(axis=1))
            if len(able):
                moved = able[np.argmin(matrix[able].sum(axis=1))]
                counts[part_of_group[moved]] -= matrix[moved]
                counts[k] += matrix[moved]
                part_of_group[moved] = k
    return part_of_group, counts
