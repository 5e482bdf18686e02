"""The loop: one network is trained batch by batch, with validation after each epoch and the best weights kept."""

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from painters_mtl.common import interrupts
from painters_mtl.common.files import atomic_write
from painters_mtl.data.dataset import Dataset
from painters_mtl.evaluation import metrics
from painters_mtl.evaluation.calibration import apply_temperature
from painters_mtl.network.backbones import least_side
from painters_mtl.network.batchnorm_folding import fold_batchnorm
from painters_mtl.network.features import cached_features
from painters_mtl.network.forward import forward_function, predict_in_batches
from painters_mtl.network.multitask import backbone_of, heads_model
from painters_mtl.network.precision import in_precision, policy
from painters_mtl.runs import run
from painters_mtl.training import batches as pipeline
from painters_mtl.training import checkpoint
from painters_mtl.training.defaults import (
    EPOCHS_OF_HEADS,
    default_batch,
    default_epochs,
    peak_rate,
    training_sides,
)
from painters_mtl.training.devices import Devices
from painters_mtl.training.settings import TrainSettings
from painters_mtl.training.step import TrainStep

WATCHED = 8  # batches an epoch in which --monitor-conflict looks at the gradients


class TrainingLoop:
    """The loop over the batches, with validation after each epoch and the best weights kept."""

    def __init__(
        self,
        data: Dataset,
        settings: TrainSettings,
        folder: Path,
        full: keras.Model,
        network: keras.Model,
        labels: dict[str, np.ndarray],
        soft: dict[str, np.ndarray],
        keep_model: bool,
        key: str,
        devices: Devices,
    ) -> None:
        self.devices = devices
        self.data, self.folder, self.keep_model, self.key = data, folder, keep_model, key
        self.started, self.seconds_before = time.perf_counter(), 0.0
        self.saved_at = self.started
        self.full, self.network, self.labels, self.soft = full, network, labels, soft
        # What helps the painter task is a second head of it: a strategy sees their losses as one.
        self.groups = {name: [name] for name in labels if name in data.tasks}
        if "painter" in self.groups:
            self.groups["painter"] += [name for name in labels if name not in data.tasks]
        self.history: list[dict[str, float]] = []
        self.gaps: dict[str, list[tuple[int, float]]] = {}  # with alternate: turns since the task's last, loss
        self.best, self.best_epoch, self.best_weights = -np.inf, 0, network.get_weights()
        self.forward = forward_function(network, settings.image_size)
        self.encoded: np.ndarray | None = None  # features of all paintings, when only the heads train
        self.updates = 0
        train = data.rows("train")
        if not soft:  # a teacher has an answer for every painting
            train = train[np.any([values[train] >= 0 for values in labels.values()], axis=0)]
        self.train = train
        # The head over all painters does not ask for a share of its own: it is there for the others.
        self.factor = pipeline.repeats({name: labels[name][train] for name in self.groups}, settings.label_share)
        batch_size = settings.batch_size or default_batch(int(self.factor.sum()))
        self.mine = devices.rows(batch_size, settings.accumulate)
        self.batch_size = batch_size * settings.accumulate  # paintings of a step, on all devices
        self.settings = dataclasses.replace(settings, learning_rate=peak_rate(settings.learning_rate, self.batch_size))

    def run(self, weights: dict[str, float], updates: int, saved: checkpoint.Checkpoint | None) -> bool:
        """Train, from where `saved` was; True when Ctrl-C ended it."""
        settings, data = self.settings, self.data
        train, factor, mine, batch_size = self.train, self.factor, self.mine, self.batch_size
        labels = {name: values[train] for name, values in self.labels.items()}
        steps = pipeline.steps_in_epoch(factor, batch_size)
        heads_only = settings.fine_tune == "heads"
        epochs = settings.epochs or (EPOCHS_OF_HEADS if heads_only else default_epochs(steps * batch_size, data.demo))
        if updates:
            epochs = max(1, round(updates / steps))
        precision = policy(settings.precision)
        mixed, several = precision != "float32", self.devices.strategy is not None
        if heads_only:
            started = time.perf_counter()
            self.encoded = cached_features(self.full, data, settings.image_size)
            self.seconds_before -= time.perf_counter() - started  # every run uses them; whoever is first computes them
        soft = {name: apply_temperature(values, settings.temperature) for name, values in self.soft.items()}
        with self.devices.variables():
            # The copy trains; what is measured and saved is the float32 network of one device, which gets its weights.
            trained = in_precision(self.full, precision, synchronized=several) if mixed or several else self.full
            model = heads_model(trained) if heads_only else trained if mixed else fold_batchnorm(trained)
            pretrained = settings.weights != "none" and settings.backbone != "small_convnet"
            slow = backbone_of(trained).trainable_variables if pretrained and not heads_only else []
            float16 = precision == "mixed_float16"
            update = TrainStep(
                model, self.groups, weights, slow, settings, steps * epochs, soft, float16, devices=self.devices
            )

        found: list[np.ndarray] = []  # losses of the steps of this epoch
        if saved is not None:
            found = self._restore(saved, model, update)
            steps_too = f" and {len(found)} of {steps} steps" if found else ""
            print(f"going on after epoch {len(self.history)}{steps_too}, of {epochs} epochs", flush=True)
        self.devices.own_seeds(model)
        first, first_step = len(self.history), len(found)

        def plan(epoch: int, seed: int = settings.seed) -> pipeline.Plan:
            if update.alternate:
                pools = {t: np.any([labels[h] >= 0 for h in heads], axis=0) for t, heads in self.groups.items()}
                pools |= {t: np.ones(len(train), bool) for t in self.soft}
                pools = {t: rows & any(weights[h] > 0 for h in self.groups[t]) for t, rows in pools.items()}
                counts = [int((labels[t] >= 0).sum()) for t in self.groups]
                share = epoch / max(epochs - 1, 1) if settings.task_sampling == "annealed" else settings.task_sampling
                return pipeline.plan_turns(pools, counts, factor, share, batch_size, steps, seed, epoch)
            return pipeline.plan_epoch(factor, batch_size, steps, seed, epoch)

        def few(epoch: int) -> pipeline.Plan:
            """Some other batches of the epoch, to look at the gradients."""
            other = plan(epoch, settings.seed + 1)
            return pipeline.Plan(other.rows[:WATCHED], other.turns[:WATCHED])

        least = 0 if heads_only else least_side(backbone_of(self.full), settings.image_size)

        def batches(plans: Callable[[int], pipeline.Plan], seed: int, step: int = 0) -> tf.data.Dataset:
            if self.encoded is not None:
                every = [plans(e) for e in range(epochs)]
                return pipeline.feature_batches(self.encoded[train], labels, every, seed, first, step, mine)
            sides = [max(side, least) for side in training_sides(settings.image_size, epochs)]
            rows = data.image_rows[train]
            return pipeline.training_batches(data.images.pixels, rows, labels, plans, sides, seed, first, step, mine)

        @tf.function(reduce_retracing=True)
        def advance(iterator: Any, count: tf.Tensor) -> tf.Tensor:
            seen = tf.TensorArray(tf.float32, size=count)
            for i in tf.range(count):
                seen = seen.write(i, self.devices.run(update.step, next(iterator)))
            return seen.stack()

        chunk = steps if heads_only else 1  # a step of the heads takes less time than its call
        iterator = iter(batches(plan, settings.seed, first_step))
        watch = iter(batches(few, settings.seed + 1)) if settings.monitor_conflict else None
        cosines = tf.function(lambda batch: self.devices.run(update.cosines, batch), reduce_retracing=True)
        logging = self.keep_model and self.devices.chief
        logs = tf.summary.create_file_writer(str(self.folder / "logs")) if logging else None
        interrupted = False
        with interrupts.deferred():

            def asked() -> bool:
                """Of any process, so that all end after the same step."""
                return self.devices.any(interrupts.requested())

            for epoch in range(first, epochs):
                if not updates and len(self.history) - self.best_epoch >= settings.patience:
                    break
                print(f"epoch {epoch + 1} of {epochs}", flush=True)
                update.freeze(settings.freeze if epoch < (settings.freeze_epochs or epochs) else "none")
                progress = keras.utils.Progbar(steps) if sys.stdout.isatty() else None
                while len(found) < steps and not asked():
                    found.extend(advance(iterator, tf.constant(min(chunk, steps - len(found)))).numpy())
                    if progress is not None:
                        value = np.nansum(found[-1] * [weights[h] for h in update.heads])
                        progress.update(len(found), [("loss", value)], finalize=len(found) >= steps)
                    if self._due() and len(found) < steps:
                        self._save(model, update, found)
                if len(found) < steps:
                    interrupted = True
                    break
                losses = _means(np.stack(found))
                measured = dict(zip((f"{h}_loss" for h in update.heads), losses, strict=True))
                measured["loss"] = float(np.nansum(losses * [weights[h] for h in update.heads]))
                update.strategy.end_epoch(self._of_tasks(update.heads, losses, weights))
                if update.alternate:
                    self._turns(plan(epoch).turns, np.stack(found), update.heads)
                if watch is not None:
                    measured |= self._conflict([cosines(next(watch)).numpy() for _ in range(min(WATCHED, steps))])
                if trained is not self.full:
                    self.full.set_weights(trained.get_weights())
                self.end_epoch(measured)
                found = []
                if logs is not None:
                    with logs.as_default():
                        for key, value in self.history[-1].items():
                            tf.summary.scalar(key, value, step=epoch + 1)
                    logs.flush()
                if asked():
                    interrupted = True
                    break
                if self.encoded is None or not settings.checkpoint_minutes or self._due():  # heads alone take seconds
                    self._save(model, update)
            if interrupted:
                self._save(model, update, found)
                done = f"{len(self.history)} epochs" + (f" and {len(found)} steps" if found else "")
                print(f"\ninterrupted after {done}: saved, and keeping the best network so far", flush=True)
        if interrupted:
            interrupts.acknowledge()  # what follows measures the best network so far; one more Ctrl-C ends that too
        if self.history:
            self.network.set_weights(self.best_weights)
        elif trained is not self.full:
            self.full.set_weights(trained.get_weights())
        self.updates = steps * len(self.history)
        return interrupted

    def _due(self) -> bool:
        minutes = self.settings.checkpoint_minutes
        return minutes > 0 and time.perf_counter() - self.saved_at >= 60 * minutes

    def _save(self, model: keras.Model, update: TrainStep, found: Sequence[np.ndarray] = ()) -> None:
        """Write a checkpoint; `found` are the losses of the steps since the last whole epoch."""
        if not self.devices.chief:
            return
        record = {
            "history": self.history,
            "gaps": self.gaps,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "seconds": self.seconds_before + time.perf_counter() - self.started,
        }
        arrays = {
            "network": [v.numpy() for v in model.variables],
            "update": [v.numpy() for v in update.state],
            "best": self.best_weights,
            "losses": found,
        }
        checkpoint.save(self.folder, self.key, record, arrays)
        self.saved_at = time.perf_counter()

    def _restore(self, saved: checkpoint.Checkpoint, model: keras.Model, update: TrainStep) -> list[np.ndarray]:
        """Put everything back; returns the losses of the steps since the last whole epoch."""
        for name, variables in (("network", model.variables), ("update", update.state)):
            for variable, value in zip(variables, saved.arrays[name], strict=True):
                variable.assign(value)
        self.best_weights = saved.arrays["best"]
        self.history, self.best, self.best_epoch = (saved.record[key] for key in ("history", "best", "best_epoch"))
        self.seconds_before += saved.record["seconds"]
        self.gaps = {name: [(wait, loss) for wait, loss in found] for name, found in saved.record["gaps"].items()}
        return saved.arrays["losses"]

    def _of_tasks(self, heads: list[str], losses: np.ndarray, weights: dict[str, float]) -> np.ndarray:
        """The loss of each task as its strategy saw it: the weighted sum of its heads'; NaN where none had a label."""
        by_head = {h: loss * weights[h] for h, loss in zip(heads, losses, strict=True)}
        found = [np.array([by_head[h] for h in mine]) for mine in self.groups.values()]
        return np.array([np.nan if np.isnan(v).all() else np.nansum(v) for v in found])

    def _turns(self, turns: np.ndarray, losses: np.ndarray, heads: list[str]) -> None:
        """Note the loss at each turn of a task with the number of turns since its last one."""
        last: dict[int, int] = {}
        tasks = list(self.groups)
        for step, turn in enumerate(turns):
            if turn in last:
                self.gaps.setdefault(tasks[turn], []).append(
                    (step - last[turn], float(losses[step, heads.index(tasks[turn])]))
                )
            last[turn] = step

    def _conflict(self, found: list[np.ndarray]) -> dict[str, float]:
        mean = _means(np.stack(found).reshape(len(found), -1)).reshape(found[0].shape)
        tasks = list(self.groups)
        pairs = [(i, j) for i in range(len(tasks)) for j in range(i)]
        return {f"cosine_{tasks[j]}_{tasks[i]}": float(mean[i, j]) for i, j in pairs}

    def end_epoch(self, logs: dict[str, float]) -> None:
        """Measure on the validation paintings, keep the network if it is the best so far, write the history."""
        measured = {}
        if self.devices.chief:
            found = self.outputs("validation")
            probabilities = {name: found[name] for name in self.groups}
            measured = metrics.all_metrics(
                self.data.labels, probabilities, self.data.rows("validation"), self.data.rows("train")
            )
        measured = json.loads(self.devices.from_chief(json.dumps(measured).encode()))
        for name, values in measured.items():
            logs[f"val_{name}_accuracy"] = values["accuracy"]
        logs["val_score"] = metrics.mean_accuracy(measured)
        self.history.append({"epoch": len(self.history) + 1, **logs})
        unknown = np.isnan(logs["val_score"])  # no label in validation: train to the end, and keep that
        if not self.best_epoch or unknown or logs["val_score"] > self.best:
            self.best, self.best_epoch = logs["val_score"], len(self.history)
            self.best_weights = self.network.get_weights()
            if self.keep_model and self.encoded is None and self.devices.chief:  # the heads alone take seconds
                run.save_model(self.network, self.folder)  # from now on the folder can predict, whatever happens
        if not self.devices.chief:
            return
        with atomic_write(self.folder / run.HISTORY) as temporary:
            pd.DataFrame(self.history).to_csv(temporary, index=False)
        accuracies = ", ".join(f"{name} {100 * values['accuracy']:.1f} %" for name, values in measured.items())
        print(f"  loss {logs['loss']:.3f}; validation: {accuracies}; mean {100 * logs['val_score']:.1f} %", flush=True)

    def outputs(self, part: str) -> dict[str, np.ndarray]:
        """Of the network as it stands, for a part of the split: probabilities of each head, float32 (n, classes)."""
        rows = self.data.rows(part)
        if self.encoded is not None:
            found = heads_model(self.network)(self.encoded[rows, 0], training=False)
            return {name: np.asarray(values) for name, values in found.items()}
        return predict_in_batches(self.forward, self.data.images.pixels, self.data.image_rows[rows])


def summarize_turns(gaps: Mapping[str, Sequence[tuple[int, float]]]) -> dict[str, dict[str, Any]]:
    """How a task fares that waits for its turn: {task: {"share": of the turns, "loss_after": {turns: mean loss}}}.

    `gaps` has for each turn the number of turns since the task's last one, and the loss that it then had. Where the
    last task has overwritten what the others need, the loss grows with the wait: alternating training's known weakness.
    """
    total = sum(len(found) for found in gaps.values())
    summary = {}
    for name, found in gaps.items():
        waits, losses = np.array([g for g, _ in found]), np.array([v for _, v in found])
        groups = {"1": waits == 1, "2": waits == 2, "3": waits == 3, "4 or more": waits >= 4}
        after = {k: round(float(np.nanmean(losses[chosen])), 4) for k, chosen in groups.items() if chosen.any()}
        summary[name] = {"share": round(len(found) / total, 4), "loss_after": after}
    return summary


def _means(values: np.ndarray) -> np.ndarray:
    """Of each column, over what is not NaN; NaN where all is."""
    known = ~np.isnan(values)
    return np.where(known, values, 0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
