"""What was killed, torn or cut short by a full disk ends as if nothing had happened."""

import dataclasses
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import arguments, fitted, locked_elsewhere, make_data, read_rows, table_of, tiny_settings

from painters_mtl import compare, train
from painters_mtl.common.errors import UserError
from painters_mtl.images import files as images
from painters_mtl.images.cache import build_image_cache
from painters_mtl.runs.run import open_run
from painters_mtl.training import checkpoint

EVERY_STEP = 1e-6  # minutes between checkpoints
OTHERS = ("joint", "famo", "pcgrad")  # one strategy is killed in the contributor's loop, these in `make test-all`
KILLS = int(os.environ.get("PAINTERS_KILLS", "2"))  # of each run below that is killed; PAINTERS_KILLS=10 takes minutes


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("small") / "data", count=80, seed=1)


def start(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def says(words: str) -> Callable[[str], bool]:
    return lambda line: words in line


def interrupted(process: subprocess.Popen[str], ready: Callable[[str], bool]) -> str:
    """Ctrl-C at the first line that is `ready`; all that it printed until its end, which is in order."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if ready(line):
            process.send_signal(signal.SIGINT)
            break
    out = "".join(lines) + process.communicate(timeout=300)[0]
    assert process.returncode == 130 and "Traceback" not in out, out
    return out


def killed(
    process: subprocess.Popen[str], ready: Callable[[str], bool], delay: float, written: Path | None = None
) -> str:
    """Kill it so many seconds after the first line that is `ready`; all that it printed. Its end may come first.

    Args:
        written: a file that must have been written once more, after that line and before the delay.
    """
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if ready(line):
            before = stamp(written)
            while stamp(written) == before and written is not None and process.poll() is None:
                time.sleep(0.002)
            threading.Timer(delay, process.kill).start()
            break
    lines.append(process.communicate(timeout=300)[0])
    assert process.returncode in (-signal.SIGKILL, 0), "".join(lines)
    return "".join(lines)


def stamp(file: Path | None) -> int:
    return file.stat().st_mtime_ns if file is not None and file.exists() else 0


def same_run(one: Path, other: Path) -> None:
    """Bitwise: history, predictions, metrics and, where they are kept, weights."""
    for name in ("history.csv", "test_predictions.csv", "labels.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    drop = {"training_seconds": 0, "fingerprint": ""}
    metrics = [{**json.loads((f / "metrics.json").read_text()), **drop} for f in (one, other)]
    assert metrics[0] == metrics[1]
    if (other / "model.keras").exists():
        weights = [open_run(f).model().get_weights() for f in (one, other)]
        assert all(np.array_equal(a, b) for a, b in zip(*weights, strict=True))
    assert not (one / "checkpoint.npz").exists() and not [f for f in one.iterdir() if f.name.startswith(".")]


# ------------------------------------------------------------------------------------------------- a training


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
    assert f"to go on: python -m painters_mtl.train --resume --name run --models {settings.models}" in out
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
    settings = tiny_settings(small, tmp_path, epochs=2, precision="mixed_bfloat16", baselines=False)
    fitted(dataclasses.replace(settings, name="whole"))
    killed(start("-m", "painters_mtl.train", *arguments(settings)), says("epoch 2 of 2"), 0.0)
    capsys.readouterr()
    auto = dataclasses.replace(settings, precision="auto")
    assert train.main(arguments(auto)) == 0
    assert "began in mixed_bfloat16 and goes on in it" in capsys.readouterr().out
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
    settings = tiny_settings(small, tmp_path, epochs=2, baselines=False, dropout=0.3)
    process = start("-m", "painters_mtl.train", *arguments(settings))
    if how == "kill":
        killed(process, says("features of known and other painters"), 0.2)
    else:
        out = interrupted(process, says("features of known and other painters"))
        assert f"to go on: python -m painters_mtl.train --resume --name run --models {settings.models}" in out
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


# ------------------------------------------------------------------------------------------------- the features


@pytest.mark.slow
def test_killed_while_features_are_computed(small: Path, tmp_path: Path) -> None:
    settings = tiny_settings(make_data(tmp_path / "data", count=300), tmp_path, fine_tune="heads", epochs=2)
    settings = dataclasses.replace(settings, baselines=False)
    rng = random.Random(5)
    for kill in range(KILLS):
        process = start("-m", "painters_mtl.train", *arguments(settings))
        deadline = time.monotonic() + 200
        while process.poll() is None and not list(tmp_path.rglob("features-*.sqlite")):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1) * (kill > 0))  # the first one leaves a part, however fast the machine
        process.kill()
        process.communicate(timeout=60)
    fitted(settings)
    fitted(dataclasses.replace(settings, name="whole", cache=tmp_path / "other"))
    one, other = (next((tmp_path / name).glob("features-*.sqlite")) for name in ("cache", "other"))
    assert one.name == other.name
    same_run(settings.models / "run", settings.models / "whole")


# ------------------------------------------------------------------------------------------------- the store

BUILD = (
    "import sys\n"
    "from pathlib import Path\n"
    "import pandas as pd\n"
    "from painters_mtl.images.cache import build_image_cache\n"
    "files = [str(f) for f in sorted((Path(sys.argv[1]) / 'images').iterdir())]\n"
    "table = pd.DataFrame({'id': [f.rsplit('/', 1)[-1] for f in files], 'file': files, 'member': ''})\n"
    "print('ready', flush=True)\n"
    "build_image_cache(table, 20, Path(sys.argv[2]), workers=2)\n"
)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,100 pictures, 80 of them drawn: more than two writes of the store."""
    data = make_data(tmp_path_factory.mktemp("many") / "data", count=80, seed=2)
    drawn = sorted((data / "images").iterdir())
    for i in range(80, 1100):
        shutil.copy(drawn[i % 80], data / "images" / f"{i:04d}.png")
    return data


def check_store(data: Path, cache: Path) -> None:
    files = sorted((data / "images").iterdir())
    store = build_image_cache(table_of(files), 20, cache)
    assert store.pixels.shape[0] == len(files) and len(set(store.rows)) == len(files)
    for i in range(0, len(files), 50):
        np.testing.assert_array_equal(store.pixels[store.rows[i]], images.load_image(files[i], square=20).pixels)
    assert {f.name for f in store.folder.iterdir()} == {"pixels.u8", "manifest.journal"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(max(3, KILLS)))
def test_killed_while_the_store_is_built(many: Path, tmp_path: Path, seed: int) -> None:
    process = start("-c", BUILD, many, tmp_path)
    killed(process, lambda line: line == "ready\n", random.Random(seed).uniform(0.05, 1.5))
    check_store(many, tmp_path)


@pytest.mark.slow
def test_two_processes_do_not_build_the_same_store_at_once(many: Path, tmp_path: Path) -> None:
    both = [start("-c", BUILD, many, tmp_path) for _ in range(2)]
    outs = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outs
    check_store(many, tmp_path)
    made = [f"{1100:,}".replace(",", "") + "/1100" in out for out in outs]
    assert made.count(True) == 1, outs


# ------------------------------------------------------------------------------------------------- locks


def test_a_run_is_trained_by_one_process(small: Path, tmp_path: Path) -> None:
    settings = tiny_settings(small, tmp_path, epochs=1)
    settings.models.mkdir(parents=True)
    with locked_elsewhere(settings.models / ".run.lock"), pytest.raises(UserError, match="is training"):
        fitted(settings)


# ------------------------------------------------------------------------------------------------- a study


@pytest.mark.slow
def test_a_study_that_was_killed_ends_the_same(small: Path, tmp_path: Path) -> None:
    settings = tiny_settings(small, tmp_path, name="study", epochs=2, dropout=0.3, checkpoint_minutes=EVERY_STEP)
    command = [*arguments(settings), "--seeds", "1", "--strategies", "dwa"]
    rng = random.Random(7)
    for kill in range(KILLS):
        at = f"training {rng.randint(1, 4)} of 4" if kill else "training 2 of 4"
        out = killed(start("-m", "painters_mtl.compare", *command), says(at), rng.uniform(0.2, 3))
        assert kill or "training 4 of 4" not in out
    resume = ["--resume", "--name", "study", "--models", str(settings.models)]
    assert compare.main(resume) == 0
    assert compare.main([*command, "--name", "whole"]) == 0
    one, other = settings.models / "study", settings.models / "whole"
    kinds = sorted(f.name for f in (one / "runs" / "seed0").iterdir())
    assert kinds == ["dwa", "genre", "painter", "style"]
    for kind in kinds:
        same_run(one / "runs" / "seed0" / kind, other / "runs" / "seed0" / kind)
    assert read_rows(one / "comparison.csv") == read_rows(other / "comparison.csv")

    again = start("-m", "painters_mtl.compare", *resume)  # Ctrl-C behind the last training
    out = interrupted(again, says("genre is trained already"))
    assert f"to go on: python -m painters_mtl.compare {shlex.join(resume)}" in out
