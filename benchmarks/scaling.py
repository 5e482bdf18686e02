"""How time and memory of `check` and `predict` grow with the number of files, from 1,000 to 100,000.

    python benchmarks/scaling.py ../shared/paintings/pbn64 --model models/full

Each picture of the folder is copied as often as it takes, in folders of 1,000, so that all are files of their own.
Each command is a process of its own, as a user starts it; its time is taken with the start, which labelling a single
picture measures. The exponent between two sizes is that of time less the start: 1 is linear.
"""

import argparse
import itertools
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from painters_mtl.images import files as images

IN_FOLDER = 1000


def copies(source: list[images.ImageFile], folder: Path, number: int) -> Path:
    """So many files, each a copy of a picture of `source`."""
    for k, file in enumerate(itertools.islice(itertools.cycle(source), number)):
        place = folder / f"{k // IN_FOLDER:04d}"
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file.path, place / f"{k:06d}{Path(file.path).suffix}")
    return folder


def measured(command: list[str]) -> tuple[float, float, float]:
    """Seconds, CPU seconds and the most memory in MB that a command took."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status) not in (0, 1):  # 1: some pictures were not read
        raise SystemExit(f"{' '.join(command)} failed:\n{said.decode()}")
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    """Print a table for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="pictures to copy")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--runtime", default="openvino")
    parser.add_argument("--sizes", nargs="+", type=int, default=[1000, 10_000, 100_000])
    options = parser.parse_args()
    source = [file for file in images.find_images(options.folder) if not file.member]
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        predict = ["predict", "--model", str(options.model), "--runtime", options.runtime, "--output"]
        verbs = {"check": ["check"], "predict": [*predict, str(scratch / "labels.csv")]}
        start = {}
        one = copies(source, scratch / "1", 1)
        for verb, (module, *more) in verbs.items():
            command = [sys.executable, "-m", f"painters_mtl.{module}", str(one), *more]
            measured(command)  # exports the network, warms the disk
            start[verb] = measured(command)
        rows: dict[str, list[tuple[int, tuple[float, float, float]]]] = {verb: [] for verb in verbs}
        for number in options.sizes:
            folder = copies(source, scratch / str(number), number)
            for verb, (module, *more) in verbs.items():
                found = measured([sys.executable, "-m", f"painters_mtl.{module}", str(folder), *more])
                rows[verb].append((number, found))
                print(f"{verb} {number:,}: {found[0]:.1f} s", file=sys.stderr, flush=True)
            shutil.rmtree(folder)
    for verb, found in rows.items():
        print(f"\n{verb}, start {start[verb][0]:.1f} s, {start[verb][2]:.0f} MB")
        print(f"{'files':>10}{'seconds':>10}{'CPU s':>10}{'files/s':>10}{'MB':>8}{'exponent':>10}")
        before: tuple[int, float] | None = None
        for number, (seconds, cpu, memory) in found:
            net = max(seconds - start[verb][0], 1e-3)
            exponent = f"{math.log(net / before[1]) / math.log(number / before[0]):10.2f}" if before else ""
            print(f"{number:>10,}{seconds:>10.1f}{cpu:>10.1f}{number / net:>10.0f}{memory:>8.0f}{exponent}")
            before = (number, net)


if __name__ == "__main__":
    main()
