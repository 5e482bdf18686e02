"""Fit one network and fill its run folder."""

import contextlib
import dataclasses
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from painters_mtl import __version__, metrics, pipeline, runs
from painters_mtl.dataset import Dataset
from painters_mtl.errors import UserError
from painters_mtl.files import whole, write_json
from painters_mtl.model import build_model, features_model, heads_model, with_heads
from painters_mtl.settings import TrainSettings
from painters_mtl.split import save_split
from painters_mtl.store import copy_side
from painters_mtl.tasks import Task

WARM_UP = 0.08  # share of the steps in which the learning rate rises
VIEWS = 80_000  # of paintings in a training that is not told how long to be: six minutes at 96 pixels on two cores
EPOCHS_OF_HEADS = 40  # when only the heads train, an epoch takes a second
PROBABILITIES = "test_probabilities.npz"
WITHOUT_EFFECT = {  # settings that do not change what is trained: labels and split are looked at themselves
    "data", "split", "painters", "styles", "genres", "cache", "memory_gb", "name", "models", "overwrite", "baselines",
    "budget",
}  # fmt: skip


@dataclass
class Outcome:
    """What a run came to. Probabilities are {task: float32 (n, classes)} for the rows of the part, in order."""

    history: pd.DataFrame
    metrics: dict[str, Any]
    test_rows: np.ndarray
    test_probabilities: dict[str, np.ndarray]
    interrupted: bool


def fit(
    data: Dataset,
    settings: TrainSettings,
    folder: Path,
    tasks: Mapping[str, Task] | None = None,
    updates: int = 0,
    keep_model: bool = True,
) -> Outcome:
    """Train a network on `tasks` (default: all of the data's) and write all of its run folder but figures and report.

    What was trained to its end in `folder`, with the same settings on the same data, is read back instead; a run that
    was interrupted is replaced, once the network is built. Raises `UserError` where a finished run of other data would
    be lost, unless the settings say `overwrite`.
    Ctrl-C ends the training early: the best network so far is kept and measured, and the folder is usable.

    Args:
        updates: train for about so many steps (whole epochs), whatever the settings say of epochs; 0: as they say.
        keep_model: write `model.keras`; a study that only compares predictions does without.
    """
    tasks = dict(data.tasks if tasks is None else tasks)
    key = fingerprint(data, settings, tasks, updates)
    if not settings.overwrite:
        if (found := finished(data, folder, key, keep_model)) is not None:
            print(f"{folder} is trained already: reusing it", flush=True)
            return found
        _check_data(folder, key)
    keras.utils.set_random_seed(settings.seed)
    start = time.perf_counter()
    trained_tasks, labels, weights = _with_help(data, tasks, settings)
    full = build_model(
        trained_tasks,
        settings.backbone,
        settings.image_size,
        settings.shared_layers,
        settings.task_layers,
        settings.weights,
        settings.fine_tune,
        settings.dropout,
    )
    network = with_heads(full, tasks)
    if folder.exists():  # only now, when nothing can be wrong any more with what was asked for
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    settings.save(folder / runs.CONFIG)
    runs.save_labels(folder, tasks, settings.image_size, copy_side(settings.image_size), data.demo)
    save_split(folder / runs.SPLIT, data.table, data.split)
    data.store.refused.to_csv(folder / "refused.csv", index=False)
    print(_size(network, full), flush=True)
    trainer = _Trainer(data, settings, folder, full, network, labels, keep_model)
    interrupted = trainer.run(weights, updates)
    seconds = time.perf_counter() - start

    rows = data.rows("test")
    probabilities = trainer.probabilities("test")
    validation = data.rows("validation")
    measured = {
        "test": metrics.all_metrics(data.labels, probabilities, rows),
        "validation": metrics.all_metrics(data.labels, trainer.probabilities("validation"), validation),
        "epochs": len(trainer.history),
        "best_epoch": trainer.best_epoch,
        "updates": trainer.updates,
        "training_seconds": round(seconds, 1),
        "parameters": network.count_params(),
        "interrupted": interrupted,
        "demo": data.demo,
        "fingerprint": key,
    }
    if keep_model:
        runs.save_model(network, folder)
    _save_predictions(folder / "test_predictions.csv", data, tasks, rows, probabilities)
    with whole(folder / PROBABILITIES) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **probabilities)  # type: ignore[arg-type]
    # Last, for it says that the run is finished.
    write_json(folder / runs.METRICS, measured)
    return Outcome(pd.DataFrame(trainer.history), measured, rows, probabilities, interrupted)


