"""Figures of a run: names are text, sizes are bounded, and what is drawn is what was counted."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_results import collection, result
from PIL import Image

from painters_mtl.common.figure_style import figure_style
from painters_mtl.evaluation.metrics import confusion
from painters_mtl.reports import figures
from painters_mtl.reports.html import save_figures

NAMES = ("Ba$$ Painter", "$_{x}$ \\frac", "張大千", "<b>&amp;")


def texts(figure: object) -> list[str]:
    """All text in a figure."""
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text)]  # type: ignore[attr-defined]


def test_names_are_drawn_as_they_stand(tmp_path: Path) -> None:
    """A name with two dollars is no formula: Matplotlib would end with an error, or draw another name."""
    data = collection({"painter": NAMES, "school": ("a$b$c", "d")}, painters=4)
    training = result(data, ["painter", "school"], 0.6)
    training.metrics["calibration"] = {name: {"temperature": 1.5} for name in training.test_probabilities}
    drawn = figures.figures_of_run(data, training)
    urls = save_figures(tmp_path, drawn)
    panels = {f"{figure}_{task}" for figure in ("confusion", "reliability") for task in ("painter", "school")}
    assert set(urls) == {"loss", "accuracy", *panels}
    assert set(NAMES) <= set(texts(drawn["confusion_painter"]))
    shown = figures.examples(data, training)
    assert any(text.startswith("Ba$$ Painter ") for text in texts(figures.contact_sheet(shown)))
    for name in urls:
        assert Image.open(tmp_path / "figures" / f"{name}.png").size[0] > 200


def test_a_confusion_matrix_shows_its_counts() -> None:
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(-1, 5, 300), rng.integers(5, size=300)
    figure = figures.confusion_figure(labels, predicted, tuple("abcde"))
    counts = confusion(labels, predicted, 5)
    axis = figure.axes[0]
    cells = {(round(t.get_position()[1]), round(t.get_position()[0])): int(t.get_text()) for t in axis.texts}
    assert cells == {(i, j): counts[i, j] for i, j in zip(*np.nonzero(counts), strict=True)}
    assert [label.get_text() for label in axis.get_yticklabels()] == list("abcde")


def test_of_many_classes_the_most_confused_are_shown_and_no_painting_is_lost() -> None:
    """Of 200 classes, 3 and 150 are taken for each other twenty times; all others are right, or confused once."""
    labels = np.r_[np.full(20, 3), np.full(20, 150), np.arange(200), np.arange(200)]
    predicted = np.r_[np.full(20, 150), np.full(20, 3), np.arange(200), (np.arange(200) + 1) % 200]
    axis = figures.confusion_figure(labels, predicted, [f"class {k}" for k in range(200)]).axes[0]
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert len(names) == figures.MOST_CLASSES + 1 and names[-1] == "the other 170 classes"
    one, other = names.index("class 3"), names.index("class 150")
    cells = {(round(t.get_position()[1]), round(t.get_position()[0])): int(t.get_text()) for t in axis.texts}
    assert cells[one, other] == cells[other, one] == 20
    assert sum(cells.values()) == len(labels)


DRAW = """
import json, resource, sys
import numpy as np
from painters_mtl.reports.figures import confusion_figure
from painters_mtl.reports.comparison_figures import f1_figure
from painters_mtl.reports.html import save_figures
from pathlib import Path
rng = np.random.default_rng(0)
peaks = []
for n in (20, 600, 1584):
    labels, predicted = rng.integers(n, size=20_000), rng.integers(n, size=20_000)
    names = [f"Painter of number {k}" for k in range(n)]
    f1 = {"alone": rng.random(n).tolist(), "shared": rng.random(n).tolist()}
    drawn = {f"c{n}": confusion_figure(labels, predicted, names), f"f{n}": f1_figure(f1, names)}
    save_figures(Path(sys.argv[1]), drawn)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
