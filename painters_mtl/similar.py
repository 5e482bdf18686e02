"""Find the paintings of a folder that are most like one, by the cosine of the features that the tasks share.

    painters-mtl similar monet.jpg --in FOLDER --model models/full --output similar.png
    painters-mtl similar a.jpg b.jpg train_1.zip/train_1/7.jpg --in FOLDER more.zip --count 6

Prints a table (cosine, labels, path) and shows the matches on a sheet, beside the picture that was asked for; several
such pictures have a block each. A picture is no match of itself, but copies of it are. The folder's vectors are kept in
data/cache: the next question is answered at once, and only files that are new or have changed are computed. Exit
status: 0 all read, 1 some were not, 2 misuse.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from painters_mtl.common import command_line
from painters_mtl.common.errors import UserError, count_reasons, display_path
from painters_mtl.common.messages import counted, say

if TYPE_CHECKING:
    from painters_mtl.images.files import ImageFile
    from painters_mtl.inference.embeddings import Vector, Vectors
    from painters_mtl.runs.run import Run

MOST = 1000  # pictures on a sheet
JPEG_SIDE = 65_500  # the most pixels that libjpeg writes


@dataclass
class Settings:
    """What to look for, and where."""

    paths: tyro.conf.Positional[tuple[str, ...]]
    """the pictures to look for: files, members of a zip, patterns such as "*.jpg", or - for a list"""
    within: Annotated[tuple[Path, ...], tyro.conf.arg(name="in")]
    """where to look: folders (with all below them), zips or files"""
    model: Path | None = None
    """run folder of the model, such as models/full, or paintings: the bundled model; without it the newest run
    of real paintings in models, else the bundled model"""
    count: int = 12
    """how many to show for each picture"""
    output: Path = Path("similar.png")
    """the sheet to write: .png or .jpg"""
    cache: Path = Path("data/cache")
    """where the vectors are kept"""


def similar(settings: Settings) -> int:
    """The verb. Returns 0 when every picture was read, 1 when some were not."""
    _check(settings)
    from painters_mtl.common.files import atomic_write
    from painters_mtl.images.files import find_images, images_from_arguments, without
    from painters_mtl.inference import embeddings
    from painters_mtl.inference.nearest import LoadedVectors, nearest
    from painters_mtl.reports.sheets_neighbours import neighbours_sheet, neighbours_table
    from painters_mtl.runs.model_choice import open_run_for_pictures

    run = open_run_for_pictures(settings.model)
    asked = images_from_arguments(settings.paths)
    files = without(find_images(*settings.within), settings.output)
    _check_size(settings, run, asked, files)
    question = "one picture" if len(asked) == 1 else f"{len(asked):,} pictures"
    say(f"looking for {question} in {counted(len(files), 'picture')}, with {run.title}")
    vectors = embeddings.compute(run, [*asked, *files], settings.cache)
    queries = _readable(vectors, len(asked))
    matches = nearest(queries, LoadedVectors(replace(vectors, files=files)), settings.count)
    for query, own_matches in zip(queries, matches, strict=True):
        print("\n" + neighbours_table(query, own_matches))
    with atomic_write(settings.output) as temporary:
        neighbours_sheet(queries, matches).save(temporary)
    print(f"\nwrote {settings.output} (vectors: {vectors.computed:,} computed now, the others from {settings.cache})")
    unreadable = [vectors.errors[file] for file in files if file in vectors.errors]
    if unreadable:
        print(
            f"{counted(len(unreadable), 'picture')} could not be read ({count_reasons(unreadable)}): "
            "painters-mtl check names them",
            file=sys.stderr,
        )
    return 1 if vectors.errors else 0


def _readable(vectors: "Vectors", count: int) -> "list[Vector]":
    """The first `count` vectors, without those of pictures that cannot be read, which are named."""
    queries = []
    for query in vectors.at(range(count)):
        if query.error:
            print(f"{display_path(str(query.file))} cannot be read: {query.error}", file=sys.stderr)
        else:
            queries.append(query)
    if not queries:
        raise UserError("none of the pictures to look for can be read")
    return queries


def _check(settings: Settings) -> None:
    if not settings.paths:
        raise UserError("nothing to look for: name a picture, then --in FOLDER")
    if not settings.within:
        raise UserError("nowhere to look: name folders or zips after --in")
    command_line.check_numbers(settings, count=1)
    command_line.check_output("--output", settings.output, (".png", ".jpg"))


def _check_size(settings: Settings, run: "Run", asked: "list[ImageFile]", files: "list[ImageFile]") -> None:
    """Refuse a sheet without pictures, or with more than it can show. Raises `UserError`."""
    from painters_mtl.reports.sheets_neighbours import largest_height

    for images, places in ((asked, settings.paths), (files, settings.within)):
        if not images:
            raise UserError(f"there is no picture in {', '.join(map(str, places))}")
    if len(asked) * (settings.count + 1) > MOST:
        raise UserError(
            f"{len(asked):,} pictures with --count {settings.count} are more than a sheet can show ({MOST:,} in all): "
            "ask for fewer"
        )
    height = largest_height(len(asked), settings.count, len(run.tasks))
    if settings.output.suffix.lower() == ".jpg" and height > JPEG_SIDE:
        raise UserError(f"--output {settings.output}: a JPEG is {JPEG_SIDE:,} pixels high at most; name a .png")


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return command_line.run_command(Settings, similar, argv, "painters-mtl similar", __doc__)


if __name__ == "__main__":
    sys.exit(main())
