"""Figures that look the same whatever the user's own settings of Matplotlib are, with letters of every script."""

import contextlib
import functools
import io
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from painters_mtl.common.lazy_imports import import_matplotlib, muted
from painters_mtl.common.messages import warn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST_NAME = 32  # characters of a class beside an axis
# Families that hold what DejaVu Sans, Matplotlib's own font, lacks: Chinese, Japanese and Korean above all.
FALLBACK_FONTS = (
    *(f"Noto Sans CJK {region}" for region in ("JP", "SC", "TC", "KR")),
    *(f"Noto Sans {region}" for region in ("JP", "SC", "TC", "KR")),
    *("Source Han Sans", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "IPAexGothic", "IPAGothic", "TakaoGothic"),
    *("Droid Sans Fallback", "Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo", "Yu Gothic", "MS Gothic"),
    *("Microsoft YaHei", "SimHei", "Malgun Gothic", "Arial Unicode MS", "Unifont"),
)


@contextlib.contextmanager
def figure_style(settings: Mapping[str, Any] | None = None) -> Iterator[type["Figure"]]:
    """Matplotlib's `Figure`, with Matplotlib's default settings for the time of the block: draw and save inside it.

    >>> with figure_style({"font.size": 9}) as Figure:    # doctest: +SKIP
    ...     figure = Figure(figsize=(6, 4), layout="constrained")
    ...     figure.subplots().set_title("Ba$$ Painter")
    ...     figure.savefig("figure.png")

    A `Figure` made without pyplot needs no backend and no display, and is freed when the last name for it goes; as
    the value of a cell a notebook shows it. Text is drawn as it stands: a "$" in a painter's name begins no formula.
    Letters that Matplotlib's own font lacks are taken from another font of the machine; where none has them they
    become boxes, and one sentence on standard error names a font to install. Axes with a logarithmic scale need a
    plain formatter: Matplotlib labels them with formulas.

    Args:
        settings: rc settings that differ from Matplotlib's defaults.
    """
    import_matplotlib()
    from matplotlib import style

    own = {"text.parse_math": False, "font.family": ["DejaVu Sans", *_fallback_fonts()], **(settings or {})}
    with _missing_letters_in_one_sentence(), style.context(own, after_reset=True):
        yield _figure_class()


@functools.cache
def _figure_class() -> type["Figure"]:
    from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        """A figure that notebooks show also where nothing has told them how: pyplot does that, and is not used here."""

        def _repr_png_(self) -> bytes | None:
            if _are_shown_as_jpeg(type(self)):
                return None
            buffer = io.BytesIO()
            with figure_style():
                self.savefig(buffer, format="png", bbox_inches="tight")
            return buffer.getvalue()

    return NotebookFigure


def _are_shown_as_jpeg(figures: type) -> bool:
    """Whether the notebook shows such figures as JPEG by itself (%config InlineBackend.figure_format = "jpeg")."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        return False
    try:
        shell.display_formatter.formatters["image/jpeg"].lookup_by_type(figures)
    except KeyError:
        return False
    return True


@functools.cache
def _fallback_fonts() -> list[str]:
    """Those of `FALLBACK_FONTS` that this machine has."""
    with muted("matplotlib"):  # it says so when it makes its list of fonts, which takes some seconds the first time
        from matplotlib import font_manager

        families = {font.name for font in font_manager.fontManager.ttflist}
    return [name for name in FALLBACK_FONTS if name in families]


_told = False  # whether the sentence about missing letters was printed


@contextlib.contextmanager
def _missing_letters_in_one_sentence() -> Iterator[None]:
    """Print one sentence for the process instead of Matplotlib's warning for each letter that no font has."""
    global _told
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", r"(?s)Glyph .* missing from", UserWarning)
        yield
    missing = [w for w in caught if str(w.message).startswith("Glyph ")]
    for other in (w for w in caught if w not in missing):
        warnings.warn_explicit(other.message, other.category, other.filename, other.lineno, source=other.source)
    if missing and not _told:
        _told = True
        warn(
            "note: some letters in the figures are boxes, because no font of this machine has them: a font such as "
            "Noto Sans CJK helps"
        )


def shortened(text: str, length: int = LONGEST_NAME) -> str:
    """The text, cut to so many characters; the last is then an ellipsis."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
