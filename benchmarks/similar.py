"""Seconds of a question to many vectors: once they are at hand, in a new process, and row by row from the cache.

    python benchmarks/similar.py --count 100000 --channels 2432

Random vectors, in a cache of their own that is removed at the end; the fastest of some questions counts. What finding
and looking up the files takes is no part of it.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from painters_mtl.common.row_cache import RowCache
from painters_mtl.data.tasks import Task
from painters_mtl.images.files import ImageFile
from painters_mtl.inference.embeddings import Vectors
from painters_mtl.inference.nearest import LoadedVectors, nearest
from painters_mtl.runs.run import Run


def written(folder: Path, count: int, channels: int) -> Vectors:
    """Vectors of files that are not there, in the cache."""
    tasks = {"painter": Task("painter", tuple("abcdefgh"))}
    run = Run(folder, tasks, 128, 144, False, {"painter": 1.0})
    cache, rng = RowCache(folder, "0" * 16), np.random.default_rng(0)
    files = [ImageFile(str(folder / f"{k:07d}.jpg")) for k in range(count)]
    contents = {file: f"{k:032x}" for k, file in enumerate(files)}
    for start in range(0, count, 2000):
        rows = rng.random((min(2000, count - start), 8 + 2 + channels), np.float32)
        cache.write({contents[file]: row for file, row in zip(files[start : start + 2000], rows, strict=True)})
    return Vectors(run, files, {}, 0, contents, cache)


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--channels", type=int, default=2432, help="of the default backbone with its pyramid maps")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        vectors = written(Path(folder), options.count, options.channels)
        queries = [next(iter(vectors.at([k]))) for k in range(options.rounds)]
        start = time.perf_counter()
        loaded = LoadedVectors(vectors)
        print(f"to keep them as one array, once: {time.perf_counter() - start:.1f} s")
        ways: dict[str, Callable[[], Vectors | LoadedVectors]] = {
            "at hand": lambda: loaded,
            "of a new process": lambda: LoadedVectors(vectors),  # as `painters-mtl similar` does
            "row by row": lambda: vectors,
        }
        for name, among in ways.items():
            seconds = []
            for query in queries:
                begin = time.perf_counter(), time.process_time()
                nearest([query], among(), 12)
                seconds.append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
            least, processor = np.min(seconds, axis=0)
            print(f"{name}: {least:.2f} s a question ({processor:.2f} s of processors), {options.count:,} vectors")


if __name__ == "__main__":
    main()
