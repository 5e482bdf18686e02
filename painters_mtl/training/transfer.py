"""From networks that are already trained: warm start (their weights) and distillation (their predictions)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from painters_mtl.common.errors import UserError
from painters_mtl.common.iteration import in_batches
from painters_mtl.data.dataset import Dataset
from painters_mtl.data.split_file import without_folder
from painters_mtl.data.tasks import ALL_PAINTERS, Task
from painters_mtl.data.values import PAINTER_HASH, name_key
from painters_mtl.inference.open_network import open_network
from painters_mtl.network.backbones import set_layer_weights
from painters_mtl.network.features import cached_features
from painters_mtl.network.graph import layer_owners, named_tensors
from painters_mtl.network.multitask import heads_model
from painters_mtl.network.pyramid import pyramid_channels
from painters_mtl.runs.run import SPLIT, Run, check_teacher_size, open_run
from painters_mtl.training.crop_teachers import CropTeachers


def runs_by_task(folders: Sequence[Path], tasks: Mapping[str, Task], option: str) -> dict[str, list[Run]]:
    """The runs that have each task, {task: runs}; tasks that no run has are left out.

    Raises `UserError` where the classes of a task are not those of `tasks`, and for a run that has none of them.

    Args:
        option: the one that names the folders, without its dashes.
    """
    runs: dict[str, list[Run]] = {}
    for folder in folders:
        run = open_run(folder, option=f"--{option}")
        if not any(name in tasks for name in run.tasks):
            raise UserError(
                f"--{option} {folder} knows {', '.join(run.tasks)}, and nothing of {', '.join(tasks)}: leave it out"
            )
        for name in [name for name in run.tasks if name in tasks]:
            if run.tasks[name].classes != tasks[name].classes:
                unshared = sorted({*run.tasks[name].classes} ^ {*tasks[name].classes})
                difference = f"such as {unshared[0]!r}" if unshared else "in another order"
                raise UserError(f"--{option} {folder}: its {name} classes are not those of this data ({difference})")
            runs.setdefault(name, []).append(run)
    return runs


def _each_once(runs: Mapping[str, Sequence[Run]]) -> list[Run]:
    """The runs of `runs_by_task`, one for each folder."""
    return list({run.folder: run for of_task in runs.values() for run in of_task}.values())


def check_test_paintings_unseen(data: Dataset, runs: Sequence[Path], option: str) -> None:
    """Raise `UserError` for runs that were trained on paintings which are for validation or test here.

    They would know the labels of what they are tested on. A file of the same name that is by another painter there is
    another painting, of another collection.

    Args:
        runs: their folders, or files in them, such as weights.npz; what has no split.csv is passed over.
        option: the one that names the runs, without its dashes.
    """
    columns = data.table.columns

    def painters(table: pd.DataFrame) -> list[str]:
        """As they are compared; "" where there is no name, but nothing or the competition's hash of one."""
        names = table["painter"] if "painter" in table else [""] * len(table)
        return ["" if re.fullmatch(PAINTER_HASH, name) else name_key(name) for name in names]

    here = data.table[np.isin(data.split, ["validation", "test"])]
    held_out = dict(zip((without_folder(name, columns) for name in here["id"]), painters(here), strict=True))
    for run in runs:
        split = (run if run.is_dir() else run.parent) / SPLIT
        if not split.is_file():
            continue
        table = pd.read_csv(split, dtype=str, keep_default_na=False)
        trained = table[table["split"] == "train"]
        trained_by = dict(
            zip((without_folder(name, columns) for name in trained["id"]), painters(trained), strict=True)
        )
        seen = [
            name
            for name, painter in trained_by.items()
            if name in held_out and (not painter or held_out[name] in ("", painter))
        ]
        if seen:
            raise UserError(
                f"--{option} {run} was trained on {len(seen):,} paintings that are for validation or test here: "
                f"use its split, --split {split}"
            )


def warm_start(model: keras.Model, folders: Sequence[Path], tasks: Mapping[str, Task], shared: str) -> None:
    """Give a network the weights of networks that are trained already, layer by layer.

    A task's own layers get the weights of that task's network; where several networks have the task, the mean of their
    weights (a model soup: Wortsman et al. 2022, arXiv 2203.05482). Raises `UserError` that names every layer that does
    not fit, before anything is changed.

    Args:
        model: the network to change.
        folders: the runs of the networks to start from; each may have one task or several.
        tasks: those of `model`.
        shared: what the shared layers get: the mean of all the networks' weights ("mean"), the weights of one task's
            network (its name), or nothing: they stay as they are ("imagenet"). In the mean a network counts once for
            each of its tasks.
    """
    sources = runs_by_task(folders, tasks, "start-from")
    networks = {run.folder: open_network(run) for run in _each_once(sources)}
    if missing := [name for name in tasks if name not in sources]:
        raise UserError(f"--start-from has no network for the {', '.join(missing)}: name one for each task")
    if shared not in ("mean", "imagenet", *sources):
        raise UserError(f"--start-shared {shared} is unknown: mean, imagenet, {', '.join(sources)}")
    sources_of_shared = {"mean": list(sources), "imagenet": []}.get(shared, [shared])
    new_weights: list[tuple[keras.layers.Layer, list[np.ndarray]]] = []
    problems = []
    owners = layer_owners(model)
    for layer in model.layers:
        owner = owners[layer.name] if layer.weights else ""
        if not layer.weights or owner == ALL_PAINTERS:  # networks for one task have no head over all painters
            continue
        candidates = []
        for task in [owner] if owner else sources_of_shared:
            for run in sources[task]:
                weights, problem = _weights_for(layer, run, networks[run.folder])
                if problem:
                    problems.append(f"{run.folder}: {problem}")
                else:
                    candidates.append(weights)
        if candidates:
            new_weights.append((layer, _mean(candidates)))
    if problems:
        raise UserError("--start-from: these layers do not fit: " + "; ".join(dict.fromkeys(problems)))
    for layer, weights in new_weights:
        set_layer_weights(layer, weights)


