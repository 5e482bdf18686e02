"""The description of a network: who uses which weights, and a drawing."""

from pathlib import Path

import pytest
from helpers import python, small_network, trained
from PIL import Image

from painters_mtl import describe
from painters_mtl.data.tasks import Task
from painters_mtl.runs import run

TASKS = {"painter": Task("painter", ("a", "b")), "style": Task("style", ("c", "d", "e"))}


def test_every_weight_is_counted_once_where_it_belongs() -> None:
    network = small_network(TASKS, shared_layers=(7,), task_layers=(5,), shared_projection=4)
    table = describe.parameter_table(network)
    found = {
        line.rsplit(None, 1)[0].strip(): int(line.rsplit(None, 1)[1].replace(",", ""))
        for line in table.split("\n\n")[1].splitlines()
    }
    backbone = network.get_layer("small_convnet").count_params()
    features = network.get_layer("features").output.shape[-1]
    assert found == {
        "shared": backbone + 7 * (features + 1) + 4 * (5 + 1),
        "painter only": 5 * (7 + 1) + 2 * (4 + 1),
        "style only": 5 * (7 + 1) + 3 * (4 + 1),
        "one network for all": network.count_params(),
    }
    assert found["one network for all"] == sum(v for k, v in found.items() if k != "one network for all")


def test_a_trained_model_is_described(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = trained(tmp_path_factory)
    assert describe.main(["--model", str(folder), "--output", str(tmp_path / "n.png")]) == 0
    said = capsys.readouterr().out
    assert f"{run.open_run(folder).model().count_params():,}" in said and f"the network of {folder}" in said
    assert Image.open(tmp_path / "n.png").size[0] > 300


@pytest.mark.parametrize(("output", "words"), [("n.gif", "must end in .png"), ("no/where/n.png", "no folder no/where")])
def test_where_nothing_can_be_written(output: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert describe.main(["--output", output]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_a_backend_of_matplotlib_that_is_none_does_not_matter(tmp_path: Path) -> None:
    command = ("-m", "painters_mtl.describe", "--backbone", "small_convnet", "--weights", "none", "--output")
    done = python(*command, tmp_path / "n.png", MPLBACKEND="no-such-backend")
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "n.png").size[0] > 300
