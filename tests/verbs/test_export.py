"""Exports: each in its own runtime against Keras, whole or not at all, and used as its README says."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import python, trained
from random_runs import FORMATS, TASKS, calibrated, make_run, needs_format, pictures, rounding
from small_runs import trained_run

from painters_mtl import export
from painters_mtl.common.errors import UserError
from painters_mtl.data.tasks import Task
from painters_mtl.evaluation.open_set import known_score
from painters_mtl.images.files import ImageFile
from painters_mtl.inference import packaging, parity, runtimes
from painters_mtl.inference.export_manifest import write_manifest
from painters_mtl.inference.parity import sample_images
from painters_mtl.runs.run import Run, open_run


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def files(base: Path) -> list[ImageFile]:
    return pictures(base / "pictures")


@pytest.fixture(scope="module")
def run(base: Path) -> Run:
    return make_run(base / "run")


def exported(run: Run, files: list[ImageFile], file_format: str, output: Path, *more: str) -> int:
    place = str(Path(files[0].path).parent)
    words = ["--model", str(run.folder), "--format", file_format, "--output", str(output), "--images", place, *more]
    return export.main(words)


@pytest.mark.parametrize("kind", ["convnet", "views", pytest.param("lite0", marks=pytest.mark.slow)])
def test_a_saved_model_needs_nothing_but_tensorflow(kind: str, base: Path, files: list[ImageFile]) -> None:
    run = make_run(base / kind, kind)
    output = base / f"saved-{kind}"
    assert exported(run, files, "saved_model", output) == 0
    copies = sample_images(run, files)
    np.savez(output / "in.npz", **runtimes.named_inputs(copies))
    program = (
        "import sys, numpy as np, tensorflow as tf\n"
        "network = tf.saved_model.load('saved_model').signatures['serving_default']\n"
        "pictures = np.load('in.npz')\n"
        "found = network(**{name: tf.constant(pictures[name]) for name in pictures})\n"
        "np.savez('out.npz', **{name: values.numpy() for name, values in found.items()})\n"
        "print('painters_mtl' in sys.modules)\n"
    )
    done = python("-c", program, cwd=output)
    assert done.stdout == "False\n", done.stderr
    found, wanted = np.load(output / "out.npz"), calibrated(run, copies)
    assert set(found) == set(TASKS)
    for task in TASKS:
        assert found[task].dtype == np.float32 and np.ptp(wanted[task][:, 0]) > 0.05
        np.testing.assert_allclose(found[task], wanted[task], atol=rounding(kind))


@pytest.mark.slow
@pytest.mark.parametrize("file_format", FORMATS)
def test_the_readme_is_a_program_that_labels_a_picture(
    file_format: str, run: Run, files: list[ImageFile], tmp_path: Path
) -> None:
    """Run as it stands, with nothing of this project."""
    needs_format(file_format)
    output = tmp_path / "out"
    assert exported(run, files, file_format, output) == 0
    (output / "painting.jpg").write_bytes(Path(files[2].path).read_bytes())
    text = (output / "README.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    done = python("-c", code, cwd=output)
    wanted = calibrated(run, sample_images(run, [files[2]]))
    lines = []
    for name, task in TASKS.items():
        p = wanted[name][0]
        lines.append((name, task.classes[p.argmax()], float(p.max())))
    found = [re.fullmatch(r"(\w+) (\w+) ([\d.]+)%", line) for line in done.stdout.splitlines()]
    assert all(found), done.stderr
    assert [m.group(1, 2) for m in found if m] == [line[:2] for line in lines]
    # Pillow's resize stands for the project's own here, which decodes at reduced size; it is the same for a PNG.
    np.testing.assert_allclose([float(m[3]) / 100 for m in found if m], [line[2] for line in lines], atol=1e-3)

    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["inputs"]["image"]["shape"] == ["n", 40, 40, 3] and (output / manifest["file"]).exists()
    assert {name: value["shape"] for name, value in manifest["outputs"].items()} == {
        "painter": ["n", 3],
        "style": ["n", 2],
    }
    assert json.loads((output / "labels.json").read_text()) == {n: list(t.classes) for n, t in TASKS.items()}
    report = json.loads((output / "comparison.json").read_text())
    assert report["paintings"] == 7 and max(report["largest_difference"].values()) < 1e-5
    assert report["one_at_a_time_differs_by"] < 1e-5


def test_the_readme_knows_of_works_that_belong_to_no_class(tmp_path: Path) -> None:
    """Its last lines, run on outputs that are made up: as `predict`, it doubts what is below the threshold."""
    tasks = {**TASKS, "genre": Task("genre", ("portrait", "landscape"))}
    run = Run(tmp_path, tasks, 32, 40, False, dict.fromkeys(tasks, 1.0), thresholds={"painter": 0.5, "style": 0.5})
    widths = {"painter": 3, "painter_known": 2, "style": 2, "genre": 2}
    write_manifest(run, "litert", tmp_path / "model.tflite", widths, tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "below the task's threshold" in text
    code = text.split("```python\n")[1].split("```")[0].partition("thresholds =")
    labels = [tasks[name].classes[0] for name in tasks]
    for known, style, doubted in ((0.9, 0.9, (0, 0)), (0.2, 0.9, (1, 0)), (0.9, 0.45, (0, 1))):
        outputs = {
            "painter": [[0.8, 0.1, 0.1]],
            "painter_known": [[1 - known, known]],
            "style": [[style, style - 0.1]],
            "genre": [[0.6, 0.4]],  # it has no threshold
        }
        made_up = f"import json\nimport numpy as np\noutputs = {outputs}\n"
        lines = python("-c", made_up + "".join(code[1:]), cwd=tmp_path).stdout.splitlines()
        wanted = ["unknown, perhaps " * doubt + label for doubt, label in zip((*doubted, 0), labels, strict=True)]
        assert [line.partition(" ")[2].rpartition(" ")[0] for line in lines] == wanted
        scores = known_score(np.array([0.8, 0.1, 0.1]), np.array([1 - known, known])), style
        assert [bool(run.unknown(n, s)) for n, s in zip(("painter", "style"), scores, strict=True)] == [
            *map(bool, doubted)
        ]


def test_the_bundled_model_says_what_to_compare_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has no split: --data would not help, and is not named."""
    monkeypatch.chdir(tmp_path)
    for file_format, said in (
        ("saved_model", "name a folder of paintings to compare on with --images"),
        ("litert-int8", "name a run folder with --model"),
    ):
        if file_format == "litert-int8":
            needs_format("litert")
        assert export.main(["--model", "paintings", "--output", "out", "--format", file_format]) == 2
        error = capsys.readouterr().err
        assert "the bundled model does not hold" in error and said in error
        assert "--data" not in error and "config.json" not in error


