"""The training paintings of one network: which they are, how often each is drawn, and the batches of an epoch."""

import numpy as np

from painters_mtl.data.dataset import Dataset
from painters_mtl.training.assignment import Assignment
from painters_mtl.training.defaults import default_batch
from painters_mtl.training.devices import Devices
from painters_mtl.training.sampling import (
    AlternatingSampler,
    EpochSampler,
    TaskSchedule,
    label_repeats,
    steps_in_epoch,
)
from painters_mtl.training.settings import TrainSettings


class TrainingSet:
    """The paintings of the training part that can teach at least one of a network's heads."""

    def __init__(self, data: Dataset, assignment: Assignment, settings: TrainSettings, devices: Devices) -> None:
        """Raises `UserError` where a batch cannot be divided among the devices."""
        rows = data.rows("train")
        if not assignment.soft_targets:  # a teacher has an answer for every painting
            rows = rows[np.any([values[rows] >= 0 for values in assignment.labels.values()], axis=0)]
        self.assignment, self.settings = assignment, settings
        self.rows = rows
        """Their rows in the data set: int64 (n,)."""
        self.labels = {head: values[rows] for head, values in assignment.labels.items()}
        """{head: int32 (n,)}, -1 for "no label"."""
        # The head over all painters does not ask for a share of its own: it is there for the others.
        tasks_labels = {task: self.labels[task] for task in assignment.heads_of_task}
        self.repeats = label_repeats(tasks_labels, settings.label_share)
        batch_size = settings.batch_size or default_batch(int(self.repeats.sum()))
        self.local_places = devices.local_places(batch_size, settings.accumulate)
        self.batch_size = batch_size * settings.accumulate
        """Paintings of a step, on all devices."""
        self.steps = steps_in_epoch(self.repeats, self.batch_size)

    def sampler(self, epochs: int) -> EpochSampler | AlternatingSampler:
        """What draws the batches of a training of so many epochs."""
        heads_of_task = self.assignment.heads_of_task
        if self.settings.strategy != "alternate" or len(heads_of_task) == 1:
            return EpochSampler(self.repeats, self.batch_size, self.steps)
        can_teach = {
            task: np.any([self.labels[head] >= 0 for head in heads], axis=0) for task, heads in heads_of_task.items()
        }
        can_teach |= {task: np.ones(len(self.rows), bool) for task in self.assignment.soft_targets}
        can_teach = {
            task: rows & any(self.assignment.loss_weights[head] > 0 for head in heads_of_task[task])
            for task, rows in can_teach.items()
        }
        counts = {task: int((self.labels[task] >= 0).sum()) for task in heads_of_task}
        schedule = TaskSchedule(can_teach, counts, self.settings.task_sampling, epochs)
        return AlternatingSampler(self.repeats, self.batch_size, self.steps, schedule)
