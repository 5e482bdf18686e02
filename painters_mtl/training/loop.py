"""The loop: one network is trained batch by batch, with validation after each epoch and the best weights kept."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from painters_mtl.common import interrupts
from painters_mtl.common.messages import say
from painters_mtl.evaluation import metrics
from painters_mtl.evaluation.calibration import apply_temperature
from painters_mtl.network.backbones import least_side
from painters_mtl.network.batchnorm_folding import fold_batchnorm
from painters_mtl.network.features import cached_features
from painters_mtl.network.forward import forward_function, predict_in_batches
from painters_mtl.network.multitask import backbone_of, heads_model
from painters_mtl.network.precision import in_precision, policy
from painters_mtl.training import defaults
from painters_mtl.training.batches import Batch, BatchSequence, CropEffects, crop_batches, feature_batches
from painters_mtl.training.checkpoint import Checkpoint
from painters_mtl.training.convergence import check_finite
from painters_mtl.training.devices import Devices
from painters_mtl.training.losses import Objective
from painters_mtl.training.monitoring import (
    CONFLICT_BATCHES,
    GradientConflict,
    Observer,
    Progress,
    TrainedEpoch,
    TurnRecorder,
    mean_of_known,
)
from painters_mtl.training.run_files import NoRunFiles, RunFiles
from painters_mtl.training.run_spec import RunSpec
from painters_mtl.training.sampling import EpochPlan, EpochSampler
from painters_mtl.training.step import TrainStep
from painters_mtl.training.training_set import TrainingSet, TrainingTarget


@dataclasses.dataclass
class Best:
    """The best network so far, by the mean accuracy on the validation paintings."""

    weights: list[np.ndarray]
    score: float = -np.inf
    epoch: int = 0
    """Counted from 1; 0 before the first."""


class TrainingLoop:
    """The training of one network, from its first epoch or from a checkpoint."""

    def __init__(self, spec: RunSpec, target: TrainingTarget, key: str, devices: Devices) -> None:
        """Raises `UserError` where a batch cannot be divided among the devices.

        Args:
            key: the fingerprint of the training.
        """
        data, settings = spec.data, spec.settings
        self.data, self.requested_updates, self.target, self.devices = data, spec.updates, target, devices
        self.full, self.network = target.full, target.network
        self.tasks = list(target.heads_of_task)
        self.training_set = TrainingSet(data, target, settings, devices)
        rate = defaults.peak_rate(settings.learning_rate, self.training_set.batch_size)
        self.settings = dataclasses.replace(settings, learning_rate=rate)
        self.heads_only = settings.fine_tune == "heads"
        # All that is different in a process that follows; what the chief measures, it sends to all.
        self.files = RunFiles(spec, key) if devices.chief else NoRunFiles(spec, key)

        self.started, self.seconds_before = time.perf_counter(), 0.0
        self.saved_at = self.started
        self.history: list[dict[str, float]] = []
        """A row for each epoch."""
        self.step_losses: list[np.ndarray] = []
        """Of the steps since the last whole epoch: float32 (heads,) each."""
        self.best = Best(self.network.get_weights())
        self.turns = TurnRecorder(self.tasks)
        self.updates = 0
        """Steps of all whole epochs, once the training has ended."""
        self.forward = forward_function(self.network, settings.image_size)
        self.features: np.ndarray | None = None
        """Of all paintings, float32 (paintings, flips, channels), where only the heads train."""

    def run(self, saved: Checkpoint | None) -> bool:
        """Train, from where `saved` was, or from the first step. Returns whether Ctrl-C or SIGTERM ended it."""
        steps = self.training_set.steps
        self.epochs = self._number_of_epochs()
        if saved is None:
            self.settings.check_freeze_ends(self.epochs)
        self._build()
        if saved is not None:
            self._restore(saved)
            steps_too = f" and {len(self.step_losses)} of {steps} steps" if self.step_losses else ""
            say(f"going on after epoch {len(self.history)}{steps_too}, of {self.epochs} epochs")
        self.devices.spread_seeds(self.trained_model)
        self._start_batches()
        with interrupts.deferred():
            interrupted = self._train_epochs(patience=None if self.requested_updates else self.settings.patience)
            if interrupted:
                self.save_state()
                epochs = f"{len(self.history)} epochs"
                done = epochs + (f" and {len(self.step_losses)} steps" if self.step_losses else "")
                say(f"\ninterrupted after {done}: saved, and keeping the best network so far")
        if interrupted:
            interrupts.acknowledge()  # what follows measures the best network so far; one more Ctrl-C ends that too
        if self.history:
            self.network.set_weights(self.best.weights)
        else:
            self._update_measured_network()
        self.updates = steps * len(self.history)
        return interrupted

    def _train_epochs(self, patience: int | None) -> bool:
        """Train to the last epoch, or until no epoch was better for so many. Returns whether a signal ended it."""
        thawed = self.settings.freeze_epochs if self.settings.freeze != "none" else 0  # more is learned from then on
        for epoch in range(len(self.history), self.epochs):
            if patience is not None and len(self.history) - max(self.best.epoch, thawed) >= patience:
                break
            say(f"epoch {epoch + 1} of {self.epochs}")
            if not self.train_epoch(epoch):
                return True
            self.end_epoch(epoch)
            if self._stop_requested():
                return True
            if self.features is None or not self.settings.checkpoint_minutes or self._save_is_due():
                self.save_state()  # the heads alone take seconds
        return False

    # --------------------------------------------------------------------------------------------- before the epochs

    def _number_of_epochs(self) -> int:
        steps = self.training_set.steps
        if self.requested_updates:
            return max(1, round(self.requested_updates / steps))
        samples, settings = steps * self.training_set.batch_size, self.settings
        default = defaults.default_epochs(samples, self.data.demo, settings.quality, settings.distill)
        return self.settings.epochs or (defaults.EPOCHS_OF_HEADS if self.heads_only else default)

    def _build(self) -> None:
        """Make the network that trains, and its step.

        In 16 bits, or on several devices, a copy of the network trains. What is measured and saved is the float32
        network of one device, which gets its weights.
        """
        settings, precision = self.settings, policy(self.settings.precision)
        mixed, several = precision != "float32", self.devices.strategy is not None
        if self.heads_only:
            started = time.perf_counter()
            self.features = cached_features(self.full, self.data, settings.image_size)
            self.seconds_before -= time.perf_counter() - started  # every run uses them; whoever is first computes them
        soft_targets = {
            head: apply_temperature(values, settings.temperature) for head, values in self.target.soft_targets.items()
        }
        target = self.target
        objective = Objective(target.heads_of_task, target.loss_weights, soft_targets, target.crop_teachers)
        with self.devices.variables():
            self.copy = in_precision(self.full, precision, synchronized=several) if mixed or several else self.full
            if self.heads_only:
                self.trained_model = heads_model(self.copy)
            else:
                self.trained_model = self.copy if mixed else fold_batchnorm(self.copy)
            slow = settings.starts_pretrained() and not self.heads_only
            pretrained = backbone_of(self.copy).trainable_variables if slow else []
            self.step = TrainStep(
                self.trained_model,
                objective,
                settings,
                steps=self.training_set.steps * self.epochs,
                pretrained=pretrained,
                float16=precision == "mixed_float16",
                devices=self.devices,
            )

    def _start_batches(self) -> None:
        """Open the sequence of batches where the training stands, and make ready what watches it."""
        steps, sampler = self.training_set.steps, self.training_set.sampler(self.epochs)
        seed = self.settings.seed
        self.plan = lambda epoch: sampler.plan(epoch, seed)
        self.batches = self._batches(self.plan, seed, len(self.step_losses))
        self.progress = Progress(self.epochs, steps, self.training_set.batch_size)
        self.observers: list[Observer] = []
        if self.settings.strategy == "alternate" and len(self.tasks) > 1:
            self.observers.append(self.turns)
        if self.settings.monitor_conflict:
            count = min(CONFLICT_BATCHES, steps)

            paintings = self.training_set  # of all tasks, also where one task a step trains
            of_all_tasks = EpochSampler(paintings.repeats, paintings.batch_size, steps)

            def other_batches(epoch: int) -> EpochPlan:
                other = of_all_tasks.plan(epoch, seed + 1)
                return EpochPlan(other.rows[:count], other.task_schedule[:count])

            batches = self._batches(other_batches, seed + 1)
            self.observers.append(GradientConflict(self.tasks, self.step.cosines, batches, count))
        self.observers += self.files.observers()

        @tf.function(reduce_retracing=True)
        def advance(batches: Any, count: tf.Tensor, frozen: str) -> tf.Tensor:
            losses = tf.TensorArray(tf.float32, size=count)
            for i in tf.range(count):
                losses = losses.write(i, self.step.step(next(batches), frozen))
            return losses.stack()

        self.advance = advance

    def _batches(self, plan: Callable[[int], EpochPlan], seed: int, first_step: int = 0) -> Iterator[Batch]:
        """The batches of all epochs from the next one on."""
        paintings = self.training_set
        sequence = BatchSequence(
            paintings.labels, plan, self.epochs, seed, len(self.history), first_step, paintings.local_places
        )
        if self.features is not None:
            return iter(feature_batches(self.features[paintings.rows], sequence))
        image_size = self.settings.image_size
        least = least_side(backbone_of(self.full), image_size)
        if teachers := self.target.crop_teachers:
            least = max(least, teachers.least_side(image_size))
        sides = [max(side, least) for side in defaults.training_sides(image_size, self.epochs)]
        effects = CropEffects(self.settings.mix, self.settings.color)
        image_rows = self.data.image_rows[paintings.rows]
        return iter(crop_batches(self.data.images.pixels, image_rows, sequence, sides, effects))

    # ------------------------------------------------------------------------------------------------------ an epoch

    def train_epoch(self, epoch: int) -> bool:
        """Make the steps of an epoch that are not made yet. Returns False where a signal came before the last one."""
        steps = self.training_set.steps
        chunk = steps if self.heads_only else 1  # a step of the heads takes less time than its call
        frozen = self.settings.freeze if epoch < (self.settings.freeze_epochs or self.epochs) else "none"
        loss_weights = np.array([self.target.loss_weights[head] for head in self.step.heads])
        self.progress.begin_epoch(epoch, len(self.step_losses))
        while len(self.step_losses) < steps and not self._stop_requested():
            count = min(chunk, steps - len(self.step_losses))
            self.step_losses.extend(self.advance(self.batches, tf.constant(count), frozen).numpy())
            self.progress.add(count, float(np.nansum(self.step_losses[-1] * loss_weights)))
            if self._save_is_due() and len(self.step_losses) < steps:
                self.save_state()
        self.speed = self.progress.end_steps()
        return len(self.step_losses) == steps

    def end_epoch(self, epoch: int) -> None:
        """Measure what the epoch came to, tell the strategy and the observers, and keep the network if it is best."""
        trained = TrainedEpoch(self.step.heads, np.stack(self.step_losses), self.plan(epoch).task_schedule)
        by_head = dict(zip(trained.heads, mean_of_known(trained.losses), strict=True))
        weighted = {head: loss * self.target.loss_weights[head] for head, loss in by_head.items()}
        self.step.strategy.end_epoch(self._task_losses(weighted))
        columns = {f"{head}_loss": loss for head, loss in by_head.items()}
        columns["loss"] = float(np.nansum(list(weighted.values())))
        started = time.perf_counter()
        for observer in self.observers:
            columns |= observer.after_training(trained)
        self.seconds_before -= time.perf_counter() - started  # what is looked at is no part of the training's cost
        self._update_measured_network()
        check_finite(trained.losses, self.network.get_weights(), epoch + 1, self.settings.learning_rate)
        columns |= self.validate()
        self.history.append({"epoch": len(self.history) + 1, **columns})
        self.step_losses = []
        self.keep_best(columns["val_score"])
        for observer in self.observers:
            observer.after_validation(self.history)
        accuracies = ", ".join(f"{task} {100 * columns[f'val_{task}_accuracy']:.1f} %" for task in self.tasks)
        say(
            f"  loss {columns['loss']:.3f}; validation: {accuracies}; mean {100 * columns['val_score']:.1f} %; "
            f"{self.speed:,.0f} paintings/s, at most {self.progress.time_left(epoch)} left"
        )

    def _task_losses(self, weighted: dict[str, float]) -> np.ndarray:
        """The sum of the weighted losses of each task's heads: float64 (tasks,), NaN where no batch had a label."""
        by_task = [np.array([weighted[head] for head in heads]) for heads in self.target.heads_of_task.values()]
        return np.array([np.nan if np.isnan(losses).all() else np.nansum(losses) for losses in by_task])

    def validate(self) -> dict[str, float]:
        """The accuracy of each task on the validation paintings, and their mean, as columns for the history."""

        def measure() -> dict[str, dict[str, float]]:
            rows = self.data.rows("validation")
            if self.features is not None:
                outputs = heads_model(self.network)(self.features[rows, 0], training=False)
            else:
                outputs = predict_in_batches(self.forward, self.data.images.pixels, self.data.image_rows[rows])
            probabilities = {task: np.asarray(outputs[task]) for task in self.tasks}
            return metrics.all_metrics(self.data.labels, probabilities, rows, self.data.rows("train"))

        measured = self.devices.computed_by_chief(measure)
        accuracies = {f"val_{task}_accuracy": values["accuracy"] for task, values in measured.items()}
        # A task of weight 0 has not trained: its accuracy says nothing of the epoch.
        trained = {task: values for task, values in measured.items() if self.target.loss_weights[task]}
        return {**accuracies, "val_score": metrics.mean_accuracy(trained)}

    def keep_best(self, score: float) -> None:
        """Keep the network of the last epoch if it is the best so far."""
        unknown = np.isnan(score)  # no label in validation: train to the end, and keep that
        if not self.best.epoch or unknown or score > self.best.score:
            self.best = Best(self.network.get_weights(), score, len(self.history))
            if self.features is None:  # the heads alone take seconds
                self.files.save_network(self.network)

    def _update_measured_network(self) -> None:
        """Give the network that is measured and saved the weights of the copy that trains, where there is one."""
        if self.copy is not self.full:
            self.full.set_weights(self.copy.get_weights())

    def _stop_requested(self) -> bool:
        """Whether a signal came, in any process, so that all end after the same step."""
        return self.devices.any(interrupts.requested())

    # ---------------------------------------------------------------------------------------------------- its state

    def _save_is_due(self) -> bool:
        minutes = self.settings.checkpoint_minutes
        return minutes > 0 and time.perf_counter() - self.saved_at >= 60 * minutes

    def save_state(self) -> None:
        """Write a checkpoint."""
        self.files.save_checkpoint(self._state)
        self.saved_at = time.perf_counter()

    def _state(self) -> Checkpoint:
        """All that the rest of the training depends on."""
        record = {
            "history": self.history,
            "turns": self.turns.records,
            "best": self.best.score,
            "best_epoch": self.best.epoch,
            "seconds": self.seconds_before + time.perf_counter() - self.started,
        }
        arrays = {
            "network": [v.numpy() for v in self.trained_model.variables],
            "step": [v.numpy() for v in self.step.state],
            "best": self.best.weights,
            "losses": self.step_losses,
        }
        return Checkpoint(record, arrays)

    def _restore(self, saved: Checkpoint) -> None:
        """Put everything back to where it was when the checkpoint was written."""
        record = saved.record
        for name, variables in (("network", self.trained_model.variables), ("step", self.step.state)):
            for variable, value in zip(variables, saved.arrays[name], strict=True):
                variable.assign(value)
        self.history, self.step_losses = record["history"], list(saved.arrays["losses"])
        self.best = Best(saved.arrays["best"], record["best"], record["best_epoch"])
        self.turns.records = {task: [(steps, loss) for steps, loss in turns] for task, turns in record["turns"].items()}
        self.seconds_before += record["seconds"]
