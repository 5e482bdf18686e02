"""The paintings of a folder that are most like one: by the cosine of the features that the three heads share.

    python -m painters_mtl.similar monet.jpg --in FOLDER --model models/full --output similar.png
    python -m painters_mtl.similar a.jpg b.jpg train_1.zip/train_1/7.jpg --in FOLDER more.zip --count 6

Prints a table (cosine, the three labels, path) and shows the pictures on a sheet, the one asked for first; several have
a block each, one below the other. The picture itself is left out of its answer, copies of it are not. The folder's
vectors are kept in data/cache: the second question is answered at once, and only files that are new or have changed are
computed. Exit status: 0 all read, 1 some were not, 2 misuse.
"""

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from painters_mtl.common import command_line
from painters_mtl.common.errors import Unreadable, UserError, display_path

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

    from painters_mtl.inference.embeddings import Vector, Vectors

MOST = 1000  # pictures on a sheet
DOUBTFUL = 0.5  # labels that are less sure are grey
COLUMNS, SIDE, GAP, MARGIN, LINE = 6, 216, 18, 36, 18  # of the sheet, in pixels: a picture's square, a line of text
TEXT = 8 + 4 * LINE  # below a picture: its cosine and name, three labels
JPEG_SIDE = 65_500  # the most pixels that libjpeg writes
ENLARGED = 4.0  # small pictures at most
INK, GREY, PALE, ACCENT, EMPTY = "#1b1b1b", "#6b6b6b", "#a8a8a8", "#1f5fa8", "#f0f0f0"


@dataclass
class Settings:
    """What to look for, and where."""

    paths: tyro.conf.Positional[tuple[str, ...]]
    """the pictures to look for: files, members of a zip, patterns such as "*.jpg", or - for a list"""
    within: Annotated[tuple[Path, ...], tyro.conf.arg(name="in")]
    """where to look: folders (with all below them), zips or files"""
    model: Path | None = None
    """run folder of the model, such as models/full; without it the newest one in models"""
    count: int = 12
    """how many to show for each picture"""
    output: Path = Path("similar.png")
    """the sheet to write: .png or .jpg"""
    cache: Path = Path("data/cache")
    """where the vectors are kept"""


@dataclass(frozen=True)
class Match:
    """A picture that was found, and the cosine of its features with those of the one asked for."""

    cosine: float
    vector: "Vector"


