"""Fit one network and fill its run folder."""

import dataclasses
import hashlib
import io
import json
import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from painters_mtl import __version__
from painters_mtl.common.errors import UserError
from painters_mtl.common.files import atomic_write, file_lock, read_json, remove_leftovers, write_json
from painters_mtl.data.dataset import Dataset
from painters_mtl.data.split import save_split
from painters_mtl.data.tasks import ALL_PAINTERS, Task, known_output
from painters_mtl.evaluation import metrics, open_set
from painters_mtl.evaluation.calibration import apply_temperature, calibration_error, fit_temperature
from painters_mtl.images.cache import cache_side
from painters_mtl.network.features import FeatureExtractor
from painters_mtl.network.multitask import build_model, with_heads, with_multi_scale_heads
from painters_mtl.network.precision import policy
from painters_mtl.runs import run
from painters_mtl.training import checkpoint
from painters_mtl.training.devices import Devices, check_same_everywhere, connect
from painters_mtl.training.head_refit import add_known_painter_head, refit_heads
from painters_mtl.training.loop import TrainingLoop, summarize_turns
from painters_mtl.training.settings import TrainSettings
from painters_mtl.training.transfer import check_test_paintings_unseen, soft_targets, warm_start

PROBABILITIES = "test_probabilities.npz"
WITHOUT_EFFECT = {  # settings that do not change what is trained: labels and split are looked at themselves
    "data", "task_data", "sample", "split", "painters", "styles", "genres", "cache", "memory_gb", "name", "models",
    "overwrite", "baselines", "budget", *TrainSettings.NOT_STORED,
}  # fmt: skip


@dataclass
class RunResult:
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
) -> RunResult:
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
        keep_model: write `model.keras`; a study that only compares predictions does without, and without the head that
            knows the painters.
    """
    tasks, devices = dict(data.tasks if tasks is None else tasks), connect(settings.distribute)
    if not devices.chief:
        return _fit(data, settings, folder, tasks, updates, keep_model, devices)
    with run_folder_lock(folder, wait=False):
        return _fit(data, settings, folder, tasks, updates, keep_model, devices)


@contextmanager
def run_folder_lock(folder: Path, wait: bool) -> Iterator[None]:
    """Be the one process that trains in a run folder; see `files.alone`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(folder.with_name(f".{folder.name}.lock"), f"training {folder}", wait):
        yield