print(json.dumps(peaks))
"""


def test_memory_and_size_do_not_grow_with_the_classes(tmp_path: Path) -> None:
    """The competition has 1,584 painters; their whole matrix as a figure would take far more than 17 GB."""
    done = subprocess.run([sys.executable, "-c", DRAW, tmp_path], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    few, many, most = json.loads(done.stdout.splitlines()[-1])
    assert most - few < 150 * 2**20 and many - few < 150 * 2**20
    sizes = {n: Image.open(tmp_path / "figures" / f"c{n}.png").size for n in (600, 1584)}
    assert max(sizes[1584]) < 2_000 and max(Image.open(tmp_path / "figures" / "f1584.png").size) < 2_000


def test_long_names_are_shortened_also_without_spaces() -> None:
    assert figures.shortened("Ukiyo-e") == "Ukiyo-e"
    assert figures.shortened("張" * 40, 10) == "張" * 9 + "…"
    assert figures.shortened("one two three", 8) == "one two…"


def test_tasks_with_underscores_keep_their_names_in_the_figures() -> None:
    columns = ["loss", "art_school_loss", "val_art_school_accuracy", "val_score", "cosine_art_school_year_of_birth"]
    history = pd.DataFrame({"epoch": [1, 2], **dict.fromkeys(columns, (0.2, 0.1))})
    assert figures.has_conflicts(history) and not figures.has_conflicts(history[["epoch", "loss"]])
    labels = [
        line.get_label() for line in figures.conflict_figure(history, ["art_school", "year_of_birth"]).axes[0].lines
    ]
    assert labels[0] == "art_school and year_of_birth"
    labels = {
        name: [line.get_label() for line in figure.axes[0].lines]
        for name, figure in figures.training_figures(history).items()
    }
    assert labels == {"loss": ["all weighted", "art school"], "accuracy": ["art_school", "mean"]}


def test_a_label_below_a_painting_is_right_wrong_or_cannot_be_judged() -> None:
    data = collection({"style": ("Rococo", "Baroque")})
    training = result(data, ["style"], 0.5)
    shown = figures.examples(data, training)
    kinds = {kind: text for one in shown for text, kind in one.lines}
    assert len(shown) == figures.SHOWN and set(kinds) == {"right", "wrong", "no-label"}
    assert "(" in kinds["wrong"] and "(" not in kinds["right"] and "(" not in kinds["no-label"]


def test_figures_of_a_page_are_readable_on_a_telephone() -> None:
    """No wider than five inches, so that letters of 8 points are still 8 pixels high on 390 pixels."""
    data = collection({"school": ("a", "b"), "style": ("c", "d")})
    training = result(data, ["school", "style"], 0.6)
    training.metrics["calibration"] = {name: {"temperature": 1.5} for name in training.test_probabilities}
    drawn = figures.figures_of_run(data, training)
    assert all(figure.get_figwidth() < 5 for figure in drawn.values())


@pytest.fixture
def foreign_settings(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment whose Matplotlib settings would end every figure: no such backend, and LaTeX for all text."""
    (tmp_path / "matplotlibrc").write_text("backend: TkAgg\ntext.usetex: True\nsavefig.format: pdf\n")
    yield {"MATPLOTLIBRC": str(tmp_path / "matplotlibrc"), "MPLBACKEND": "module://no_such.backend"}


def test_the_users_matplotlib_settings_do_not_reach_the_figures(
    tmp_path: Path, foreign_settings: dict[str, str]
) -> None:
    for name, environment in (("own", {}), ("foreign", foreign_settings)):
        (tmp_path / name).mkdir()
        done = subprocess.run(
            [sys.executable, "-c", DRAW.replace("(20, 600, 1584)", "(20,)"), tmp_path / name],
            capture_output=True, text=True, timeout=300, env={**os.environ, **environment},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "own/figures/c20.png").read_bytes() == (tmp_path / "foreign/figures/c20.png").read_bytes()


def test_figures_are_drawn_with_the_programs_settings_whatever_the_notebook_has(tmp_path: Path) -> None:
    import matplotlib

    labels = np.arange(40) % 4
    before = save_figures(tmp_path, {"a": figures.confusion_figure(labels, labels, NAMES)})
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        assert save_figures(tmp_path, {"a": figures.confusion_figure(labels, labels, NAMES)}) == before
        assert matplotlib.rcParams["font.size"] == 30
    with figure_style() as Figure:
        assert isinstance(figures.confusion_figure(labels, labels, NAMES), Figure)
