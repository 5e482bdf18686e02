"""What watches a training, epoch by epoch: history, TensorBoard, conflicts between tasks, the turns of tasks."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from painters_mtl.common.files import atomic_write, full_disk_is_an_os_error
from painters_mtl.common.messages import ProgressBar
from painters_mtl.runs.run import HISTORY
from painters_mtl.training.batches import Batch

CONFLICT_BATCHES = 8  # of an epoch, in which --monitor-conflict compares the gradients


@dataclass(frozen=True)
class TrainedEpoch:
    """An epoch whose steps are done."""

    heads: Sequence[str]
    losses: np.ndarray
    """The unweighted loss of each head at each step: float32 (steps, heads), NaN without a label."""
    task_schedule: np.ndarray
    """The number of the task whose step each was: int32 (steps,)."""


class Observer:
    """Something that looks at a training after each epoch. Both methods do nothing unless an observer has its own."""

    def after_training(self, epoch: TrainedEpoch) -> dict[str, float]:
        """Called when the steps of an epoch are done. Returns columns for the history."""
        return {}

    def after_validation(self, history: Sequence[Mapping[str, float]]) -> None:
        """Called when the epoch is measured too; `history` has a row for each epoch so far, the last one is new."""


class HistoryFile(Observer):
    """Writes history.csv, a row for each epoch."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / HISTORY

    def after_validation(self, history: Sequence[Mapping[str, float]]) -> None:
        """Write all rows."""
        with atomic_write(self.file) as temporary:
            pd.DataFrame(history).to_csv(temporary, index=False)


class TensorBoardLog(Observer):
    """Writes the columns of the history to the folder logs/ of a run, for TensorBoard."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "logs"
        self.writer = tf.summary.create_file_writer(str(self.folder))

    def after_validation(self, history: Sequence[Mapping[str, float]]) -> None:
        """Add the last row."""
        with full_disk_is_an_os_error(self.folder), self.writer.as_default():
            for column, value in history[-1].items():
                tf.summary.scalar(column, value, step=len(history))
            self.writer.flush()


class GradientConflict(Observer):
    """The cosines between the tasks' gradients on the shared weights, a mean over some other batches of the epoch."""

    def __init__(
        self, tasks: Sequence[str], cosines: Callable[[Batch], tf.Tensor], batches: Iterator[Batch], count: int
    ) -> None:
        """Args:
        cosines: from a batch to float32 (tasks, tasks).
        count: of `batches` in an epoch.
        """
        self.tasks, self.batches, self.count = list(tasks), batches, count
        self.cosines = tf.function(cosines, reduce_retracing=True)

    def after_training(self, epoch: TrainedEpoch) -> dict[str, float]:
        """{"cosine_TASK_TASK": mean cosine} for each pair of tasks, NaN where no batch had labels of both."""
        cosines = np.stack([self.cosines(next(self.batches)).numpy() for _ in range(self.count)])
        mean = mean_of_known(cosines.reshape(self.count, -1)).reshape(cosines.shape[1:])
        pairs = [(i, j) for i in range(len(self.tasks)) for j in range(i)]
        return {f"cosine_{self.tasks[j]}_{self.tasks[i]}": float(mean[i, j]) for i, j in pairs}


class TurnRecorder(Observer):
    """How a task fares that waits for its turn, where each step trains one task."""

    def __init__(self, tasks: Sequence[str]) -> None:
        self.tasks = list(tasks)
        self.records: dict[str, list[tuple[int, float]]] = {}
        """{task: for each of its turns the steps since the last one of the epoch, 0 for the first, and the loss}; saved
        with a checkpoint."""

    def after_training(self, epoch: TrainedEpoch) -> dict[str, float]:
        """Note the turns of the epoch."""
        last_turn: dict[int, int] = {}
        for step, task in enumerate(epoch.task_schedule):
            name = self.tasks[task]
            loss = float(epoch.losses[step, epoch.heads.index(name)])
            self.records.setdefault(name, []).append((step - last_turn.get(task, step), loss))
            last_turn[task] = step
        return {}

    def summary(self) -> dict[str, dict[str, Any]]:
        """{task: {"share": of all turns, "loss_after": {steps between turns: mean loss}}}, without any turns empty.

        Where the task before has overwritten what the others need, the loss grows with the steps between two turns:
        alternating training's known weakness.
        """
        total = sum(len(turns) for turns in self.records.values())
        summary = {}
        for task, turns in self.records.items():
            steps, losses = np.array([number for number, _ in turns]), np.array([loss for _, loss in turns])
            groups = {"1": steps == 1, "2": steps == 2, "3": steps == 3, "4 or more": steps >= 4}
            after = {k: round(float(np.nanmean(losses[chosen])), 4) for k, chosen in groups.items() if chosen.any()}
            summary[task] = {"share": round(len(turns) / total, 4), "loss_after": after}
        return summary


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """The mean of each column over what is not NaN, float (columns,); NaN where all is."""
    finite = ~np.isnan(values)
    return np.where(finite, values, 0).sum(axis=0) / np.where(finite.any(axis=0), finite.sum(axis=0), np.nan)


class Progress:
    """Paintings a second and the time that is left: as a bar on a terminal, else in lines."""

    def __init__(self, epochs: int, steps: int, batch_size: int) -> None:
        """Args:
        steps: in each epoch.
        batch_size: paintings of each step.
        """
        self.epochs, self.steps, self.batch_size = epochs, steps, batch_size
        self.started, self.trained, self.compiled = time.perf_counter(), 0, False
        self.bar: ProgressBar | None = None

    def begin_epoch(self, epoch: int, steps_done: int) -> None:
        """Show the bar, from the steps that are done already; `epoch` is counted from 0."""
        self.started, self.trained = time.perf_counter(), 0
        done = epoch * self.steps + steps_done
        self.bar = ProgressBar(
            desc=f"training, epoch {epoch + 1}", initial=done * self.batch_size,
            total=self.epochs * self.steps * self.batch_size,
            unit=" paintings", unit_scale=True, leave=False, file=sys.stdout,
        )  # fmt: skip

    def add(self, steps: int, loss: float) -> None:
        """So many more steps are done; `loss` is that of the last one."""
        self.trained += steps * self.batch_size
        if not self.compiled and self.trained < self.steps * self.batch_size:  # the first step is compiled
            self.started, self.trained = time.perf_counter(), 0
        self.compiled = True
        assert self.bar is not None
        self.bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
        self.bar.update(steps * self.batch_size)

    def end_steps(self) -> float:
        """Take the bar away; returns the paintings a second since the last `begin_epoch`."""
        assert self.bar is not None
        self.bar.close()
        return self.trained / max(time.perf_counter() - self.started, 1e-9)

    def time_left(self, epoch: int) -> str:
        """How long the epochs after this one take, if each takes as long, as minutes and seconds.

        An epoch that was gone on with in its middle is taken for as long as its speed makes it.
        """
        whole = self.steps * self.batch_size / self.trained if self.trained else 1.0
        return ProgressBar.format_interval((self.epochs - epoch - 1) * whole * (time.perf_counter() - self.started))