def fit_alone(
    data: Dataset, settings: TrainSettings, folder: Path, name: str, updates: int, keep_model: bool = True
) -> Outcome:
    """The baseline of a task: its network trained alone, by the same rules, on every painting that has its label.

    Args:
        updates: those of the shared network; they count where the settings ask for equal updates.
    """
    settings = dataclasses.replace(settings, other_painters=0.0)  # the head over all painters is a second task
    steps = updates if settings.budget == "equal-updates" else 0
    return fit(data, settings, folder, {name: data.tasks[name]}, steps, keep_model)


def fingerprint(data: Dataset, settings: TrainSettings, tasks: Mapping[str, Task], updates: int = 0) -> str:
    """What the trained network depends on, as 16 hexadecimal digits: settings, pictures, labels, split, version."""
    values = {k: v for k, v in dataclasses.asdict(settings).items() if k not in WITHOUT_EFFECT}
    digest = hashlib.blake2b(digest_size=8)
    digest.update(json.dumps([__version__, values, updates], sort_keys=True, default=str).encode())
    for name in (*tasks, "all_painters"):
        task, labels = data.other_painters() if name == "all_painters" else (tasks[name], data.labels[name])
        digest.update(json.dumps([name, task.classes]).encode() + labels.tobytes())
    digest.update("\n".join([*data.table["id"], *data.split]).encode() + data.store.hashes.tobytes())
    return digest.hexdigest()


def finished(data: Dataset, folder: Path, key: str, keep_model: bool = True) -> Outcome | None:
    """The outcome of the run in `folder`, if it came to its end and its fingerprint is `key`."""
    try:
        measured = json.loads((folder / runs.METRICS).read_text(encoding="utf-8"))
        if measured["fingerprint"] != key or measured["interrupted"]:
            return None
        if keep_model and not (folder / runs.MODEL).is_file():
            return None
        with np.load(folder / PROBABILITIES, allow_pickle=False) as arrays:
            probabilities = dict(arrays)
        history = pd.read_csv(folder / runs.HISTORY)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Outcome(history, measured, data.rows("test"), probabilities, interrupted=False)


def _check_data(folder: Path, key: str) -> None:
    try:
        measured = json.loads((folder / runs.METRICS).read_text(encoding="utf-8"))
        other = not measured["interrupted"] and measured["fingerprint"] != key
    except (OSError, ValueError, KeyError, TypeError):
        return
    if other:
        raise UserError(
            f"{folder} was trained with other paintings, labels or settings: choose another --name, or --overwrite"
        )


def milliseconds(
    data: Dataset, settings: TrainSettings, networks: Sequence[Mapping[str, Task]], count: int = 128, rounds: int = 5
) -> list[float]:
    """Time of a network with these heads for one painting, in milliseconds, from a copy in memory to probabilities.

    Weights do not change it, so the networks are built anew. They take turns, so that other work on the machine slows
    all of them alike; the fastest round counts.
    """
    copies = data.store.pixels[data.pixel_rows[np.resize(np.arange(len(data.table)), count)]]
    forwards = []
    for tasks in networks:
        network = build_model(
            tasks,
            settings.backbone,
            settings.image_size,
            settings.shared_layers,
            settings.task_layers,
            "none",
            settings.fine_tune,
        )
        forwards.append(pipeline.inference(network, settings.image_size))
    found = []
    for _ in range(rounds + 1):
        line = []
        for forward in forwards:
            start = time.perf_counter()
            predict(forward, copies, np.arange(count))
            line.append(time.perf_counter() - start)
        found.append(line)
    return [1000 * float(seconds) / count for seconds in np.min(found[1:], axis=0)]  # round 0 compiles


