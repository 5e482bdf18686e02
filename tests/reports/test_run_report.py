"""The report of a run: read as a page, for tasks of any name."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from helpers import trained
from made_results import collection, result

from painters_mtl.data.dataset import Dataset
from painters_mtl.data.tasks import TASK_NAMES
from painters_mtl.evaluation.metrics import all_metrics
from painters_mtl.reports.run_report import _start, write_report
from painters_mtl.studies.comparison import compare
from painters_mtl.training.run_result import RunResult
from painters_mtl.training.settings import TrainSettings

CLASSES = {"school": ("North <b>", "張大千", "Ea$t$"), "century": ("16th", "17th")}


class Page(HTMLParser):
    """The text of a page, its tables as lists of rows, and what is not closed."""

    VOID = ("meta", "img", "br")

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.words, self.tables, self.open = [], [], list[str]()
        self.feed(file.read_text(encoding="utf-8"))
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[Any]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data

    def table(self, *heads: str) -> list[list[str]]:
        """The table whose first row begins so."""
        return next(table for table in self.tables if table[0][: len(heads)] == list(heads))


def made_report(folder: Path, compared: bool) -> tuple[Page, Dataset, RunResult, dict[str, Any] | None]:
    data = collection(CLASSES)
    training = result(data, list(CLASSES), 0.8)
    rows, train = data.rows("test"), data.rows("train")
    training.metrics |= {
        "test": all_metrics(data.labels, training.test_probabilities, rows, train),
        "calibration": {name: {"temperature": 1.2, "error_before": 0.1, "error": 0.05} for name in CLASSES},
        "epochs": 2, "best_epoch": 1,
    }  # fmt: skip
    alone = {name: [[result(data, [name], 0.5, 1)]] for name in CLASSES}
    comparison = compare(data, [[training]], alone, [1.0, 1.0, 1.0]) if compared else None
    settings = TrainSettings(tasks=tuple(CLASSES))
    folder.mkdir()
    settings.save(folder / "config.json")
    write_report(folder, data, settings, training, comparison)
    return Page(folder / "report.html"), data, training, comparison


def test_a_report_of_any_tasks(tmp_path: Path) -> None:
    page, data, training, _ = made_report(tmp_path / "run", compared=False)
    assert page.open == [] and "run: school and century from one network" in page.text
    table = page.table("task", "accuracy", "top 3", "mean recall", "macro-F1")
    for row, name in zip(table[1:], CLASSES, strict=True):
        measured = training.metrics["test"][name]
        majority = np.bincount(data.labels[name][data.rows("train")].clip(0), minlength=9)
        assert row[0] == name and row[1] == f"{100 * measured['accuracy']:.1f} %"
        assert row[4] == f"{100 * measured['macro_f1']:.1f} %" and row[6] == str(measured["n"]) and majority.any()
    assert table[0][5] == "majority class"
    assert not any(word in page.text.replace("_", " ") for word in (" genre", "style, genre"))
    assert "張大千" in page.text and "North <b>" in page.text and "Ea$t$" in page.text
    assert "flatter the network" in page.text and "One network against" not in page.text


def test_one_training_is_compared_without_a_verdict(tmp_path: Path) -> None:
    page, _, _, comparison = made_report(tmp_path / "run", compared=True)
    assert comparison is not None and "One network against two" in page.text
    assert "no evidence about the recipe" in page.text
    assert not re.search(r"network for all is (better|worse)|no difference shown", page.text)
    for statistic, heading in (("accuracy", "accuracy on the test paintings"), ("macro_f1", "macro-F1 on the test")):
        assert heading in page.text
        for name in CLASSES:
            triple = comparison["tasks"][name]["difference"][statistic]
            cells = [row for table in page.tables for row in table if row and row[0] == name]
            mean, low, high = (100 * value for value in triple)
            assert any(f"{mean:+.1f} ({low:+.1f} to {high:+.1f})" in row for row in cells)


def test_the_report_of_a_training_is_one_sound_file(tmp_path_factory: Any) -> None:
    folder, _ = trained(tmp_path_factory)
    page = Page(folder / "report.html")
    source = (folder / "report.html").read_text(encoding="utf-8")
    assert page.open == [] and not re.search(r'src="(?!data:)', source) and "http" not in source
    links = re.findall(r'href="([^"]+)"', source)
    assert all((folder / link).is_file() for link in links)
    assert {f"baselines/{name}/report.html" for name in TASK_NAMES} <= set(links)
    for name in TASK_NAMES:
        back = (folder / "baselines" / name / "report.html").read_text(encoding="utf-8")
        assert f"{name} " in back and 'href="../../report.html"' in back
    alone = Page(folder / "baselines" / "painter" / "report.html").table("task", "score")[1:]
    assert {row[1] for row in alone} == {"largest probability"}  # it has no known-class head
    assert {row[1] for row in page.table("task", "score")[1:] if row[0] == "painter"} == {"known-class head"}
    measured = json.loads((folder / "metrics.json").read_text())["test"]
    rows = page.table("task", "accuracy", "top 3")[1:]
    assert [row[0] for row in rows] == list(measured)
    balanced = json.loads((folder / "metrics.json").read_text())["balanced"]
    assert [row[1:] for row in page.table("task", "accuracy", "mean recall")[1:]] == [
        [f"{100 * m[key]:.1f} %" for key in ("accuracy", "mean_recall", "macro_f1")] for m in balanced.values()
    ]
    assert [row[5] for row in rows] == [f"{100 * m['majority']:.1f} %" for m in measured.values()]


def test_where_the_backbone_of_a_distilled_network_starts() -> None:
    taught = TrainSettings(distill=True)
    assert _start(taught) == "the mean of the networks for one task each"
    assert _start(TrainSettings(distill=True, weights="none")) == "random weights"