def _fit(
    data: Dataset,
    settings: TrainSettings,
    folder: Path,
    tasks: dict[str, Task],
    updates: int,
    keep_model: bool,
    devices: Devices,
) -> RunResult:
    key = fingerprint(data, settings, tasks, updates)
    check_same_everywhere(
        devices, f"{key} {policy(settings.precision)}"
    )  # "auto" is what this machine's GPUs are made for
    done, saved = _before(data, settings, folder, key, keep_model, devices)
    if done is not None:
        return done
    keras.utils.set_random_seed(settings.seed)
    start = time.perf_counter()
    trained_tasks, labels, weights = _with_help(data, tasks, settings)
    full = build_model(trained_tasks, settings)
    if settings.start_from:
        warm_start(full, settings.start_from, tasks, settings.start_shared)
    network = with_heads(full, tasks)
    soft = soft_targets(data, settings.teachers, tasks) if settings.teachers else {}
    trainer = TrainingLoop(data, settings, folder, full, network, labels, soft, keep_model, key, devices)
    if not devices.chief:
        interrupted = trainer.run(weights, updates, saved)
        return RunResult(
            pd.DataFrame(trainer.history), {"updates": trainer.updates}, data.rows("test"), {}, interrupted
        )
    if folder.exists() and saved is None:  # only now, when nothing can be wrong any more with what was asked for
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    remove_leftovers(folder)
    settings.save(folder / run.CONFIG)
    meaning = (settings.image_size, cache_side(settings.image_size), data.demo, settings.views)
    run.save_labels(folder, tasks, *meaning)
    save_split(folder / run.SPLIT, data.table, data.split)
    data.store.refused.to_csv(folder / "refused.csv", index=False)
    print(_size(network, full), flush=True)
    interrupted = trainer.run(weights, updates, saved)
    refitted: list[str] = []
    trained, finished = network, FeatureExtractor(network, data, settings.image_size, trainer.encoded)
    if settings.refits_heads() and not interrupted:
        wide = with_multi_scale_heads(network, tasks, settings)
        of_wide = FeatureExtractor(wide, data, settings.image_size)
        if refitted := refit_heads(wide, data, tasks, settings.seed, of_wide):
            network, finished = wide, of_wide
    seconds = time.perf_counter() - start + trainer.seconds_before
    parameters = network.count_params()  # like the seconds, those of what is compared with networks for one task
    if settings.painter_known and keep_model and "painter" in tasks and not interrupted:
        network = add_known_painter_head(network, data, settings.seed, finished)
    if network is not trainer.network:
        trainer.use(network)

    rows, validation = data.rows("test"), data.rows("validation")
    outputs, held_outputs = trainer.outputs("test"), trainer.outputs("validation")
    raw, held_out = ({name: found[name] for name in tasks} for found in (outputs, held_outputs))
    fitted = {name: fit_temperature(data.labels[name][validation], p) for name, p in held_out.items()}
    temperatures = {name: round(t, 4) for name, t in fitted.items()}
    probabilities = {name: apply_temperature(p, temperatures[name]) for name, p in raw.items()}
    softened = {name: apply_temperature(p, temperatures[name]) for name, p in held_out.items()}
    thresholds = {
        name: open_set.threshold(
            data.labels[name][validation], open_set.known_score(softened[name], held_outputs.get(known_output(name)))
        )
        for name in tasks
    }
    measured = {
        "test": metrics.all_metrics(data.labels, probabilities, rows, data.rows("train")),
        "validation": metrics.all_metrics(data.labels, held_out, validation, data.rows("train")),
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
        "refitted": refitted,
        "training_seconds": round(seconds, 1),
        "parameters": parameters,
        "interrupted": interrupted,
        "demo": data.demo,
        "fingerprint": key,
    }
    if "painter" in tasks:
        scores = open_set.known_score(probabilities["painter"], outputs.get(known_output("painter")))
        named, known = (data.table["painter"] != "").to_numpy()[rows], data.labels["painter"][rows] >= 0
        trained_painters = data.of_trained_painters()[rows]
        groups = {"not in training": named & ~trained_painters, "in training": trained_painters & ~known}
        measured["unknown"] = open_set.measure_unknown(scores, thresholds["painter"], known, groups)
    if trainer.gaps:
        measured["turns"] = summarize_turns(trainer.gaps)
    if keep_model:
        if refitted and settings.ends_multi_scale():
            run.save_heads(trained, tasks, folder)
        run.save_model(network, folder)
        run.save_labels(folder, tasks, *meaning, temperatures, thresholds)
    _save_predictions(folder / "test_predictions.csv", data, tasks, rows, probabilities)
    with atomic_write(folder / PROBABILITIES) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **probabilities)  # type: ignore[arg-type]
    # Last, for it says that the run is finished.
    write_json(folder / run.METRICS, measured)
    if not interrupted:
        checkpoint.remove(folder)
    return RunResult(pd.DataFrame(trainer.history), measured, rows, probabilities, interrupted)


def _before(
    data: Dataset, settings: TrainSettings, folder: Path, key: str, keep_model: bool, devices: Devices
) -> tuple[RunResult | None, checkpoint.Checkpoint | None]:
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
            check_test_paintings_unseen(data, settings.start_from, "start-from")
            check_test_paintings_unseen(data, settings.teachers, "teachers")
            saved = None if settings.overwrite else checkpoint.load(folder, key, needed=settings.resume)
            if settings.resume and saved is None and (folder / run.METRICS).exists():
                raise UserError(
                    f"{folder} has lost its {checkpoint.CHECKPOINT}: without --resume, the training starts anew"
                )
    if devices.cluster is not None:
        updates = int(devices.from_chief(str(-1 if done is None else done.metrics["updates"]).encode()))
        content = devices.from_chief((folder / checkpoint.CHECKPOINT).read_bytes() if saved else b"")
        if not devices.chief:
            saved = checkpoint.read(io.BytesIO(content), key) if content else None
            if updates >= 0:
                done = RunResult(pd.DataFrame(), {"updates": updates}, data.rows("test"), {}, interrupted=False)
    return done, saved


