"""One picture to send: the painting, what speaks for one of its labels, and the likeliest classes of each task."""

import io
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from painters_mtl.common.figure_style import figure_style, shortened
from painters_mtl.page.answers import percent

WIDTH, HEIGHT, DPI = 1200, 800, 100  # pixels
TOP, HEAD, BAR_HEIGHT = 40, 82, 25  # where the answers begin; of a task what is no bar; of a bar
LINE = 140  # characters of the foot
INK, GREY, BAR, DOUBT, TRACK = "#1c1917", "#78716c", "#5b7f95", "#c08a2e", "#ece8e1"


def write_share_image(
    pixels: np.ndarray,
    overlaid: np.ndarray | None,
    explained: str,
    answers: dict[str, dict[str, Any]],
    foot: Sequence[str],
) -> bytes:
    """A PNG of 1200 x 800 pixels.

    Args:
        pixels: the painting, uint8 (h, w, 3).
        overlaid: the same under its map; None: only the painting is shown.
        explained: the label that the map is of.
        answers: of `answers.labels`.
        foot: the last lines: the file and the model, and what has to be known of them.
    """
    with figure_style({"font.size": 10}) as Figure:
        figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, facecolor="white")
        pictures = [(pixels, "the painting")]
        if overlaid is not None:
            pictures.append((overlaid, f"bright: speaks for {explained}"))
        for (shown, title), box in zip(pictures, _places(pixels.shape, len(pictures)), strict=True):
            _show(figure, shown, box[:2], box[2:], title)
        lines = [line for sentence in foot for line in textwrap.wrap(sentence, LINE)]
        room = (HEIGHT - TOP - 30 - 16 * len(lines)) / max(1, len(answers))  # for a task
        bars = max(0, int((room - HEAD) // BAR_HEIGHT))
        for number, (task, values) in enumerate(answers.items()):
            height = min(room, HEAD + BAR_HEIGHT * len(values["likeliest"]))
            _write_answer(figure, task, values, round(TOP + number * height), bars)
        for number, line in enumerate(reversed(lines)):
            figure.text(40 / WIDTH, (20 + 16 * number) / HEIGHT, line, color=GREY, fontsize=9)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _places(shape: tuple[int, ...], count: int) -> list[tuple[int, int, int, int]]:
    """(left, top, width, height) for each picture: below each other or side by side, as they become larger."""
    height, width = shape[:2]
    below = [(40, 40 + 350 * k, 580, 310) for k in range(count)]
    beside = [(40 + 300 * k, 40, 280, 640) for k in range(count)]
    if count == 1:
        return [(40, 40, 580, 680)]
    return max((below, beside), key=lambda places: min(places[0][2] / width, places[0][3] / height))


def _show(figure: Any, pixels: np.ndarray, corner: tuple[int, int], room: tuple[int, int], title: str) -> None:
    """A picture as large as the room allows, from its upper left corner, with a line below."""
    scale = min(room[0] / pixels.shape[1], room[1] / pixels.shape[0])
    size = max(1, round(scale * pixels.shape[1])), max(1, round(scale * pixels.shape[0]))
    shown = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    left, top = corner
    box = (left / WIDTH, 1 - (top + size[1]) / HEIGHT, size[0] / WIDTH, size[1] / HEIGHT)
    axis = figure.add_axes(box)
    axis.set_axis_off()
    axis.imshow(shown, aspect="auto", interpolation="none")
    figure.text(left / WIDTH, 1 - (top + size[1] + 18) / HEIGHT, shortened(title, room[0] // 7), color=GREY, fontsize=9)


def _write_answer(figure: Any, task: str, values: dict[str, Any], top: int, bars: int) -> None:
    """A task's answer and its first so many bars, from `top` on."""
    left, right = 660, WIDTH - 40
    figure.text(left / WIDTH, 1 - (top + 10) / HEIGHT, task, color=GREY, fontsize=10)
    sure = "" if values["doubtful"] else f"  {percent(values['likeliest'][0]['confidence'])}"
    doubt = " (doubtful)" if values["doubtful"] and values["answer"] != "unknown" else ""
    said = shortened(values["answer"], 36 - len(doubt + sure)) + doubt + sure
    figure.text(left / WIDTH, 1 - (top + 38) / HEIGHT, said, color=INK, fontsize=16, weight="bold")
    y = top + 56
    for label in values["likeliest"][:bars]:
        axis = figure.add_axes((left / WIDTH, 1 - (y + 22) / HEIGHT, (right - left) / WIDTH, 20 / HEIGHT))
        axis.set_axis_off()
        axis.set_xlim(0, 1)
        axis.barh(0, 1, 0.9, color=TRACK)
        axis.barh(0, label["confidence"], 0.9, color=DOUBT if values["doubtful"] else BAR, alpha=0.55)
        axis.text(0.012, 0, shortened(label["class"], 48), va="center", color=INK, fontsize=10)
        axis.text(0.988, 0, percent(label["confidence"]), va="center", ha="right", color=INK, fontsize=10)
        y += BAR_HEIGHT
