"""A training that was stopped ends as if nothing had happened."""

import dataclasses
import json
import random
import signal
from pathlib import Path

import pandas as pd
import pytest
from helpers import arguments, fitted, make_data, tiny_settings
from stopped import EVERY_STEP, KILLS, interrupted, killed, same_run, says, start

from painters_mtl import compare, train
from painters_mtl.common.errors import UserError
from painters_mtl.runs.run import open_run
from painters_mtl.training import checkpoint

OTHERS = ("joint", "famo", "pcgrad")  # one strategy is killed in the contributor's loop, these in `make test-all`


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("small") / "data", count=80, seed=1)


@pytest.mark.parametrize("strategy", ["alternate", *(pytest.param(s, marks=pytest.mark.slow) for s in OTHERS)])
def test_killed_in_the_middle_of_epochs(
    strategy: str, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Again and again, between the steps, at random moments; with dropout, momentum and the strategy's state."""
    rng, kills = random.Random(strategy), KILLS if strategy == "joint" or KILLS > 2 else 1
    changes = {"strategy": strategy, "epochs": 2 * kills, "dropout": 0.3, "batch_size": 4, "baselines": False}
    changes["monitor_conflict"] = strategy == "joint"
    settings = tiny_settings(small, tmp_path, **changes, checkpoint_minutes=EVERY_STEP)
    fitted(dataclasses.replace(settings, name="whole", checkpoint_minutes=0.0))
    command = ["-m", "painters_mtl.train", *arguments(settings)]
    folder = settings.models / "run"
    checkpoint_file = folder / "checkpoint.npz"
    killed(start(*command), lambda line: line.startswith("epoch 2 "), rng.uniform(0, 0.1), checkpoint_file)
    assert checkpoint_file.exists() and not (folder / "metrics.json").exists()
    for _ in range(kills - 1):
        out = killed(start(*command), lambda line: line.startswith("epoch "), rng.uniform(0, 0.1), checkpoint_file)
        assert "going on after epoch" in out or "is trained already" in out
    capsys.readouterr()
    fitted(settings)
    said = capsys.readouterr().out
    assert "going on after epoch" in said or "is trained already" in said
    same_run(folder, settings.models / "whole")
    cosines = pd.read_csv(folder / "history.csv").filter(like="cosine_")
    assert len(cosines.columns) == (3 if strategy == "joint" else 0)
    assert ((cosines >= -1.000001) & (cosines <= 1.000001)).all(axis=None)


@pytest.mark.slow
def test_ctrl_c_saves_in_the_middle_of_an_epoch_and_resume_goes_on(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--resume with the name alone: all else is as it was. The signal comes while the first step is compiled."""
    changes = {"epochs": 2, "batch_size": 1, "dropout": 0.3, "label_share": 0.0, "baselines": False}
    settings = tiny_settings(small, tmp_path, **changes)
    process = start("-m", "painters_mtl.train", *arguments(settings))
    out = interrupted(process, lambda line: line.startswith("epoch 1 "))
    assert "saved, and keeping the best network so far" in out
    assert f"to go on: painters-mtl train --resume --name run --models {settings.models}" in out
    assert open_run(settings.models / "run").model()
    assert train.main(["--resume", "--name", "run", "--models", str(settings.models)]) == 0
    assert "going on after epoch 0" in capsys.readouterr().out
    fitted(dataclasses.replace(settings, name="whole"))
    same_run(settings.models / "run", settings.models / "whole")


@pytest.mark.slow
def test_a_training_goes_on_in_the_precision_in_which_it_began(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Begun as on a GPU that "auto" takes bfloat16 for, it goes on here, where auto is float32."""
    changes = {"epochs": 2, "baselines": False, "painter_known": True}
    settings = tiny_settings(small, tmp_path, precision="mixed_bfloat16", **changes)
    fitted(dataclasses.replace(settings, name="whole"))
    killed(start("-m", "painters_mtl.train", *arguments(settings)), says("epoch 2 of 2"), 0.0)
    capsys.readouterr()
    auto = dataclasses.replace(settings, precision="auto")
    assert train.main(arguments(auto)) == 0
    assert "goes on in mixed_bfloat16, as it began; by itself this machine would use float32" in capsys.readouterr().out
    same_run(settings.models / "run", settings.models / "whole")
    config = json.loads((settings.models / "run" / "config.json").read_text())
    assert config["precision"] == "mixed_bfloat16"
    _, outcome, folder = fitted(dataclasses.replace(auto, name="here"))
    assert outcome.metrics["precision"] == json.loads((folder / "config.json").read_text())["precision"] == "float32"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "ctrl-c"])