def fit_single_task(
    data: Dataset, settings: TrainSettings, folder: Path, name: str, updates: int, keep_model: bool = True
) -> RunResult:
    """The baseline of a task: its network trained alone, by the same rules, on every painting that has its label.

    Args:
        updates: those of the shared network; they count where the settings ask for equal updates.
    """
    settings = dataclasses.replace(
        settings,
        other_painters=0.0,  # the head over all painters is a second task
        painter_known=False,
        strategy="joint",
        monitor_conflict=False,
        task_weights={name: 1.0},
        start_from=(),
        teachers=(),
        freeze="none",
        freeze_epochs=0,
    )
    steps = updates if settings.budget == "equal-updates" else 0
    return fit(data, settings, folder, {name: data.tasks[name]}, steps, keep_model)


def fingerprint(data: Dataset, settings: TrainSettings, tasks: Mapping[str, Task], updates: int = 0) -> str:
    """What the trained network depends on, as 16 hexadecimal digits: settings, pictures, labels, split, version."""
    values = {k: v for k, v in dataclasses.asdict(settings).items() if k not in WITHOUT_EFFECT}
    digest = hashlib.blake2b(digest_size=8)
    for folder in (*settings.start_from, *settings.teachers):
        digest.update(hashlib.blake2b((folder / run.MODEL).read_bytes()).digest())
    if Path(settings.weights).is_file():
        digest.update(hashlib.blake2b(Path(settings.weights).read_bytes()).digest())
    digest.update(json.dumps([__version__, values, updates], sort_keys=True, default=str).encode())
    for name in (*tasks, ALL_PAINTERS):
        task, labels = data.other_painters() if name == ALL_PAINTERS else (tasks[name], data.labels[name])
        digest.update(json.dumps([name, task.classes]).encode() + labels.tobytes())
    digest.update("\n".join([*data.table["id"], *data.split, *data.store.contents]).encode())
    return digest.hexdigest()


def finished(data: Dataset, folder: Path, key: str, keep_model: bool = True) -> RunResult | None:
    """The outcome of the run in `folder`, if it came to its end and its fingerprint is `key`."""
    try:
        measured = read_json(folder / run.METRICS)
        if measured["fingerprint"] != key or measured["interrupted"]:
            return None
        if keep_model and not (folder / run.MODEL).is_file():
            return None
        with np.load(folder / PROBABILITIES, allow_pickle=False) as arrays:
            probabilities = dict(arrays)
        history = pd.read_csv(folder / run.HISTORY)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None
    return RunResult(history, measured, data.rows("test"), probabilities, interrupted=False)


def _check_data(folder: Path, key: str) -> None:
    try:
        measured = read_json(folder / run.METRICS)
        other = not measured["interrupted"] and measured["fingerprint"] != key
    except (OSError, ValueError, KeyError, TypeError):
        return
    if other:
        raise UserError(
            f"{folder} was trained with other paintings, labels or settings: choose another --name, or --overwrite"
        )


def _with_help(
    data: Dataset, tasks: dict[str, Task], settings: TrainSettings
) -> tuple[dict[str, Task], dict[str, np.ndarray], dict[str, float]]:
    """Tasks, labels and loss weights of the training: the tasks, and what is beside them a matter of painters.

    The eight-class head learns from a fraction of the paintings; a head over all painters lets every painting teach
    the features to tell painters apart. It is no part of the finished network. Where no weights are shared that train,
    it could teach nobody.
    """
    labels = {name: data.labels[name] for name in tasks}
    weights = {name: settings.loss_weights().get(name, 1.0) for name in tasks}
    if settings.other_painters > 0 and "painter" in tasks and settings.trains_shared_weights():
        task, numbers = data.other_painters()
        if len(task.classes) > len(tasks["painter"].classes):
            tasks = {**tasks, task.name: task}
            labels[task.name], weights[task.name] = numbers, settings.other_painters
    return tasks, labels, weights


def _size(network: keras.Model, full: keras.Model) -> str:
    trained = sum(int(np.prod(v.shape)) for v in full.trainable_variables)
    return f"{network.count_params():,} parameters, {trained:,} of them trained"


def _save_predictions(
    file: Path, data: Dataset, tasks: dict[str, Task], rows: np.ndarray, probabilities: dict[str, np.ndarray]
) -> None:
    columns: dict[str, Any] = {"id": data.table["id"].to_numpy()[rows]}
    for name, task in tasks.items():
        columns[f"{name}_true"] = task.decode(data.labels[name][rows])
        columns[name] = task.decode(probabilities[name].argmax(axis=1))
        columns[f"{name}_confidence"] = probabilities[name].max(axis=1).round(4)
    with atomic_write(file) as temporary:
        pd.DataFrame(columns).to_csv(temporary, index=False)
