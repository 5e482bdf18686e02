"""Figures that look the same whatever the user's own settings of Matplotlib are."""

import io
from pathlib import Path

import numpy as np
import pytest
from helpers import python
from PIL import Image

from painters_mtl.common.figure_style import figure_style

DRAW = """
import sys
from painters_mtl.common.figure_style import figure_style
with figure_style({"font.size": 9}) as Figure:
    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    axes.set_title("Ba$$ Painter, $x_1$, 100 %")
    axes.plot([1, 3, 2], label="a_b^c")
    axes.legend()
    figure.savefig(sys.argv[1], dpi=50)
print("matplotlib.pyplot" in sys.modules)
"""


def drawn(file: Path, home: Path, cwd: Path, **environment: str) -> np.ndarray:
    done = python("-c", DRAW, file, cwd=cwd, HOME=str(home), MPLCONFIGDIR=str(home / "mpl"), **environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")
    return np.asarray(Image.open(file))


@pytest.mark.slow
def test_figures_are_the_same_whatever_the_users_settings(tmp_path: Path) -> None:
    """A backend that cannot be loaded or is none, and rc files that break, enlarge and colour every figure."""
    home, here = tmp_path / "home", tmp_path / "here"
    (home / "mpl").mkdir(parents=True)
    here.mkdir()
    plain = drawn(tmp_path / "plain.png", home, here)
    missing = "module://matplotlib_inline.no_such_backend"
    for number, backend in enumerate((missing, "no backend", "TkAgg")):
        np.testing.assert_array_equal(drawn(tmp_path / f"{number}.png", home, here, MPLBACKEND=backend), plain)
    rc = home / "mpl" / "matplotlibrc"
    rc.write_text(
        "text.usetex: True\nfont.size: 30\naxes.facecolor: red\nsavefig.bbox: tight\nno.such: 1\nfont.family: X\n"
    )
    np.testing.assert_array_equal(drawn(tmp_path / "rc.png", home, here), plain)
    (here / "matplotlibrc").write_bytes(b"font.family: Andr\xe9\n")  # no UTF-8: matplotlib cannot be imported
    np.testing.assert_array_equal(drawn(tmp_path / "bytes.png", home, here), plain)


def test_the_users_own_figures_keep_their_settings() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams.copy())
    matplotlib.rcParams["font.size"] = 17.0
    try:
        with figure_style():
            assert matplotlib.rcParams["font.size"] == 10.0
        assert matplotlib.rcParams["font.size"] == 17.0
    finally:
        matplotlib.rcParams["font.size"] = before["font.size"]
    assert dict(matplotlib.rcParams.copy()) == before


def text_pixels(text: str, **options: object) -> np.ndarray:
    """A figure with nothing but a text: grey levels of where it has ink."""
    buffer = io.BytesIO()
    with figure_style() as Figure:
        figure = Figure(figsize=(2, 1), dpi=50)
        figure.text(0.1, 0.5, text, **options)
        figure.savefig(buffer)
    return np.asarray(Image.open(buffer).convert("L"))


def test_dollars_are_dollars() -> None:
    """No formula: nothing is set in italics, and what is no formula either is drawn as well."""
    assert (text_pixels("$xx$") != text_pixels("$xx$", parse_math=True)).any()
    np.testing.assert_array_equal(text_pixels("$xx$"), text_pixels(r"\$xx\$", parse_math=True))
    assert (text_pixels(r"Ba$$ Painter $\frac{") < 128).any()  # a formula that cannot be parsed would raise


def test_letters_that_no_font_has_are_told_once(tmp_path: Path) -> None:
    code = DRAW.replace("Ba$$ Painter", "\\U0010fffd").replace("a_b^c", "\\U0010fffc")
    done = python("-W", "error", "-c", code, tmp_path / "a.png")
    assert done.returncode == 0 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("note: some letters in the figures are boxes")


def test_a_notebook_that_shows_figures_as_jpeg_does_not_store_them_twice() -> None:
    shells = pytest.importorskip("IPython.core.interactiveshell")
    with figure_style() as Figure:
        figure = Figure(figsize=(1, 1))
        assert figure._repr_png_().startswith(b"\x89PNG")
        shell = shells.InteractiveShell.instance()
        try:
            assert figure._repr_png_() is not None
            jpeg = shell.display_formatter.formatters["image/jpeg"]
            jpeg.for_type(type(figure).__mro__[1], lambda figure: b"a JPEG")
            assert figure._repr_png_() is None and jpeg(figure) == b"a JPEG"
        finally:
            shells.InteractiveShell.clear_instance()
