"""Fit one network and fill its run folder."""

import dataclasses
import hashlib
import io
import json
import shutil
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from painters_mtl import __version__, checkpoint, interrupt, metrics, novelty, pipeline, runs
from painters_mtl.calibration import calibration_error, fit_temperature, soften
from painters_mtl.dataset import Dataset
from painters_mtl.distribution import Devices, check_same, connect
from painters_mtl.errors import UserError
from painters_mtl.features import encode
from painters_mtl.files import alone, sweep, whole, write_json
from painters_mtl.folding import fold
from painters_mtl.model import backbone_of, heads_model, network_of, with_heads
from painters_mtl.precision import in_precision, policy
from painters_mtl.settings import OF_THE_COMMAND, TrainSettings
from painters_mtl.split import save_split
from painters_mtl.store import copy_side
from painters_mtl.tasks import Task
from painters_mtl.transplant import check_unseen, soft_answers, start_from
from painters_mtl.update import Update

VIEWS = 100_000  # of paintings in a training that is not told how long to be: six minutes at 96 pixels on two cores
EPOCHS_OF_HEADS = 15  # when only the heads train, an epoch takes a second
FEWEST_OTHERS = 10  # works of other painters; from fewer nobody learns what another painter is
WATCHED = 8  # batches an epoch in which --monitor-conflict looks at the gradients
PROBABILITIES = "test_probabilities.npz"
KNOWN = Task("painter_known", ("another", "known"))  # the head that tells whether a work is by any of the painters
WITHOUT_EFFECT = {  # settings that do not change what is trained: labels and split are looked at themselves
    "data", "task_data", "split", "painters", "styles", "genres", "cache", "memory_gb", "name", "models", "overwrite",
    "baselines", "budget", *OF_THE_COMMAND,
}  # fmt: skip


@dataclass
class Outcome:
    """What a run came to. Probabilities, calibrated, are {task: float32 (n, classes)} for the test rows, in order."""

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
    was interrupted or killed goes on from its last checkpoint, to the same end, bit for bit on a CPU. Raises
    `UserError` where a finished run of other data would be lost, unless the settings say `overwrite`, and where another
    process is training in `folder`.
    Ctrl-C ends the training early: its state is saved, the best network so far is kept and measured, and the folder is
    usable.
    Of several processes that train together, only the chief touches `folder`; what the others return has no
    probabilities, and of the metrics only "updates".

    Args:
        updates: train for about so many steps (whole epochs), whatever the settings say of epochs; 0: as they say.
        keep_model: write `model.keras`; a study that only compares predictions does without.
    """
    tasks, devices = dict(data.tasks if tasks is None else tasks), connect(settings.distribute)
    if not devices.chief:
        return _fit(data, settings, folder, tasks, updates, keep_model, devices)
    with reserved(folder, wait=False):
        return _fit(data, settings, folder, tasks, updates, keep_model, devices)


@contextmanager
def reserved(folder: Path, wait: bool) -> Iterator[None]:
    """Be the one process that trains in a run folder; see `files.alone`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with alone(folder.with_name(f".{folder.name}.lock"), f"training {folder}", wait):
        yield


