"""From a trained network to a finished run: heads fitted again, known-class heads, calibration, metrics, files."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd

from painters_mtl.common.files import write_json
from painters_mtl.common.messages import warn
from painters_mtl.data.tasks import known_output
from painters_mtl.evaluation import balance, metrics, open_set
from painters_mtl.evaluation.calibration import apply_temperature, calibration_error, error_by_chance, fit_temperature
from painters_mtl.images.cache import cache_side
from painters_mtl.inference.open_network import save_network
from painters_mtl.network.features import FeatureExtractor
from painters_mtl.network.forward import forward_function, predict_in_batches
from painters_mtl.network.multitask import heads_model, with_multi_scale_heads
from painters_mtl.runs import run
from painters_mtl.training import checkpoint
from painters_mtl.training.convergence import chance_warning
from painters_mtl.training.head_refit import refit_heads
from painters_mtl.training.known_class_heads import add_known_class_heads
from painters_mtl.training.run_result import RunResult, save_predictions
from painters_mtl.training.run_spec import RunSpec


@dataclass(frozen=True)
class TrainedNetwork:
    """What the training loop leaves."""

    network: keras.Model  # with the weights of the best epoch
    history: list[dict[str, float]]
    best_epoch: int
    updates: int  # steps of the optimizer
    turns: dict[str, Any]  # of the tasks, under the strategy `alternate`
    interrupted: bool
    features: np.ndarray | None  # of all paintings, float32 (n, views, channels), where only the heads train
    earlier_heads: Mapping[str, list[np.ndarray]]  # see `TrainingTarget`
    started: float  # by time.perf_counter(): when it would have begun, had it never been stopped


@dataclass
class FinishedNetwork:
    """The network as it is measured and saved."""

    network: keras.Model
    refitted: list[str]  # tasks whose head is a fitted one
    seconds: float  # of the training and the fits of heads: what is compared with networks for one task
    parameters: int  # without the known-class heads, for the same reason


@dataclass(frozen=True)
class Predictions:
    """Of the paintings of one part of the split, in their order, by task: float32 (n, classes)."""

    outputs: dict[str, np.ndarray]  # of every head, as the network gives them
    calibrated: dict[str, np.ndarray]  # of the tasks

    def known_score(self, task: str) -> np.ndarray:
        """How sure it is that a painting is of one of the task's classes: float (n,)."""
        return open_set.known_score(self.calibrated[task], self.outputs.get(known_output(task)))


def finalize(spec: RunSpec, trained: TrainedNetwork, key: str) -> RunResult:
    """The result of a training, after all that follows its last step; it is written to the run folder too.

    Args:
        key: the fingerprint of the training.
    """
    finished = finish_network(spec, trained)
    validation, test = (network_outputs(spec, finished.network, part, trained) for part in ("validation", "test"))
    temperatures = fit_temperatures(spec, validation)
    of_validation, of_test = (calibrated(outputs, temperatures) for outputs in (validation, test))
    thresholds = fit_thresholds(spec, of_validation)
    measured = {
        **evaluate(spec, of_validation, of_test, temperatures, thresholds),
        "epochs": len(trained.history),
        "best_epoch": trained.best_epoch,
        "updates": trained.updates,
        "refitted": finished.refitted,
        "training_seconds": round(finished.seconds, 1),
        "parameters": finished.parameters,
        "precision": spec.settings.precision,
        "interrupted": trained.interrupted,
        "demo": spec.data.demo,
        "fingerprint": key,
    }
    if trained.turns:
        measured["turns"] = trained.turns
    warning = chance_warning(measured["validation"], spec.settings.learning_rate)
    if warning and not trained.interrupted:
        warn(warning)
    history = pd.DataFrame(trained.history)
    result = RunResult(history, measured, spec.data.rows("test"), of_test.calibrated, trained.interrupted)
    write_run(spec, trained, finished, result, temperatures, thresholds)
    return result


def finish_network(spec: RunSpec, trained: TrainedNetwork) -> FinishedNetwork:
    """The trained network with heads that are fitted again, where they are better, and the known-class heads.

    An interrupted training is left as it is.
    """
    data, settings, network = spec.data, spec.settings, trained.network
    features = FeatureExtractor(network, data, settings.image_size, trained.features)
    refitted: list[str] = []
    if settings.refits_heads() and not trained.interrupted:
        wide = with_multi_scale_heads(network, spec.tasks, settings)
        wide_features = FeatureExtractor(wide, data, settings.image_size)
        if refitted := refit_heads(wide, data, spec.tasks, settings.seed, wide_features, trained.earlier_heads):
            network, features = wide, wide_features
    seconds, parameters = time.perf_counter() - trained.started, network.count_params()
    if settings.painter_known and spec.keep_model and not trained.interrupted:
        network = add_known_class_heads(network, data, spec.tasks, settings.seed, features)
    return FinishedNetwork(network, refitted, seconds, parameters)


