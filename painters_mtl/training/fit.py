"""One training, from data to run folder: the network is built, trained and finished."""

import contextlib
import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from painters_mtl.common.errors import UserError
from painters_mtl.common.files import remove_leftovers
from painters_mtl.common.messages import say
from painters_mtl.data.dataset import Dataset
from painters_mtl.data.split_file import save_split
from painters_mtl.data.tasks import Task
from painters_mtl.images.cache import cache_side
from painters_mtl.network.multitask import build_model, with_heads
from painters_mtl.network.precision import policy
from painters_mtl.runs import run
from painters_mtl.training.checkpoint import Checkpoint
from painters_mtl.training.devices import Devices, check_same_everywhere, connect
from painters_mtl.training.earlier_training import earlier_training, follower_result, with_known_precision
from painters_mtl.training.finalize import TrainedNetwork, finalize
from painters_mtl.training.loop import TrainingLoop
from painters_mtl.training.run_folder import new_run_folder, run_folder_lock
from painters_mtl.training.run_result import RunResult
from painters_mtl.training.run_spec import RunSpec
from painters_mtl.training.settings import TrainSettings
from painters_mtl.training.start_weights import AUTO, with_known_start, with_weights_file
from painters_mtl.training.training_set import TrainingTarget
from painters_mtl.training.transfer import crop_teachers, mean_of_heads, soft_targets, warm_start


def fit(
    data: Dataset,
    settings: TrainSettings,
    folder: Path,
    tasks: Mapping[str, Task] | None = None,
    updates: int = 0,
    keep_model: bool = True,
    teachers_folder: Path | None = None,
) -> RunResult:
    """The result of training a network on `tasks`, which fills `folder`: all of a run but figures and report.

    What was trained to its end in `folder`, with the same settings on the same data, is read back instead; a run that
    was interrupted or killed goes on from its last checkpoint, to the same end, bit for bit on a CPU. Where the
    settings say `overwrite`, the run that is there is replaced; it is kept beside `folder` until the new one is whole.
    Ctrl-C ends the training early: its state is saved, the best network so far is kept and measured, and the folder is
    usable.
    Of several processes that train together, only the chief touches `folder`; what the others return has no
    probabilities, and of the metrics only "updates" and "precision".

    Raises `UserError` where `folder` is not empty and holds no run, where a finished run of other data would be lost
    without `overwrite`, and where another process is training in `folder`.

    Args:
        tasks: by default all of the data's.
        updates: train for about so many steps (whole epochs), whatever the settings say of epochs; 0: as they say.
        keep_model: write `model.keras`; a study that only compares predictions does without, and without the
            known-class heads.
        teachers_folder: where the networks for one task each are, or are made, that `settings.distill` learns from; by
            default those of the run's baselines.
    """
    tasks = dict(data.tasks if tasks is None else tasks)
    if settings.weights == AUTO:  # a notebook; the verbs know it already
        settings = with_known_start(settings, data)
    spec = RunSpec(data, settings, folder, tasks, updates, keep_model, teachers_folder or folder / run.BASELINES)
    devices = connect(settings.distribute)
    with run_folder_lock(folder, wait=False) if devices.chief else contextlib.nullcontext():
        return _fit(spec, devices)