def mean_of_heads(folders: Sequence[Path], tasks: Mapping[str, Task]) -> dict[str, list[np.ndarray]]:
    """The mean of the heads that runs ended with, {task: kernel and bias}, where all have the same shapes.

    Args:
        folders: those of --start-from.
    """
    sources = runs_by_task(folders, tasks, "start-from")
    networks = {run.folder: open_network(run) for run in _each_once(sources)}
    heads = {}
    for task, runs in sources.items():
        weights = [networks[run.folder].get_layer(task).get_weights() for run in runs]
        if len({tuple(array.shape for array in of_run) for of_run in weights}) == 1:
            heads[task] = _mean(weights)
    return heads


def _mean(weights: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """The mean of the weights of several networks, array by array.

    In float64 the mean of equal weights is the same to the bit: features of a frozen backbone stay valid.
    """
    return [np.asarray(np.mean(arrays, axis=0, dtype=np.float64)) for arrays in zip(*weights, strict=True)]


def _weights_for(layer: keras.layers.Layer, run: Run, source: keras.Model) -> tuple[list[np.ndarray], str]:
    """The weights for a layer from the layer of the same name in another network, and why they do not fit, or "".

    Those of a head that reads pyramid maps are the ones it had before: at the start of a training no head reads them.

    Args:
        run: that of `source`.
    """
    try:
        other = source.get_layer(layer.name)
    except ValueError:
        return [], f"there is no layer {layer.name}"
    weights = other.get_weights()
    if layer.name in source.output and pyramid_channels(named_tensors(source)[f"{layer.name}_features"]).any():
        weights = run.trained_head(layer.name)
    # By their places: Keras numbers layers without a name, differently in each network that a process builds.
    for mine, theirs, array in zip_longest(layer.weights, other.weights, weights):
        expected, shape = None if mine is None else tuple(mine.shape), None if array is None else array.shape
        if expected != shape:
            path = (theirs if mine is None else mine).path
            return [], f"{path} is {shape or 'missing'}, wanted {expected or 'none'}"
    return weights, ""


def crop_teachers(folders: Sequence[Path], tasks: Mapping[str, Task]) -> CropTeachers:
    """The teachers' networks, to be asked at each step.

    A teacher's --image-size does not count here: it sees what the network in training sees.
    """
    runs = _each_once(runs_by_task(folders, tasks, "teachers"))
    return CropTeachers.of([open_network(run) for run in runs], list(tasks))


def soft_targets(data: Dataset, folders: Sequence[Path], tasks: Mapping[str, Task]) -> dict[str, np.ndarray]:
    """The teachers' predictions for the training paintings, {task: float32 (n, classes)}, in the order of their rows.

    A teacher sees the whole painting and its mirror image, and the mean of both predictions counts; so does the mean of
    several teachers of a task (an ensemble: Hinton, Vinyals & Dean 2015, arXiv 1503.02531). Its features are
    kept in the cache (`features.cached_features`): another student of it, or teachers with the same frozen backbone,
    read them there.

    Raises `UserError` for teachers that need other cached images than the data have.
    """
    teachers = runs_by_task(folders, tasks, "teachers")
    rows = data.rows("train")
    batches = [*in_batches(len(rows), 1024)]
    answers: dict[str, list[np.ndarray]] = {name: [] for name in teachers}
    for run in _each_once(teachers):
        check_teacher_size(run, data.images.pixels.shape[-2])
        two_views = data.images.pixels.ndim == 5
        if len(run.views) > 1 and not two_views:
            raise UserError(f"--teachers {run.folder} looks at --views {','.join(run.views)}: use the same here")
        visible = data
        if two_views and len(run.views) == 1:
            visible = replace(data, images=replace(data.images, pixels=data.images.pixels[:, 0]))
        model = open_network(run)
        features, heads = cached_features(model, visible, run.image_size, rows), heads_model(model)
        outputs = [[heads(features[b, flip], training=False) for flip in range(features.shape[1])] for b in batches]
        for name in (name for name in run.tasks if name in teachers):
            answers[name].append(np.concatenate([np.mean([flip[name] for flip in flips], axis=0) for flips in outputs]))
    return {name: np.mean(several, axis=0) for name, several in answers.items()}
