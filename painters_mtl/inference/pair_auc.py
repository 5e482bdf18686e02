"""How well scores tell pairs by one painter from pairs by two: exact AUC, and its interval over painters."""

from dataclasses import dataclass

import numpy as np

from painters_mtl.common.messages import ProgressBar
from painters_mtl.evaluation.intervals import Interval, interval

DRAWS = 500  # bootstrap samples
FEWEST = 3  # painters that an interval is drawn from
GROUPS = ("seen", "unseen", "all")


@dataclass(frozen=True)
class Pairs:
    """Pairs of paintings whose painters are known: the numbers of the two painters, int (pairs,) each, from 0."""

    one: np.ndarray
    other: np.ndarray
    seen: np.ndarray  # bool (painters,): whether the training had works of that painter

    def group(self, name: str) -> np.ndarray:
        """The pairs of a group, bool (pairs,).

        As the competition's own report groups them: both painters were seen in training, neither was, or all pairs
        (those of a seen and an unseen painter too, which are never by one).
        """
        one, other = self.seen[self.one], self.seen[self.other]
        return {"seen": one & other, "unseen": ~one & ~other, "all": np.ones(len(one), bool)}[name]


def auc(scores: np.ndarray, one: np.ndarray, other: np.ndarray, times: np.ndarray | None = None) -> np.ndarray:
    """Probability that a pair by one painter scores above a pair by two, ties counting half; float64 (draws,).

    Args:
        scores: float (pairs,).
        one, other: painters of the two paintings, int (pairs,).
        times: how often each painter counts in each draw, (draws, painters); by default once, in one draw.

    A painter that is drawn twice stands for two painters whose works look alike: the pairs within count twice, a pair
    with a painter drawn three times counts six times, and the pairs between the two stand-ins do not count, for nobody
    scored them. Without a pair of each kind it is NaN.
    """
    if times is None:
        times = np.ones((1, 1 + max(one.max(initial=0), other.max(initial=0))))
    same = one == other
    levels, level = np.unique(scores[same], return_inverse=True)
    if not len(levels) or same.all():
        return np.full(len(times), np.nan)
    # The place of every other pair among the levels: 2 k just below level k, 2 k + 1 on it. So nothing is sorted, and
    # the counts of a draw are one sum over the pairs.
    rest = scores[~same]
    below = np.searchsorted(levels, rest)
    place = 2 * below + (rest == levels[np.minimum(below, len(levels) - 1)])
    by_one, first, second = one[same], one[~same], other[~same]
    areas = np.empty(len(times))
    for k, counts in enumerate(np.asarray(times, float)):
        at = np.bincount(place, counts[first] * counts[second], 2 * len(levels) + 1)
        wins = np.cumsum(at)[2 * level] + at[2 * level + 1] / 2
        weight = counts[by_one]
        with np.errstate(invalid="ignore", divide="ignore"):
            areas[k] = (weight * wins).sum() / (weight.sum() * at.sum())
    return areas


def draw_painters(n: int, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """How often each of n painters counts in each bootstrap sample: float64 (draws + 1, n). Row 0 counts all once."""
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws)
    return np.concatenate([np.ones((1, n)), drawn])


def auc_draws(scores: np.ndarray, pairs: Pairs, draws: int = DRAWS, seed: int = 0) -> dict[str, np.ndarray]:
    """AUC of each group on all painters (first) and on bootstrap samples of them: {group: float64 (draws + 1,)}.

    Painters are drawn, not pairs and not paintings: a painting is in thousands of pairs and a painter's works look
    alike, so pairs are anything but independent; and what one wants to know is how it goes with other painters.
    """
    times, areas = draw_painters(len(pairs.seen), draws, seed), {}
    for name in ProgressBar(GROUPS, "bootstrap", unit=" groups", delay=2, leave=False):
        chosen = pairs.group(name)
        areas[name] = auc(scores[chosen], pairs.one[chosen], pairs.other[chosen], times)
    return areas


def intervals(
    areas: dict[str, np.ndarray], pairs: Pairs, other: dict[str, np.ndarray] | None = None
) -> dict[str, Interval]:
    """AUC with 95 % interval by group; with `other`, of the same pairs and draws, that of the difference to it.

    The interval is widened for few painters, see `interval`; from fewer than `FEWEST` nothing can be told, and its ends
    are NaN.
    """
    found = {}
    for name, values in areas.items():
        chosen = pairs.group(name)
        painters = len(np.union1d(pairs.one[chosen], pairs.other[chosen]))
        samples = (values if other is None else values - other[name])[:, None]
        found[name] = interval(samples, 0, painters if painters >= FEWEST else 1)
    return found


def table(by_group: dict[str, Interval], pairs: Pairs) -> str:
    """The figures as text: a line for each group that has a pair of both kinds."""
    lines = [f"{'painters':<10}{'AUC':>8}{'95 % interval':>18}{'pairs':>14}{'by one':>10}"]
    for name, value in by_group.items():
        chosen = pairs.group(name)
        by_one = int((pairs.one[chosen] == pairs.other[chosen]).sum())
        figures = f"{value.mean:>8.3f}{f'{value.low:.3f} to {value.high:.3f}':>18}"
        if np.isfinite(value.mean) and not np.isfinite(value.low):
            figures = f"{value.mean:>8.3f}{'too few painters':>18}"
        if not np.isfinite(value.mean):
            figures = f"{'-':>8}{'':>18}"
        lines.append(f"{name:<10}{figures}{int(chosen.sum()):>14,}{by_one:>10,}")
    return "\n".join(lines)