def network_outputs(spec: RunSpec, network: keras.Model, part: str, trained: TrainedNetwork) -> dict[str, np.ndarray]:
    """Outputs of every head for a part of the split, float32 (n, classes); from known features where there are any."""
    rows = spec.data.rows(part)
    if trained.features is not None:
        outputs = heads_model(network)(trained.features[rows, 0], training=False)
        return {name: np.asarray(values) for name, values in outputs.items()}
    forward = forward_function(network, spec.settings.image_size)
    return predict_in_batches(forward, spec.data.images.pixels, spec.data.image_rows[rows])


def fit_temperatures(spec: RunSpec, outputs: dict[str, np.ndarray]) -> dict[str, float]:
    """The temperature of each task, from its outputs for the validation paintings; see `calibration`."""
    rows = spec.data.rows("validation")
    return {name: round(fit_temperature(spec.data.labels[name][rows], outputs[name]), 4) for name in spec.tasks}


def calibrated(outputs: dict[str, np.ndarray], temperatures: dict[str, float]) -> Predictions:
    """The outputs of a network, and beside them the tasks' probabilities at their temperatures."""
    return Predictions(outputs, {name: apply_temperature(outputs[name], t) for name, t in temperatures.items()})


def fit_thresholds(spec: RunSpec, validation: Predictions) -> dict[str, float]:
    """For each task the score below which the label is "unknown", from the validation paintings; see `open_set`."""
    rows = spec.data.rows("validation")
    return {name: open_set.threshold(spec.data.labels[name][rows], validation.known_score(name)) for name in spec.tasks}


def evaluate(
    spec: RunSpec,
    validation: Predictions,
    test: Predictions,
    temperatures: dict[str, float],
    thresholds: dict[str, float],
) -> dict[str, Any]:
    """The metrics of the finished network, as metrics.json holds them: accuracies, calibration, open-set scores."""
    data, rows = spec.data, spec.data.rows("test")
    raw = {name: validation.outputs[name] for name in spec.tasks}
    measured: dict[str, Any] = {
        "test": metrics.all_metrics(data.labels, test.calibrated, rows, data.rows("train")),
        "validation": metrics.all_metrics(data.labels, raw, data.rows("validation"), data.rows("train")),
        "calibration": {
            name: {
                "temperature": temperatures[name],
                "error_before": calibration_error(data.labels[name][rows], test.outputs[name]),
                "error": calibration_error(data.labels[name][rows], probabilities),
                "error_by_chance": error_by_chance(data.labels[name][rows], probabilities),
            }
            for name, probabilities in test.calibrated.items()
        },
    }
    counts = training_counts(spec)
    balanced = {name: balance.balance(p, counts[name]) for name, p in test.calibrated.items()}
    measured["balanced"] = metrics.all_metrics(data.labels, balanced, rows, data.rows("train"))
    measured["unknown"] = {
        name: {
            "score": "known-class head" if known_output(name) in test.outputs else "largest probability",
            **open_set.measure_unknown(test.known_score(name), thresholds[name], *known_and_others(spec, name)),
        }
        for name in spec.tasks
    }
    return measured


def known_and_others(spec: RunSpec, name: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Which test paintings are of a task's classes, and the groups of those of something else: bool (n,) each."""
    data, rows = spec.data, spec.data.rows("test")
    known = data.known_class_task(name)[1][rows]
    if name != "painter":
        return known == 1, {"in the data": known == 0}
    trained = data.by_trained_painters()[rows]
    return known == 1, {"not in training": (known == 0) & ~trained, "in training": (known == 0) & trained}


def training_counts(spec: RunSpec) -> dict[str, list[int]]:
    """How many training paintings each class has, {task: (classes,)}."""
    labels, train = spec.data.labels, spec.data.rows("train")
    return {name: balance.class_counts(labels[name][train], len(task.classes)) for name, task in spec.tasks.items()}


def write_run(
    spec: RunSpec,
    trained: TrainedNetwork,
    finished: FinishedNetwork,
    result: RunResult,
    temperatures: dict[str, float],
    thresholds: dict[str, float],
) -> None:
    """Write network, labels, predictions and metrics; metrics.json last, for it says that the run is finished."""
    data, settings, folder, tasks = spec.data, spec.settings, spec.folder, dict(spec.tasks)
    if spec.keep_model:
        if finished.refitted and settings.ends_multi_scale():
            run.save_heads(trained.network, tasks, folder)
        save_network(finished.network, settings, folder)
        side = cache_side(settings.image_size)
        run.save_labels(
            folder,
            tasks,
            settings.image_size,
            side,
            data.demo,
            settings.views,
            temperatures,
            thresholds,
            training_counts(spec),
        )
    save_predictions(folder, data, tasks, result)
    write_json(folder / run.METRICS, result.metrics)
    if not trained.interrupted:
        checkpoint.remove(folder)
