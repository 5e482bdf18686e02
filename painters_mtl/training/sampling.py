"""Which paintings each batch of an epoch holds. All chance comes from the seed and the epoch."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

MAX_REPEAT = 3  # a work with a scarce label is drawn at most so often in an epoch


@dataclass(frozen=True)
class EpochPlan:
    """The batches of one epoch."""

    rows: np.ndarray
    """The training paintings of each batch, in their order: int64 (steps, batch size)."""
    task_schedule: np.ndarray
    """The number of the task that trains at each step, int32 (steps,); all 0 where every step trains all tasks."""


def label_repeats(labels: Mapping[str, np.ndarray], label_share: float) -> np.ndarray:
    """How often each training painting is drawn in an epoch: float64 (n,), from 1 to `MAX_REPEAT`.

    A task whose labels are on a share s < `label_share` of the paintings would see few of its own in each batch. Its
    works are repeated r times, so that they make up `label_share` of the epoch: r s / (1 - s + r s) = label_share.

    Args:
        labels: {task: int (n,)}, -1 for "no label".
    """
    n = len(next(iter(labels.values())))
    repeats = np.ones(n)
    for values in labels.values():
        share = float(np.mean(values >= 0))
        if 0 < share < label_share:
            r = label_share * (1 - share) / (share * (1 - label_share))
            repeats[values >= 0] = np.maximum(repeats[values >= 0], min(r, MAX_REPEAT))
    return repeats


def steps_in_epoch(repeats: np.ndarray, batch_size: int) -> int:
    """Whole batches in an epoch, the same number in each epoch; at least one."""
    return max(1, int(repeats.sum()) // batch_size)


def epoch_order(repeats: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """The paintings of an epoch, shuffled: int64 positions. Of 1.7 repeats, 0.7 is one more by chance."""
    rng = np.random.default_rng([seed, epoch])
    whole = np.floor(repeats).astype(np.int64)
    times = whole + (rng.random(len(repeats)) < repeats - whole)
    return rng.permutation(np.repeat(np.arange(len(repeats)), times))


@dataclass(frozen=True)
class EpochSampler:
    """Batches from which every task with a label learns."""

    repeats: np.ndarray
    """From `label_repeats`: float (n,)."""
    batch_size: int
    steps: int

    def plan(self, epoch: int, seed: int) -> EpochPlan:
        """The batches of the epoch, counted from 0."""
        rows = np.resize(epoch_order(self.repeats, seed, epoch), self.steps * self.batch_size)
        return EpochPlan(rows.reshape(self.steps, self.batch_size), np.zeros(self.steps, np.int32))


@dataclass(frozen=True)
class TaskSchedule:
    """How often each task has its turn, where each step trains one task."""

    can_teach: Mapping[str, np.ndarray]
    """{task: bool (n,)}: which training paintings can teach the task. A task that none can teach has no turn."""
    label_counts: Mapping[str, int]
    """{task: how many training paintings have its label}."""
    sampling: str
    """"uniform", "proportional" to the counts, or "annealed": from proportional in the first epoch to uniform in the
    last. That is the annealed sampling of Stickland & Murray 2019 (arXiv 1902.02671), but for its end: their power is
    1 - 0.8 (e - 1) / (E - 1) in epoch e of E, which ends at 0.2; here it ends at 0."""
    epochs: int

    def shares(self, epoch: int) -> np.ndarray:
        """The probability of each task to have a turn: float64 (tasks,).

        The counts to a power: 1 for proportional, 0 for uniform, between them where one leads to the other.
        """
        annealed = 1.0 - epoch / max(self.epochs - 1, 1)
        power = {"uniform": 0.0, "proportional": 1.0, "annealed": annealed}[self.sampling]
        counts = np.maximum(np.array([self.label_counts[task] for task in self.can_teach], float), 1)
        weights = np.where([rows.any() for rows in self.can_teach.values()], counts**power, 0)
        return weights / weights.sum()


@dataclass(frozen=True)
class AlternatingSampler:
    """Batches for one task each, drawn from the paintings that can teach it."""

    repeats: np.ndarray
    """From `label_repeats`: float (n,), how often each painting is drawn in a round through those of a task."""
    batch_size: int
    steps: int
    schedule: TaskSchedule

    def plan(self, epoch: int, seed: int) -> EpochPlan:
        """The batches of the epoch, counted from 0; a task goes on through its paintings from turn to turn."""
        rng = np.random.default_rng([seed, epoch, 2])
        shares = self.schedule.shares(epoch)
        task_schedule = rng.choice(len(shares), size=self.steps, p=shares).astype(np.int32)
        rows = np.empty((self.steps, self.batch_size), np.int64)
        for task, can_teach in enumerate(self.schedule.can_teach.values()):
            steps, paintings = np.flatnonzero(task_schedule == task), np.flatnonzero(can_teach)
            order = np.empty(0, np.int64)
            while len(order) < len(steps) * self.batch_size:
                times = np.floor(self.repeats[paintings] + rng.random(len(paintings))).astype(np.int64)
                order = np.concatenate([order, rng.permutation(np.repeat(paintings, times))])
            rows[steps] = order[: len(steps) * self.batch_size].reshape(len(steps), self.batch_size)
        return EpochPlan(rows, task_schedule)