Forward = Callable[[np.ndarray], dict[str, tf.Tensor]]


def predict(forward: Forward, pixels: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Probabilities {task: float32 (n, classes)} of copies from the store; `forward` is from `pipeline.inference`."""
    found = [forward(pixels[rows[part]]) for part in pipeline.in_batches(len(rows))]
    return {name: np.concatenate([np.asarray(part[name]) for part in found]) for name in found[0]}


def _with_help(
    data: Dataset, tasks: dict[str, Task], settings: TrainSettings
) -> tuple[dict[str, Task], dict[str, np.ndarray], dict[str, float]]:
    """Tasks, labels and loss weights of the training: the tasks, and the head over all painters that helps them.

    The eight-class head learns from a fraction of the paintings; a head over all painters lets every painting teach
    the features to tell painters apart. It is no part of the finished network.
    """
    labels = {name: data.labels[name] for name in tasks}
    weights = {name: settings.task_weights.get(name, 1.0) for name in tasks}
    if settings.other_painters > 0 and "painter" in tasks:
        task, numbers = data.other_painters()
        if len(task.classes) > len(tasks["painter"].classes):
            tasks = {**tasks, task.name: task}
            labels[task.name], weights[task.name] = numbers, settings.other_painters
    return tasks, labels, weights


def training_side(image_size: int) -> int:
    """Side of the training crops: 3/4 of what validation and prediction see, in steps of 8 pixels, at least 32.

    A crop shows things larger than the whole painting does; smaller crops bring them nearer to the size they have in
    prediction, and an epoch costs 0.6 of the arithmetic (Touvron et al. 2019, Fixing the train-test resolution
    discrepancy, arXiv 1906.06423).
    """
    return max(32, round(image_size * 3 / 4 / 8) * 8)


def default_epochs(paintings: int) -> int:
    """Passes over `paintings` an epoch that make some 80,000 views, but at least 5 and at most 20."""
    return int(np.clip(round(VIEWS / paintings), 5, 20))


def _size(network: keras.Model, full: keras.Model) -> str:
    trained = sum(int(np.prod(v.shape)) for v in full.trainable_variables)
    return f"{network.count_params():,} parameters, {trained:,} of them trained"


class _Trainer:
    """One call of Keras's `fit`, with validation by our own metrics and the best weights kept."""

    def __init__(
        self,
        data: Dataset,
        settings: TrainSettings,
        folder: Path,
        full: keras.Model,
        network: keras.Model,
        labels: dict[str, np.ndarray],
        keep_model: bool,
    ) -> None:
        self.data, self.settings, self.folder, self.keep_model = data, settings, folder, keep_model
        self.full, self.network, self.labels = full, network, labels
        self.history: list[dict[str, float]] = []
        self.best, self.best_epoch, self.best_weights = -np.inf, 0, network.get_weights()
        self.forward = pipeline.inference(network, settings.image_size)
        self.encoded: np.ndarray | None = None  # features of all paintings, when only the heads train
        self.updates = 0

    def run(self, weights: dict[str, float], updates: int) -> bool:
        """Train; True when Ctrl-C ended it."""
        settings, data = self.settings, self.data
        train = data.rows("train")
        train = train[np.any([values[train] >= 0 for values in self.labels.values()], axis=0)]
        labels = {name: values[train] for name, values in self.labels.items()}
        # The head over all painters does not ask for a share of its own: it is there for the others.
        factor = pipeline.repeats({name: labels[name] for name in self.network.output}, settings.label_share)
        steps = pipeline.steps_in_epoch(factor, settings.batch_size)
        heads_only = settings.fine_tune == "heads"
        epochs = settings.epochs or (EPOCHS_OF_HEADS if heads_only else default_epochs(steps * settings.batch_size))
        if updates:
            epochs = max(1, round(updates / steps))
        if heads_only:
            model = heads_model(self.full)
            self.encoded = encode(self.full, data, settings.image_size)
            batches = pipeline.feature_batches(
                self.encoded[train], labels, factor, settings.batch_size, settings.seed, epochs
            )
        else:
            model = self.full
            batches = pipeline.training_batches(
                data.store.pixels,
                data.pixel_rows[train],
                labels,
                factor,
                settings.batch_size,
                training_side(settings.image_size),
                settings.seed,
                epochs,
            )
        model.compile(
            optimizer=_optimizer(model, settings, steps * epochs),
            loss={name: SmoothedCrossentropy(settings.label_smoothing) for name in labels},
            loss_weights=weights,
            jit_compile=False,
            steps_per_execution=steps if heads_only else 1,  # a step of the heads takes less time than its call
        )
        callbacks = [
            _EachEpoch(self, steps, epochs),
            keras.callbacks.EarlyStopping("val_score", patience=settings.patience, mode="max"),
        ]
        if self.keep_model:
            callbacks.append(keras.callbacks.TensorBoard(self.folder / "logs", write_graph=False))
        try:
            model.fit(batches, epochs=epochs, steps_per_epoch=steps, callbacks=callbacks, shuffle=False, verbose=0)
            interrupted = False
        except KeyboardInterrupt:
            print(f"\ninterrupted after {len(self.history)} epochs: keeping the best network so far", flush=True)
            interrupted = True
        if self.history:
            self.network.set_weights(self.best_weights)
        self.updates = steps * len(self.history)
        return interrupted

    def end_epoch(self, logs: dict[str, float]) -> None:
        """Measure on the validation paintings, keep the network if it is the best so far, write the history."""
        probabilities = self.probabilities("validation")
        measured = metrics.all_metrics(self.data.labels, probabilities, self.data.rows("validation"))
        for name, values in measured.items():
            logs[f"val_{name}_accuracy"] = values["accuracy"]
        logs["val_score"] = metrics.mean_accuracy(measured)
        self.history.append({"epoch": len(self.history) + 1, **logs})
        if not self.best_epoch or logs["val_score"] > self.best:
            self.best, self.best_epoch = logs["val_score"], len(self.history)
            self.best_weights = self.network.get_weights()
            if self.keep_model and self.encoded is None:  # the heads alone take seconds
                runs.save_model(self.network, self.folder)  # from now on the folder can predict, whatever happens
        with whole(self.folder / runs.HISTORY) as temporary:
            pd.DataFrame(self.history).to_csv(temporary, index=False)
        accuracies = ", ".join(f"{name} {100 * values['accuracy']:.1f} %" for name, values in measured.items())
        print(f"  loss {logs['loss']:.3f}; validation: {accuracies}; mean {100 * logs['val_score']:.1f} %", flush=True)

    def probabilities(self, part: str) -> dict[str, np.ndarray]:
        """Of the network as it stands, for a part of the split."""
        rows = self.data.rows(part)
        if self.encoded is not None:
            found = heads_model(self.network)(self.encoded[rows, 0], training=False)
            return {name: np.asarray(values) for name, values in found.items()}
        return predict(self.forward, self.data.store.pixels, self.data.pixel_rows[rows])


class _EachEpoch(keras.callbacks.Callback):
    """Keras's progress bar with the one loss that matters (it would list four), then the validation."""

    def __init__(self, trainer: _Trainer, steps: int, epochs: int) -> None:
        super().__init__()
        self.trainer, self.steps, self.epochs = trainer, steps, epochs

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        print(f"epoch {epoch + 1} of {self.epochs}", flush=True)
        self.bar = keras.utils.Progbar(self.steps) if sys.stdout.isatty() else None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.bar is not None and batch + 1 < self.steps:
            self.bar.update(batch + 1, [("loss", logs["loss"])], finalize=False)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = {} if logs is None else logs
        if self.bar is not None:
            self.bar.update(self.steps, [("loss", logs["loss"])], finalize=True)
        self.trainer.end_epoch(logs)


class SmoothedCrossentropy(keras.losses.Loss):
    """Categorical cross-entropy of int labels (n,), with label smoothing (Szegedy et al. 2016, arXiv 1512.00567).

    The mean is over the labelled rows: the default reduction would divide by the others too.
    """

    def __init__(self, smoothing: float) -> None:
        super().__init__(reduction="mean_with_sample_weight")
        self.smoothing = smoothing

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        classes = y_pred.shape[-1]
        labels = tf.one_hot(tf.cast(y_true, tf.int32), classes, on_value=1 - self.smoothing) + self.smoothing / classes
        return keras.losses.categorical_crossentropy(labels, y_pred)


class TwoSpeeds(keras.optimizers.AdamW):
    """AdamW (Loshchilov & Hutter 2019) that moves some variables at a part of the learning rate."""

    def __init__(self, slow: Collection[keras.Variable], part: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.slow, self.part = {v.value.ref() for v in slow}, part

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
        rate = learning_rate * self.part if variable.ref() in self.slow else learning_rate
        super().update_step(gradient, variable, rate)


def _optimizer(model: keras.Model, settings: TrainSettings, steps: int) -> keras.optimizers.Optimizer:
    """The learning rate rises for 8 % of the steps and then falls by half a cosine to 0.

    A pretrained backbone learns at half of the heads' rate: at their rate, what ImageNet taught it is lost in the
    first hundred steps of a short training. Weight decay, which would pull it to zero, is for the new layers only.
    """
    warm = max(1, round(WARM_UP * steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warm), warmup_target=settings.learning_rate, warmup_steps=warm
    )
    pretrained = settings.weights != "none" and settings.backbone != "small_convnet"
    slow = []
    if pretrained and settings.fine_tune != "heads":
        slow = model.get_layer(index=1).trainable_variables
    optimizer = TwoSpeeds(slow, settings.backbone_rate, learning_rate=schedule, weight_decay=settings.weight_decay)
    optimizer.exclude_from_weight_decay(var_list=slow, var_names=["bias", "gamma", "beta"])
    return optimizer


def encode(full: keras.Model, data: Dataset, image_size: int) -> np.ndarray:
    """Features of all paintings under the backbone as it stands: float32 (n, 2, channels); the second view is mirrored.

    They are kept beside the store, under a name made from the weights and the pictures, and read back from there.
    """
    encoder = features_model(full)
    key = hashlib.blake2b(f"{image_size}|{data.store.hashes.tobytes().hex()}".encode(), digest_size=8)
    key.update(data.pixel_rows.tobytes())
    for weights in encoder.get_weights():
        key.update(weights.tobytes())
    file = data.store.folder / f"features-{key.hexdigest()}.npy"
    if file.is_file():
        with contextlib.suppress(ValueError, EOFError):  # a damaged file is made again
            features = np.load(file, allow_pickle=False)
            print(f"read the features of {len(features):,} paintings from {file}", flush=True)
            return features
    forward = pipeline.inference(encoder, image_size)
    found = []
    with tqdm(total=len(data.table), desc="computing features", unit=" paintings", mininterval=0.5) as progress:
        for part in pipeline.in_batches(len(data.table)):
            copies = data.store.pixels[data.pixel_rows[part]]
            found.append(np.stack([np.asarray(forward(view)) for view in (copies, copies[:, :, ::-1])], axis=1))
            progress.update(len(copies))
    features = np.concatenate(found)
    with whole(file) as temporary:
        np.save(temporary, features)
    return features


def _save_predictions(
    file: Path, data: Dataset, tasks: dict[str, Task], rows: np.ndarray, probabilities: dict[str, np.ndarray]
) -> None:
    columns: dict[str, Any] = {"id": data.table["id"].to_numpy()[rows]}
    for name, task in tasks.items():
        columns[f"{name}_true"] = task.decode(data.labels[name][rows])
        columns[name] = task.decode(probabilities[name].argmax(axis=1))
        columns[f"{name}_confidence"] = probabilities[name].max(axis=1).round(4)
    with whole(file) as temporary:
        pd.DataFrame(columns).to_csv(temporary, index=False)
