"""Intervals and tests against closed forms, scipy, statsmodels, scikit-learn and simulations whose truth is known."""

from collections import Counter

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from painters_mtl.evaluation.intervals import (
    Answers,
    Interval,
    agreement,
    compare_answers,
    draw_paintings,
    f1_by_class,
    interval,
    mcnemar,
    mcnemar_of_seeds,
    relative_gain,
)
from painters_mtl.evaluation.metrics import macro_f1

TRUTH = np.random.default_rng(0).integers(5, size=400)


def answers(seed: int, share: float, seeds: int = 3, n: int = 400) -> Answers:
    """Right with probability `share`, otherwise a class at random."""
    rng = np.random.default_rng(seed)
    truth = TRUTH[:n]
    predicted = np.where(rng.random((seeds, n)) < share, truth, rng.integers(5, size=(seeds, n)))
    return Answers(truth, predicted, np.arange(n), 5)


def test_statistics_on_all_paintings_are_the_plain_ones() -> None:
    a = answers(1, 0.6)
    once = np.ones((1, 400), np.float32)
    for s in range(3):
        assert a.accuracy(once)[0, s] == pytest.approx(np.mean(a.predicted[s] == TRUTH))
        assert a.macro_f1(once)[0, s] == pytest.approx(f1_score(TRUTH, a.predicted[s], average="macro"))


def test_a_painting_that_counts_twice_is_there_twice() -> None:
    a = answers(2, 0.5, seeds=1)
    times = draw_paintings(400, seed=3, draws=4)
    assert (times.sum(axis=1) == 400).all()
    for row, accuracy, f1 in zip(times, a.accuracy(times), a.macro_f1(times), strict=True):
        rows = np.repeat(np.arange(400), row.astype(int))
        truth, predicted = TRUTH[rows], a.predicted[0][rows]
        assert accuracy[0] == pytest.approx(np.mean(truth == predicted))
        assert f1[0] == pytest.approx(macro_f1(truth, predicted, 5))
        assert f1[0] == pytest.approx(f1_score(truth, predicted, average="macro"), abs=1e-6)


def test_one_network_has_the_interval_of_the_binomial() -> None:
    a = answers(4, 0.75, seeds=1)
    found = interval(a.accuracy(draw_paintings(400, 0)), 0)
    p = found.mean
    half = 1.96 * np.sqrt(p * (1 - p) / 400)
    assert found.low == pytest.approx(p - half, abs=0.004)
    assert found.high == pytest.approx(p + half, abs=0.004)


def test_pairing_narrows_the_difference_of_networks_that_err_alike() -> None:
    one, other = answers(5, 0.7, seeds=1), answers(5, 0.7, seeds=1)
    other.predicted[0, :8] = (TRUTH[:8] + 1) % 5
    found = compare_answers({"t": one}, {"t": other})["t"]
    width = {k: v.high - v.low for k, v in found.items()}
    assert width["accuracy"] < 0.35 * width["one_accuracy"]


def test_equal_sides_differ_by_exactly_nothing() -> None:
    a = answers(6, 0.7)
    found = compare_answers({"t": a}, {"t": a})
    assert found["t"]["accuracy"] == Interval(0, 0, 0)
    assert found[""]["macro_f1"] == Interval(0, 0, 0)
    assert found["t"]["accuracy"].verdict() == "no difference shown"


def test_verdicts_follow_the_interval() -> None:
    assert Interval(1, 0.1, 2).verdict() == "better"
    assert Interval(-1, -2, -0.1).verdict() == "worse"
    assert Interval(1, -0.1, 2).verdict() == "no difference shown"


def test_sides_swapped_at_random_show_no_difference() -> None:
    """One side is far better; after each painting's two answers are swapped by a coin, nothing is left to show."""
    one, other = answers(7, 0.9), answers(8, 0.6)
    assert compare_answers({"t": one}, {"t": other})["t"]["accuracy"].verdict() == "better"
    shown = 0
    for seed in range(40):
        swap = np.random.default_rng(seed).random(400) < 0.5
        a = Answers(TRUTH, np.where(swap, other.predicted, one.predicted), np.arange(400), 5)
        b = Answers(TRUTH, np.where(swap, one.predicted, other.predicted), np.arange(400), 5)
        shown += compare_answers({"t": a}, {"t": b}, draws=400)["t"]["accuracy"].verdict() != "no difference shown"
    assert shown <= stats.binom(40, 0.05).ppf(0.999)


