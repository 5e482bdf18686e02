"""A sheet of pictures and what is most like them: drawn with Pillow, a block for each picture that was asked for."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from painters_mtl.common.errors import Unreadable, display_path
from painters_mtl.common.lazy_imports import import_matplotlib
from painters_mtl.data.tasks import UNKNOWN
from painters_mtl.images.files import load_image

if TYPE_CHECKING:
    from painters_mtl.inference.embeddings import Vector
    from painters_mtl.inference.nearest import Match

DOUBTFUL = 0.5  # labels that are less sure are pale
COLUMNS, SIDE, GAP, MARGIN, LINE = 6, 216, 18, 36, 18  # in pixels: a picture's square, a line of text
ENLARGED = 4.0  # small pictures at most
INK, GREY, PALE, ACCENT, EMPTY = "#1b1b1b", "#6b6b6b", "#a8a8a8", "#1f5fa8", "#f0f0f0"


def labelled(name: str, confidence: float) -> str:
    """A class as it is shown: "Claude Monet 71 %". The confidence is of the likeliest class: "unknown" has none."""
    return name if name == UNKNOWN else f"{name} {100 * confidence:.0f} %"


def neighbours_table(query: "Vector", matches: Sequence["Match"]) -> str:
    """The matches as text: the picture that was asked for, then a line for each one that is like it."""
    rows = [
        ["cosine", *query.labels, "path"],
        ["query", *(labelled(*label) for label in query.labels.values()), display_path(str(query.file))],
    ]
    for match in matches:
        labels = [labelled(*label) for label in match.vector.labels.values()]
        rows.append([f"{match.cosine:.4f}", *labels, display_path(str(match.vector.file))])
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]) - 1)]
    return "\n".join("  ".join([*map(str.ljust, row, widths), row[-1]]) for row in rows)


def largest_height(queries: int, matches: int, tasks: int) -> int:
    """Pixels that a sheet of so many queries can be high, with so many matches for each."""
    rows = max(-(-matches // COLUMNS), 2)
    return queries * (rows * (SIDE + _text_height(tasks) + GAP) + 2 * GAP)


def neighbours_sheet(queries: Sequence["Vector"], matches: Sequence[Sequence["Match"]]) -> Image.Image:
    """The pictures themselves, a block for each query: it on the left, and its matches in rows of six beside it.

    An RGB picture of Pillow's. Labels that are less than 50 % sure are pale.
    """
    layout = _Layout.of(queries, matches)
    pictures = [_thumbnail(query, layout.large) for query in queries]
    left = MARGIN + max(SIDE, *(picture.width for picture in pictures)) + 2 * GAP
    rows = [-(-len(each) // layout.columns) for each in matches]
    heights = [
        max(n * (SIDE + layout.text + GAP), picture.height + layout.text + GAP)
        for n, picture in zip(rows, pictures, strict=True)
    ]
    width = left + layout.columns * (SIDE + GAP) - GAP + MARGIN
    height = 2 * MARGIN + sum(heights) + 2 * GAP * (len(heights) - 1) - GAP
    sheet = Image.new("RGB", (width, height), "white")
    draw, top = ImageDraw.Draw(sheet), MARGIN
    for block, (query, picture) in enumerate(zip(queries, pictures, strict=True)):
        if block:
            draw.line([(MARGIN, top - 2 * GAP + 6), (width - MARGIN, top - 2 * GAP + 6)], "#d8d8d8", 2)
        high = top if layout.large > SIDE else top + SIDE - picture.height  # beside a single row its foot is in line
        sheet.paste(picture, (MARGIN, high))
        corner = MARGIN + picture.width + 3, high + picture.height + 3
        draw.rectangle([(MARGIN - 4, high - 4), corner], outline=ACCENT, width=3)
        _write(draw, query, (MARGIN, high + picture.height), left - MARGIN - 2 * GAP, query.file.name, ACCENT)
        for k, match in enumerate(matches[block]):
            x = left + k % layout.columns * (SIDE + GAP)
            foot = top + k // layout.columns * (SIDE + layout.text + GAP) + SIDE
            thumbnail = _thumbnail(match.vector, SIDE)
            sheet.paste(thumbnail, (x, foot - thumbnail.height))
            _write(draw, match.vector, (x, foot), SIDE, f"{match.cosine:.3f}  {match.vector.file.name}", INK)
        top += heights[block] + 2 * GAP
    return sheet


@dataclass(frozen=True)
class _Layout:
    columns: int  # of matches
    large: int  # pixels of the longer side of a query
    text: int  # pixels below a picture: a heading, and a line for each task

    @classmethod
    def of(cls, queries: Sequence["Vector"], matches: Sequence[Sequence["Match"]]) -> "_Layout":
        most = max(len(each) for each in matches)
        text = _text_height(max(len(query.labels) for query in queries))
        return cls(max(1, min(COLUMNS, most)), 2 * SIDE + GAP if most > COLUMNS else SIDE, text)


def _text_height(tasks: int) -> int:
    return 8 + (1 + tasks) * LINE


def _thumbnail(vector: "Vector", side: int) -> Image.Image:
    """The picture, its longer side so many pixels; small ones are enlarged."""
    try:
        picture = Image.fromarray(load_image(vector.file, longest=side).pixels)
    except Unreadable:  # gone since its vector was computed
        picture = Image.new("RGB", (side, side), EMPTY)
        ImageDraw.Draw(picture).text((side // 2, side // 2), "no longer there", GREY, _font(), anchor="mm")
    factor = min(side / max(picture.size), ENLARGED)
    if factor <= 1:
        return picture
    size = round(picture.width * factor), round(picture.height * factor)
    return picture.resize(size, Image.Resampling.BICUBIC)


def _write(
    draw: ImageDraw.ImageDraw, vector: "Vector", place: tuple[int, int], width: int, heading: str, colour: str
) -> None:
    """A picture's heading and labels, below it."""
    lines = [(display_path(heading), colour, True)]
    for name, confidence in vector.labels.values():
        sure = confidence >= DOUBTFUL and name != UNKNOWN
        lines.append((labelled(name, confidence), GREY if sure else PALE, False))
    for k, (text, ink, bold) in enumerate(lines):
        draw.text((place[0], place[1] + 8 + k * LINE), _fitting(text, width, bold), ink, _font(bold))


@functools.cache
def _font(bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(import_matplotlib().get_data_path()) / "fonts" / "ttf" / name), 13)


def _fitting(text: str, width: int, bold: bool) -> str:
    """The text, shortened to a width in pixels."""
    font = _font(bold)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