@pytest.mark.slow
def test_eight_bits_are_measured_on_training_paintings_and_their_loss_on_test_paintings(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs_format("litert-int8")
    folder, _ = trained(tmp_path_factory)
    words = ["--model", str(folder), "--output", str(tmp_path / "small"), "--max-loss", "0.2"]
    assert export.main([*words, "--format", "litert-int8"]) == 0
    report = json.loads((tmp_path / "small" / "comparison.json").read_text())
    said = (folder / "test_predictions.csv").read_text().count("\n") - 1
    assert report["paintings"] == said
    metrics = json.loads((folder / "metrics.json").read_text())
    for task, value in report["accuracy"].items():
        assert value["loss"] == pytest.approx(value["keras"] - value["exported"])
        assert value["keras"] == pytest.approx(metrics["test"][task]["accuracy"], abs=1e-4)
    assert "lost" in capsys.readouterr().out
    weights = open_run(folder).model().count_params()
    assert (tmp_path / "small" / "model.tflite").stat().st_size < 2 * weights  # bytes; 4 a weight in Keras
    from ai_edge_litert.interpreter import Interpreter

    tensors = Interpreter(str(tmp_path / "small" / "model.tflite")).get_tensor_details()
    large = [t for t in tensors if np.prod(t["shape"]) > 64 and len(t["shape"]) > 1]
    assert any(t["dtype"] is np.int8 and "/small_convnet" in t["name"] for t in large)
    behind = [t for t in large if "/small_convnet" not in t["name"] and len(t["shape"]) == 2]
    assert behind and all(t["dtype"] is np.float32 for t in behind)  # means and heads
    words[1] = str(folder / "baselines" / "painter")  # the data have labels for tasks that this network has not
    assert export.main([*words, "--overwrite", "--format", "litert-int8"]) == 0
    assert set(json.loads((tmp_path / "small" / "comparison.json").read_text())["accuracy"]) == {"painter"}


def test_what_differs_is_not_written(
    run: Run,
    files: list[ImageFile],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No probability of 32 bits is exactly Keras's: with a tolerance of nothing the command must fail."""
    needs_format("litert")
    monkeypatch.setattr(parity, "TOLERANCE", 0.0)
    assert exported(run, files, "litert", tmp_path / "out") == 1
    assert "is not written" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_earlier_export_stays_unless_it_is_to_be_replaced(
    run: Run, files: list[ImageFile], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert exported(run, files, "saved_model", output) == 0
    (output / "mine.txt").write_text("")
    assert exported(run, files, "saved_model", output) == 2
    assert "holds an export already" in capsys.readouterr().err and (output / "mine.txt").exists()
    with pytest.raises(UserError, match=r"out is an export for other programs, as its README\.md says: name the run"):
        open_run(output)
    assert exported(run, files, "saved_model", output, "--overwrite") == 0
    assert not (output / "mine.txt").exists() and [f.name for f in tmp_path.iterdir()] == ["out"]
    assert exported(run, files, "saved_model", run.folder, "--overwrite") == 2 and (run.folder / "labels.json").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("")
    assert exported(run, files, "saved_model", tmp_path / "other", "--overwrite") == 2
    assert "is no earlier export" in capsys.readouterr().err and (tmp_path / "other" / "mine.txt").exists()
    for manifest in ({"name": "a page", "icons": []}, {"format": 1, "made_with": ["x"]}):  # of other programs
        (tmp_path / "other" / "manifest.json").write_text(json.dumps(manifest))
        assert exported(run, files, "saved_model", tmp_path / "other", "--overwrite") == 2
        assert "is no earlier export" in capsys.readouterr().err and (tmp_path / "other" / "mine.txt").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--output", "no/where/out"], "there is no folder"),
        (["--format", "litert-int8", "--images", "."], "--images has no labels"),
        (["--format", "litert-int8", "--max-loss", "2"], "--max-loss 2.0 must be"),
        ([], "lacks config.json, so its own paintings are not known: name paintings with --images"),
        (["--images", "nowhere"], "there is no file or folder nowhere"),
        (["--images", ".", "--data", "."], "give one of them"),
    ],
)
def test_one_sentence_for_what_goes_wrong(
    words: list[str],
    said: str,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    if "litert-int8" in words:
        needs_format("litert")
    assert export.main(["--model", str(run.folder), "--output", "out", *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("file_format", "package"),
    [
        ("litert", "ai_edge_litert"),
        ("litert-int8", "ai_edge_litert"),
        ("onnx", "onnxruntime"),
        ("openvino", "openvino"),
    ],
)
def test_a_missing_package_is_named_with_its_install_line(
    file_format: str,
    package: str,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("onnx", "tf2onnx", "onnxruntime", package):
        monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]
    words = ["--model", str(run.folder), "--format", file_format, "--output", str(tmp_path / "out")]
    assert export.main(words) == 2
    extra = file_format.removesuffix("-int8")
    assert "is not installed (import of " in (error := capsys.readouterr().err)
    assert f'pip install "painters-mtl[{extra}]"' in error


def test_a_package_is_written_whole_and_taken_as_a_run_folder(
    base: Path, files: list[ImageFile], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, output = trained_run(base / "for-package"), base / "package"
    assert exported(run, files, "package", output) == 0
    said = capsys.readouterr().out
    assert re.search(r"painter .* 100\.0%", said) and re.search(r"wrote .*package \(0\.\d+ MB\)", said)
    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["compared_with_32_bits"]["paintings"] == len(files)
    assert manifest["made_from"] == {"run": "for-package", "checksum": run.digest}
    assert open_run(output).tasks == run.tasks
    assert exported(run, files, "package", output) == 2
    monkeypatch.setattr(packaging, "AGREEMENT", 1.01)
    assert exported(run, files, "package", output, "--overwrite") == 1
    assert "at least 101.0% is asked" in capsys.readouterr().err
    assert json.loads((output / "manifest.json").read_text()) == manifest
    assert [file for file in base.iterdir() if file.name.startswith(".")] == []
