"""How sure a difference is: bootstrap over painters, paired; McNemar's test; mean relative gain.

The two sides of a comparison are networks that labelled the same paintings, several trainings ("seeds") of each side.
Works of one painter are alike, so single paintings are not independent: what is drawn again and again are painters,
with all of their works, and a painter that is drawn for one side, seed and task is drawn for all of them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse, stats

from painters_mtl.evaluation import metrics

LEVEL = 0.95
DRAWS = 2_000
FEW_SEEDS = 3  # with at most so many seeds, a spread near 0 between them may be chance
FEWEST_PAINTERS = 5  # from fewer, how much painters differ cannot be told
STATISTICS = ("accuracy", "macro_f1")
NO_VERDICT = "no verdict from one training"
NO_INTERVAL = "no interval: too few works, or none right"


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % confidence interval; the ends are NaN where there is none."""

    mean: float
    low: float
    high: float


def verdict(difference: Interval, seeds: int) -> str:
    """Whether one side is "better", "worse", or "no difference shown": does the interval leave out 0?

    Where there is no interval, it is `NO_INTERVAL`.

    Args:
        difference: of a statistic where more is better.
        seeds: trainings of each side. With a single one it is `NO_VERDICT`: the next training of the same recipe may
            well differ by more than the interval is wide, which knows nothing of other trainings.
    """
    if seeds < 2:
        return NO_VERDICT
    if math.isnan(difference.low):
        return NO_INTERVAL
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "no difference shown"


@dataclass(frozen=True)
class TaskPredictions:
    """What networks of one kind predicted for the labelled test paintings of a task, a row for each seed.

    `labels` is int (n,), without -1; `predicted` is int (seeds, n). `paintings`, `painters` and `groups`, int (n,), say
    which painting it is, by whom (a number of its own group where nobody knows) and with which near-copies.
    """

    labels: np.ndarray
    predicted: np.ndarray
    paintings: np.ndarray
    painters: np.ndarray
    groups: np.ndarray
    classes: int

    def right(self) -> np.ndarray:
        """Whether each prediction is right: bool (seeds, n)."""
        return self.predicted == self.labels

    def drawn_by(self) -> str:
        """What the bootstrap draws for this task, "painters" or "groups" (of near-copies).

        With fewer than five painters, counted as `effective_number` does, nothing can be said about works by others:
        the interval is then about other works by these painters.
        """
        return "painters" if effective_number(self.painters) >= FEWEST_PAINTERS else "groups"

    def clusters(self) -> np.ndarray:
        """The number of what is drawn together with each painting, int (n,); see `drawn_by`."""
        return self.painters if self.drawn_by() == "painters" else self.groups

    def accuracy(self, times: np.ndarray, clusters: np.ndarray) -> np.ndarray:
        """Accuracy of each seed in each bootstrap sample: float64 (draws, seeds); NaN in a sample without a painting.

        Args:
            times: how often each cluster counts, float (draws, clusters); see `draw_clusters`.
            clusters: the column of each painting in `times`, int (n,).
        """
        paintings = np.bincount(clusters, minlength=times.shape[1])
        right = [np.bincount(clusters, weights=row, minlength=times.shape[1]) for row in self.right()]
        with np.errstate(invalid="ignore"):
            return (times @ np.stack(right, axis=1)) / (times @ paintings)[:, None]

    def macro_f1(self, times: np.ndarray, clusters: np.ndarray) -> np.ndarray:
        """Macro-F1 of each seed in each bootstrap sample; arguments and shape as of `accuracy`.

        On all paintings it is `metrics.macro_f1`. A class whose works are not drawn is left out of a sample: it has no
        F1 there, and with a painter a whole class may be missing.
        """
        support = self._sums(self.labels, times, clusters)
        scores = []
        for predicted in self.predicted:
            right = self._sums(np.where(predicted == self.labels, predicted, -1), times, clusters)
            total = support + self._sums(predicted, times, clusters)
            counts = (support > 0) | ((support[0] == 0) & (total > 0))
            f1 = np.divide(2 * right, total, out=np.zeros_like(total), where=total > 0)
            with np.errstate(invalid="ignore"):
                scores.append(np.sum(f1 * counts, axis=1, dtype=np.float64) / counts.sum(axis=1))
        return np.stack(scores, axis=1)

    def _sums(self, classes: np.ndarray, times: np.ndarray, clusters: np.ndarray) -> np.ndarray:
        """How many paintings of each class a sample has: (draws, classes); class -1 is left out."""
        chosen = classes >= 0
        ones = np.ones(chosen.sum(), times.dtype)
        shape = (self.classes, times.shape[1])
        return (sparse.csr_array((ones, (classes[chosen], clusters[chosen])), shape) @ times.T).T


