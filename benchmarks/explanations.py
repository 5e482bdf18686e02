"""Which map of a painting can be believed? Deletion and insertion of each method's maps, beside random regions.

    python benchmarks/explanations.py models/paintings ../shared/paintings/wikiart
    python benchmarks/explanations.py models/full FOLDER --works 40 --methods levels last occlusion --cover mean

Drawn are works of the run's own test part (split.csv) that have a label for every task. Explained is the class that the
network names. Deletion: the mean probability of that class while the painting's cells are covered, those first that the
map calls most important; small is good. Insertion: the same while they are uncovered; large is good. "Stands out" is
the check that `explain` makes. A table for each task goes to the screen; all figures to a JSON with --output.
"""

import argparse
import csv
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from painters_mtl.common.lazy_imports import import_tensorflow
from painters_mtl.evaluation.faithfulness import (
    CELLS,
    STEPS,
    area,
    control_masks,
    curve_masks,
    exceeds_controls,
    log_odds,
    mean_and_interval,
    random_region,
    resample,
)
from painters_mtl.images.decode import cached_image
from painters_mtl.runs.run import Run, open_run

import_tensorflow()
from painters_mtl.inference.open_network import open_network  # noqa: E402
from painters_mtl.network.covering import BY_COVERING, masked_predictor, occlusion, rise  # noqa: E402
from painters_mtl.network.gradcam import METHODS as INSIDE  # noqa: E402
from painters_mtl.network.gradcam import explainer  # noqa: E402

AGAINST = {"levels-mean": ("levels", "mean"), "levels-logit": ("levels", "nothing")}
METHODS = (*INSIDE, *AGAINST, "occlusion", "rise")
CONTROLS = ("random regions", "the middle")
Maps = Callable[[np.ndarray, Mapping[str, int]], dict[str, np.ndarray]]  # image, classes: {task: (views, h, w)}