def similar(settings: Settings) -> int:
    """The verb. Returns 0 when every picture was read, 1 when some were not."""
    _check(settings)
    from painters_mtl.common.files import atomic_write
    from painters_mtl.images import files as images
    from painters_mtl.images.files import images_from_arguments
    from painters_mtl.inference import embeddings
    from painters_mtl.runs.run import open_run_for_pictures

    run = open_run_for_pictures(settings.model)
    asked = images_from_arguments(settings.paths)
    files = [file for file in images.find_images(*settings.within) if not file.is_at(settings.output)]
    for found, where in ((asked, settings.paths), (files, settings.within)):
        if not found:
            raise UserError(f"there is no picture in {', '.join(map(str, where))}")
    if len(asked) * (settings.count + 1) > MOST:
        raise UserError(
            f"{len(asked):,} pictures with --count {settings.count} are more than a sheet can show ({MOST:,} in all): "
            "ask for fewer"
        )
    rows, block = -(-settings.count // COLUMNS), SIDE + TEXT + GAP
    tall = len(asked) * (max(rows, 2) * block + 2 * GAP)  # or less, where fewer are found
    if settings.output.suffix.lower() == ".jpg" and tall > JPEG_SIDE:
        raise UserError(f"--output {settings.output}: a JPEG is {JPEG_SIDE:,} pixels high at most; name a .png")
    print(f"looking for {_number(len(asked))} in {len(files):,} pictures, with {run.folder}", flush=True)
    both = embeddings.compute(run, [*asked, *files], settings.cache)
    among = replace(both, files=files)
    queries = []
    for query in both.at(range(len(asked))):
        if query.error:
            print(f"{display_path(str(query.file))} cannot be read: {query.error}", file=sys.stderr)
        else:
            queries.append(query)
    if not queries:
        raise UserError("none of the pictures to look for can be read")
    answers = nearest(queries, among, settings.count)
    for query, matches in zip(queries, answers, strict=True):
        print("\n" + table(query, matches))
    with atomic_write(settings.output) as temporary:
        sheet(queries, answers).save(temporary)
    print(f"\nwrote {settings.output} (vectors: {both.computed:,} computed now, the others from {settings.cache})")
    refused = [both.errors[file] for file in files if file in both.errors]
    if refused:
        print(
            f"{len(refused):,} pictures could not be read ({embeddings.error_rows(refused)}): "
            "python -m painters_mtl.check names them",
            file=sys.stderr,
        )
    return 1 if both.errors else 0


def _number(count: int) -> str:
    return "one picture" if count == 1 else f"{count:,} pictures"


def _check(settings: Settings) -> None:
    if not settings.paths:
        raise UserError("nothing to look for: name a picture, then --in FOLDER")
    if not settings.within:
        raise UserError("nowhere to look: name folders or zips after --in")
    command_line.check_numbers(settings, count=1)
    if settings.output.suffix.lower() not in (".png", ".jpg"):
        raise UserError(f"--output {settings.output} must end in .png or .jpg")
    if not settings.output.absolute().parent.is_dir() or settings.output.is_dir():
        raise UserError(f"--output {settings.output} cannot be written: name a file in a folder that is there")


def nearest(queries: "Sequence[Vector]", among: "Vectors", count: int = 12) -> list[list[Match]]:
    """For each query the `count` pictures with the largest cosines, the largest first; fewer where there are fewer.

    Left out are what could not be read and the query's own file, also where it is reached by another path. The vectors
    are read one after the other: memory does not grow with them, but for one float a picture and query.
    """
    import numpy as np

    from painters_mtl.inference.embeddings import embeddings_file

    wanted = np.stack([_unit(query.features) for query in queries])
    cosines = np.full((len(queries), len(among)), -np.inf, np.float32)
    for k, one in enumerate(among):
        if one.features is not None:
            cosines[:, k] = wanted @ _unit(one.features)
    answers = []
    for query, row in zip(queries, cosines, strict=True):
        own = embeddings_file(query.file)
        chosen: list[int] = []
        for k in np.argsort(-row, kind="stable"):
            if len(chosen) == count or row[k] == -np.inf:
                break
            if embeddings_file(among.files[k]) != own:
                chosen.append(int(k))
        found = zip(chosen, among.at(chosen), strict=True)
        answers.append([Match(float(row[k]), one) for k, one in found])
    return answers


def _unit(features: "np.ndarray | None") -> "np.ndarray":
    import numpy as np

    assert features is not None  # only pictures that could be read are compared
    return features / max(float(np.linalg.norm(features)), 1e-12)


def table(query: "Vector", matches: Sequence[Match]) -> str:
    """The answer as text: the picture asked for, then a line for each that was found."""
    rows = [
        ["", *query.labels, "path"],
        ["query", *(_label(*v) for v in query.labels.values()), display_path(str(query.file))],
        *(
            [f"{m.cosine:.4f}", *(_label(*v) for v in m.vector.labels.values()), display_path(str(m.vector.file))]
            for m in matches
        ),
    ]
    rows[0][0] = "cosine"
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]) - 1)]
    return "\n".join("  ".join([*map(str.ljust, row, widths), row[-1]]) for row in rows)


def _label(name: str, confidence: float) -> str:
    from painters_mtl.data.tasks import UNKNOWN

    return name if name == UNKNOWN else f"{name} {100 * confidence:.0f} %"  # it is of the class that was likeliest


# ------------------------------------------------------------------------------------------------- the sheet