def effective_number(clusters: np.ndarray) -> float:
    """The number of equally large clusters that tell as much as these: (sum of sizes)² / sum of squared sizes."""
    sizes = np.unique(clusters, return_counts=True)[1].astype(float)
    return float(sizes.sum() ** 2 / np.sum(sizes**2)) if len(sizes) else 0.0


def draw_clusters(n: int, seed: int | Sequence[int], draws: int = DRAWS) -> np.ndarray:
    """How often each of n clusters counts in each bootstrap sample: float32 (draws + 1, n). Row 0 counts all once."""
    rng = np.random.default_rng(seed)
    times = np.ones((draws + 1, n), np.float32)
    for row in times[1:]:
        row[:] = np.bincount(rng.integers(n, size=n), minlength=n)
    return times


def interval(values: np.ndarray, seed: int, clusters: float = np.inf) -> Interval:
    """Estimate and 95 % interval of a statistic over painters and seeds.

    Args:
        values: float (draws + 1, seeds): the statistic of each seed on each bootstrap sample, from `draw_clusters`; row
            0 is the statistic on all paintings.
        seed: of what is drawn here.
        clusters: how many there are to draw from, see `effective_number`. From few, the samples spread too little, by
            sqrt((clusters - 1) / clusters), and the spread itself is uncertain, as Student's t of clusters - 1 degrees
            of freedom says; the interval is widened by both (Cameron & Miller 2015, A practitioner's guide to
            cluster-robust inference, Journal of Human Resources 50 (2)). With a single one there is no interval.

    Paintings and seeds are two crossed samples. Resampling both at once counts the chance of their interaction three
    times (Owen 2007, The pigeonhole bootstrap, Annals of Applied Statistics 1 (2)). So the two are added: what the
    seeds share comes from the bootstrap; what they differ in, where it is more than the paintings explain, from the
    spread of their estimates, as Student's t of seeds - 1 degrees of freedom. With one seed nothing is known of the
    second part, and the interval is about this pair of networks only. With two or three, little is: the interval is
    cautious, and holds the truth in 95 to 99 % of simulated studies.

    Samples that lie beside the estimate, by more than the chance of so many draws, are shifted to it (Efron &
    Tibshirani 1993, An Introduction to the Bootstrap, chapter 10): a sample lacks works of small classes, and its
    macro-F1 is another than that of all paintings.
    """
    nan = float("nan")
    if not np.isfinite(values[0]).all():
        return Interval(nan, nan, nan)
    estimate = float(values[0].mean())
    if clusters <= 1:
        return Interval(estimate, nan, nan)
    samples = values[1:][np.isfinite(values[1:]).all(axis=1)]  # a sample of a few works may lack all labels of a task
    widening = _widening(clusters) if np.isfinite(clusters) else 1.0
    samples = samples.mean(axis=0) + widening * (samples - samples.mean(axis=0))
    spread = samples.mean(axis=1)
    bias = spread.mean() - estimate
    if abs(bias) > 3 * spread.std() / np.sqrt(len(spread)):
        spread = spread - bias
    low, high = _ends(spread)
    if values.shape[1] > 1:
        low, high = _with_seeds(values[0], samples, spread, widening, seed)
    return Interval(estimate, low, high)


def _with_seeds(
    estimates: np.ndarray, samples: np.ndarray, spread: np.ndarray, widening: float, seed: int
) -> tuple[float, float]:
    """The ends of an interval over paintings and trainings; see `interval`.

    Args:
        estimates: of each seed on all paintings, (seeds,).
        samples: of each seed on each bootstrap sample, (draws, seeds).
        spread: their means over the seeds, shifted to the estimate, (draws,).
        widening: by how much both spread more than they were drawn, since there are few clusters.
    """
    seeds = len(estimates)
    low, high = _ends(spread)
    interaction = np.mean(np.var(samples - spread[:, None], axis=0)) * seeds / (seeds - 1)  # of one seed
    between = float(np.var(estimates, ddof=1))
    if between <= interaction / widening**2 and seeds > FEW_SEEDS:
        return low, high
    shared = np.sqrt(max(0.0, 1 - interaction / seeds / max(np.var(spread), 1e-30)))
    rng = np.random.default_rng([seed, seeds])
    training = np.sqrt(between / seeds) * rng.standard_t(seeds - 1, size=len(spread))
    ends = _ends(spread.mean() + shared * (spread - spread.mean()) + training)
    # A few seeds may differ by no more than the paintings explain by mere chance: then the wider one is taken.
    return ends if between > interaction else (min(low, ends[0]), max(high, ends[1]))


def _widening(clusters: float) -> float:
    """By how much the interval of so many clusters is wider than that of very many; see `interval`."""
    freedom, quantile = clusters - 1, (1 + LEVEL) / 2
    return float(np.sqrt(clusters / freedom) * stats.t.ppf(quantile, freedom) / stats.norm.ppf(quantile))


