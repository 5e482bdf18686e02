"""The notebooks: what is stored is what the text beside it says, and every one runs from top to bottom."""

import importlib.util
import itertools
import re
import subprocess
from pathlib import Path

import pytest

from painters_mtl.data.demo.collection import make_demo

jupytext = pytest.importorskip("jupytext", reason="the extra notebooks is not installed")
nbclient = pytest.importorskip("nbclient", reason="the extra notebooks is not installed")

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
TEXTS = sorted(FOLDER.glob("[0-9]*.py"))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to work in, with a small demo; the notebooks that follow find what those before them made."""
    folder = tmp_path_factory.mktemp("notebooks")
    make_demo(folder / "paintings", count=300, size=96)
    return folder


def test_there_are_six_and_each_leads_to_the_next() -> None:
    assert [text.name[:2] for text in TEXTS] == ["01", "02", "03", "04", "05", "06"]
    for text, following in itertools.pairwise(TEXTS):
        assert f"({following.stem}.ipynb)" in text.read_text(encoding="utf-8")


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.stem)
def test_the_notebook_is_its_text(text: Path) -> None:
    """Whoever changes the one changes the other (make notebooks); and the outputs are there, and small."""
    notebook = text.with_suffix(".ipynb")
    wanted, stored = jupytext.read(text), jupytext.read(notebook)
    assert [(c.cell_type, c.source) for c in stored.cells] == [(c.cell_type, c.source) for c in wanted.cells]
    assert notebook.stat().st_size < 1_500_000
    outputs = [o for c in stored.cells if c.cell_type == "code" for o in c.outputs]
    assert outputs and not [o for o in outputs if o.output_type == "error"]
    assert not re.search(r"/root/|/home/|/work/", notebook.read_text(encoding="utf-8"))  # no path of a machine


def test_the_first_cell_is_short_and_installs_from_beside_the_wheel_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands in every notebook; never does it ask an index for a package of our name."""
    (cell,) = {next(c.source for c in jupytext.read(t).cells if c.cell_type == "code") for t in TEXTS}
    assert len(cell.splitlines()) < 20
    install = cell[: cell.index("from painters_mtl")]
    commands: list[list[str]] = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", lambda command, check: commands.append(command))
    with pytest.raises(SystemExit, match="make kaggle-wheels"):
        exec(install, {})
    assert not commands
    wheel = tmp_path / "my-wheels" / "painters_mtl-9.9-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.touch()
    exec(install.replace("/kaggle/input", str(tmp_path)), {})
    (command,) = commands
    assert {"--no-index", f"--find-links={wheel.parent}", f"--requirement={wheel.parent}/requirements.txt"} < {*command}


def test_the_stored_outputs_are_of_the_demo() -> None:
    """No picture of a real painting is in the repository, so each notebook that shows paintings ran on the demo."""
    for text in TEXTS:
        stored = text.with_suffix(".ipynb").read_text(encoding="utf-8")
        assert "data/demo" in stored and "shared/paintings" not in stored


def test_every_notebook_ends_with_three_lines_of_what_was_learned() -> None:
    for text in TEXTS:
        end = [c.source for c in jupytext.read(text).cells if c.cell_type == "markdown"][-1]
        assert end.startswith("## What was learned") and len(re.findall(r"^\d\. ", end, re.M)) == 3


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.stem)
def test_the_notebook_runs(text: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAINTERS_DATA", str(work / "paintings"))
    notebook = jupytext.read(text)
    for cell in notebook.cells:  # fewer trainings of the same kinds
        cell.source = cell.source.replace("SEEDS = 3", "SEEDS = 2")
        cell.source = cell.source.replace("in STRATEGY_NAMES:", 'in ("joint", "alternate", "dwa", "pcgrad"):')
    nbclient.NotebookClient(notebook, timeout=360, resources={"metadata": {"path": str(work)}}).execute()
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