def fit_single_task(
    data: Dataset, settings: TrainSettings, folder: Path, name: str, updates: int, keep_model: bool = True
) -> RunResult:
    """The result of a baseline: a network for one task, trained by the same rules on every painting with its label.

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
        distill=False,
        teacher_schedule="constant",
        teacher_view="whole",
        freeze="none",
        freeze_epochs=0,
    )
    steps = updates if settings.budget == "equal-updates" else 0
    return fit(data, settings, folder, {name: data.tasks[name]}, steps, keep_model)


def _fit(spec: RunSpec, devices: Devices) -> RunResult:
    """As `fit`, in a folder that no other process touches."""
    here = policy(spec.settings.precision)  # "auto" is what this machine's GPUs are made for
    spec = with_known_precision(spec, devices)
    key = spec.fingerprint()
    check_same_everywhere(devices, f"{key} {here}")
    result, state = earlier_training(spec, key, devices)
    if result is not None:
        return result
    if not spec.settings.distill:
        return _fit_network(spec, devices, key, state, spec.settings.teachers, replace=state is None)
    with new_run_folder(spec.folder, replace=spec.settings.overwrite):
        spec.settings.save(spec.folder / run.CONFIG)  # so that --resume goes on from here
        teachers = fit_teachers(spec)
        return _fit_network(spec, devices, key, state, teachers, replace=False)


def fit_teachers(spec: RunSpec) -> list[Path]:
    """The run folders of a network for each task alone, trained now where they are not trained yet.

    Raises KeyboardInterrupt where Ctrl-C ended one of them; it goes on when called again.
    """
    settings, folders = dataclasses.replace(spec.settings, overwrite=False), []
    for number, name in enumerate(spec.tasks, start=1):
        say(f"teacher {number} of {len(spec.tasks)}: {name} alone")
        folders.append(spec.teachers_folder / name)
        if fit_single_task(spec.data, settings, folders[-1], name, updates=0).interrupted:
            raise KeyboardInterrupt
    say(f"the shared network, taught by these {len(folders)}")
    return folders


def _fit_network(
    spec: RunSpec, devices: Devices, key: str, state: Checkpoint | None, teachers: Sequence[Path], replace: bool
) -> RunResult:
    """The result of one training, from its checkpoint or from the first step.

    Args:
        key: the fingerprint of the training.
        teachers: run folders.
        replace: begin without what is in the run folder; else go on with it.
    """
    keras.utils.set_random_seed(spec.settings.seed)
    started = time.perf_counter()
    target = build(spec, teachers)
    loop = TrainingLoop(spec, target, key, devices)
    if not devices.chief:
        interrupted = loop.run(state)
        return follower_result(spec, pd.DataFrame(loop.history), loop.updates, interrupted)
    # Only now, when nothing can be wrong any more with what was asked for.
    with new_run_folder(spec.folder, replace):
        trained = _train(spec, target, loop, state, started)
        return finalize(spec, trained, key)


def build(spec: RunSpec, teachers: Sequence[Path] = ()) -> TrainingTarget:
    """The network, with pretrained weights or those of earlier runs, the labels of its heads and the soft targets.

    The head of the chosen painters learns from a fraction of the paintings; a head over all painters lets every
    painting teach the features to tell painters apart. It is no part of the finished network. Where no weights are
    shared that train, it could teach nobody.
    """
    data, settings, tasks = spec.data, spec.settings, dict(spec.tasks)
    labels = {name: data.labels[name] for name in tasks}
    weights = {name: settings.loss_weights().get(name, 1.0) for name in tasks}
    if not any(weights.values()):
        raise UserError(
            f"--task-weights are 0 for all tasks that have labels here ({', '.join(tasks)}): give one of them a weight"
        )
    if settings.other_painters > 0 and "painter" in tasks and settings.trains_shared_weights():
        task, numbers = data.all_painters_task()
        if len(task.classes) > len(tasks["painter"].classes):
            tasks[task.name], labels[task.name], weights[task.name] = task, numbers, settings.other_painters
    full = build_model(tasks, with_weights_file(settings))
    if settings.start_from:
        warm_start(full, settings.start_from, spec.tasks, settings.start_shared)
    elif settings.starts_from_teachers():
        warm_start(full, teachers, spec.tasks, "mean")
    network = with_heads(full, spec.tasks)
    # Read now: hours later these folders may be gone, or hold other runs.
    target = TrainingTarget(
        full, network, labels, weights, earlier_heads=mean_of_heads(settings.start_from, spec.tasks)
    )
    if not teachers:
        return target
    if settings.teacher_view == "crop":
        return dataclasses.replace(target, crop_teachers=crop_teachers(teachers, spec.tasks))
    return dataclasses.replace(target, soft_targets=soft_targets(data, teachers, spec.tasks))


def _train(
    spec: RunSpec, target: TrainingTarget, loop: TrainingLoop, state: Checkpoint | None, started: float
) -> TrainedNetwork:
    """Write the head of the run folder, and train from `state`, or from the first step."""
    data, settings, folder = spec.data, spec.settings, spec.folder
    remove_leftovers(folder)
    settings.save(folder / run.CONFIG)
    side = cache_side(settings.image_size)
    run.save_labels(folder, dict(spec.tasks), settings.image_size, side, data.demo, settings.views)
    save_split(folder / run.SPLIT, data.table, data.split, data.tasks)
    data.images.refused.to_csv(folder / "refused.csv", index=False)
    learned = sum(int(np.prod(v.shape)) for v in target.full.trainable_variables)
    say(f"{target.network.count_params():,} parameters, {learned:,} of them trained")
    interrupted = loop.run(state)
    return TrainedNetwork(
        target.network,
        loop.history,
        loop.best.epoch,
        loop.updates,
        loop.turns.summary(),
        interrupted,
        loop.features,
        target.earlier_heads,
        started - loop.seconds_before,
    )
