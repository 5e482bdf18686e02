"""Intervals and tests against closed forms, scipy, statsmodels, scikit-learn and simulations whose truth is known."""

import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from painters_mtl.evaluation.intervals import (
    NO_INTERVAL,
    NO_VERDICT,
    Interval,
    TaskPredictions,
    agreement,
    compare_predictions,
    draw_clusters,
    effective_number,
    f1_by_class,
    interval,
    mcnemar,
    mcnemar_of_seeds,
    relative_gain,
    verdict,
)
from painters_mtl.evaluation.metrics import macro_f1

TRUTH = np.random.default_rng(0).integers(5, size=400)


def predictions(labels: np.ndarray, predicted: np.ndarray, painters: np.ndarray | None = None) -> TaskPredictions:
    """Of five classes; each painting by a painter of its own, unless told, and none a copy of another."""
    paintings = np.arange(len(labels))
    return TaskPredictions(labels, predicted, paintings, paintings if painters is None else painters, paintings, 5)


def network(seed: int, share: float, seeds: int = 3, n: int = 400) -> TaskPredictions:
    """Right with probability `share`, otherwise a class at random."""
    rng = np.random.default_rng(seed)
    truth = TRUTH[:n]
    predicted = np.where(rng.random((seeds, n)) < share, truth, rng.integers(5, size=(seeds, n)))
    return predictions(truth, predicted)


def test_statistics_on_all_paintings_are_the_plain_ones() -> None:
    a = network(1, 0.6)
    once = np.ones((1, 400), np.float32), np.arange(400)
    for s in range(3):
        assert a.accuracy(*once)[0, s] == pytest.approx(np.mean(a.predicted[s] == TRUTH))
        assert a.macro_f1(*once)[0, s] == pytest.approx(f1_score(TRUTH, a.predicted[s], average="macro"))


def test_a_painting_that_counts_twice_is_there_twice() -> None:
    a = network(2, 0.5, seeds=1)
    times, columns = draw_clusters(400, seed=3, draws=4), np.arange(400)
    assert (times.sum(axis=1) == 400).all()
    for row, accuracy, f1 in zip(times, a.accuracy(times, columns), a.macro_f1(times, columns), strict=True):
        rows = np.repeat(np.arange(400), row.astype(int))
        truth, predicted = TRUTH[rows], a.predicted[0][rows]
        assert accuracy[0] == pytest.approx(np.mean(truth == predicted))
        assert f1[0] == pytest.approx(macro_f1(truth, predicted, 5))
        assert f1[0] == pytest.approx(f1_score(truth, predicted, average="macro"), abs=1e-6)


def test_a_painter_that_is_drawn_comes_with_all_works() -> None:
    """Twelve painters, some of them with the only works of a class: sample by sample as scikit-learn counts them."""
    rng = np.random.default_rng(5)
    painters = rng.integers(12, size=200)
    labels = np.where(painters < 2, painters, rng.integers(2, 5, size=200))  # classes 0 and 1 are a painter's own
    side = predictions(labels, np.where(rng.random((2, 200)) < 0.6, labels, rng.integers(5, size=(2, 200))), painters)
    times = draw_clusters(12, seed=1, draws=40)
    accuracies, scores = side.accuracy(times, painters), side.macro_f1(times, painters)
    lacking = 0
    for row, accuracy, f1 in zip(times, accuracies, scores, strict=True):
        works = np.concatenate([np.tile(np.flatnonzero(painters == k), int(row[k])) for k in range(12)])
        classes = np.unique(labels[works])
        lacking += len(classes) < 5
        for s in range(2):
            predicted = side.predicted[s][works]
            assert accuracy[s] == pytest.approx(np.mean(predicted == labels[works]))
            wanted = f1_score(labels[works], predicted, labels=classes, average="macro", zero_division=0)
            assert f1[s] == pytest.approx(wanted, abs=1e-6)
    assert lacking > 5


def test_one_network_has_the_interval_of_the_binomial() -> None:
    a = network(4, 0.75, seeds=1)
    found = interval(a.accuracy(draw_clusters(400, 0), np.arange(400)), 0)
    p = found.mean
    half = 1.96 * np.sqrt(p * (1 - p) / 400)
    assert found.low == pytest.approx(p - half, abs=0.004)
    assert found.high == pytest.approx(p + half, abs=0.004)


def test_pairing_narrows_the_difference_of_networks_that_err_alike() -> None:
    one, other = network(5, 0.7, seeds=1), network(5, 0.7, seeds=1)
    other.predicted[0, :8] = (TRUTH[:8] + 1) % 5
    found = compare_predictions({"t": one}, {"t": other})["t"]
    width = {k: v.high - v.low for k, v in found.items()}
    assert width["accuracy"] < 0.35 * width["one_accuracy"]