def sheet(queries: "Sequence[Vector]", answers: Sequence[Sequence[Match]]) -> "Image":
    """The pictures themselves, a block for each query: it on the left, and what was found in rows of six beside it.

    An RGB picture of Pillow's. Labels that are less than 50 % sure are pale.
    """
    from PIL import Image, ImageDraw

    most = max(len(matches) for matches in answers)
    columns = max(1, min(COLUMNS, most))
    large = 2 * SIDE + GAP if most > COLUMNS else SIDE
    asked = [_thumbnail(query, large) for query in queries]
    left = MARGIN + max(SIDE, *(picture.width for picture in asked)) + 2 * GAP
    lines = [-(-len(matches) // columns) for matches in answers]
    heights = [max(n * (SIDE + TEXT + GAP), p.height + TEXT + GAP) for n, p in zip(lines, asked, strict=True)]
    width = left + columns * (SIDE + GAP) - GAP + MARGIN
    height = 2 * MARGIN + sum(heights) + 2 * GAP * (len(heights) - 1) - GAP
    image = Image.new("RGB", (width, height), "white")
    draw, top = ImageDraw.Draw(image), MARGIN
    for block, (query, picture, matches) in enumerate(zip(queries, asked, answers, strict=True)):
        if block:
            draw.line([(MARGIN, top - 2 * GAP + 6), (width - MARGIN, top - 2 * GAP + 6)], "#d8d8d8", 2)
        high = top if large > SIDE else top + SIDE - picture.height  # beside a single row its foot is in line
        image.paste(picture, (MARGIN, high))
        corner = MARGIN + picture.width + 3, high + picture.height + 3
        draw.rectangle([(MARGIN - 4, high - 4), corner], outline=ACCENT, width=3)
        _write(draw, query, MARGIN, high + picture.height, left - MARGIN - 2 * GAP, query.file.name, ACCENT)
        for k, match in enumerate(matches):
            found = _thumbnail(match.vector, SIDE)
            x, foot = left + k % columns * (SIDE + GAP), top + k // columns * (SIDE + TEXT + GAP) + SIDE
            image.paste(found, (x, foot - found.height))
            _write(draw, match.vector, x, foot, SIDE, f"{match.cosine:.3f}  {match.vector.file.name}", INK)
        top += heights[block] + 2 * GAP
    return image


def _thumbnail(one: "Vector", side: int) -> "Image":
    from PIL import Image, ImageDraw

    from painters_mtl.images import files as images

    try:
        picture = Image.fromarray(images.load_image(one.file, longest=side).pixels)
    except Unreadable:  # gone since it was computed
        picture = Image.new("RGB", (side, side), EMPTY)
        ImageDraw.Draw(picture).text((side // 2, side // 2), "no longer there", GREY, _font(), anchor="mm")
    factor = min(side / max(picture.size), ENLARGED)
    if factor <= 1:
        return picture
    return picture.resize((round(picture.width * factor), round(picture.height * factor)), Image.Resampling.BICUBIC)


def _write(draw: "ImageDraw", one: "Vector", x: int, y: int, width: int, heading: str, colour: str) -> None:
    """A picture's heading and labels, below it."""
    from painters_mtl.data.tasks import UNKNOWN

    lines = [(display_path(heading), colour, True)]
    for name, confidence in one.labels.values():
        lines.append((_label(name, confidence), GREY if confidence >= DOUBTFUL and name != UNKNOWN else PALE, False))
    for k, (text, ink, bold) in enumerate(lines):
        draw.text((x, y + 8 + k * LINE), _fitting(text, width, bold), ink, _font(bold))


@functools.cache
def _font(bold: bool = False) -> "FreeTypeFont":
    """DejaVu Sans, which comes with matplotlib."""
    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), 13)


def _fitting(text: str, width: int, bold: bool) -> str:
    """The text, shortened to a width in pixels."""
    font = _font(bold)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return command_line.run_command(Settings, similar, argv, "painters-mtl similar", __doc__)


if __name__ == "__main__":
    sys.exit(main())
