"""Cross-validation of a training here and of a PyTorch fine-tuning, on the same folds, classes and test paintings.

    .venv/bin/python benchmarks/folds.py ../shared/paintings/gallery --image-size 192 --out FOLDS
    .venv/bin/python benchmarks/folds.py ../shared/paintings/gallery --image-size 192 --out FOLDS --weights paintings
    PYTHON benchmarks/folds.py FOLDS --peer ../shared/peers/pytorch_finetune.py --size 192 --epochs 8

For small collections, where one split says little. The first line makes the folds (`make_folds`: copies stay together),
leaves them in FOLDS and trains on each; the second trains on the same folds with other options of `train`; the third,
with a Python that has PyTorch, trains the peer on them: on the validation paintings too, for it has no use for them,
unless --same-paintings has it train on those alone that ours trains on. --leave-out FOLDER drops the works that are in
that collection too, by their pictures: for a start that was trained on it. Accuracy is over the test paintings of all
folds together.
"""

import argparse
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from accuracy import ours

from painters_mtl.common.files import read_if_sound

TASKS = {"painter": "artist", "style": "style", "genre": "genre"}  # ours, and the peer's names for them


MADE_FROM = "folds.json"  # beside the folds: which collection they divide, and how


def made_from(data: Path, folds: int, leave_out: Path | None) -> dict[str, str | int]:
    """What tells folds from others."""
    return {"data": str(data.resolve()), "folds": folds, "leave_out": str(leave_out.resolve()) if leave_out else ""}


def make(data: Path, image_size: int, out: Path, folds: int, leave_out: Path | None) -> list[Path]:
    """Write fold-K.csv."""
    from starts import in_both

    from painters_mtl.data.dataset import prepare
    from painters_mtl.data.split import make_folds
    from painters_mtl.training.settings import TrainSettings

    settings = TrainSettings(data=data, image_size=image_size)
    found = prepare(settings)
    table = pd.DataFrame({"id": found.table["id"], "file": found.table["file"].map(lambda p: str(Path(p).resolve()))})
    for name in TASKS:
        table[name] = found.tasks[name].decode(found.labels[name])
    left_out = np.zeros(len(table), bool)
    if leave_out is not None:
        left_out = in_both(found, leave_out, image_size, settings.cache)
        print(f"{left_out.sum():,} of {len(left_out):,} works are in {leave_out} too, and left out", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    (out / MADE_FROM).write_text(json.dumps(made_from(data, folds, leave_out)), encoding="utf-8")
    files = [out / f"fold-{k}.csv" for k in range(folds)]
    for file, split in zip(files, make_folds(found.labels, found.groups, folds), strict=True):
        table.assign(split=split)[(split != "") & ~left_out].to_csv(file, index=False)
    return files


def train(data: Path, image_size: int, files: list[Path], more: list[str]) -> None:
    """Train on each fold, print the accuracy of each and of all."""
    total: dict[str, list[float]] = {}
    for file in files:
        measured = ours(data, image_size, 0, ["--split", str(file), *more])
        add(total, {t: (m["accuracy"], m["n"]) for t, m in measured["test"].items()}, measured["training_seconds"])


def peer(out: Path, script: Path, parts: tuple[str, ...], more: list[str]) -> None:
    """Train the peer on fold-K.csv, print the accuracy of each and of all."""
    spec = importlib.util.spec_from_file_location("peer", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    total: dict[str, list[float]] = {}
    for file in sorted(out.glob("fold-*.csv")):
        table = pd.read_csv(file).rename(columns={"file": "filename", **TASKS}).assign(folder="", title="")
        table[list(TASKS.values())] = table[list(TASKS.values())].astype(object)
        train, test = table["split"].isin(parts), table["split"] == "test"
        module.tables = lambda _, table=table, train=train, test=test: (table[train], table[test])
        sys.argv = ["peer", "gallery", *more]
        lines: list[dict] = []
        module.print = lambda line, lines=lines, **_: lines.append(json.loads(line))
        module.main()
        add(total, {t: (lines[-1][c]["accuracy"], lines[-1][c]["n"]) for t, c in TASKS.items()}, lines[-1]["train_s"])


def add(total: dict[str, list[float]], fold: dict[str, tuple[float, int]], seconds: float) -> None:
    """Print a fold and the sum of all so far; `total` is {task: [right, n]}."""
    for task, (accuracy, n) in fold.items():
        total[task] = list(np.add(total.get(task, [0, 0]), [round(accuracy * n), n]))
    here = " / ".join(f"{100 * a:.1f}" for a, _ in fold.values())
    so_far = " / ".join(f"{100 * right / n:.1f} (n {n:.0f})" for right, n in total.values())
    print(f"{here} in {seconds:.0f} s; so far {so_far}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, help="paintings; with --peer what --out was")
    parser.add_argument("--image-size", type=int, default=192)
    parser.add_argument("--out", type=Path, default=Path("folds"))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--leave-out", type=Path)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--same-paintings", action="store_true")
    args, rest = parser.parse_known_args()
    if args.peer is None:
        files = sorted(args.out.glob("fold-*.csv"))
        wanted = made_from(args.folder, args.folds, args.leave_out)
        if files and (there := read_if_sound(args.out / MADE_FROM)) != wanted:
            parser.error(f"{args.out} holds folds of {there}, not of {wanted}: name another --out, or the same options")
        files = files or make(args.folder, args.image_size, args.out, args.folds, args.leave_out)
        train(args.folder, args.image_size, files, rest)
    else:
        peer(args.folder, args.peer, ("train",) if args.same_paintings else ("train", "validation"), rest)