def _fit(
    data: Dataset,
    settings: TrainSettings,
    folder: Path,
    tasks: dict[str, Task],
    updates: int,
    keep_model: bool,
    devices: Devices,
) -> Outcome:
    key = fingerprint(data, settings, tasks, updates)
    check_same(devices, f"{key} {policy(settings.precision)}")  # "auto" is what this machine's GPUs are made for
    done, saved = _before(data, settings, folder, key, keep_model, devices)
    if done is not None:
        return done
    keras.utils.set_random_seed(settings.seed)
    start = time.perf_counter()
    trained_tasks, labels, weights = _with_help(data, tasks, settings)
    full = network_of(trained_tasks, settings)
    if settings.start_from:
        start_from(full, settings.start_from, tasks, settings.start_shared)
    network = with_heads(full, [*tasks, *({KNOWN.name} & trained_tasks.keys())])
    soft = soft_answers(data, settings.teachers, tasks) if settings.teachers else {}
    trainer = _Trainer(data, settings, folder, full, network, labels, soft, keep_model, key, devices)
    if not devices.chief:
        interrupted = trainer.run(weights, updates, saved)
        return Outcome(pd.DataFrame(trainer.history), {"updates": trainer.updates}, data.rows("test"), {}, interrupted)
    if folder.exists() and saved is None:  # only now, when nothing can be wrong any more with what was asked for
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    sweep(folder)
    settings.save(folder / runs.CONFIG)
    meaning = (settings.image_size, copy_side(settings.image_size), data.demo, settings.views)
    runs.save_labels(folder, tasks, *meaning)
    save_split(folder / runs.SPLIT, data.table, data.split)
    data.store.refused.to_csv(folder / "refused.csv", index=False)
    print(_size(network, full), flush=True)
    interrupted = trainer.run(weights, updates, saved)
    seconds = time.perf_counter() - start + trainer.seconds_before

    rows, validation = data.rows("test"), data.rows("validation")
    outputs, held_outputs = trainer.outputs("test"), trainer.outputs("validation")
    raw, held_out = ({name: found[name] for name in tasks} for found in (outputs, held_outputs))
    fitted = {name: fit_temperature(data.labels[name][validation], p) for name, p in held_out.items()}
    temperatures = {name: round(t, 4) for name, t in fitted.items()}
    probabilities = {name: soften(p, temperatures[name]) for name, p in raw.items()}
    softened = {name: soften(p, temperatures[name]) for name, p in held_out.items()}
    thresholds = {
        name: novelty.threshold(data.labels[name][validation], novelty.scores(softened, held_outputs, name))
        for name in tasks
    }
    measured = {
        "test": metrics.all_metrics(data.labels, probabilities, rows),
        "validation": metrics.all_metrics(data.labels, held_out, validation),
        "calibration": {
            name: {
                "temperature": temperatures[name],
                "error_before": calibration_error(data.labels[name][rows], raw[name]),
                "error": calibration_error(data.labels[name][rows], p),
            }
            for name, p in probabilities.items()
        },
        "epochs": len(trainer.history),
        "best_epoch": trainer.best_epoch,
        "updates": trainer.updates,
        "training_seconds": round(seconds, 1),
        "parameters": network.count_params(),
        "interrupted": interrupted,
        "demo": data.demo,
        "fingerprint": key,
    }
    if "painter" in tasks:
        known = novelty.scores(probabilities, outputs, "painter")
        measured["unknown"] = novelty.measure(data, known, thresholds["painter"])
    if trainer.gaps:
        measured["turns"] = turn_summary(trainer.gaps)
    if keep_model:
        runs.save_model(network, folder)
        runs.save_labels(folder, tasks, *meaning, temperatures, thresholds)
    _save_predictions(folder / "test_predictions.csv", data, tasks, rows, probabilities)
    with whole(folder / PROBABILITIES) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **probabilities)  # type: ignore[arg-type]
    # Last, for it says that the run is finished.
    write_json(folder / runs.METRICS, measured)
    if not interrupted:
        checkpoint.remove(folder)
    return Outcome(pd.DataFrame(trainer.history), measured, rows, probabilities, interrupted)


def _before(
    data: Dataset, settings: TrainSettings, folder: Path, key: str, keep_model: bool, devices: Devices
) -> tuple[Outcome | None, checkpoint.Checkpoint | None]:
    """What the folder holds of this very run: its outcome, or a checkpoint to go on from.

    The chief looks, and tells the others: they need not see its disk.
    """
    done, saved, content = None, None, b""
    if devices.chief:
        if not settings.overwrite:
            if (done := finished(data, folder, key, keep_model)) is not None:
                print(f"{folder} is trained already: reusing it", flush=True)
                checkpoint.remove(folder)  # where it was killed just before it did so itself
            else:
                _check_data(folder, key)
        if done is None:
            check_unseen(data, settings.start_from, "start-from")
            check_unseen(data, settings.teachers, "teachers")
            saved = None if settings.overwrite else checkpoint.load(folder, key, needed=settings.resume)
            if settings.resume and saved is None and (folder / runs.METRICS).exists():
                raise UserError(
                    f"{folder} has lost its {checkpoint.CHECKPOINT}: without --resume, the training starts anew"
                )
    if devices.cluster is not None:
        updates = int(devices.from_chief(str(-1 if done is None else done.metrics["updates"]).encode()))
        content = devices.from_chief((folder / checkpoint.CHECKPOINT).read_bytes() if saved else b"")
        if not devices.chief:
            saved = checkpoint.read(io.BytesIO(content), key) if content else None
            if updates >= 0:
                done = Outcome(pd.DataFrame(), {"updates": updates}, data.rows("test"), {}, interrupted=False)
    return done, saved


