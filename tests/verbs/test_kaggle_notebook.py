"""As in a Kaggle notebook: the competition as zips in a read-only folder, and one folder that can be written."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from helpers import LEVELS, picture, read_rows
from PIL import Image

OPTIONS = [
    *("--name", "kaggle", "--epochs", "3", "--batch-size", "8", "--image-size", "32", "--no-baselines"),
    *("--backbone", "small_convnet", "--weights", "none", "--fine-tune", "all"),
    *("--painters", "2", "--styles", "2", "--genres", "2"),
]


@pytest.fixture(scope="module")
def notebook(tmp_path_factory) -> Iterator[Path]:
    """A folder with `input` (the mount), `home` (both cannot be written) and `working`."""
    root = tmp_path_factory.mktemp("kaggle")
    mounted = root / "input" / "competitions" / "painter-by-numbers"
    mounted.mkdir(parents=True)
    rng = np.random.default_rng(0)
    full = ["artist,date,genre,style,title,artist_group,in_train,new_filename"]
    train = ["filename,artist,title,style,genre,date"]
    archives: dict[str, dict[str, bytes]] = {"train_1": {}, "train_2": {}, "test": {}}
    for i in range(1, 131):
        painter, style, genre = (int(label) for label in rng.integers(2, size=3))
        part = "test" if i > 110 else f"train_{1 + i % 2}"
        labels = ("Ada", "Bo")[painter], ("Dots", "Lines")[style], ("portrait", "landscape")[genre]
        full.append(f"{labels[0]},1900.0,{labels[2]},{labels[1]},T{i},train_and_test,{i <= 110},{i}.jpg")
        if i <= 110:
            train.append(f"{i}.jpg,{painter:032x},T{i},{labels[1]},{labels[2]},1900.0")
        file = BytesIO()
        Image.fromarray(picture((LEVELS[2 * painter], LEVELS[2 * style], LEVELS[2 * genre]), rng)).save(file, "JPEG")
        archives[part][f"{part}/{i}.jpg"] = file.getvalue()
    corrupt = archives["train_2"]["train_2/1.jpg"]
    archives["train_2"]["train_2/1.jpg"] = corrupt[: len(corrupt) // 2]
    archives["replacements_for_corrupted_files"] = {"train/1.jpg": corrupt}
    archives["train_info.csv"] = {"train_info.csv": "\n".join(train).encode()}
    for name, members in archives.items():
        with zipfile.ZipFile(mounted / f"{name}.zip", "w") as archive:
            for member, data in members.items():
                archive.writestr(member, data)
    (mounted / "all_data_info.csv").write_text("\n".join(full), encoding="utf-8")
    (root / "home").mkdir()
    (root / "working").mkdir()
    closed = [root / "home", *(root / "input").rglob("*"), root / "input", root]
    for path in closed:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield root
    for path in closed:
        path.chmod(0o755)  # for pytest to clear away


def bind_root() -> None:
    """Let permission bits bind root too: what the process starts may not override them."""
    if os.geteuid() == 0:
        drop_from_bounding_set = 24  # linux/prctl.h; the capabilities are DAC_OVERRIDE and DAC_READ_SEARCH
        for capability in (1, 2):
            ctypes.CDLL(None).prctl(drop_from_bounding_set, capability, 0, 0, 0)


def start(root: Path, *arguments: str, home: bool = True) -> subprocess.Popen[str]:
    """Python in the notebook: its working folder, its mount, a home that cannot be written or none."""
    kept = {name: value for name, value in os.environ.items() if name not in ("HOME", "KAGGLE_KERNEL_RUN_TYPE")}
    own = {"KAGGLE_CACHE_MOUNT_FOLDER": str(root / "input"), "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=root / "working",
        env=kept | own | ({"HOME": str(root / "home")} if home else {}),
        preexec_fn=bind_root,
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    return out


def outside(root: Path) -> dict[Path, tuple[int, int]]:
    """All that is not in the working folder: {path: (bytes, time)}."""
    paths = [root, *root.rglob("*")]
    found = {p: p.stat() for p in paths if root / "working" not in (p, *p.parents) and p != root}
    return {p: (s.st_size, s.st_mtime_ns) for p, s in found.items()}


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Kaggle's notebooks run on Linux")


@linux
def test_the_notebook_is_closed(notebook):
    """The ground of the tests below: nothing outside the working folder can be written."""
    code = (
        "import sys\nfrom pathlib import Path\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n        Path(name).write_text('x')\n        print('written')\n"
        "    except PermissionError:\n        print('refused')\n"
    )
    mounted = notebook / "input" / "competitions" / "painter-by-numbers"
    names = [notebook / "x", notebook / "home" / "x", mounted / "x", mounted / "test.zip", notebook / "working" / "x"]
    out = finish(start(notebook, "-c", code, *map(str, names)))
    assert out.split() == ["refused"] * 4 + ["written"]
    (notebook / "working" / "x").unlink()


@linux
def test_the_mounted_data_is_found_and_not_fetched(notebook):
    out = finish(start(notebook, "-m", "painters_mtl.download"))
    assert f"is there already: {notebook / 'input' / 'competitions' / 'painter-by-numbers'}" in out
    assert not list((notebook / "working").iterdir())


@linux
@pytest.mark.slow
def test_training_writes_to_the_working_folder_only_and_survives_the_end_of_a_session(notebook):
    before, run = outside(notebook), notebook / "working" / "models" / "kaggle"
    process = start(notebook, "-m", "painters_mtl.train", *OPTIONS)
    deadline = time.monotonic() + 300
    while not (run / "checkpoint.npz").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)  # as Kaggle does when the time is up
    out, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL and (run / "checkpoint.npz").exists(), out + err
    assert "130 paintings from " + str(notebook / "input" / "competitions" / "painter-by-numbers") in out

    # The next session has an empty working folder; the saved models are copied back, and a name is enough.
    shutil.rmtree(notebook / "working" / "data")
    out = finish(start(notebook, "-m", "painters_mtl.train", "--resume", "--name", "kaggle", home=False))
    assert "going on after epoch" in out
    assert {"model.keras", "labels.json", "metrics.json", "report.html", "test_predictions.csv"} <= {
        p.name for p in run.iterdir()
    }
    assert not read_rows(run / "refused.csv")  # the corrupt picture has its replacement
    assert {p.name for p in (notebook / "working").iterdir()} == {"models", "data"}
    assert outside(notebook) == before