def test_labels_permuted_by_hand_show_no_difference() -> None:
    """Against permuted labels both networks only guess, however good they were."""
    one, other = answers(9, 0.9), answers(10, 0.6)
    permuted = np.random.default_rng(0).permutation(TRUTH)
    a, b = (Answers(permuted, side.predicted, side.paintings, 5) for side in (one, other))
    assert compare_answers({"t": a}, {"t": b})["t"]["accuracy"].verdict() == "no difference shown"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "paintings", "between", "shared"),
    [
        (1, 300, 0.0, 0.0),
        (2, 300, 0.0, 0.3),
        (2, 300, 0.02, 0.0),
        (3, 300, 0.02, 0.0),
        (5, 300, 0.0, 0.3),
        (5, 300, 0.01, 0.3),
        (5, 600, 0.03, 0.7),
    ],
)
def test_a_95_percent_interval_covers_in_95_percent(seeds: int, paintings: int, between: float, shared: float) -> None:
    """1,000 simulated studies with a known difference of accuracies.

    Args:
        between: standard deviation of a seed's own accuracy difference.
        shared: share of the paintings whose outcome is the same for all seeds (hard or easy for the architecture).
    """
    truth, covered = 0.03, 0
    for study in range(1_000):
        rng = np.random.default_rng([study, seeds, paintings])
        effect = truth + between * rng.standard_normal(seeds) if seeds > 1 else np.array([truth])
        common = rng.random(paintings)
        # The seeds' errors are one painting's own chance, shared or not; the two sides are paired through it.
        chance = np.where(rng.random(paintings) < shared, common, rng.random((seeds, paintings)))
        other = chance < 0.7
        one = chance < 0.7 + effect[:, None]
        # A tenth of the answers is redrawn for one side, so that there are differences both ways.
        redrawn = rng.random((seeds, paintings)) < 0.1
        one = np.where(redrawn, rng.random((seeds, paintings)) < 0.7 + effect[:, None], one)
        times = draw_paintings(paintings, study, draws=400)
        difference = (times @ (one.T.astype(np.float64) - other.T)) / paintings
        found = interval(difference, study)
        covered += found.low <= truth <= found.high
    # Two seeds cannot tell whether trainings differ: where they do not, the interval is wider than it need be.
    assert 930 <= covered <= (1000 if seeds == 2 and not between else 970)


def test_two_seeds_that_agree_by_chance_say_nothing_more_than_one() -> None:
    """Both have two paintings more than the other side: no spread between them, and still the paintings' own chance."""
    rng = np.random.default_rng(0)
    one, other = (np.ones((2, 250)) for _ in range(2))
    for side, errors in ((one, 20), (other, 22)):
        for row in side:
            row[rng.permutation(250)[:errors]] = 0
    times = draw_paintings(250, 0, draws=1000)
    found = interval(times @ (one - other).T / 250, 0)
    assert found.mean == pytest.approx(2 / 250) and found.low < -0.015 and found.high > 0.03


@pytest.mark.slow
def test_macro_f1_and_the_gain_are_covered_too() -> None:
    """Of 200 studies of 300 paintings, 15 classes with few works in some: against the figures of the population."""
    rng, classes, n, studies = np.random.default_rng(7), 15, 300, 200
    share = 1 / np.arange(1, classes + 1) ** 1.2
    share /= share.sum()

    def network() -> np.ndarray:
        """What is said of each class, float (classes, classes), rows sum to 1."""
        said = np.tile(share, (classes, 1)) * (1 - rng.uniform(0.4, 0.85, classes))[:, None]
        said[np.diag_indices(classes)] += 1 - said.sum(axis=1)
        return said

    def truth_of(said: np.ndarray) -> tuple[float, float]:
        """Accuracy and macro-F1 over all paintings there could be."""
        joint = share[:, None] * said
        return np.trace(joint), np.mean(2 * np.diag(joint) / (joint.sum(axis=0) + joint.sum(axis=1)))

    networks = {side: {task: network() for task in ("style", "genre")} for side in ("one", "other")}
    true = {side: {task: truth_of(said) for task, said in tasks.items()} for side, tasks in networks.items()}
    held: Counter[str] = Counter()
    for study in range(studies):
        truth = rng.choice(classes, n, p=share)
        sides = {
            side: {
                task: Answers(
                    truth, (rng.random((n, 1)) > said.cumsum(axis=1)[truth]).sum(axis=1)[None], np.arange(n), classes
                )
                for task, said in tasks.items()
            }
            for side, tasks in networks.items()
        }
        found = compare_answers(sides["one"], sides["other"], seed=study, draws=500)
        for k, statistic in enumerate(("accuracy", "macro_f1")):
            one, other = (true[side]["style"][k] for side in ("one", "other"))
            gains = [100 * (true["one"][t][k] - true["other"][t][k]) / true["other"][t][k] for t in ("style", "genre")]
            for name, interval_, value in (
                (f"one_{statistic}", found["style"][f"one_{statistic}"], one),
                (f"difference of {statistic}", found["style"][statistic], one - other),
                (f"gain in {statistic}", found[""][statistic], float(np.mean(gains))),
            ):
                held[name] += interval_.low <= value <= interval_.high
    assert len(held) == 6 and all(0.89 <= count / studies <= 0.99 for count in held.values()), held