def _ends(spread: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(spread, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def relative_gain(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> np.ndarray:
    """Mean relative gain in percent (delta-m; Maninis et al. 2019, Attentive single-tasking of multiple tasks).

    The mean over the tasks of 100 (one - other) / other; each task's array has any shape, the result has the same.
    NaN or infinite where `other` is 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.mean([100 * (a - b) / b for a, b in zip(one, other, strict=True)], axis=0)


def mcnemar(one: np.ndarray, other: np.ndarray) -> float:
    """Exact two-sided p of McNemar's test (1947): are two networks equally often right? bool (n,) each.

    Only the paintings that exactly one of them gets right count; under "no difference" each is a fair coin. It takes
    the paintings as independent, and knows nothing of painters.
    """
    first, second = int(np.sum(one & ~other)), int(np.sum(other & ~one))
    if first + second == 0:
        return 1.0
    return float(stats.binomtest(first, first + second).pvalue)


def mcnemar_of_seeds(one: np.ndarray, other: np.ndarray) -> float:
    """One p for several seeds, bool (seeds, n) each: twice the median p, at most 1.

    It is valid however the seeds depend on each other, as they do: they label the same paintings (Rueschendorf 1982;
    Vovk & Wang 2020, Combining p-values via averaging, Biometrika 107).
    """
    values = [mcnemar(a, b) for a, b in zip(one, other, strict=True)]
    return values[0] if len(values) == 1 else min(1.0, 2 * float(np.median(values)))


def compare_predictions(
    one: Mapping[str, TaskPredictions], other: Mapping[str, TaskPredictions], seed: int = 0, draws: int = DRAWS
) -> dict[str, dict[str, Interval]]:
    """Accuracy and macro-F1 of two sides and their differences, {task: {name: interval}}.

    Names: "one_accuracy", "other_accuracy", "accuracy" (the difference one - other), the same for macro_f1; under the
    task "" the relative gains "accuracy" and "macro_f1" over all tasks, in percent. Raises `ValueError` where the
    sides labelled different paintings.
    """
    samples = _Samples([*one.values()], seed, draws)
    intervals: dict[str, dict[str, Interval]] = {}
    values: dict[str, tuple[list, list]] = {statistic: ([], []) for statistic in STATISTICS}
    numbers = []
    for name, first in one.items():
        second, intervals[name] = other[name], {}
        if not np.array_equal(first.paintings, second.paintings):
            raise ValueError(f"{name}: the two sides labelled different paintings")
        times, columns = samples.of(first)
        number = effective_number(first.clusters())
        numbers.append(number)
        for statistic in STATISTICS:
            a, b = getattr(first, statistic)(times, columns), getattr(second, statistic)(times, columns)
            for label, drawn in ((f"one_{statistic}", a), (f"other_{statistic}", b), (statistic, a - b)):
                intervals[name][label] = interval(drawn, seed, number)
            values[statistic][0].append(a)
            values[statistic][1].append(b)
    intervals[""] = {k: interval(relative_gain(*sides), seed, min(numbers)) for k, sides in values.items()}
    return intervals


class _Samples:
    """The bootstrap samples of a comparison: drawn once, the same for all tasks that are drawn by the same clusters."""

    def __init__(self, tasks: Sequence[TaskPredictions], seed: int, draws: int) -> None:
        self.clusters, self.times = {}, {}
        for number, kind in enumerate(("painters", "groups")):
            clusters = [task.clusters() for task in tasks if task.drawn_by() == kind]
            if clusters:
                self.clusters[kind] = np.unique(np.concatenate(clusters))
                self.times[kind] = draw_clusters(len(self.clusters[kind]), [seed, number], draws)

    def of(self, task: TaskPredictions) -> tuple[np.ndarray, np.ndarray]:
        """How often each cluster counts, (draws + 1, clusters), and the column of each painting of the task, (n,)."""
        kind = task.drawn_by()
        return self.times[kind], np.searchsorted(self.clusters[kind], task.clusters())


def agreement(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Shares of the predictions, bool (seeds, n) each: both right, only the one, only the other, neither."""
    return {
        "both": float(np.mean(one & other)),
        "only_one": float(np.mean(one & ~other)),
        "only_other": float(np.mean(other & ~one)),
        "neither": float(np.mean(~one & ~other)),
    }


def f1_by_class(side: TaskPredictions) -> np.ndarray:
    """F1 of each class, mean over the seeds: float64 (classes,); NaN for a class neither there nor predicted."""
    return np.mean([metrics.class_f1(side.labels, p, side.classes) for p in side.predicted], axis=0)
