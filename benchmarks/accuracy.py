"""Accuracy and training seconds on real paintings, ours and a PyTorch fine-tuning, one after the other in one run.

    .venv/bin/python benchmarks/accuracy.py ../shared/paintings/pbn64 --image-size 96 --seeds 0 1 2
    .venv/bin/python benchmarks/accuracy.py ../shared/paintings/gallery --image-size 192 --seeds 0 1 2 3 4
    ... --peer PYTHON ../shared/peers/pytorch_finetune.py pbn64 --size 96 --epochs 4    (a Python with PyTorch)

On the gallery every seed is another split, so that the mean is a repeated hold-out; on the competition's layout the
test set is the competition's. The last line is the mean over the seeds, weighted by the labelled test paintings.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

TASKS = ("painter", "style", "genre")


def ours(data: Path, image_size: int, seed: int, more: list[str]) -> dict:
    """`metrics.json` of one run."""
    with tempfile.TemporaryDirectory() as models:
        command = [sys.executable, "-m", "painters_mtl.train", "--data", str(data), "--image-size", str(image_size)]
        command += ["--seed", str(seed), "--name", "run", "--models", models, "--no-baselines", *more]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(done.stdout)
        return json.loads((Path(models) / "run" / "metrics.json").read_text())


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--image-size", type=int, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--more", type=str.split, default=[], help="further options of painters_mtl.train, in quotes")
    parser.add_argument("--peer", nargs=argparse.REMAINDER, default=[])
    args = parser.parse_args()
    if args.peer:
        subprocess.run(args.peer, check=True)
    found = []
    for seed in args.seeds:
        m = ours(args.data, args.image_size, seed, args.more)
        found.append(m)
        shares = "  ".join(f"{t} {100 * m['test'][t]['accuracy']:.1f} % (n {m['test'][t]['n']})" for t in TASKS)
        print(f"seed {seed}: {shares}  {m['epochs']} epochs in {m['training_seconds']:.0f} s", flush=True)
    for task in TASKS:
        n = sum(m["test"][task]["n"] for m in found)
        right = sum(m["test"][task]["n"] * m["test"][task]["accuracy"] for m in found)
        print(f"mean {task}: {100 * right / n:.1f} %")
    print(f"mean training: {sum(m['training_seconds'] for m in found) / len(found):.0f} s")


if __name__ == "__main__":
    main()
