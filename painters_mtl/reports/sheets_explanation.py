"""A sheet that explains the labels of one painting: the painting beside a map for each head."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from painters_mtl.common.figure_style import figure_style
from painters_mtl.data.tasks import UNKNOWN, Task, known_output
from painters_mtl.evaluation.calibration import apply_temperature
from painters_mtl.evaluation.open_set import known_score

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from painters_mtl.images.stream import ImageOutput
    from painters_mtl.runs.run import Run

SIDE, DPI = 380, 100  # of a square panel, in pixels of the PNG; others have the same area
LONGEST = 1.8 * SIDE  # of any panel
GAP, LINE, FOOT = 22, 18, 66  # in pixels; the foot has room for what is said under a map
UNPROVEN = "covering the bright cells changes the answer no more than covering others"
INK, GREY = "#1a1a1a", "#6a6a6a"


@dataclass(frozen=True)
class Panel:
    """One map of a sheet."""

    title: str  # its first line is the task's name
    heat: np.ndarray | None  # float (h, w) in 0 to 1; None: the head does not see this view
    note: str = ""  # what has to be known of the map; written under it


@dataclass(frozen=True)
class PanelRow:
    """What the network saw of the painting, and the map of each head over it."""

    picture: np.ndarray  # uint8 (h, w, 3), in its own aspect
    panels: list[Panel]


def panel_rows(run: "Run", tasks: Mapping[str, Task], output: "ImageOutput", pixels: np.ndarray) -> list[PanelRow]:
    """A row for each view that the network has of one painting, for `explanation_sheet`.

    Args:
        output: of `gradcam.explainer`, under names such as "painter map"; with two views, "cached image" too;
            "painter stands out", bool, where the map was checked (`covering.maps_exceed_controls`).
        pixels: the painting, uint8 (h, w, 3).
    """
    from painters_mtl.evaluation.heatmaps import normalized

    assert output.outputs is not None
    pictures = [pixels]
    if len(run.views) > 1:
        pictures.append(_detail(output.outputs["cached image"][1], run.image_size))
    rows = [PanelRow(picture, []) for picture in pictures]
    for name, task in tasks.items():
        title = _title(run, task, output.outputs)
        heats = normalized(output.outputs[f"{name} map"][None])[0]
        sees = output.outputs[f"{name} sees"]
        for k, row in enumerate(rows):
            # A head in which nothing moves at all is shown its whole picture, with an empty map.
            heat = heats[k] if sees[k] or (k == 0 and not sees.any()) else None
            seen = [j for j in range(len(rows)) if sees[j]] or [0]
            proven = output.outputs.get(f"{name} stands out", True) or not heats.any() or k != seen[-1]
            row.panels.append(Panel(title, heat, "" if proven else UNPROVEN))
    return rows


def _detail(image: np.ndarray, image_size: int) -> np.ndarray:
    """The middle of a painting as the network sees it: uint8 (image_size, image_size, 3)."""
    from painters_mtl.network.forward import center_crops

    return np.rint(center_crops(image[None], image_size).numpy()[0]).astype(np.uint8)


def _title(run: "Run", task: Task, outputs: Mapping[str, np.ndarray]) -> str:
    """The class that is explained and its confidence; the likeliest class where it is another; "unknown"."""
    name, chosen = task.name, int(outputs[f"{task.name} class"])
    probabilities = apply_temperature(outputs[f"{name} probabilities"][None], run.temperatures[name])[0]
    title = f"{name}\n{task.classes[chosen]}  {100 * probabilities[chosen]:.1f} %"
    likeliest = int(probabilities.argmax())
    if likeliest != chosen:
        title += f"\nlikeliest: {task.classes[likeliest]}  {100 * probabilities[likeliest]:.1f} %"
    score = known_score(probabilities, outputs.get(f"{known_output(name)} probabilities"))
    if name == "painter" and run.unknown(name, score):
        title += f"\npredict says: {UNKNOWN}"
    return title


def write_explanation_sheet(file: "Path", rows: Sequence[PanelRow], name: str, method: str) -> None:
    """Write the sheet of one painting, a PNG; arguments as for `explanation_sheet`."""
    with figure_style():
        sheet = explanation_sheet(rows, name, method)
        sheet.savefig(file, format="png", metadata={"Software": None}, pil_kwargs={"compress_level": 3})


def explanation_sheet(rows: Sequence[PanelRow], name: str = "", method: str = "HiResCAM") -> "Figure":
    """The painting and its maps side by side: a matplotlib figure, which a notebook shows.

    Args:
        rows: one for a network with one view; one with two has the detail in the second.
        name: of the painting, written above it.
        method: what made the maps, for the line below.

    >>> explanation_sheet([PanelRow(pixels, [Panel("painter\\nClaude Monet  71.0 %", heat)])], "lilies.jpg")
    """
    sizes = [panel_size(*row.picture.shape[1::-1]) for row in rows]
    column = max(SIDE * 3 // 4, *(width for width, _ in sizes))  # room for a title
    titles = [_titles(row, name if k == 0 else "", column) for k, row in enumerate(rows)]
    heads = [LINE * max(map(len, title)) + GAP for title in titles]
    notes = [max((len(_lines_of_note(panel, column)) for panel in row.panels), default=0) for row in rows[:-1]]
    feet = [*(LINE * lines + GAP if lines else 0 for lines in notes), 0]  # below the last row there is room
    height = sum(heads) + sum(height for _, height in sizes) + sum(feet) + FOOT
    canvas = _Canvas(GAP + max(map(len, titles)) * (column + GAP), height)
    ends = np.cumsum([head + size[1] + foot for head, size, foot in zip(heads, sizes, feet, strict=True)])
    bottoms = (ends - feet).tolist()
    for row, size, lines, bottom in zip(rows, sizes, titles, bottoms, strict=True):
        _draw_row(canvas, row, size, lines, bottom - size[1], column)
    cells = next((panel.heat.shape for row in rows for panel in row.panels if panel.heat is not None), None)
    if cells is not None:
        note = f"{method}: bright speaks for the class; each to its own scale; {cells[1]} x {cells[0]} cells"
        canvas.write(GAP, height - 6, note, GREY, 8.5)
    return canvas.figure


def _titles(row: PanelRow, name: str, column: int) -> list[list[str]]:
    """The lines above the picture and above each panel, as wide as a column."""
    above_picture = [_shortened(name)] if name else ["detail", "the middle, pixel for pixel"]
    texts = [above_picture, *(panel.title.split("\n") for panel in row.panels)]
    return [[text[0], *(line for long in text[1:] for line in textwrap.wrap(long, column // 9))] for text in texts]


def _lines_of_note(panel: Panel, column: int) -> list[str]:
    """The lines below a map, as wide as a column."""
    return textwrap.wrap(panel.note, column // 7)


def _draw_row(
    canvas: "_Canvas", row: PanelRow, size: tuple[int, int], titles: list[list[str]], top: int, column: int
) -> None:
    """Draw the picture and its panels, with their titles above `top`."""
    from PIL import Image

    from painters_mtl.evaluation.heatmaps import overlay, upsampled

    pixels = np.asarray(Image.fromarray(row.picture).resize(size, Image.Resampling.LANCZOS))
    for place, lines in enumerate(titles):
        left = GAP + place * (column + GAP)
        for n, line in enumerate(reversed(lines)):
            small = n == len(lines) - 1  # the first: a task's name, or the picture's
            canvas.write(left, top - 6 - LINE * n, line, GREY if small else INK, 9.5 if small else 11)
        heat = row.panels[place - 1].heat if place else None
        if place == 0:
            canvas.show(left, top, pixels)
        elif heat is None:
            canvas.write(left, top + LINE, "this head does not see this view", GREY, 9.5)
        else:
            canvas.show(left, top, overlay(pixels, upsampled(heat, *size)))
            for n, line in enumerate(_lines_of_note(row.panels[place - 1], column)):
                canvas.write(left, top + size[1] + 4 + LINE * (n + 1), line, INK, 9)
            if not heat.any():
                canvas.write(left + 8, top + 8 + LINE, "nothing here speaks for it", "white", 9.5)


class _Canvas:
    """A matplotlib figure of so many pixels, with pixels as coordinates, from the upper left."""

    def __init__(self, width: int, height: int) -> None:
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")

    def write(self, x: float, y: float, text: str, color: str, size: float) -> None:
        """A line of text that ends above y."""
        place = x / self.width, 1 - y / self.height
        self.figure.text(*place, text, parse_math=False, va="bottom", color=color, fontsize=size)

    def show(self, x: float, y: float, pixels: np.ndarray) -> None:
        """A picture, uint8 (h, w, 3), pixel for pixel."""
        height, width = pixels.shape[:2]
        box = (x / self.width, 1 - (y + height) / self.height, width / self.width, height / self.height)
        axis = self.figure.add_axes(box)
        axis.set_axis_off()
        axis.imshow(pixels, aspect="auto", interpolation="none")


def panel_size(width: int, height: int) -> tuple[int, int]:
    """Pixels of a panel: the picture's aspect and the area of SIDE x SIDE, as far as LONGEST allows."""
    factor = min(SIDE / (width * height) ** 0.5, LONGEST / max(width, height))
    return max(1, round(factor * width)), max(1, round(factor * height))


def _shortened(name: str, longest: int = 40) -> str:
    return name if len(name) <= longest else f"{name[: longest // 2]}…{name[-longest // 2 + 1 :]}"
