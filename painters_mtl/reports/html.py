"""HTML pages that hold everything in themselves: templates, figures as data URLs, and how values are written there."""

import base64
import datetime
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np

from painters_mtl.common.figure_style import figure_style
from painters_mtl.common.files import atomic_write, write_text
from painters_mtl.runs import run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def write_page(file: Path, template: str, **values: Any) -> None:
    """Write a page from a template of this package; every name in the template must be among the values."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "listed": listed, "number": number_word, "interval": interval_percent}
    environment.filters |= {"picture": picture_url, "duration": duration}
    date = datetime.datetime.now().strftime("%Y-%m-%d %H:%M")
    write_text(file, environment.get_template(template).render(date=date, **values))


def save_figures(folder: Path, figures: Mapping[str, "Figure"]) -> dict[str, str]:
    """Write each figure as `figures/NAME.png` and return them as data URLs, {name: url}, to stand in a page."""
    (folder / run.FIGURES).mkdir(exist_ok=True)
    urls = {}
    with figure_style():
        for name, figure in figures.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
            with atomic_write(folder / run.FIGURES / f"{name}.png") as temporary:
                temporary.write_bytes(buffer.getvalue())
            urls[name] = _data_url("png", buffer)
    return urls


def picture_url(pixels: np.ndarray) -> str:
    """A painting, uint8 (h, w, 3), as a JPEG in a data URL."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
    return _data_url("jpeg", buffer)


def _data_url(kind: str, file: io.BytesIO) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(file.getvalue()).decode()


def percent(share: float) -> str:
    """A share from 0 to 1 as text: "71.4 %"; "-" for NaN."""
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"


def interval_percent(triple: Sequence[float]) -> str:
    """A share with its interval as text: "71.4 % (69.0 to 73.8)"."""
    mean, low, high = triple
    return percent(mean) + ("" if math.isnan(low) else f" ({100 * low:.1f} to {100 * high:.1f})")


def listed(names: Sequence[str]) -> str:
    """Names as in a sentence: "painter, style and genre"."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def number_word(number: int) -> str:
    """A number in a sentence: in a word up to ten, else in figures."""
    return NUMBERS[number] if number < len(NUMBERS) else f"{number:,}"


def duration(seconds: float) -> str:
    """A time as in a sentence: "42 seconds", "39 minutes", "3.5 hours"."""
    if seconds < 100:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 100 * 60 else f"{seconds / 3600:.1f} hours"
