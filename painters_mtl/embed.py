"""Write a vector for each painting, the features that the tasks share: for a search or a map of your own.

    painters-mtl embed FOLDER --model models/full --output vectors.parquet
    painters-mtl embed FOLDER more.zip --output vectors.npz --map map.png --projection pca

A row for each picture, also for one that cannot be read: `path`, the label and the calibrated confidence of each task,
`error`, and `vector` (float32, a number for each feature; two pictures that look alike to the network have vectors with
a cosine near 1). `numpy.load` reads the arrays of an `.npz`; the vector of an unreadable picture is NaN there, and null
in `.parquet`. The vectors are kept in data/cache: a second run computes only those of new pictures, and a run that was
cut off goes on. `--map` draws the folder in two dimensions, a panel for each task. Exit status: 0 all read, 1 some were
not, 2 misuse.
"""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from painters_mtl.common import command_line
from painters_mtl.common.errors import UserError, count_reasons
from painters_mtl.common.messages import counted, say


@dataclass
class Settings:
    """What to embed, and where to."""

    paths: tyro.conf.Positional[tuple[str, ...]]
    """folders (with all below them), zips (read in place), files, patterns such as "*.jpg", or - for a list"""
    model: Path | None = None
    """run folder of the model, such as models/full, or paintings: the bundled model; without it the newest run
    of real paintings in models, else the bundled model"""
    output: Path = Path("vectors.npz")
    """the table to write: .npz, or .parquet, which needs pyarrow"""
    map: Path | None = None
    """also draw a map of the pictures, in which alike ones are near each other: .png, .svg or .pdf"""
    projection: Literal["tsne", "pca"] = "tsne"
    """how the map is made: tsne keeps neighbours together, pca keeps the large distances"""
    cache: Path = Path("data/cache")
    """where the vectors are kept"""
    batch_size: int = 32
    """pictures that go through the network at once"""
    threads: int = 0
    """how many pictures are decoded at once; 0: as many as there are cores"""


def embed(settings: Settings) -> int:
    """The verb. Returns 0 when every picture was read, 1 when some were not."""
    _check(settings)
    from painters_mtl.images.files import images_from_arguments, without
    from painters_mtl.inference import embeddings
    from painters_mtl.inference.vector_files import write_vectors
    from painters_mtl.runs.model_choice import open_run_for_pictures

    run = open_run_for_pictures(settings.model)
    files = images_from_arguments(settings.paths)
    if settings.map is not None:  # the map of the last time is no painting
        files = without(files, settings.map)
    if not files:
        raise UserError(f"there is no picture in {', '.join(settings.paths)}")
    say(f"{counted(len(files), 'picture')}, with {run.title}")
    vectors = embeddings.compute(run, files, settings.cache, settings.batch_size, settings.threads)
    in_cache = len(files) - vectors.computed - len(vectors.errors)
    say(f"computed {counted(vectors.computed, 'vector')}; {in_cache:,} were in the cache")
    write_vectors(vectors, settings.output)
    print(f"wrote {counted(len(files), 'row')} to {settings.output}", flush=True)
    if settings.map is not None and len(vectors.errors) < len(files):
        from painters_mtl.reports.sheets_map import write_map

        write_map(vectors, settings.map, settings.projection)
    if vectors.errors:
        reasons = count_reasons(vectors.errors.values())
        print(
            f"{counted(len(vectors.errors), 'picture')} could not be read ({reasons}): see the column error",
            file=sys.stderr,
        )
    return 1 if vectors.errors else 0


def _check(settings: Settings) -> None:
    if not settings.paths:
        raise UserError("nothing to embed: name folders, zips or files")
    command_line.check_numbers(settings, batch_size=1, threads=0)
    command_line.check_output("--output", settings.output, (".npz", ".parquet"))
    if settings.map is not None:
        command_line.check_output("--map", settings.map, (".png", ".svg", ".pdf"))
    if settings.output.suffix.lower() == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise UserError(
            f'--output {settings.output} needs pyarrow: pip install "painters-mtl[parquet]", or let it end in .npz'
        )


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return command_line.run_command(Settings, embed, argv, "painters-mtl embed", __doc__)


if __name__ == "__main__":
    sys.exit(main())