def test_equal_sides_differ_by_exactly_nothing() -> None:
    a = network(6, 0.7)
    found = compare_predictions({"t": a}, {"t": a})
    assert found["t"]["accuracy"] == Interval(0, 0, 0)
    assert found[""]["macro_f1"] == Interval(0, 0, 0)
    assert verdict(found["t"]["accuracy"], 3) == "no difference shown"


def test_verdicts_follow_the_interval() -> None:
    assert verdict(Interval(1, 0.1, 2), 2) == "better"
    assert verdict(Interval(-1, -2, -0.1), 2) == "worse"
    assert verdict(Interval(1, -0.1, 2), 2) == "no difference shown"
    assert verdict(Interval(1, float("nan"), float("nan")), 2) == NO_INTERVAL


def test_one_training_gets_no_verdict_where_trainings_differ() -> None:
    """1,000 studies of two recipes that are equally good, while one training differs from the next by 2 points.

    The interval of a single pair of networks leaves out 0 in a third of them, and rightly so: those two do differ. The
    recipes do not, so nobody is told that one is better. From several seeds that is said in at most one of twenty.
    """
    paintings, studies, rng = 1_500, 1_000, np.random.default_rng(0)
    times = draw_clusters(paintings, 0, draws=400)
    for seeds in (1, 2, 3):
        skill = 0.75 + 0.02 * rng.standard_normal((2, studies * seeds, 1), np.float32)
        one, other = (
            (rng.random((studies * seeds, paintings), np.float32) < side).astype(np.float32) for side in skill
        )
        values = (times @ (one - other).T / paintings).reshape(-1, studies, seeds)
        differences = [interval(values[:, study], study) for study in range(studies)]
        left_out = sum(not each.low <= 0 <= each.high for each in differences)
        verdicts = Counter(verdict(each, seeds) for each in differences)
        judged = verdicts["better"] + verdicts["worse"]
        if seeds == 1:
            assert left_out > 300 and verdicts == {NO_VERDICT: studies}
        else:
            assert judged == left_out <= stats.binom(studies, 0.05).ppf(0.999)


def test_sides_swapped_at_random_show_no_difference() -> None:
    """One side is far better; after each painting's two answers are swapped by a coin, nothing is left to show."""
    one, other = network(7, 0.9), network(8, 0.6)
    assert verdict(compare_predictions({"t": one}, {"t": other})["t"]["accuracy"], 3) == "better"
    shown = 0
    for seed in range(40):
        swap = np.random.default_rng(seed).random(400) < 0.5
        a = predictions(TRUTH, np.where(swap, other.predicted, one.predicted))
        b = predictions(TRUTH, np.where(swap, one.predicted, other.predicted))
        difference = compare_predictions({"t": a}, {"t": b}, draws=400)["t"]["accuracy"]
        shown += verdict(difference, 3) != "no difference shown"
    assert shown <= stats.binom(40, 0.05).ppf(0.999)