@pytest.mark.parametrize("seed", range(10))
def test_mcnemar_is_that_of_statsmodels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.random(120) < 0.8, rng.random(120) < 0.7
    table = [[np.sum(one & other), np.sum(one & ~other)], [np.sum(~one & other), np.sum(~one & ~other)]]
    assert mcnemar(one, other) == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue)


def test_mcnemar_by_hand() -> None:
    one = np.array([True] * 5 + [True] * 10)
    other = np.array([False] * 5 + [True] * 10)
    assert mcnemar(one, other) == pytest.approx(2 * 0.5**5)
    assert mcnemar(one, one) == 1.0


def test_mcnemar_of_seeds_is_valid_under_no_difference() -> None:
    """Seeds that share their paintings: p falls below 0.05 in at most 5 % of 1,000 studies without a difference."""
    rejected = 0
    for study in range(1_000):
        rng = np.random.default_rng(study)
        base = rng.random(100) < 0.7
        one = np.where(rng.random((5, 100)) < 0.15, ~base, base)
        other = np.where(rng.random((5, 100)) < 0.15, ~base, base)
        rejected += mcnemar_of_seeds(one, other) < 0.05
    assert rejected <= 70
    assert mcnemar_of_seeds(one[:1], other[:1]) == mcnemar(one[0], other[0])


def test_relative_gain_by_hand() -> None:
    assert relative_gain([np.array(0.55), np.array(0.9)], [np.array(0.5), np.array(1.0)]) == pytest.approx(0.0)
    assert relative_gain([np.array(0.6)], [np.array(0.5)]) == pytest.approx(20.0)


def test_gain_over_the_tasks_is_paired_by_painting() -> None:
    a, b = answers(11, 0.8), answers(12, 0.8)
    found = compare_answers({"s": a, "t": a}, {"s": b, "t": b})
    single = compare_answers({"s": a}, {"s": b})
    assert found[""]["accuracy"].low == pytest.approx(single[""]["accuracy"].low)  # the same task twice adds nothing


def test_different_paintings_cannot_be_compared() -> None:
    a, b = answers(1, 0.5), answers(1, 0.5)
    with pytest.raises(ValueError, match="t: the two sides labelled different paintings"):
        compare_answers({"t": a}, {"t": Answers(b.truth, b.predicted, b.paintings[::-1], 5)})


def test_the_paintings_numbers_do_not_matter() -> None:
    """Of a large collection only the test paintings are drawn."""
    a, b = answers(1, 0.5), answers(2, 0.6)
    far = [Answers(one.truth, one.predicted, one.paintings * 1_000_000_000 + 7, 5) for one in (a, b)]
    assert compare_answers({"t": far[0]}, {"t": far[1]}) == compare_answers({"t": a}, {"t": b})


def test_agreement_adds_up() -> None:
    one, other = answers(1, 0.8).right(), answers(2, 0.5).right()
    shares = agreement(one, other)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["both"] + shares["only_one"] == pytest.approx(one.mean())
    assert shares["both"] + shares["only_other"] == pytest.approx(other.mean())


def test_f1_by_class_is_that_of_scikit_learn() -> None:
    a = answers(3, 0.6)
    expected = np.mean([f1_score(TRUTH, p, average=None) for p in a.predicted], axis=0)
    assert f1_by_class(a) == pytest.approx(expected)


def test_seeds_equally_right_on_different_paintings_are_not_certain() -> None:
    """Two networks, each wrong on one painting of ten, but not on the same: the spread between them is 0 by chance."""
    truth = np.zeros(10, int)
    predicted = np.zeros((2, 10), int)
    predicted[0, 0] = predicted[1, 1] = 1
    found = interval(Answers(truth, predicted, np.arange(10), 2).accuracy(draw_paintings(10, 0)), 0)
    assert found.low < 0.85 and found.mean == pytest.approx(0.9) and found.high == pytest.approx(1.0)
