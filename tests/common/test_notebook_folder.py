"""Where a notebook works."""

from pathlib import Path

import pytest

from painters_mtl.common.notebooks import start


def test_a_notebook_works_beside_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    start()
    assert Path.cwd() == tmp_path
    start()  # the cell is run again
    assert Path.cwd() == tmp_path
