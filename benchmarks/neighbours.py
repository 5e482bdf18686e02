"""What the features of a run find: the ten nearest test works of each, and pairs by one painter; beside ImageNet's.

    python benchmarks/neighbours.py models/NAME               # on the run's own test works
    python benchmarks/neighbours.py models/NAME --part validation

For each test work the ten others with the largest cosine, near-copies left out: how many have the same painter, style
and genre (with mAP@10), and the AUC of "same painter" over all pairs. ImageNet's features are those of the same
backbone before any training on paintings, from the same maps, at the same size. The painters whom the training has
never seen are those held out for validation, and the few that are only in test.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from painters_mtl.common.lazy_imports import import_tensorflow
from painters_mtl.data.dataset import Dataset, prepare
from painters_mtl.data.tasks import TASK_NAMES
from painters_mtl.evaluation.neighbours import agreement_of_neighbours
from painters_mtl.inference.nearest import unit_vectors
from painters_mtl.inference.open_network import open_network
from painters_mtl.inference.pair_auc import auc
from painters_mtl.network.features import FeatureExtractor
from painters_mtl.network.multitask import build_model, features_model, with_multi_scale_heads
from painters_mtl.network.settings import NetworkSettings
from painters_mtl.runs.run import CONFIG, Run, open_run
from painters_mtl.runs.training_data import run_data_settings


def networks(run: Run, data: Dataset) -> dict[str, keras.Model]:
    """The run's network, and one with the same backbone as ImageNet left it."""
    settings = replace(NetworkSettings.load(run.folder / CONFIG, ignore_others=True), weights="imagenet")
    network, untrained = open_network(run), build_model(data.tasks, settings)
    widths = [features_model(each).output_shape[-1] for each in (network, untrained)]
    if widths[0] != widths[1]:  # the heads of the run read the pyramid maps too
        untrained = with_multi_scale_heads(untrained, data.tasks, settings)
    return {"ImageNet": untrained, run.folder.name: network}


def pairs_auc(vectors: np.ndarray, painters: np.ndarray) -> tuple[float, int]:
    """AUC of the cosine over all pairs of works whose painter is named (number from 0), and how many are by one."""
    vectors, painters = unit_vectors(vectors[painters >= 0]), painters[painters >= 0]
    one, other = np.triu_indices(len(painters), 1)
    scores = np.concatenate([vectors[k] @ vectors[k + 1 :].T for k in range(len(vectors))]) if len(vectors) else one
    by_one = int((painters[one] == painters[other]).sum())
    return float(auc(scores, painters[one], painters[other])[0]), by_one


def main() -> None:
    """Print a line for each network and task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, help="the paintings, if not where they were in training")
    parser.add_argument("--part", default="test", choices=("validation", "test"))
    options = parser.parse_args()
    import_tensorflow()
    run = open_run(options.run)
    data = prepare(run_data_settings(run, options.data, "name them with --data"))
    rows, validation = data.rows(options.part), data.rows("validation")
    painters = pd.factorize(data.table["painter"].replace("", None))[0]
    unseen = data.table["painter"].ne("").to_numpy() & ~data.by_trained_painters()
    groups = {
        "painters in training": rows[~unseen[rows]],
        "painters not in training": np.unique(np.concatenate([rows[unseen[rows]], validation[unseen[validation]]])),
    }
    print(f"{'features':<24}{'task':<28}{'same':>8}{'mAP@10':>9}{'works':>8}")
    for name, network in networks(run, data).items():
        features = FeatureExtractor(network, data, run.image_size)
        vectors = features.of(rows, "")[:, 0]
        for task in (t for t in TASK_NAMES if t in data.table):
            labels = pd.factorize(data.table[task].replace("", None))[0]
            same, precision = agreement_of_neighbours(vectors, labels[rows], data.groups[rows])
            works = f"{int((labels[rows] >= 0).sum()):,}"
            print(f"{name:<24}{task:<28}{100 * same:>6.1f} %{100 * precision:>7.1f} %{works:>8}", flush=True)
        for group, chosen in groups.items():
            value, by_one = pairs_auc(features.of(chosen, "")[:, 0], painters[chosen])
            print(
                f"{name:<24}AUC, {group:<28} {value:.3f}   ({len(chosen):,} works, {by_one:,} pairs by one)", flush=True
            )


if __name__ == "__main__":
    main()
