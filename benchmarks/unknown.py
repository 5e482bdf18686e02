"""How well a run tells works outside its classes: AUROC of its scores, for each task, on its own test works.

    python benchmarks/unknown.py models/NAME --others ../shared/paintings/other_styles --squash 160

Works outside the classes are those of the test part, and for the style all pictures of --others, a folder with a
labels.csv of styles that the run has not: every second of these styles, in the order of the alphabet, for choices
("half A"), the others for the last figure ("half B"), and all together ("halves"). --squash makes its pictures what
those of the run's collection are, squares of so many pixels in JPEG, so that no score tells files instead of paintings.
"""

import argparse
import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.metrics import roc_auc_score

from painters_mtl.common.lazy_imports import import_tensorflow
from painters_mtl.data.dataset import prepare
from painters_mtl.data.tasks import known_output
from painters_mtl.evaluation.calibration import apply_temperature
from painters_mtl.evaluation.open_set import known_score
from painters_mtl.network.forward import predict_in_batches
from painters_mtl.runs.run import Run, open_run
from painters_mtl.runs.training_data import run_data_settings

QUALITY = 78  # of the JPEGs of the collection


def squashed(file: Path, squash: int, side: int) -> np.ndarray:
    """A picture as a cached image of `side`, by way of a JPEG of `squash` x `squash` where that is not 0."""
    image = Image.open(file).convert("RGB")
    if squash:
        stream = io.BytesIO()
        image.resize((squash, squash), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=QUALITY)
        image = Image.open(stream).convert("RGB")
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))


def scores(run: Run, task: str, outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The scores by name; of logits there are only those up to a constant, so the head alone stands for them."""
    probabilities = apply_temperature(outputs[task], run.temperatures[task])
    head = outputs.get(known_output(task))
    found = {"largest probability": probabilities.max(axis=1)}
    if head is not None:
        found["known-class head"] = head[:, 1]
        found["both, as predict has it"] = known_score(probabilities, head)
    return found


def main() -> None:
    """Print a line for each task, group and score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, help="the paintings, if not where they were in training")
    parser.add_argument("--others", type=Path, help="a folder of styles that the run has not")
    parser.add_argument("--squash", type=int, default=0)
    options = parser.parse_args()
    import_tensorflow()
    from painters_mtl.inference.runtimes import keras_forward

    run = open_run(options.run)
    if len(run.views) > 1:
        parser.error(f"{options.run} looks at {' and '.join(run.views)}: only runs with one view are measured")
    data = prepare(run_data_settings(run, options.data, "name them with --data"))
    forward, rows = keras_forward(run), data.rows("test")
    tested = predict_in_batches(forward, data.images.pixels, data.image_rows[rows])
    groups: dict[str, dict[str, tuple[dict[str, np.ndarray], np.ndarray]]] = {}
    for task in run.tasks:
        others = data.known_class_task(task)[1][rows] == 0
        groups[task] = {"test": (tested, np.flatnonzero(others))}
    if options.others and "style" in run.tasks:
        table = pd.read_csv(options.others / "labels.csv", dtype=str, keep_default_na=False)
        pixels = np.stack([squashed(options.others / f, options.squash, run.cache_side) for f in table["filename"]])
        outputs = predict_in_batches(forward, pixels, np.arange(len(pixels)))
        for half, names in zip("AB", (sorted(set(table["style"]))[k::2] for k in (0, 1)), strict=True):
            groups["style"][f"half {half}"] = (outputs, np.flatnonzero(table["style"].isin(names)))
        groups["style"]["halves"] = (outputs, np.arange(len(pixels)))
    for task, of_task in groups.items():
        known = np.flatnonzero(data.labels[task][rows] >= 0)
        for group, (outputs, chosen) in of_task.items():
            if not len(chosen):
                continue
            outside = scores(run, task, outputs)
            for name, values in scores(run, task, tested).items():
                both = np.concatenate([values[known], outside[name][chosen]])
                auroc = roc_auc_score(np.arange(len(both)) < len(known), both)
                print(
                    f"{task:<9}{group:<8}{name:<26}{auroc:.3f}   ({len(known):,} against {len(chosen):,})", flush=True
                )


if __name__ == "__main__":
    main()
