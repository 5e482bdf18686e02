"""How sure a difference is: paired bootstrap, McNemar's test, mean relative gain. No TensorFlow here.

The two sides of a comparison are networks that labelled the same paintings. A side is one array of predicted classes
for each seed; all paintings of a study are numbered once, so that a painting resampled for one side, seed and task is
resampled for all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from painters_mtl.evaluation import metrics

LEVEL = 0.95
DRAWS = 2_000


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % confidence interval."""

    mean: float
    low: float
    high: float

    def verdict(self) -> str:
        """ "better", "worse" or "no difference shown", for a difference where more is better."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "no difference shown"


@dataclass(frozen=True)
class Answers:
    """What networks of one kind said about the test paintings of one task, a row for each seed.

    `truth` is int (n,), all of them labels (no -1); `predicted` is int (seeds, n); `paintings` is int (n,), the number
    of each painting in the study, from 0.
    """

    truth: np.ndarray
    predicted: np.ndarray
    paintings: np.ndarray
    classes: int

    def right(self) -> np.ndarray:
        """Whether each answer is right: bool (seeds, n)."""
        return self.predicted == self.truth

    def accuracy(self, times: np.ndarray) -> np.ndarray:
        """Accuracy of each seed: float64 (draws, seeds), where `times` (draws, n) is how often a painting counts."""
        right = (times @ self.right().T.astype(np.float32)).astype(np.float64)
        with np.errstate(invalid="ignore"):
            return right / times.sum(axis=1, keepdims=True)

    def macro_f1(self, times: np.ndarray) -> np.ndarray:
        """Macro-F1 of each seed, as `metrics.macro_f1` has it; shapes as in `accuracy`."""
        support = times @ _one_hot(self.truth, self.classes)
        found = []
        for predicted in self.predicted:
            total = support + times @ _one_hot(predicted, self.classes)
            right = times @ _one_hot(np.where(predicted == self.truth, predicted, -1), self.classes)
            with np.errstate(invalid="ignore"):
                f1 = np.where(total > 0, 2 * right / total, 0).sum(axis=1, dtype=np.float64)
                found.append(f1 / (total > 0).sum(axis=1))
        return np.stack(found, axis=1)


def _one_hot(values: np.ndarray, classes: int) -> np.ndarray:
    return (values[:, None] == np.arange(classes)).astype(np.float32)  # exact for counts below 2^24


def draw_paintings(n: int, seed: int, draws: int = DRAWS) -> np.ndarray:
    """How often each of n paintings counts in each bootstrap sample: float32 (draws + 1, n). Row 0 counts all once."""
    rng = np.random.default_rng(seed)
    times = rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float32)
    return np.concatenate([np.ones((1, n), np.float32), times])


def interval(values: np.ndarray, seed: int) -> Interval:
    """Estimate and 95 % interval of a statistic over paintings and seeds.

    Args:
        values: float (draws + 1, seeds): the statistic of each seed on each bootstrap sample of the paintings, from
            `draw_paintings`; row 0 is the statistic on all of them.

    Paintings and seeds are two crossed samples. Resampling both at once counts the chance of their interaction three
    times (Owen 2007, The pigeonhole bootstrap, Annals of Applied Statistics 1 (2)). So the two are added: what the
    seeds share comes from the bootstrap of the paintings; what they differ in, where it is more than the paintings
    explain, from the spread of their estimates, as Student's t of seeds - 1 degrees of freedom. With one seed nothing
    is known of the second part, and the interval is about this pair of networks only. With two, little is: the interval
    is cautious, and holds the truth in 95 to 99 % of simulated studies.

    Samples that lie beside the estimate, by more than the chance of so many draws, are shifted to it (Efron &
    Tibshirani 1993, An Introduction to the Bootstrap, chapter 10): a sample lacks works of small classes, and macro-F1
    is lower on it than on all paintings.
    """
    if not np.isfinite(values[0]).all():
        return Interval(float("nan"), float("nan"), float("nan"))
    values = values[np.isfinite(values).all(axis=1)]  # a sample of a few paintings may lack all labels of a task
    seeds = values.shape[1]
    estimate, spread = float(values[0].mean()), values[1:].mean(axis=1)
    bias = spread.mean() - estimate
    if abs(bias) > 3 * spread.std() / np.sqrt(len(spread)):
        spread = spread - bias
    low, high = _ends(spread)
    if seeds > 1:
        interaction = np.mean(np.var(values[1:] - spread[:, None], axis=0)) * seeds / (seeds - 1)  # of one seed
        between = float(np.var(values[0], ddof=1))
        if between > interaction or seeds == 2:
            shared = np.sqrt(max(0.0, 1 - interaction / seeds / max(np.var(spread), 1e-30)))
            rng = np.random.default_rng([seed, seeds])
            training = np.sqrt(between / seeds) * rng.standard_t(seeds - 1, size=len(spread))
            ends = _ends(spread.mean() + shared * (spread - spread.mean()) + training)
            # Two seeds may differ by no more than the paintings explain by mere chance: then the wider one is taken.
            low, high = ends if between > interaction else (min(low, ends[0]), max(high, ends[1]))
    return Interval(estimate, low, high)


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

    Only the paintings that exactly one of them gets right speak; under "no difference" each is a fair coin.
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
    found = [mcnemar(a, b) for a, b in zip(one, other, strict=True)]
    return found[0] if len(found) == 1 else min(1.0, 2 * float(np.median(found)))


def compare_answers(
    one: Mapping[str, Answers], other: Mapping[str, Answers], seed: int = 0, draws: int = DRAWS
) -> dict[str, dict[str, Interval]]:
    """Accuracy and macro-F1 of two sides and their differences, {task: {name: interval}}.

    Names: "one_accuracy", "other_accuracy", "accuracy" (the difference one - other), the same for macro_f1; under the
    task "" the relative gains "accuracy" and "macro_f1" over all tasks, in percent.
    """
    every = np.unique(np.concatenate([answers.paintings for answers in one.values()]))
    drawn = draw_paintings(len(every), seed, draws)
    found: dict[str, dict[str, Interval]] = {}
    both: dict[str, tuple[list, list]] = {"accuracy": ([], []), "macro_f1": ([], [])}
    for name, a in one.items():
        b, found[name] = other[name], {}
        if not np.array_equal(a.paintings, b.paintings):
            raise ValueError(f"{name}: the two sides labelled different paintings")
        times = drawn[:, np.searchsorted(every, a.paintings)]
        for statistic in both:
            first, second = getattr(a, statistic)(times), getattr(b, statistic)(times)
            found[name][f"one_{statistic}"] = interval(first, seed)
            found[name][f"other_{statistic}"] = interval(second, seed)
            found[name][statistic] = interval(first - second, seed)
            both[statistic][0].append(first)
            both[statistic][1].append(second)
    found[""] = {statistic: interval(relative_gain(*sides), seed) for statistic, sides in both.items()}
    return found


def agreement(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Shares of the answers, bool (seeds, n) each: both right, only the one, only the other, neither."""
    return {
        "both": float(np.mean(one & other)),
        "only_one": float(np.mean(one & ~other)),
        "only_other": float(np.mean(other & ~one)),
        "neither": float(np.mean(~one & ~other)),
    }


def f1_by_class(answers: Answers) -> np.ndarray:
    """F1 of each class, mean over the seeds: float64 (classes,); NaN for a class neither there nor predicted."""
    return np.mean([metrics.class_f1(answers.truth, p, answers.classes) for p in answers.predicted], axis=0)