def test_labels_permuted_by_hand_show_no_difference() -> None:
    """Against permuted labels both networks only guess, however good they were."""
    one, other = network(9, 0.9), network(10, 0.6)
    permuted = np.random.default_rng(0).permutation(TRUTH)
    a, b = (predictions(permuted, side.predicted) for side in (one, other))
    assert verdict(compare_predictions({"t": a}, {"t": b})["t"]["accuracy"], 3) == "no difference shown"


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
    truth, covered, times = 0.03, 0, draw_clusters(paintings, 0, draws=400)
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
        difference = (times @ (one.T.astype(np.float64) - other.T)) / paintings
        found = interval(difference, study)
        covered += found.low <= truth <= found.high
    # Two seeds cannot tell whether trainings differ: where they do not, the interval is wider than it need be.
    assert 930 <= covered <= (1000 if seeds == 2 and not between else 970)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("works", "alike", "single_works"),
    [("1", 0.1, 0.943), ("2", 0.12, 0.916), ("3", 0.12, 0.899), ("10", 0.12, 0.734), ("37", 0.05, 0.674),
     ("37", 0.12, 0.486), ("skewed", 0.12, 0.724)],
)  # fmt: skip
def test_painters_are_drawn_because_their_works_are_alike(works: str, alike: float, single_works: float) -> None:
    """1,000 simulated pairs of networks whose accuracies differ by 3 points: the 95 % interval covers in 95 %.

    Args:
        works: of each of the painters; or "skewed", from 2 to 60 works as in a real collection.
        alike: standard deviation of a painter's own accuracy, for either network.
        single_works: how often an interval covers the truth that takes the works for independent, as it was once done.
    """
    truth, studies, rng = 0.03, 1_000, np.random.default_rng(0)
    sizes = 1 + np.round(np.exp(np.random.default_rng(1).normal(1, 1.2, 80))).astype(int)
    painters = (
        np.repeat(np.arange(80), sizes)
        if works == "skewed"
        else np.arange(300 // int(works) * int(works)) // int(works)
    )
    count = painters.max() + 1
    one, other = (0.65 + mean + alike * rng.standard_normal((studies, count))[:, painters] for mean in (truth, 0.0))
    luck = rng.random(one.shape)  # of a painting, the same for both networks
    differences = (luck < one).astype(float) - (luck < other)
    by_painter = np.eye(count)[painters]
    times = draw_clusters(count, 0, draws=600)
    values = times @ (differences @ by_painter).T / (times @ by_painter.sum(axis=0))[:, None]
    covered = 0
    for study in range(studies):
        difference = interval(values[:, [study]], study, effective_number(painters))
        covered += difference.low <= truth <= difference.high
    half = 1.96 * differences.std(axis=1) / np.sqrt(len(painters))
    covered_by_works = np.mean(abs(differences.mean(axis=1) - truth) <= half)
    assert 925 <= covered <= 970
    assert covered_by_works == pytest.approx(single_works, abs=0.02)


@pytest.mark.parametrize(("painters", "seeds"), [(6, 5), (6, 4)])
def test_trainings_that_differ_count_with_few_painters_too(painters: int, seeds: int) -> None:
    """Painters answer alike in the mean, each differs from training to training, and so do the trainings as a whole."""
    covered, times = 0, draw_clusters(painters, 0, draws=300)
    for study in range(1_000):
        rng = np.random.default_rng([study, painters, seeds])
        of_painters = rng.normal(0, 1, (painters, seeds)) + rng.normal(0, 0.5, seeds)
        found = interval(times @ of_painters / times.sum(axis=1, keepdims=True), study, painters)
        covered += found.low <= 0 <= found.high
    assert 940 <= covered <= 975  # 930 where the spread of the few painters hides that of the trainings


def test_few_painters_are_too_few_to_tell_how_painters_differ() -> None:
    """Of four painters, whose works are drawn; of forty, painters. One painter of all works counts for little more."""
    rng = np.random.default_rng(0)
    truth, right = np.zeros(400, int), (rng.random((1, 400)) < 0.7)
    few, many = (predictions(truth, 1 - right.astype(int), np.arange(400) % k) for k in (4, 40))
    assert (few.drawn_by(), many.drawn_by()) == ("groups", "painters")
    assert effective_number(many.painters) == 40 and effective_number(np.r_[np.zeros(360, int), 1:41]) < 2
    binomial = 2 * 1.96 * np.sqrt(0.7 * 0.3 / 400)
    alone = compare_predictions({"t": few}, {"t": few})["t"]["one_accuracy"]
    assert alone.high - alone.low == pytest.approx(binomial, rel=0.1)


def test_tasks_share_their_painters_and_one_cluster_has_no_interval() -> None:
    rng = np.random.default_rng(1)
    painters, labels = np.arange(300) // 6, np.zeros(300, int)
    one, other = (predictions(labels, (rng.random((1, 300)) < 0.4).astype(int), painters) for _ in range(2))
    part = np.arange(300) < 120  # the second task has labels on the works of 20 painters only
    few = [replace(s, **{k: getattr(s, k)[part] for k in ("labels", "paintings", "painters", "groups")},
                   predicted=s.predicted[:, part]) for s in (one, other)]  # fmt: skip
    both = compare_predictions({"a": one, "b": few[0]}, {"a": other, "b": few[1]})
    assert both["a"] == compare_predictions({"a": one}, {"a": other})["a"]
    assert both["b"]["accuracy"].mean == pytest.approx(np.mean(few[0].right()) - np.mean(few[1].right()))
    single = replace(one, painters=np.zeros(300, int), groups=np.zeros(300, int))
    lonely = compare_predictions({"a": single}, {"a": other_of(single, other)})["a"]["accuracy"]
    assert np.isnan([lonely.low, lonely.high]).all() and np.isfinite(lonely.mean)


def other_of(side: TaskPredictions, other: TaskPredictions) -> TaskPredictions:
    """The other side's predictions, on the paintings and painters of `side`."""
    return replace(side, predicted=other.predicted)


@pytest.mark.slow
def test_twenty_thousand_works_take_seconds() -> None:
    """Three tasks, five seeds, 1,584 classes at most; each work by a painter of its own, which is the most to draw."""
    rng, n = np.random.default_rng(0), 20_000
    sides: list[dict[str, TaskPredictions]] = [{}, {}]
    for name, classes in (("painter", 1_584), ("style", 25), ("genre", 40)):
        labels = rng.integers(classes, size=n)
        for side in sides:
            predicted = np.where(rng.random((5, n)) < 0.7, labels, rng.integers(classes, size=(5, n)))
            side[name] = TaskPredictions(labels, predicted, np.arange(n), np.arange(n), np.arange(n), classes)
    start = time.process_time()
    result = compare_predictions(*sides, draws=500)
    assert time.process_time() - start < 60
    assert all(abs(result[name]["accuracy"].mean) < 0.02 for name in ("painter", "style", "genre"))


def test_two_seeds_that_agree_by_chance_say_nothing_more_than_one() -> None:
    """Both have two paintings more than the other side: no spread between them, and still the paintings' own chance."""
    rng = np.random.default_rng(0)
    one, other = (np.ones((2, 250)) for _ in range(2))
    for side, errors in ((one, 20), (other, 22)):
        for row in side:
            row[rng.permutation(250)[:errors]] = 0
    times = draw_clusters(250, 0, draws=1000)
    found = interval(times @ (one - other).T / 250, 0)
    assert found.mean == pytest.approx(2 / 250) and found.low < -0.015 and found.high > 0.03


@pytest.mark.slow
def test_macro_f1_and_the_gain_are_covered_too() -> None:
    """Of 200 studies of 300 paintings, 15 classes with few works in some: against the figures of the population."""
    rng, classes, n, studies = np.random.default_rng(7), 15, 300, 200
    share = 1 / np.arange(1, classes + 1) ** 1.2
    share /= share.sum()

    def confusions() -> np.ndarray:
        """What is said of each class, float (classes, classes), rows sum to 1."""
        said = np.tile(share, (classes, 1)) * (1 - rng.uniform(0.4, 0.85, classes))[:, None]
        said[np.diag_indices(classes)] += 1 - said.sum(axis=1)
        return said

    def truth_of(said: np.ndarray) -> tuple[float, float]:
        """Accuracy and macro-F1 over all paintings there could be."""
        joint = share[:, None] * said
        return np.trace(joint), np.mean(2 * np.diag(joint) / (joint.sum(axis=0) + joint.sum(axis=1)))

    networks = {side: {task: confusions() for task in ("style", "genre")} for side in ("one", "other")}
    true = {side: {task: truth_of(said) for task, said in tasks.items()} for side, tasks in networks.items()}
    held: Counter[str] = Counter()
    for study in range(studies):
        truth = rng.choice(classes, n, p=share)
        every = np.arange(n)
        sides = {
            side: {
                task: TaskPredictions(
                    truth,
                    (rng.random((n, 1)) > said.cumsum(axis=1)[truth]).sum(axis=1)[None],
                    every,
                    every,
                    every,
                    classes,
                )
                for task, said in tasks.items()
            }
            for side, tasks in networks.items()
        }
        found = compare_predictions(sides["one"], sides["other"], seed=study, draws=500)
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


@pytest.mark.slow
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
    a, b = network(11, 0.8), network(12, 0.8)
    found = compare_predictions({"s": a, "t": a}, {"s": b, "t": b})
    single = compare_predictions({"s": a}, {"s": b})
    assert found[""]["accuracy"].low == pytest.approx(single[""]["accuracy"].low)  # the same task twice adds nothing


def test_different_paintings_cannot_be_compared() -> None:
    a, b = network(1, 0.5), network(1, 0.5)
    with pytest.raises(ValueError, match="t: the two sides labelled different paintings"):
        compare_predictions({"t": a}, {"t": replace(b, paintings=b.paintings[::-1])})


def test_the_paintings_numbers_do_not_matter() -> None:
    """Of a large collection only the test paintings are drawn."""
    a, b = network(1, 0.5), network(2, 0.6)
    numbers = a.paintings * 1_000_000_000 + 7
    far = [replace(side, paintings=numbers, painters=numbers, groups=numbers) for side in (a, b)]
    assert compare_predictions({"t": far[0]}, {"t": far[1]}) == compare_predictions({"t": a}, {"t": b})


def test_agreement_adds_up() -> None:
    one, other = network(1, 0.8).right(), network(2, 0.5).right()
    shares = agreement(one, other)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["both"] + shares["only_one"] == pytest.approx(one.mean())
    assert shares["both"] + shares["only_other"] == pytest.approx(other.mean())


def test_f1_by_class_is_that_of_scikit_learn() -> None:
    a = network(3, 0.6)
    expected = np.mean([f1_score(TRUTH, p, average=None) for p in a.predicted], axis=0)
    assert f1_by_class(a) == pytest.approx(expected)


def test_seeds_equally_right_on_different_paintings_are_not_certain() -> None:
    """Two networks, each wrong on one painting of ten, but not on the same: the spread between them is 0 by chance."""
    truth = np.zeros(10, int)
    predicted = np.zeros((2, 10), int)
    predicted[0, 0] = predicted[1, 1] = 1
    found = interval(predictions(truth, predicted).accuracy(draw_clusters(10, 0), np.arange(10)), 0)
    assert found.low < 0.85 and found.mean == pytest.approx(0.9) and found.high == pytest.approx(1.0)