def test_stopped_behind_the_last_step(
    how: str, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """While the head that knows the painters is fitted: the training is over, and what comes after it is done anew."""
    settings = tiny_settings(small, tmp_path, epochs=2, baselines=False, dropout=0.3, painter_known=True)
    code = "import sys; from painters_mtl import train; from painters_mtl.common import messages; "
    code += "messages.TENTHS_FROM = 0.0; sys.exit(train.main(sys.argv[1:]))"  # progress is told from its start on
    process = start("-c", code, *arguments(settings))
    if how == "kill":
        killed(process, says("features for painter_known"), 0.2)
    else:
        out = interrupted(process, says("features for painter_known"))
        assert f"to go on: painters-mtl train --resume --name run --models {settings.models}" in out
    assert not (settings.models / "run" / "metrics.json").exists()
    capsys.readouterr()
    fitted(settings)
    assert "going on after epoch 2" in capsys.readouterr().out
    fitted(dataclasses.replace(settings, name="whole"))
    same_run(settings.models / "run", settings.models / "whole")


@pytest.mark.slow
def test_ctrl_c_twice_ends_at_once(small: Path, tmp_path: Path) -> None:
    settings = tiny_settings(small, tmp_path, epochs=1000, patience=1000, batch_size=1)
    process = start("-m", "painters_mtl.train", *arguments(settings))
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch 3 "):
            process.send_signal(signal.SIGINT)
        if line.startswith("ending after this step"):
            process.send_signal(signal.SIGINT)
            break
    process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGINT, 130)
    folder = settings.models / "run"
    assert not (folder / "metrics.json").exists() and (folder / "checkpoint.npz").exists()


def test_resume_needs_a_run(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = tmp_path / "models"
    (models / "half" / "baselines" / "style").mkdir(parents=True)
    (models / "half" / "baselines" / "style" / "checkpoint.npz").touch()
    where = ["--models", str(models), "--resume"]
    for verb, words in ((train, ["--name", "lost"]), (compare, ["--name", "lost"])):
        assert verb.main([*where, *words]) == 2
        assert f"lost has no run to go on with (unfinished in {models}: half)" in capsys.readouterr().err
    assert train.main(where) == 2
    assert "--resume needs the --name" in capsys.readouterr().err
    assert train.main([*where, "--name", "half", "--overwrite"]) == 2
    assert "leave one of them out" in capsys.readouterr().err
    assert not (models / "lost").exists()


def test_a_checkpoint_of_something_else_is_no_start(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tiny_settings(small, tmp_path, epochs=1, resume=True)
    folder = settings.models / "run"
    folder.mkdir(parents=True)
    settings.save(folder / "config.json")
    checkpoint.save(folder, "another run", checkpoint.Checkpoint({}, {}))
    with pytest.raises(UserError, match="is of other paintings, labels or settings"):
        fitted(settings)
    (folder / "checkpoint.npz").write_bytes(b"half of a checkpoi")
    with pytest.raises(UserError, match="is damaged"):
        fitted(settings)
    fitted(dataclasses.replace(settings, resume=False))
    assert "is damaged" in capsys.readouterr().out and not (folder / "checkpoint.npz").exists()
