"""What `pip install` gives: the wheel holds all that the verbs need, and nothing of the repository is asked for."""

import json
import re
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
from helpers import make_data, python, read_rows
from small_runs import package, trained_run

from painters_mtl.runs.model_choice import bundled_model

pytest.importorskip("build", reason="the extra dev is not installed")
ROOT = Path(__file__).resolve().parents[1]
RUN_VERBS = """
import json, sys
from painters_mtl.__main__ import main
for words in json.loads(sys.argv[1]):
    print(f"--- {' '.join(words)}\\nstatus {main(words)}", flush=True)
"""
TINY = ("--image-size", "32", "--backbone", "small_convnet", "--weights", "none", "--fine-tune", "all", "--epochs", "1")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution, built from a copy of the sources."""
    folder = tmp_path_factory.mktemp("build")
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    if bundled_model() is not None:
        shutil.copytree(ROOT / "models" / "paintings", folder / "models" / "paintings")
    else:  # a stand-in, that the way of it is tested
        package(trained_run(folder / "run"), folder / "models" / "paintings")
        shutil.rmtree(folder / "run")
    (folder / "models" / "paintings" / "runtimes").mkdir(exist_ok=True)  # what predict may put beside it
    shutil.copytree(ROOT / "painters_mtl", folder / "painters_mtl", ignore=shutil.ignore_patterns("__pycache__"))
    done = python("-m", "build", "--no-isolation", folder, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "dist"


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_template(built: Path) -> None:
    (wheel,), (source,) = built.glob("*.whl"), built.glob("*.tar.gz")
    files = (file for ending in ("*.py", "*.jinja", "*.css") for file in (ROOT / "painters_mtl").rglob(ending))
    wanted = {file.relative_to(ROOT).as_posix() for file in files}
    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.getinfo(name).file_size for name in archive.namelist()}
    assert {name for name in held if name.startswith("painters_mtl/") and "_paintings" not in name} == wanted
    model = {name.rpartition("/")[2]: size for name, size in held.items() if "/_paintings/" in name}
    assert {"manifest.json", "labels.json", "network.json", "weights.npz"} <= set(model)
    assert sum(model.values()) <= 8_000_000
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert wanted | {f"models/paintings/{name}" for name in model} <= names


@pytest.mark.slow
def test_the_wheel_alone_trains_and_predicts(built: Path, tmp_path: Path) -> None:
    """Installed into a folder of its own, called from another; its dependencies are those of this environment."""
    (wheel,) = built.glob("*.whl")
    site = tmp_path / "site"
    done = python("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", site, wheel)
    assert done.returncode == 0, done.stderr
    make_data(tmp_path / "data", count=60)

    def verb(*words: object) -> str:
        done = python("-m", "painters_mtl", *words, cwd=tmp_path, PYTHONPATH=str(site))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def verbs(*commands: list[str]) -> None:
        """One after the other in one process, so that TensorFlow is loaded once."""
        done = python("-c", RUN_VERBS, json.dumps(commands), cwd=tmp_path, seconds=500, PYTHONPATH=str(site))
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.findall(r"^status (.*)$", done.stdout, flags=re.M) == ["0"] * len(commands), done.stdout + done.stderr

    code = "import painters_mtl, sys; sys.exit(not painters_mtl.__file__.startswith(sys.argv[1]))"
    assert python("-c", code, site, cwd=tmp_path, PYTHONPATH=str(site)).returncode == 0
    said = verb("predict", "data/images", "--output", "first.csv")
    assert "60 pictures with the bundled model" in said
    assert len(read_rows(tmp_path / "first.csv")) == 60 and not (tmp_path / "models").exists()
    assert all(row["painter"] and not row["error"] for row in read_rows(tmp_path / "first.csv"))
    train = ["train", "--data", "data", *TINY, "--no-baselines", "--no-refit", "--name", "wheel", "--painters", "2"]
    verbs(
        ["describe", "--model", "paintings", "--output", "bundled.png"],
        train,
        ["predict", "data/images", "--output", "labels.html"],
        ["explain", "data/images/000.png"],
        ["similar", "data/images/000.png", "--in", "data/images", "--output", "similar.png"],
        ["describe", "--model", "models/wheel"],
        ["check", "data/images"],
    )
    assert (tmp_path / "models" / "wheel" / "report.html").is_file()
    assert "labels.html" in {file.name for file in tmp_path.iterdir()}