def fit_alone(
    data: Dataset, settings: TrainSettings, folder: Path, name: str, updates: int, keep_model: bool = True
) -> Outcome:
    """The baseline of a task: its network trained alone, by the same rules, on every painting that has its label.

    Args:
        updates: those of the shared network; they count where the settings ask for equal updates.
    """
    settings = dataclasses.replace(
        settings,
        other_painters=0.0,  # the head over all painters is a second task
        painter_known=0.0,
        strategy="joint",
        monitor_conflict=False,
        task_weights={name: 1.0},
        start_from=(),
        teachers=(),
        freeze="none",
    )
    steps = updates if settings.budget == "equal-updates" else 0
    return fit(data, settings, folder, {name: data.tasks[name]}, steps, keep_model)


def fingerprint(data: Dataset, settings: TrainSettings, tasks: Mapping[str, Task], updates: int = 0) -> str:
    """What the trained network depends on, as 16 hexadecimal digits: settings, pictures, labels, split, version."""
    values = {k: v for k, v in dataclasses.asdict(settings).items() if k not in WITHOUT_EFFECT}
    digest = hashlib.blake2b(digest_size=8)
    for folder in (*settings.start_from, *settings.teachers):
        digest.update(hashlib.blake2b((folder / runs.MODEL).read_bytes()).digest())
    if Path(settings.weights).is_file():
        digest.update(hashlib.blake2b(Path(settings.weights).read_bytes()).digest())
    digest.update(json.dumps([__version__, values, updates], sort_keys=True, default=str).encode())
    for name in (*tasks, "all_painters"):
        task, labels = data.other_painters() if name == "all_painters" else (tasks[name], data.labels[name])
        digest.update(json.dumps([name, task.classes]).encode() + labels.tobytes())
    digest.update("\n".join([*data.table["id"], *data.split, *data.store.contents]).encode())
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
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
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
    data: Dataset, settings: TrainSettings, names: Sequence[str], count: int = 128, rounds: int = 5
) -> list[float]:
    """Time for one painting, in milliseconds, from a copy in memory to probabilities.

    Of the network with all heads, then of those with the head of one of the tasks `names` alone.
    Weights do not change it, so the networks are built anew. They take turns, so that other work on the machine slows
    all of them alike; the fastest round counts.
    """
    copies = data.store.pixels[data.pixel_rows[np.resize(np.arange(len(data.table)), count)]]
    networks = [data.tasks, *({name: data.tasks[name]} for name in names)]
    forwards = [pipeline.inference(network_of(n, settings, "none"), settings.image_size) for n in networks]
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
    """Probabilities {head: float32 (n, classes)} of copies from the store; `forward` is from `pipeline.inference`."""
    found = [forward(pixels[rows[part]]) for part in pipeline.in_batches(len(rows))]
    return {name: np.concatenate([np.asarray(part[name]) for part in found]) for name in found[0]}


