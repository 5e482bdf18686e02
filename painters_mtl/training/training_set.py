"""What one training is given, and the paintings that it trains on: which they are, and what draws their batches."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import keras
import numpy as np

from painters_mtl.data.dataset import Dataset
from painters_mtl.training.crop_teachers import CropTeachers
from painters_mtl.training.defaults import STEPS_OF_HEADS, default_batch
from painters_mtl.training.devices import Devices
from painters_mtl.training.sampling import (
    AlternatingSampler,
    EpochSampler,
    TaskSchedule,
    label_repeats,
    steps_in_epoch,
)
from painters_mtl.training.settings import TrainSettings


@dataclass(frozen=True)
class TrainingTarget:
    """A network and what it has to learn."""

    full: keras.Model
    """The network with all heads that train, those too that only help the training."""
    network: keras.Model
    """The same layers, with the heads of the tasks alone: what is measured and kept."""
    labels: Mapping[str, np.ndarray]
    """{head: int32 (paintings,)}, -1 for "no label"."""
    loss_weights: Mapping[str, float]
    """Of each head."""
    soft_targets: Mapping[str, np.ndarray] = field(default_factory=dict)
    """The teachers' probabilities for the training paintings: {head: float32 (n, classes)}."""
    crop_teachers: CropTeachers | None = None
    """Teachers that answer at each step, in the place of `soft_targets`."""
    earlier_heads: Mapping[str, list[np.ndarray]] = field(default_factory=dict)
    """The mean of the heads that the runs it starts from ended with, {task: kernel and bias}."""

    @property
    def taught_by_others(self) -> set[str]:
        """The heads for which there is a teacher, which has an answer for every painting."""
        return set(self.crop_teachers.of_heads if self.crop_teachers else self.soft_targets)

    @property
    def heads_of_task(self) -> dict[str, list[str]]:
        """{task: names of its heads}. What helps the painter task is a second head of it: a strategy sees one loss."""
        heads = {head: [head] for head in self.labels if head in self.network.output}
        if "painter" in heads:
            heads["painter"] += [head for head in self.labels if head not in heads]
        return heads


class TrainingSet:
    """The paintings of the training part that can teach at least one of a network's heads whose loss has a weight."""

    def __init__(self, data: Dataset, target: TrainingTarget, settings: TrainSettings, devices: Devices) -> None:
        """Raises `UserError` where a batch cannot be divided among the devices."""
        rows = data.rows("train")
        learning = {head for head, weight in target.loss_weights.items() if weight > 0}
        if not learning & target.taught_by_others:
            rows = rows[np.any([target.labels[head][rows] >= 0 for head in learning], axis=0)]
        self.target, self.settings = target, settings
        self.rows = rows
        """Their rows in the data set: int64 (n,)."""
        self.labels = {head: values[rows] for head, values in target.labels.items()}
        """{head: int32 (n,)}, -1 for "no label"."""
        # The head over all painters does not ask for a share of its own: it is there for the others.
        tasks_labels = {task: self.labels[task] for task in target.heads_of_task if task in learning}
        self.repeats = label_repeats(tasks_labels, settings.label_share)
        batch_size = settings.batch_size or default_batch(int(self.repeats.sum()))
        if settings.fine_tune == "heads" and not settings.epochs:
            # An epoch of fifty paintings has three steps; a head needs some hundred (docs/experiments/own-painters.md).
            self.repeats *= np.ceil(STEPS_OF_HEADS * batch_size * settings.accumulate / self.repeats.sum())
        self.local_places = devices.local_places(batch_size, settings.accumulate)
        self.batch_size = batch_size * settings.accumulate
        """Paintings of a step, on all devices."""
        self.steps = steps_in_epoch(self.repeats, self.batch_size)

    def sampler(self, epochs: int) -> EpochSampler | AlternatingSampler:
        """What draws the batches of a training of so many epochs."""
        heads_of_task = self.target.heads_of_task
        if self.settings.strategy != "alternate" or len(heads_of_task) == 1:
            return EpochSampler(self.repeats, self.batch_size, self.steps)
        can_teach = {
            task: np.any([self.labels[head] >= 0 for head in heads], axis=0) for task, heads in heads_of_task.items()
        }
        can_teach |= {task: np.ones(len(self.rows), bool) for task in self.target.taught_by_others}
        can_teach = {
            task: rows & any(self.target.loss_weights[head] > 0 for head in heads_of_task[task])
            for task, rows in can_teach.items()
        }
        counts = {task: int((self.labels[task] >= 0).sum()) for task in heads_of_task}
        schedule = TaskSchedule(can_teach, counts, self.settings.task_sampling, epochs)
        return AlternatingSampler(self.repeats, self.batch_size, self.steps, schedule)