def drawn_works(run: Run, works: int, seed: int) -> list[str]:
    """Names of test works with a label for every task, in a random order."""
    with (run.folder / "split.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    names = [row["id"] for row in rows if all(row[name] in task.classes for name, task in run.tasks.items())]
    return list(np.random.default_rng(seed).permutation(names)[:works])


def map_functions(run: Run, network: Any, predict_masked: Callable[..., Any], methods: list[str]) -> dict[str, Maps]:
    """For each method a function to the maps of a picture."""

    def inside(method: str, against: str) -> Maps:
        explain = explainer(network, run.image_size, list(run.tasks), method, against)

        def maps(image: np.ndarray, chosen: Mapping[str, int]) -> dict[str, np.ndarray]:
            found = explain(image[None], {task: np.full(1, number, np.int32) for task, number in chosen.items()})
            return {task: found[task]["map"].numpy()[0] for task in run.tasks}

        return maps

    outside = {
        "occlusion": lambda image, chosen: occlusion(predict_masked, image, chosen),
        "rise": lambda image, chosen: rise(predict_masked, image, chosen),
    }
    return {name: outside.get(name) or inside(*AGAINST.get(name, (name, "others"))) for name in methods}


def judged(
    predict_masked: Callable[..., Any], image: np.ndarray, task: str, chosen: int, heat: np.ndarray, options: Any
) -> list:
    """Area under deletion, under insertion, and whether the map stands out (or None)."""
    deletion, insertion = curve_masks(heat, options.steps)
    # Both ends of the one are those of the other.
    masks = [deletion, insertion[1:-1]] + ([control_masks(heat, np.random.default_rng(0))] if options.checks else [])
    said = predict_masked(image, np.concatenate(masks))[task]
    curve, steps = said[:, chosen], options.steps
    down, up = curve[: steps + 1], np.concatenate([curve[steps : steps + 1], curve[steps + 1 : 2 * steps], curve[:1]])
    check = exceeds_controls(log_odds(said[2 * steps :], chosen)) if options.checks else None
    return [float(area(down)), float(area(up)), check]


def print_table(title: str, found: Mapping[str, list], seconds: Mapping[str, float]) -> None:
    """A row for each method: means with 95 % intervals."""
    print(f"\n{title}\n")
    print("| method | deletion | insertion | insertion - deletion, beyond random regions | stands out | s a picture |")
    print("|---|---|---|---|---|---|")
    of_random = np.array([row[:2] for row in found["random regions"]])
    for method, rows in found.items():
        both = np.array([row[:2] for row in rows])
        more = np.diff(both, axis=1)[:, 0] - np.diff(of_random, axis=1)[:, 0]
        texts = ["{:.3f} ± {:.3f}".format(*mean_and_interval(x)) for x in (both[:, 0], both[:, 1], more)]
        checks = [row[2] for row in rows if row[2] is not None]
        check = f"{100 * np.mean(checks):.0f} %" if checks else ""
        print(f"| {method} | {' | '.join(texts)} | {check} | {seconds.get(method, 0):.2f} |", flush=True)


def mean_of_tasks(rows: list[list]) -> list:
    """Rows (tasks, works, 3) as one for each work."""
    return [
        [float(np.mean([row[k] for row in of])) if of[0][k] is not None else None for k in range(3)]
        for of in zip(*rows, strict=True)
    ]


def main() -> None:
    """Explain, cover, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path, help="the paintings of the run")
    parser.add_argument("--works", type=int, default=40)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--cover", choices=("blur", "mean"), default="blur")
    parser.add_argument("--steps", type=int, default=STEPS, help="of a curve")
    parser.add_argument("--checks", action="store_true", help="how many maps pass the check that explain makes")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    run = open_run(options.run)
    if len(run.views) > 1:
        parser.error(f"{options.run} looks at {' and '.join(run.views)}: only runs with one view are measured")
    network = open_network(run)
    predict_masked = masked_predictor(network, run.image_size, list(run.tasks), options.cover)
    functions = map_functions(run, network, predict_masked, list(options.methods))
    rng, seconds = np.random.default_rng(options.seed), dict.fromkeys(functions, 0.0)
    found: dict[str, dict[str, list]] = {task: {m: [] for m in (*functions, *CONTROLS)} for task in run.tasks}
    place = (np.arange(CELLS) + 0.5) / CELLS - 0.5
    works = drawn_works(run, options.works, options.seed)
    for count, name in enumerate(tqdm(works, unit=" works"), 1):
        image = cached_image((options.folder / name).read_bytes(), run.cache_side, run.views)[1]
        chosen = {task: int(np.argmax(p[0])) for task, p in predict_masked(image, np.ones((1, 2, 2))).items()}
        heats = {}
        for method, function in functions.items():
            if count == 1 and method not in BY_COVERING:
                function(image, chosen)  # compiled before it is timed
            start = time.perf_counter()
            heats[method] = function(image, chosen)
            seconds[method] += time.perf_counter() - start
        for task in run.tasks:
            heat = {method: resample(maps[task][0].astype(np.float64)) for method, maps in heats.items()}
            heat |= {"random regions": random_region(rng), "the middle": -np.hypot(place[:, None], place)}
            for method, each in heat.items():
                found[task][method].append(judged(predict_masked, image, task, chosen[task], each, options))
        if options.output:
            means = {method: value / count for method, value in seconds.items()}
            options.output.write_text(json.dumps({"works": works[:count], "seconds": means, "tasks": found}))
    means = {method: value / len(works) for method, value in seconds.items()}
    for task in run.tasks:
        print_table(f"{task}, {len(works)} works, covered by {options.cover}", found[task], means)
    print_table(
        "mean of the tasks",
        {m: mean_of_tasks([of[m] for of in found.values()]) for m in (*functions, *CONTROLS)},
        means,
    )


if __name__ == "__main__":
    main()