def _with_help(
    data: Dataset, tasks: dict[str, Task], settings: TrainSettings
) -> tuple[dict[str, Task], dict[str, np.ndarray], dict[str, float]]:
    """Tasks, labels and loss weights of the training: the tasks, and what is beside them a matter of painters.

    The eight-class head learns from a fraction of the paintings; a head over all painters lets every painting teach
    the features to tell painters apart. It is no part of the finished network. Where no weights are shared that train,
    it could teach nobody. The head `painter_known`, which learns whether a work is by any of the eight, stays: it is
    how a prediction can say that it is not.
    """
    labels = {name: data.labels[name] for name in tasks}
    weights = {name: settings.loss_weights().get(name, 1.0) for name in tasks}
    if settings.other_painters > 0 and "painter" in tasks and settings.trains_shared_weights():
        task, numbers = data.other_painters()
        if len(task.classes) > len(tasks["painter"].classes):
            tasks = {**tasks, task.name: task}
            labels[task.name], weights[task.name] = numbers, settings.other_painters
    if settings.painter_known > 0 and "painter" in tasks:
        known = data.painter_known()
        if (known[data.rows("train")] == 0).sum() >= FEWEST_OTHERS:
            tasks = {**tasks, KNOWN.name: KNOWN}
            labels[KNOWN.name], weights[KNOWN.name] = known, settings.painter_known
    return tasks, labels, weights


def training_sides(image_size: int, epochs: int) -> list[int]:
    """Sides of the training crops, epoch by epoch: from 1/2 to 5/6 of what prediction sees, in steps of 8 pixels.

    A crop shows things larger than the whole painting does; smaller crops bring them nearer to the size they have in
    prediction (Touvron et al. 2019, Fixing the train-test resolution discrepancy, arXiv 1906.06423). And what the
    first epochs teach can be seen at a low resolution, for a third of the arithmetic (Tan & Le 2021, EfficientNetV2,
    arXiv 2104.00298, progressive learning).
    """
    parts = np.linspace(1 / 2, 5 / 6, epochs) if epochs > 1 else [3 / 4]
    return [max(32, round(image_size * part / 8) * 8) for part in parts]


def default_batch(paintings: int) -> int:
    """Paintings a step where an epoch has so many: 64, or fewer where 50 steps would not come together."""
    return next((size for size in (64, 32) if paintings >= 50 * size), 16)


def default_epochs(paintings: int, demo: bool = False) -> int:
    """Passes over `paintings` an epoch that make some 100,000 views, but at least 5 and at most 20.

    The demo is there to be tried, with all its networks, in five minutes: 6.
    """
    return 6 if demo else int(np.clip(round(VIEWS / paintings), 5, 20))


def _size(network: keras.Model, full: keras.Model) -> str:
    trained = sum(int(np.prod(v.shape)) for v in full.trainable_variables)
    return f"{network.count_params():,} parameters, {trained:,} of them trained"


