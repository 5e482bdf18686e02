"""Does a map show what the network's answer rests on? Deletion and insertion (Petsiuk et al. 2018, arXiv 1806.07421).

Cells of a picture are covered, those first that a map calls most important, and the network is asked again and again.
A map that tells the truth makes the probability of the class fall fast (deletion: the mean of the curve is small); and
uncovering its cells in a picture that is all covered makes it rise fast (insertion: the mean is large). How fast is
fast, random regions say. Arrays in, numbers out; who asks the network is `network.covering`.
"""

import numpy as np

CELLS, STEPS = 12, 12  # of the grid whose cells are covered, a side; of a curve
SHARE = 0.2  # of the cells: the bright ones, which a map is judged by
OTHERS = 19  # other places: a random map is brighter than all of them once in 20 times


def resampling_matrix(cells: int, to: int) -> np.ndarray:
    """Matrix (to, cells) that resamples values along one side to another number of cells and keeps their sum.

    It is float64, and each column sums to 1. A finer grid gathers: each cell goes where it lies. A coarser one is
    spread smoothly, linear between the middles of its cells.
    """
    if to > cells:
        places = np.clip((np.arange(to) + 0.5) * cells / to - 0.5, 0, cells - 1)
        shares = np.maximum(1 - np.abs(places[:, None] - np.arange(cells)), 0)
    else:
        ends = np.minimum.outer(np.arange(1, to + 1) / to, np.arange(1, cells + 1) / cells)
        starts = np.maximum.outer(np.arange(to) / to, np.arange(cells) / cells)
        shares = np.maximum(ends - starts, 0)
    return shares / shares.sum(axis=0)


def resample(maps: np.ndarray, cells: int = CELLS) -> np.ndarray:
    """Maps (..., h, w) on another grid (..., cells, cells), with the same sums."""
    return resampling_matrix(maps.shape[-2], cells) @ maps @ resampling_matrix(maps.shape[-1], cells).T


def top_cells(heat: np.ndarray, count: int) -> np.ndarray:
    """The `count` brightest cells of a map, bool, in its shape. Of equal ones the first count as brighter."""
    chosen = np.zeros(heat.size, bool)
    chosen[np.argsort(-heat, axis=None, kind="stable")[:count]] = True
    return chosen.reshape(heat.shape)


def curve_masks(heat: np.ndarray, steps: int = STEPS) -> tuple[np.ndarray, np.ndarray]:
    """What is left of a picture in each step of deletion and of insertion: float32 (steps + 1, h, w) each.

    1 is uncovered. Deletion begins with the whole picture, insertion with one that is all covered.
    """
    removed = np.stack([top_cells(heat, round(k * heat.size / steps)) for k in range(steps + 1)])
    return (~removed).astype(np.float32), removed.astype(np.float32)


def area(curve: np.ndarray) -> np.ndarray:
    """The area under curves (..., steps + 1) over 0 to 1, by trapezia."""
    return (curve[..., :-1] + curve[..., 1:]).mean(axis=-1) / 2


def log_odds(probabilities: np.ndarray, chosen: int) -> np.ndarray:
    """The logarithm of a class's probability against all others, float64 (...): it still moves where 100 % is said.

    Args:
        probabilities: (..., classes), each row of which sums to 1.
    """
    p = np.asarray(probabilities, np.float64)
    others = np.delete(p, chosen, axis=-1).sum(axis=-1)
    least = np.finfo(np.float32).tiny
    return np.log(np.maximum(p[..., chosen], least)) - np.log(np.maximum(others, least))


def random_region(rng: np.random.Generator, cells: int = CELLS, coarse: int = 4) -> np.ndarray:
    """A smooth map of nothing, float64 (cells, cells): what a real one has to beat. Its bright parts are regions."""
    return resample(rng.random((coarse, coarse)), cells)


def control_masks(heat: np.ndarray, rng: np.random.Generator, others: int = OTHERS, share: float = SHARE) -> np.ndarray:
    """What is left of a picture when the bright cells are covered, and when others are: float32 (1 + others, *).

    The others are as many, and lie to one another as the bright ones do: these are moved (over the edge they come in
    again on the other side) and mirrored at random. So neither the size nor the shape of the region is what tells.

    Args:
        heat: a map (h, w), or those of two views (2, h, w); the masks are in its shape.
    """
    bright = top_cells(heat, round(share * heat.size))
    masks = [bright]
    while len(masks) <= others:
        moved = np.roll(bright, rng.integers(0, bright.shape[-2:]), axis=(-2, -1))
        moved = moved[..., :: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
        if (moved != bright).any() or bright.all() or not bright.any():  # not moved to where they are
            masks.append(moved)
    return (1 - np.stack(masks)).astype(np.float32)


def exceeds_controls(scores: np.ndarray) -> bool:
    """Whether the answer falls more when the bright cells are covered than when any of the others are.

    Args:
        scores: (1 + others,) such as `log_odds`, with each of `control_masks`. A map that knows nothing is first among
            20 by chance in 5 % of pictures.
    """
    return bool(scores[0] < scores[1:].min())


def mean_and_interval(values: np.ndarray) -> tuple[float, float]:
    """The mean of (n,), and the half width of its 95 % confidence interval (normal); NaN of fewer than two."""
    half = 1.96 * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    return float(values.mean()), float(half)
