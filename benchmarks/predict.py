"""Pictures a second from files to labels: `predict` against the loop most people write, side by side in one run.

    python benchmarks/predict.py ../shared/paintings/originals ../shared/paintings/gallery --rounds 3

The loop: Pillow decodes the whole picture, resizes it, and `model.predict` takes batches of 32. The bound: what two
busy cores could do at best, 1 / (decoding alone + network alone), both measured here, each on all cores; the last two
columns are their pictures a second.
EfficientNet-Lite0 with three heads; weights do not change the time, so it is not trained.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from painters_mtl.common import lazy_imports
from painters_mtl.common.errors import UserError
from painters_mtl.data.tasks import Task
from painters_mtl.images import files as images
from painters_mtl.images.cache import cache_side
from painters_mtl.images.decode import cached_image
from painters_mtl.images.stream import stream_images
from painters_mtl.inference.runtime_choice import open_runtime
from painters_mtl.runs import run as runs

BATCH = 32


def run_folder(folder: Path, side: int) -> runs.Run:
    """A run with untrained weights, for pictures of this side."""
    from painters_mtl.network.multitask import build_model
    from painters_mtl.network.settings import NetworkSettings

    sizes = {"painter": 8, "style": 10, "genre": 23}
    tasks = {name: Task(name, tuple(f"{name} {k}" for k in range(n))) for name, n in sizes.items()}
    runs.save_model(build_model(tasks, NetworkSettings(image_size=side)), folder)
    runs.save_labels(folder, tasks, side, cache_side(side), False, thresholds={})
    return runs.open_run(folder)


def usual_loop(run: runs.Run) -> Callable[[list[images.ImageFile]], int]:
    """What most people write."""
    from PIL import Image

    from painters_mtl.inference.open_network import open_network

    model = open_network(run)

    def label(files: list[images.ImageFile]) -> int:
        done, batch = 0, []
        for k, file in enumerate(files, start=1):
            try:
                with Image.open(file.path) as picture:
                    batch.append(np.asarray(picture.convert("RGB").resize((run.image_size, run.image_size))))
            except OSError:
                continue
            finally:
                if batch and (len(batch) == BATCH or k == len(files)):
                    done += len(model.predict(np.stack(batch), verbose=0)["painter"])
                    batch = []
        return done

    return label


def ours(run: runs.Run, runtime: str, sample: list[images.ImageFile]) -> Callable[[list[images.ImageFile]], int]:
    """What `predict` does between the start and the writing of the table; the network is there, as in the loop."""
    forward = open_runtime(run, runtime, BATCH, sample)

    def label(files: list[images.ImageFile]) -> int:
        return sum(one.outputs is not None for one in stream_images(files, forward, run.cache_side, run.views, BATCH))

    return label


def alone(run: runs.Run, runtime: str, files: list[images.ImageFile], cores: int) -> tuple[float, float]:
    """Seconds for decoding alone, and for the network alone."""

    def decode(file: images.ImageFile) -> np.ndarray | None:
        try:
            return cached_image(file.read(), run.cache_side, run.views)[1]
        except images.Unreadable:
            return None

    start = time.perf_counter()
    with ThreadPoolExecutor(cores) as pool:
        copies = [copy for copy in pool.map(decode, files) if copy is not None]
    decoding = time.perf_counter() - start
    batches = [np.stack(copies[k : k + BATCH]) for k in range(0, len(copies), BATCH)]
    forward = open_runtime(run, runtime, BATCH)
    for batch in (batches[0], batches[-1]):
        forward(batch)
    start = time.perf_counter()
    for batch in batches:
        {name: np.asarray(values) for name, values in forward(batch).items()}
    return decoding, time.perf_counter() - start


def main() -> None:
    """Print a table for each folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runtimes", nargs="+", default=["keras", "openvino", "litert"])
    parser.add_argument("--repeat", type=int, default=4, help="how often each picture is read, so that a round lasts")
    options = parser.parse_args()
    import os

    lazy_imports.import_tensorflow()
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        run = run_folder(Path(folder), options.image_size)
        arms = {"usual loop": usual_loop(run)}
        for runtime in options.runtimes:
            try:
                arms[runtime] = ours(run, runtime, images.find_images(*options.folders)[:64])
            except UserError as error:
                print(f"{runtime} is left out: {error}")
        for place in options.folders:
            found = images.find_images(place)
            files = found * options.repeat
            seconds: dict[str, list[float]] = {name: [] for name in arms}
            parts: dict[str, list[tuple[float, float]]] = {name: [] for name in arms if name != "usual loop"}
            for _ in range(options.rounds + 1):  # the arms take turns, so that other work slows all alike
                for name, arm in arms.items():
                    start = time.perf_counter()
                    count = arm(files)
                    seconds[name].append(time.perf_counter() - start)
                for name, values in parts.items():
                    values.append(alone(run, name, files, cores))
            print(f"\n{place}: {len(found)} files, {count // options.repeat} read; round 0 warms up and is not counted")
            print(f"{'':<12}{'pictures/s':>12}{'times the loop':>16}{'of the bound':>14}{'decoding':>10}{'network':>9}")
            usual = np.median(seconds["usual loop"][1:])
            for name, values in seconds.items():
                mine = np.median(values[1:])
                share = ""
                if name in parts:
                    decoding, network = np.median(parts[name][1:], axis=0)
                    rates = f"{len(files) / decoding:>10.1f}{len(files) / network:>9.1f}"
                    share = f"{(decoding + network) / mine:>14.2f}{rates}"
                print(f"{name:<12}{len(files) / mine:>12.1f}{usual / mine:>16.2f}{share}")


if __name__ == "__main__":
    main()
