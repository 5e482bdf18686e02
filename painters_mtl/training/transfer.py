"""From models that are already trained: their weights into a network of several heads, their answers as lessons."""

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
from painters_mtl.data.tasks import ALL_PAINTERS, Task
from painters_mtl.inference.open_network import open_network
from painters_mtl.network.backbones import set_layer_weights
from painters_mtl.network.features import cached_features
from painters_mtl.network.graph import layer_owners, named_tensors
from painters_mtl.network.multitask import heads_model
from painters_mtl.network.pyramid import pyramid_channels
from painters_mtl.runs.run import SPLIT, Run, check_teacher_size, open_run


def runs_by_task(folders: Sequence[Path], tasks: Mapping[str, Task], option: str) -> dict[str, Run]:
    """Which of the runs knows which task. Raises `UserError` where classes differ, or two runs know the same task."""
    found: dict[str, Run] = {}
    for folder in folders:
        run = open_run(folder, option=f"--{option}")
        for name, task in run.tasks.items():
            if name not in tasks:
                continue
            if name in found:
                raise UserError(f"--{option}: {found[name].folder} and {folder} both know the {name}: leave one out")
            if task.classes != tasks[name].classes:
                other = sorted({*task.classes} ^ {*tasks[name].classes})
                what = f"such as {other[0]!r}" if other else "in another order"
                raise UserError(f"--{option} {folder}: its {name} classes are not those of this data ({what})")
            found[name] = run
    return found


def check_test_paintings_unseen(data: Dataset, folders: Sequence[Path], option: str) -> None:
    """Refuse networks that were trained on paintings which are validation or test here: they know the answers."""
    held_out = set(data.table["id"][np.isin(data.split, ["validation", "test"])])
    for folder in folders:
        if (folder / SPLIT).is_file():
            table = pd.read_csv(folder / SPLIT, dtype=str, keep_default_na=False)
            seen = len(held_out & set(table["id"][table["split"] == "train"]))
            if seen:
                raise UserError(
                    f"--{option} {folder} was trained on {seen:,} paintings that are for validation or test here: "
                    f"use its split, --split {folder / SPLIT}"
                )


def warm_start(model: keras.Model, folders: Sequence[Path], tasks: Mapping[str, Task], shared: str) -> None:
    """Give a network the weights of networks trained on one task each, layer by layer.

    Layers of a task's own (its name, or its name and a number) come from that task's network. All other layers are
    shared: `shared` says whether they get the mean of all the networks' weights ("mean"), those of one task's network
    (its name), or stay as they are ("imagenet").

    Raises `UserError` that names every layer that does not fit, before anything is changed.
    """
    sources = {name: (run, open_network(run)) for name, run in runs_by_task(folders, tasks, "start-from").items()}
    if missing := [name for name in tasks if name not in sources]:
        raise UserError(f"--start-from has no network for the {', '.join(missing)}: name one for each task")
    if shared not in ("mean", "imagenet", *sources):
        raise UserError(f"--start-shared {shared} is unknown: mean, imagenet, {', '.join(sources)}")
    givers = {"mean": list(sources), "imagenet": []}.get(shared, [shared])
    new: list[tuple[keras.layers.Layer, list[np.ndarray]]] = []
    wrong = []
    owners = layer_owners(model)
    for layer in model.layers:
        if not layer.weights:
            continue
        owner = owners[layer.name]
        if owner == ALL_PAINTERS:
            continue  # the head beside the painters': networks for one task do not have it
        found = []
        for name in [owner] if owner else givers:
            weights, problem = _taken(layer, *sources[name])
            if problem:
                wrong.append(f"{name}: {problem}")
            else:
                found.append(weights)
        if found:
            # In float64 the mean of equal weights is the same to the bit: features of a frozen backbone stay valid.
            new.append(
                (layer, [np.asarray(np.mean(parts, axis=0, dtype=np.float64)) for parts in zip(*found, strict=True)])
            )
    if wrong:
        raise UserError("--start-from: these layers do not fit: " + "; ".join(wrong))
    for layer, weights in new:
        set_layer_weights(layer, weights)


def _taken(layer: keras.layers.Layer, run: Run, source: keras.Model) -> tuple[list[np.ndarray], str]:
    """The weights that the layer of the same name in `source` has for `layer`, and what keeps them from fitting, or "".

    Of a head that sees finer levels too, as it was before: at the start of a training no head sees them.
    """
    try:
        other = source.get_layer(layer.name)
    except ValueError:
        return [], f"there is no layer {layer.name}"
    weights = other.get_weights()
    if layer.name in source.output:
        finer = pyramid_channels(named_tensors(source)[f"{layer.name}_features"])
        weights = run.trained_head(layer.name) if finer.any() else weights
    # By their places: Keras numbers layers without a name, differently in each network that a process builds.
    for mine, its, array in zip_longest(layer.weights, other.weights, weights):
        wanted, found = None if mine is None else tuple(mine.shape), None if array is None else array.shape
        if wanted != found:
            return [], f"{(its if mine is None else mine).path} is {found or 'missing'}, wanted {wanted or 'none'}"
    return weights, ""


def soft_targets(data: Dataset, folders: Sequence[Path], tasks: Mapping[str, Task]) -> dict[str, np.ndarray]:
    """What the teachers say of the training paintings: {task: float32 (n, classes)}, in the order of `rows("train")`.

    A teacher sees the whole painting and its mirror image; the mean of both answers counts. Its features are kept in
    the cache (`features.encode`): another student of it, or teachers with the same frozen backbone, find them there.
    """
    runs = runs_by_task(folders, tasks, "teachers")
    rows = data.rows("train")
    found: dict[str, np.ndarray] = {}
    for folder, run in {run.folder: run for run in runs.values()}.items():
        check_teacher_size(run, data.images.pixels.shape[-2])
        if len(run.views) > 1 and data.images.pixels.ndim == 4:
            raise UserError(f"--teachers {folder} looks at --views {','.join(run.views)}: use the same here")
        seen = data
        if data.images.pixels.ndim == 5 and len(run.views) == 1:
            seen = replace(data, images=replace(data.images, pixels=data.images.pixels[:, 0]))
        model = open_network(run)
        features, heads = cached_features(model, seen, run.image_size), heads_model(model)
        parts = [rows[part] for part in in_batches(len(rows), 1024)]
        said = [[heads(features[part, view], training=False) for view in range(features.shape[1])] for part in parts]
        for name in (name for name, its in runs.items() if its.folder == folder):
            found[name] = np.concatenate([np.mean([view[name] for view in views], axis=0) for views in said])
    return found
