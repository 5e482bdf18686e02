"""Your own painters in a minute: five painters, a few works each, heads alone, from paintings' weights and ImageNet's.

    python benchmarks/own_painters.py ../shared/paintings/wikiart --without models/EARLIER

EARLIER is a run on the same folder. Painters are drawn among those whom it held out for validation, so that its
backbone never saw a work of theirs, and none of the eight is among them. For each draw and each number of works: a
folder's table with these works for training and all others of the five painters for the test; `train --fine-tune heads`
from either start, the same settings and seed. Printed: accuracy on the test works (mean over draws, and the standard
error of the mean), the difference, and the seconds of a training, pictures and report left out.
"""

import argparse
import logging
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from painters_mtl.common.lazy_imports import import_tensorflow
from painters_mtl.data.csv_table import read_csv

LEAST_TEST = 3  # works of a painter that must be left for the test


def held_out_works(run: Path) -> pd.DataFrame:
    """The works of the painters that a run held out for validation: columns id, painter."""
    split = read_csv(run / "split.csv", [])
    trained = set(split[split["split"] == "train"]["painter"])
    return split[(split["split"] == "validation") & ~split["painter"].isin(trained) & (split["painter"] != "")]


def draw(works: pd.DataFrame, count: int, rng: np.random.Generator) -> pd.DataFrame | None:
    """Works of five painters with their part, `count` of each painter to train; None where there are too few."""
    counts = works["painter"].value_counts()
    able = sorted(counts[counts >= count + LEAST_TEST].index)
    if len(able) < 8:  # five of fewer are nearly always the same
        return None
    parts = []
    for painter in rng.choice(able, 5, replace=False):
        own = works[works["painter"] == painter].sample(frac=1, random_state=int(rng.integers(2**31)))
        part = np.where(np.arange(len(own)) < count, "train", "test").astype(object)
        part[: max(1, count // 5)] = "validation"
        parts.append(own.assign(split=part))
    return pd.concat(parts, ignore_index=True)


def folder_of(works: pd.DataFrame, collection: Path, out: Path) -> tuple[Path, Path]:
    """A folder of links with a labels.csv, as somebody would bring it, and its split.csv."""
    data = out / "data"
    data.mkdir(parents=True)
    names = [f"{k:02d}.jpg" for k in range(len(works))]
    for name, work in zip(names, works["id"], strict=True):
        (data / name).symlink_to((collection / work).resolve())
    table = pd.DataFrame({"filename": names, "artist": works["painter"]})
    table.to_csv(data / "labels.csv", index=False)
    pd.DataFrame({"id": names, "split": works["split"]}).to_csv(out / "split.csv", index=False)
    return data, out / "split.csv"


def accuracy(works: pd.DataFrame, collection: Path, out: Path, weights: str, image_size: int) -> tuple[float, float]:
    """Accuracy on the test works and seconds of the training of the heads, which begin with `weights`."""
    from painters_mtl.data.dataset import prepare
    from painters_mtl.training.fit import fit
    from painters_mtl.training.settings import TrainSettings

    data, split = folder_of(works, collection, out)
    settings = TrainSettings(
        data=data,
        split=split,
        tasks=("painter",),
        weights=weights,
        fine_tune="heads",
        image_size=image_size,
        cache=out / "cache",
        models=out,
        name="run",
    )
    paintings = prepare(settings)
    started = time.perf_counter()
    result = fit(paintings, settings, out / "run", keep_model=False)
    return result.metrics["test"]["painter"]["accuracy"], time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--without", type=Path, required=True, help="the run whose held-out painters are drawn")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--works", type=int, nargs="+", default=[5, 10, 20], help="of each painter")
    parser.add_argument("--image-size", type=int, default=128)
    options = parser.parse_args()
    import_tensorflow()
    logging.getLogger("painters_mtl").setLevel("WARNING")
    works = held_out_works(options.without)
    print(f"{works['painter'].nunique()} held-out painters with {len(works)} works")
    print("| works each | draws | from ImageNet | from paintings | difference (s.e.) | s |", "|---" * 6 + "|", sep="\n")
    starts = ("imagenet", str(options.without / "weights.npz"))
    for count in options.works:
        rng, rows, seconds = np.random.default_rng(0), [], 0.0
        for _ in range(options.draws):
            if (drawn := draw(works, count, rng)) is None:
                break
            measured = []
            for weights in starts:
                with tempfile.TemporaryDirectory() as out:
                    right, took = accuracy(drawn, options.collection, Path(out), weights, options.image_size)
                measured.append(100 * right)
                seconds = max(seconds, took)
            rows.append(measured)
        if not rows:
            print(f"| {count} | too few held-out painters have {count + LEAST_TEST} works | | | | |")
            continue
        first, second = np.array(rows).T
        error = (second - first).std(ddof=1) / len(rows) ** 0.5
        print(
            f"| {count} | {len(rows)} | {first.mean():.1f} % | {second.mean():.1f} % | "
            f"{(second - first).mean():+.1f} ({error:.1f}) | at most {seconds:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
