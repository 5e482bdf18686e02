"""Your own painters in a minute: five painters, a few works each, heads alone, from paintings' weights and ImageNet's.

    python benchmarks/own_painters.py ../shared/paintings/pbn64 --never-in ../shared/paintings/wikiart --image-size 64
    python benchmarks/own_painters.py ../shared/paintings/wikiart --without models/EARLIER

The first line draws painters of whom the collection of the bundled model has no work, and starts from that model.
EARLIER is a run on the same folder: painters are drawn among those whom it held out for validation, so that its
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
from painters_mtl.data.catalog import read_catalog
from painters_mtl.data.csv_table import read_csv
from painters_mtl.data.values import name_key
from painters_mtl.training.start_weights import PAINTINGS

LEAST_TEST = 3  # works of a painter that must be left for the test


def held_out_works(run: Path, collection: Path) -> pd.DataFrame:
    """The works of the painters that a run held out for validation: columns file, painter."""
    split = read_csv(run / "split.csv", [])
    trained = set(split[split["split"] == "train"]["painter"])
    held_out = split[(split["split"] == "validation") & ~split["painter"].isin(trained) & (split["painter"] != "")]
    return held_out.assign(file=[collection / name for name in held_out["id"]])


def works_of_others(collection: Path, other: Path) -> pd.DataFrame:
    """The works of the painters of whom another collection has none: columns file, painter."""
    table, known = read_catalog(collection).table, set(read_catalog(other).table["painter"])
    names = {name_key(name) for name in known}
    return table[(table["painter"] != "") & ~table["painter"].map(name_key).isin(names)]


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


def folder_of(works: pd.DataFrame, out: Path) -> tuple[Path, Path]:
    """A folder of links with a labels.csv, as somebody would bring it, and its split.csv."""
    data = out / "data"
    data.mkdir(parents=True)
    names = [f"{k:02d}.jpg" for k in range(len(works))]
    for name, file in zip(names, works["file"], strict=True):
        (data / name).symlink_to(Path(file).resolve())
    table = pd.DataFrame({"filename": names, "artist": works["painter"]})
    table.to_csv(data / "labels.csv", index=False)
    pd.DataFrame({"id": names, "split": works["split"]}).to_csv(out / "split.csv", index=False)
    return data, out / "split.csv"


def accuracy(works: pd.DataFrame, out: Path, weights: str, image_size: int) -> tuple[float, float]:
    """Accuracy on the test works and seconds of the training of the heads, which begin with `weights`."""
    from painters_mtl.data.dataset import prepare
    from painters_mtl.training.fit import fit
    from painters_mtl.training.settings import TrainSettings

    data, split = folder_of(works, out)
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
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("--without", type=Path, help="the run whose held-out painters are drawn")
    whose.add_argument("--never-in", type=Path, help="the collection that has no work of the painters who are drawn")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--works", type=int, nargs="+", default=[5, 10, 20], help="of each painter")
    parser.add_argument("--image-size", type=int, default=128)
    options = parser.parse_args()
    import_tensorflow()
    logging.getLogger("painters_mtl").setLevel("WARNING")
    if options.without:
        works, paintings = held_out_works(options.without, options.collection), str(options.without / "weights.npz")
    else:
        works, paintings = works_of_others(options.collection, options.never_in), PAINTINGS
    print(f"{works['painter'].nunique()} painters with {len(works)} works to draw from", flush=True)
    print("| works each | draws | from ImageNet | from paintings | difference (s.e.) | s |", "|---" * 6 + "|", sep="\n")
    starts = ("imagenet", paintings)
    for count in options.works:
        rng, rows, seconds = np.random.default_rng(0), [], 0.0
        for _ in range(options.draws):
            if (drawn := draw(works, count, rng)) is None:
                break
            measured = []
            for weights in starts:
                with tempfile.TemporaryDirectory() as out:
                    right, took = accuracy(drawn, Path(out), weights, options.image_size)
                measured.append(100 * right)
                seconds = max(seconds, took)
            rows.append(measured)
        if not rows:
            print(f"| {count} | too few of these painters have {count + LEAST_TEST} works | | | | |")
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
