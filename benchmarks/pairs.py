"""The competition's 22 million pairs, once the pictures are encoded: seconds and memory to read, score and write them.

TensorFlow is not part of it: a head that has been learned is read from the run folder.

    python benchmarks/pairs.py                    # vectors of 199 painters, as of pbn64
    python benchmarks/pairs.py --channels 1584    # as of all painters of the competition

The table is like `submission_info.csv`: 23,817 pictures in 13 groups, all pairs within a group. The features and
the head over all painters are random; scoring does not look at what they hold.
"""

import argparse
import resource
import tempfile
import time
from itertools import combinations
from pathlib import Path

import numpy as np

from painters_mtl.inference.painter_pairs import PainterHead, score_vectors
from painters_mtl.inference.pair_scoring import PairVectors, write_scores
from painters_mtl.inference.pair_tables import read_pairs, survey_pairs
from painters_mtl.runs.run import Run

PICTURES, GROUPS, FEATURES = 23_817, 13, 2432


def write_table(file: Path, pictures: int) -> None:
    """`index,image1,image2`, as the competition has it."""
    index = 0
    with file.open("w") as out:
        out.write("index,image1,image2\n")
        for group in np.array_split(np.arange(pictures), GROUPS):
            for first, second in combinations(group.tolist(), 2):
                out.write(f"{index},{first}.jpg,{second}.jpg\n")
                index += 1


def main() -> None:
    """Print a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=199, help="painters in the head")
    parser.add_argument("--pictures", type=int, default=PICTURES)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        table, output = Path(place) / "pairs.csv", Path(place) / "submission.csv"
        write_table(table, options.pictures)
        start = time.perf_counter()
        count, names = survey_pairs(table)
        surveyed = time.perf_counter() - start
        features = rng.standard_normal((len(names), FEATURES), np.float32)
        kernel = 0.1 * rng.standard_normal((FEATURES, options.channels), np.float32)
        painters = tuple(map(str, range(options.channels)))
        head = PainterHead(kernel, np.zeros(options.channels, np.float32), 1.0, painters, {})
        start = time.perf_counter()
        vectors = score_vectors("learned", features, Run(Path(), {}, 96, 120, False, {}), head)
        pairs = read_pairs(table, {name: k for k, name in enumerate(names)})
        with output.open("w", encoding="utf-8") as out:
            write_scores(out, pairs, count, [PairVectors(vectors, {}, "learned")], [""] * len(names))
        scored = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{count:,} pairs of {len(names):,} pictures, {options.channels} channels: read in {surveyed:.0f} s, scored "
        f"and written in {scored:.0f} s; {peak:.2f} GB"
    )


if __name__ == "__main__":
    main()