class _Trainer:
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
        self.data, self.settings, self.folder, self.keep_model, self.key = data, settings, folder, keep_model, key
        self.started, self.seconds_before = time.perf_counter(), 0.0
        self.saved_at = self.started
        self.full, self.network, self.labels, self.soft = full, network, labels, soft
        # What helps the painter task is a second and a third head of it: a strategy sees their losses as one.
        self.groups = {name: [name] for name in labels if name in data.tasks}
        if "painter" in self.groups:
            self.groups["painter"] += [name for name in labels if name not in data.tasks]
        self.history: list[dict[str, float]] = []
        self.gaps: dict[str, list[tuple[int, float]]] = {}  # with alternate: turns since the task's last, loss
        self.best, self.best_epoch, self.best_weights = -np.inf, 0, network.get_weights()
        self.forward = pipeline.inference(network, settings.image_size)
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
            self.encoded = encode(self.full, data, settings.image_size)
            self.seconds_before -= time.perf_counter() - started  # every run uses them; whoever is first computes them
        soft = {name: soften(values, settings.temperature) for name, values in self.soft.items()}
        with self.devices.variables():
            # The copy trains; what is measured and saved is the float32 network of one device, which gets its weights.
            trained = in_precision(self.full, precision, synchronized=several) if mixed or several else self.full
            model = heads_model(trained) if heads_only else trained if mixed else fold(trained)
            pretrained = settings.weights != "none" and settings.backbone != "small_convnet"
            slow = backbone_of(trained).trainable_variables if pretrained and not heads_only else []
            float16 = precision == "mixed_float16"
            update = Update(
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
                counts = [int((labels[t] >= 0).sum()) for t in self.groups]
                share = epoch / max(epochs - 1, 1) if settings.task_sampling == "annealed" else settings.task_sampling
                return pipeline.plan_turns(pools, counts, factor, share, batch_size, steps, seed, epoch)
            return pipeline.plan_epoch(factor, batch_size, steps, seed, epoch)

        def few(epoch: int) -> pipeline.Plan:
            """Some other batches of the epoch, to look at the gradients."""
            other = plan(epoch, settings.seed + 1)
            return pipeline.Plan(other.rows[:WATCHED], other.turns[:WATCHED])

        def batches(plans: Callable[[int], pipeline.Plan], seed: int, step: int = 0) -> tf.data.Dataset:
            if self.encoded is not None:
                every = [plans(e) for e in range(epochs)]
                return pipeline.feature_batches(self.encoded[train], labels, every, seed, first, step, mine)
            sides = training_sides(settings.image_size, epochs)
            rows = data.pixel_rows[train]
            return pipeline.training_batches(data.store.pixels, rows, labels, plans, sides, seed, first, step, mine)

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
        with interrupt.noted() as noted:

            def asked() -> bool:
                """Of any process, so that all end after the same step."""
                return self.devices.any(noted())

            for epoch in range(first, epochs):
                if len(self.history) - self.best_epoch >= settings.patience:
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
                if self.encoded is None or self._due():  # the heads alone take seconds
                    self._save(model, update)
            if interrupted:
                self._save(model, update, found)
                done = f"{len(self.history)} epochs" + (f" and {len(found)} steps" if found else "")
                print(f"\ninterrupted after {done}: saved, and keeping the best network so far", flush=True)
        if self.history:
            self.network.set_weights(self.best_weights)
        elif trained is not self.full:
            self.full.set_weights(trained.get_weights())
        self.updates = steps * len(self.history)
        return interrupted

    def _due(self) -> bool:
        minutes = self.settings.checkpoint_minutes
        return minutes > 0 and time.perf_counter() - self.saved_at >= 60 * minutes

    def _save(self, model: keras.Model, update: Update, found: Sequence[np.ndarray] = ()) -> None:
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

    def _restore(self, saved: checkpoint.Checkpoint, model: keras.Model, update: Update) -> list[np.ndarray]:
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
            measured = metrics.all_metrics(self.data.labels, probabilities, self.data.rows("validation"))
        measured = json.loads(self.devices.from_chief(json.dumps(measured).encode()))
        for name, values in measured.items():
            logs[f"val_{name}_accuracy"] = values["accuracy"]
        logs["val_score"] = metrics.mean_accuracy(measured)
        self.history.append({"epoch": len(self.history) + 1, **logs})
        if not self.best_epoch or logs["val_score"] > self.best:
            self.best, self.best_epoch = logs["val_score"], len(self.history)
            self.best_weights = self.network.get_weights()
            if self.keep_model and self.encoded is None and self.devices.chief:  # the heads alone take seconds
                runs.save_model(self.network, self.folder)  # from now on the folder can predict, whatever happens
        if not self.devices.chief:
            return
        with whole(self.folder / runs.HISTORY) as temporary:
            pd.DataFrame(self.history).to_csv(temporary, index=False)
        accuracies = ", ".join(f"{name} {100 * values['accuracy']:.1f} %" for name, values in measured.items())
        print(f"  loss {logs['loss']:.3f}; validation: {accuracies}; mean {100 * logs['val_score']:.1f} %", flush=True)

    def outputs(self, part: str) -> dict[str, np.ndarray]:
        """Of the network as it stands, for a part of the split: probabilities of each head, float32 (n, classes)."""
        rows = self.data.rows(part)
        if self.encoded is not None:
            found = heads_model(self.network)(self.encoded[rows, 0], training=False)
            return {name: np.asarray(values) for name, values in found.items()}
        return predict(self.forward, self.data.store.pixels, self.data.pixel_rows[rows])


def turn_summary(gaps: Mapping[str, Sequence[tuple[int, float]]]) -> dict[str, dict[str, Any]]:
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
