"""Are pictures that are near each other alike? The nearest of each by cosine, and how many share its label."""

import numpy as np

BLOCK = 512  # pictures whose cosines with all others are held at once


def nearest_others(vectors: np.ndarray, groups: np.ndarray, count: int = 10) -> np.ndarray:
    """For each picture the `count` others with the largest cosines, the largest first: int (n, count).

    Args:
        vectors: float (n, channels), of any length.
        groups: int (n,): near-copies share a number. A picture is no neighbour of its own near-copies, for to find
            them says nothing about painters or styles.

    A place for which there is no other picture is -1.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    nearest = np.full((len(vectors), count), -1)
    for start in range(0, len(vectors), BLOCK):
        cosines = directions[start : start + BLOCK] @ directions.T
        cosines[groups[start : start + BLOCK, None] == groups[None]] = -np.inf
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
        there = np.isfinite(np.take_along_axis(cosines, order, axis=1))
        nearest[start : start + BLOCK, : order.shape[1]] = np.where(there, order, -1)
    return nearest


def agreement_of_neighbours(
    vectors: np.ndarray, labels: np.ndarray, groups: np.ndarray, count: int = 10
) -> tuple[float, float]:
    """The share of the nearest pictures with the same label, and mAP@count; pictures without a label are left out.

    Only pictures whose label another picture has that is no near-copy of theirs are asked for; the others are among
    those that may be found. NaN where there is none to ask for.

    mAP is the mean over the pictures of the average precision of the first `count` (Manning et al. 2008, Introduction
    to Information Retrieval, chapter 8): the mean, over the places with the same label, of the share of the same label
    up to there, where as many places as there are such pictures, at most `count`, could have been right.

    Args:
        vectors, groups, count: as in `nearest_others`.
        labels: int (n,), -1 for "no label".
    """
    labelled = labels >= 0
    vectors, labels, groups = vectors[labelled], labels[labelled], groups[labelled]
    if not len(labels):
        return float("nan"), float("nan")
    of_label = np.bincount(labels)[labels]
    pairs = np.unique(np.stack([labels, groups]), axis=1, return_inverse=True)[1].ravel()
    others = of_label - np.bincount(pairs)[pairs]  # with the same label, without the near-copies
    places = nearest_others(vectors, groups, count)
    same = (places >= 0) & (labels[places] == labels[:, None])
    asked = others > 0
    precision = np.cumsum(same, axis=1) / np.arange(1, count + 1)
    average = (precision * same).sum(axis=1) / np.clip(others, 1, count)
    if not asked.any():
        return float("nan"), float("nan")
    return float(same[asked].mean()), float(average[asked].mean())
