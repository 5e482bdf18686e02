"""Prediction: the table it promises, the pixels it was trained on, and one sentence for what goes wrong."""

import csv
import itertools
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from helpers import LEVELS, arguments, picture, python, read_rows, small_network, trained
from PIL import Image

from painters_mtl import predict
from painters_mtl.data.tasks import TASK_NAMES, Task
from painters_mtl.images import files as images
from painters_mtl.inference.predictor import PredictOptions, label
from painters_mtl.runs import run as runs
from painters_mtl.runs.run import open_run
from painters_mtl.training.settings import TrainSettings

ROUNDING = 1.01e-4  # of a confidence with four decimals


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainSettings]:
    return trained(tmp_path_factory)


@pytest.fixture
def folder(trained_run: tuple[Path, TrainSettings]) -> Path:
    return trained_run[0]


@pytest.fixture
def originals(trained_run: tuple[Path, TrainSettings]) -> Path:
    data = trained_run[1].data
    assert data is not None
    return data / "images"


@pytest.fixture
def few(originals: Path, tmp_path: Path) -> Path:
    """A folder of five pictures."""
    (tmp_path / "few").mkdir()
    for file in sorted(originals.iterdir())[:5]:
        shutil.copy(file, tmp_path / "few")
    return tmp_path / "few"


def labelled(
    folder: Path, output: Path, *paths: Path, status: int = 0, unknown: bool = False, **options: object
) -> list[dict[str, str]]:
    words = [w for k, v in options.items() for w in (f"--{k.replace('_', '-')}", str(v))]
    words += [] if unknown else ["--no-unknown"]
    found = predict.main([*map(str, paths), "--model", str(folder), "--output", str(output), *words])
    assert found == status
    return read_rows(output)


# ------------------------------------------------------------------------------------------------- the table


def test_the_columns_are_those_promised(folder: Path, few: Path, tmp_path: Path) -> None:
    rows = labelled(folder, tmp_path / "out.csv", few)
    header = (tmp_path / "out.csv").read_text().splitlines()[0]
    assert header == (
        "path,painter,painter_confidence,painter_known,style,style_confidence,genre,genre_confidence,doubtful,read_in_part,error"
    )
    assert [r["path"] for r in rows] == [str(f) for f in sorted(few.iterdir())]
    assert all(r["error"] == "" and r[task] for r in rows for task in TASK_NAMES)


@pytest.mark.parametrize(
    ("ending", "content"),
    [("csv", "filename,painter\na.png,Turner\n"), ("jsonl", '{"path": 1}\n'), ("html", "<title>my page</title>")],
)
def test_a_file_of_the_users_own_is_not_replaced(
    ending: str, content: str, folder: Path, few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / f"labels.{ending}"
    output.write_text(content)
    words = [str(few), "--model", str(folder), "--output", str(output)]
    assert predict.main(words) == 2 and output.read_text() == content
    assert f"{output} is there, was not written by predict and is not replaced" in capsys.readouterr().err
    output.write_text("")
    assert predict.main(words) == 0 and predict.main(words) == 0  # its own is made again, as ever


def test_the_line_of_a_picture_says_what_is_doubtful() -> None:
    row = {"path": "a.jpg", "painter": "unknown", "painter_confidence": 0.9, "style": "Baroque",
           "style_confidence": 0.52, "genre": "portrait", "genre_confidence": 0.8,
           "doubtful": "painter, style", "error": ""}  # fmt: skip
    assert predict.in_words(row, TASK_NAMES) == (
        "a.jpg: painter unknown, style Baroque (52 %, doubtful), genre portrait (80 %)"
    )


def test_a_run_without_a_threshold_says_that_it_calls_nothing_unknown(
    folder: Path, few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = open_run(folder)
    copy = shutil.copytree(folder, tmp_path / "few-works")
    counts = {name: [5] * len(task.classes) for name, task in run.tasks.items()}
    none = dict(run.thresholds) | {"painter": 0.0}
    runs.save_labels(copy, run.tasks, run.image_size, run.cache_side, False, run.views, run.temperatures, none, counts)
    told = []
    for each in (copy, folder):
        assert predict.main([str(few), "--model", str(each), "--output", str(tmp_path / "out.csv")]) == 0
        told.append("had too few validation paintings with a painter" in capsys.readouterr().out)
    assert told == [True, run.thresholds["painter"] == 0]


@pytest.mark.parametrize("ending", ["csv", "html"])
def test_a_picture_that_was_read_in_part_says_so(
    ending: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its labels are of what was there, and may be nonsense."""
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    Image.fromarray(rng.integers(0, 256, (300, 300, 3), np.uint8)).save(tmp_path / "in" / "whole.jpg")
    content = (tmp_path / "in" / "whole.jpg").read_bytes()
    (tmp_path / "in" / "cut.jpg").write_bytes(content[: len(content) // 2])
    output = tmp_path / f"out.{ending}"
    assert predict.main([str(tmp_path / "in"), "--model", str(folder), "--output", str(output)]) == 0
    told = capsys.readouterr()
    assert "1 picture could be read in part only (1 truncated): the labels are of that part" in told.err
    if ending == "html":
        assert output.read_text().count("read in part only: truncated") == 1
        return
    assert "cut.jpg: painter" in told.out and "; read in part only (truncated)" in told.out
    assert [row["read_in_part"] for row in read_rows(output)] == ["truncated", ""]
    assert predict.main([str(tmp_path / "in"), "--model", str(folder), "--output", str(output), "--resume"]) == 0
    assert "1 picture could be read in part only" in capsys.readouterr().err


def test_more_classes_come_in_order_and_add_up(folder: Path, few: Path, tmp_path: Path) -> None:
    one, three = (labelled(folder, tmp_path / f"{k}.csv", few, top_k=k) for k in (1, 3))
    run = open_run(folder)
    assert list(three[0]) == [
        "path", "painter", "painter_confidence", "painter_known", "style", "style_confidence",
        "genre", "genre_confidence",
        "painter_2", "painter_2_confidence", "style_2", "style_2_confidence", "genre_2", "genre_2_confidence",
        "style_3", "style_3_confidence", "doubtful", "read_in_part", "error",
    ]  # fmt: skip  # of two painters and two genres there is no third
    for first, row in zip(one, three, strict=True):
        assert first.items() <= row.items()
        for task in TASK_NAMES:
            names = [task, *(f"{task}_{k}" for k in range(2, len(run.tasks[task].classes) + 1))]
            confidences = [float(row[f"{name}_confidence"]) for name in names]
            assert confidences == sorted(confidences, reverse=True)
            assert sum(confidences) == pytest.approx(1, abs=len(names) * 0.5e-4 + 1e-6)
            assert {row[name] for name in names} == set(run.tasks[task].classes)


def test_the_colours_are_recognised_in_new_pictures(folder: Path, tmp_path: Path) -> None:
    """Red told the painter, green the style, blue the genre; the bigger JPEGs here were never seen."""
    from helpers import GENRES, PAINTERS, STYLES

    (tmp_path / "new").mkdir()
    known = open_run(folder).tasks["painter"].classes
    rng, truth = np.random.default_rng(99), {}
    for p, s, g in itertools.product(range(3), range(3), range(2)):
        if PAINTERS[p] in known:
            file = tmp_path / "new" / f"{p}{s}{g}.jpg"
            pixels = picture((LEVELS[p], LEVELS[s], LEVELS[2 * g]), rng, side=200)
            Image.fromarray(pixels).save(file, quality=95)
            truth[str(file)] = (PAINTERS[p], STYLES[s], GENRES[g])
    rows = labelled(folder, tmp_path / "out.csv", tmp_path / "new")
    right = np.array([[row[task] == t for task, t in zip(TASK_NAMES, truth[row["path"]], strict=True)] for row in rows])
    assert right.shape == (12, 3) and (right.mean(axis=0) >= 0.75).all()


def test_what_was_said_of_the_test_paintings_is_said_again(folder: Path, originals: Path, tmp_path: Path) -> None:
    """The same pixels in training and prediction: the run's own table of its test paintings comes out."""
    said = {r["id"]: r for r in read_rows(folder / "test_predictions.csv")}
    rows = labelled(folder, tmp_path / "out.csv", *(originals.parent / name for name in said))
    assert len(rows) == len(said) > 20
    for row in rows:
        before = said[Path(row["path"]).relative_to(originals.parent).as_posix()]
        for task in TASK_NAMES:
            assert row[task] == before[task]
            assert abs(float(row[f"{task}_confidence"]) - float(before[f"{task}_confidence"])) <= ROUNDING


def test_order_and_labels_do_not_depend_on_batches_and_threads(folder: Path, originals: Path, tmp_path: Path) -> None:
    tables = [
        labelled(folder, tmp_path / f"{b}-{t}.csv", originals, batch_size=b, threads=t)
        for b, t in ((32, 0), (1, 1), (7, 5), (1000, 2))
    ]
    assert [r["path"] for r in tables[0]] == sorted(map(str, originals.iterdir()))
    for table in tables[1:]:
        for row, other in zip(table, tables[0], strict=True):
            for name, value in row.items():
                if name.endswith(("_confidence", "_known")):
                    assert abs(float(value) - float(other[name])) <= ROUNDING
                else:
                    assert value == other[name]


def test_a_zip_gives_what_its_files_give(folder: Path, few: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "few.zip", "w") as archive:
        for file in sorted(few.iterdir()):
            archive.write(file, f"deep/er/{file.name}")
    plain = labelled(folder, tmp_path / "plain.csv", few)
    zipped = labelled(folder, tmp_path / "zipped.csv", tmp_path / "few.zip")
    assert [r.pop("path") for r in zipped] == [f"{tmp_path}/few.zip/deep/er/{Path(r.pop('path')).name}" for r in plain]
    assert zipped == plain


def test_folders_are_searched_to_the_bottom(folder: Path, few: Path, tmp_path: Path) -> None:
    deep = few / "a" / "b"
    deep.mkdir(parents=True)
    (few / "notes.txt").write_text("no picture")
    shutil.copy(next(few.glob("*.png")), deep / "x.png")
    rows = labelled(folder, tmp_path / "out.csv", few)
    assert len(rows) == 6 and str(deep / "x.png") in [r["path"] for r in rows]


def test_strange_names_survive_the_table(folder: Path, few: Path, tmp_path: Path) -> None:
    names = ["comma, quote \" and '.png", "new\nline.png", "浮世絵 é.png", " space .png", "=1+1.png"]
    wanted = set()
    for name, file in zip(names, sorted(few.iterdir()), strict=True):
        file.rename(few / name)
        wanted.add(str(few / name))
    assert {r["path"] for r in labelled(folder, tmp_path / "out.csv", few)} == wanted
    painters = {r["painter"] for r in read_rows(folder / "test_predictions.csv")}
    assert painters == set(open_run(folder).tasks["painter"].classes)  # 'Bo "Brush", the Elder' among them


def test_names_that_are_no_text_survive_too(folder: Path, few: Path, tmp_path: Path) -> None:
    odd = os.fsencode(few) + b"/caf\xe9.png"
    Path(os.fsdecode(odd)).write_bytes(next(few.glob("*.png")).read_bytes())
    rows = labelled(folder, tmp_path / "out.csv", few)
    assert odd in [os.fsencode(r["path"]) for r in rows]


# ------------------------------------------------------------------------------------------------- what cannot be read


def test_an_unreadable_picture_is_a_row_with_a_reason(
    folder: Path, few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = labelled(folder, tmp_path / "whole.csv", few)
    files = sorted(few.iterdir())
    files[1].write_bytes(b"")
    files[3].write_bytes(b"<html>404</html>")
    capsys.readouterr()
    rows = labelled(folder, tmp_path / "out.csv", few, status=1, batch_size=2)
    for i, (file, row) in enumerate(zip(files, rows, strict=True)):
        if i in (1, 3):
            with pytest.raises(images.Unreadable) as refusal:
                images.load_image(file)
            assert row["error"].startswith(refusal.value.reason)
            assert {v for k, v in row.items() if k not in ("path", "error")} == {""} and row["path"] == str(file)
        else:
            for task in TASK_NAMES:
                assert row[task] == whole[i][task] and row["error"] == ""
                assert abs(float(row[f"{task}_confidence"]) - float(whole[i][f"{task}_confidence"])) <= ROUNDING
    assert "2 pictures could not be read" in capsys.readouterr().err


def test_nothing_but_unreadable_pictures(folder: Path, tmp_path: Path) -> None:
    for name in ("a.jpg", "b.png"):
        (tmp_path / name).write_bytes(b"no picture")
    rows = labelled(folder, tmp_path / "out.csv", tmp_path / "a.jpg", tmp_path / "b.png", status=1)
    assert len(rows) == 2 and all(r["error"] and not r["painter"] for r in rows)


def test_memory_is_constant(folder: Path, few: Path) -> None:
    """Pictures are taken from the list as they are needed, however long it is."""
    taken = 0

    def endless() -> Iterator[images.ImageFile]:
        nonlocal taken
        for file in itertools.cycle(sorted(few.iterdir())):
            taken += 1
            yield images.ImageFile(str(file))

    labels = label(open_run(folder), endless(), PredictOptions(batch_size=4, threads=2))
    for n, one in enumerate(itertools.islice(labels, 50), 1):
        assert one.probabilities is not None and taken <= n + 4 * 4
    labels.close()  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------------------- misuse


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The one line on standard error of a call that is refused."""
    capsys.readouterr()
    assert predict.main([str(w) for w in words]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "pictures/s" not in line and line]
    assert len(lines) == 1 and lines[0].startswith("error: "), lines
    return lines[0]


def test_misuse_is_one_sentence(folder: Path, few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    model = ("--model", folder)
    out = ("--output", tmp_path / "out.csv")
    assert "nowhere" in refused(capsys, few, "--model", tmp_path / "nowhere", *out)
    assert "lacks model.keras" in refused(capsys, few, "--model", tmp_path / "empty", *out)
    assert "nowhere" in refused(capsys, tmp_path / "nowhere", *model, *out)
    assert "no picture" in refused(capsys, tmp_path / "empty", *model, *out)
    assert "nothing to label" in refused(capsys, *model, *out)
    for output in (tmp_path / "nowhere" / "out.csv", tmp_path / "out.txt", tmp_path / "empty"):
        assert str(output) in refused(capsys, few, *model, "--output", output)
    assert "--top-k 0" in refused(capsys, few, *model, *out, "--top-k", 0)
    assert "is for --balanced" in refused(capsys, few, *model, *out, "--balance-strength", 1)
    assert "--batch-size -1" in refused(capsys, few, *model, *out, "--batch-size", -1)
    assert not (tmp_path / "out.csv").exists() and not list(tmp_path.glob(".*"))
    with pytest.raises(SystemExit) as status:
        predict.main([str(few), "--modle", str(folder)])
    assert status.value.code == 2


def copy_run(folder: Path, to: Path, painters: tuple[str, str] | None = None) -> Path:
    to.mkdir(parents=True)
    for name in (runs.MODEL, runs.LABELS, runs.METRICS):
        shutil.copy(folder / name, to)
    if painters:
        labels = json.loads((to / runs.LABELS).read_text(encoding="utf-8"))
        labels["classes"]["painter"] = list(painters)
        del labels["checksum"]
        (to / runs.LABELS).write_text(json.dumps(labels))
    return to


def test_the_newest_run_without_a_model(
    folder: Path, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate("cab"):
        run = copy_run(folder, tmp_path / "models" / name, (f"{name}1", f"{name}2"))
        os.utime(run / runs.MODEL, (0, [10, 30, 20][i]))
    assert predict.main([str(few), "--no-unknown"]) == 0
    assert "5 pictures with models/a, the newest run of real paintings" in capsys.readouterr().out
    assert {r["painter"][0] for r in read_rows(tmp_path / "predictions.csv")} == {"a"}


@pytest.mark.parametrize("what", ["model cut", "model empty", "labels cut", "labels of another kind"])
def test_a_damaged_run_is_one_sentence_and_leaves_the_old_table(
    what: str, folder: Path, few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy_run(folder, tmp_path / "run")
    name = runs.MODEL if "model" in what else runs.LABELS
    data = (run / name).read_bytes()
    (run / name).write_bytes({"cut": data[: len(data) // 2], "empty": b"", "kind": b"[1, 2]"}[what.split()[-1]])
    (tmp_path / "out.csv").write_text("the old table")
    assert name in refused(capsys, few, "--model", run, "--output", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "the old table"
    assert not [f for f in tmp_path.iterdir() if f.name.startswith(".")]


@pytest.mark.parametrize("change", ["more classes", "other tasks"])
def test_labels_that_do_not_fit_the_model_are_refused(
    change: str, folder: Path, few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy_run(folder, tmp_path / "run")
    labels = json.loads((run / runs.LABELS).read_text(encoding="utf-8"))
    if change == "more classes":
        labels["classes"]["painter"].insert(0, "Somebody Else")
    else:
        labels["classes"]["school"] = labels["classes"].pop("style")
    del labels["checksum"]
    (run / runs.LABELS).write_text(json.dumps(labels))
    assert "labels.json" in refused(capsys, few, "--model", run, "--output", tmp_path / "out.csv")


@pytest.mark.slow
def test_a_process_of_its_own_needs_the_run_folder_only(folder: Path, few: Path, tmp_path: Path) -> None:
    run = copy_run(folder, tmp_path / "elsewhere")
    wanted = labelled(folder, tmp_path / "wanted.csv", few)
    (few / "bad.png").write_bytes(b"")
    words = (few, "--model", run, "--output", "out.csv", "--no-unknown")
    done = python("-m", "painters_mtl.predict", *words, cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    rows = read_rows(tmp_path / "out.csv")
    assert [r for r in rows if not r["error"]] == wanted and len(rows) == len(wanted) + 1


@pytest.mark.slow
def test_a_label_waits_for_nothing_that_it_does_not_need(folder: Path, few: Path, tmp_path: Path) -> None:
    code = "import sys\nfrom painters_mtl.predict import main\nmain(sys.argv[1:])\n"
    code += "print([n for n in ('pandas', 'sklearn', 'matplotlib', 'scipy.optimize', 'jinja2') if n in sys.modules])\n"
    done = python("-c", code, min(few.iterdir()), "--model", folder, "--output", tmp_path / "one.csv")
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize(
    ("count", "options", "wanted"),
    [(2, {}, False), (9, {}, True), (2, {"batch_size": 1}, True), (2, {"tta": "flip"}, True)],
)
def test_a_few_pictures_are_not_worth_compiling_for(
    count: int,
    options: dict[str, object],
    wanted: bool,
    folder: Path,
    originals: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled, function = [], tf.function

    def watched(*args: Any, **keywords: Any) -> Any:
        if "input_signature" in keywords:  # Keras makes some of its own
            compiled.append(args)
        return function(*args, **keywords)

    monkeypatch.setattr(tf, "function", watched)
    labelled(folder, tmp_path / "out.csv", *sorted(originals.iterdir())[:count], runtime="keras", **options)
    assert len(compiled) == wanted


@pytest.mark.real
def test_real_paintings_of_every_kind(paintings: Path, folder: Path, tmp_path: Path) -> None:
    rows = labelled(folder, tmp_path / "out.csv", paintings / "originals", status=1)
    files = images.find_images(paintings / "originals")
    assert [r["path"] for r in rows] == [str(f) for f in files]
    bad = [Path(r["path"]).name for r in rows if r["error"]]
    assert bad == [Path(f.path).name for f in files if Path(f.path).name.startswith("lfspointer")]
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as lines:
        assert {len(row) for row in csv.reader(lines)} == {11}


def test_the_command_line_of_the_helpers_is_the_settings(trained_run: tuple[Path, TrainSettings]) -> None:
    """`arguments` serves other tests: what it says must be what the run was told."""
    folder, settings = trained_run
    assert "--backbone" in arguments(settings) and TrainSettings.load(folder / runs.CONFIG) == settings


# ------------------------------------------------------------------------------------------------- other ways to look


def confidences(rows: list[dict[str, str]]) -> np.ndarray:
    return np.array([[float(row[f"{task}_confidence"]) for task in TASK_NAMES] for row in rows])


@pytest.mark.parametrize("tta", ["flip", "crops"])
def test_a_picture_and_its_mirror_image_get_the_same_label(tta: str, folder: Path, few: Path, tmp_path: Path) -> None:
    mirrored = tmp_path / "mirrored"
    mirrored.mkdir()
    for file in few.iterdir():
        Image.open(file).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(mirrored / file.name)
    plain = [labelled(folder, tmp_path / f"plain-{place.name}.csv", place) for place in (few, mirrored)]
    both = [labelled(folder, tmp_path / f"{place.name}.csv", place, tta=tta) for place in (few, mirrored)]
    np.testing.assert_allclose(confidences(both[0]), confidences(both[1]), atol=2e-4)
    assert np.abs(confidences(plain[0]) - confidences(plain[1])).max() > 1e-3
    assert [row["painter"] for row in both[0]] == [row["painter"] for row in both[1]]


@pytest.mark.parametrize(("runtime", "package"), [("openvino", "openvino"), ("litert", "ai_edge_litert")])
def test_another_runtime_writes_the_same_table(
    runtime: str, package: str, folder: Path, few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(package, reason=f"needs the extra {runtime}")
    run = shutil.copytree(folder, tmp_path / "run", ignore=shutil.ignore_patterns("runtimes"))
    wanted = labelled(run, tmp_path / "keras.csv", few, runtime="keras")
    found = labelled(run, tmp_path / f"{runtime}.csv", few, runtime=runtime)
    names = ["path", *TASK_NAMES]
    assert [[row[n] for n in names] for row in found] == [[row[n] for n in names] for row in wanted]
    np.testing.assert_allclose(confidences(found), confidences(wanted), atol=2e-3)
    assert "largest difference of a probability" in capsys.readouterr().out


def test_patterns_and_lists(folder: Path, originals: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = labelled(folder, tmp_path / "a.csv", originals / "00*.png")
    assert [Path(r["path"]).name for r in rows] == [f"00{k}.png" for k in range(10)]
    listed = [str(originals / "003.png"), str(tmp_path / "gone.png"), "", str(originals / "001.png")]
    process = subprocess.run(
        [sys.executable, "-m", "painters_mtl.predict", "-", "--model", str(folder), "--output", "b.csv"],
        input="\r\n".join(listed).encode(), capture_output=True, cwd=tmp_path, timeout=120,
    )  # fmt: skip
    assert process.returncode == 1
    rows = read_rows(tmp_path / "b.csv")
    assert [r["path"] for r in rows] == [name for name in listed if name]
    assert [r["error"].split(" (")[0] for r in rows] == ["", "missing", ""]
    assert predict.main([str(originals / "x*.png"), "--model", str(folder), "--output", str(tmp_path / "c.csv")]) == 2
    assert "no file fits the pattern" in capsys.readouterr().err


def test_an_output_that_cannot_be_is_refused(folder: Path, few: Path, tmp_path: Path) -> None:
    for name in ("out.txt", "nowhere/out.csv", ""):
        assert predict.main([str(few), "--model", str(folder), "--output", str(tmp_path / name)]) == 2


# ------------------------------------------------------------------------------------------------- standard output


def test_a_table_on_standard_output(folder: Path, few: Path, tmp_path: Path) -> None:
    """Nothing but the table is there, byte for byte as in a file, and also with a path that is not UTF-8."""
    (few / "bad.png").write_bytes(b"")
    shutil.copy(few / "000.png", os.fsencode(few) + b"/caf\xe9.png")
    labelled(folder, tmp_path / "out.csv", few, status=1, unknown=True)
    words = [sys.executable, "-m", "painters_mtl.predict", str(few), "--model", str(folder), "--output", "-"]
    done = subprocess.run(words, capture_output=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 1 and done.stdout == (tmp_path / "out.csv").read_bytes(), done.stderr
    assert b"labelling 7 pictures" in done.stderr and b"1 picture could not be read" in done.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["few", "out.csv"]
    lines = subprocess.run([*words, "--format", "jsonl"], capture_output=True, cwd=tmp_path, timeout=120).stdout
    assert [json.loads(line)["error"] for line in lines.splitlines()].count("empty (0 bytes)") == 1
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == done.stdout.splitlines(keepends=True)[0]
        process.stdout.close()  # as head does
        assert b"Traceback" not in process.stderr.read()


def test_the_format_stands_above_the_ending(
    folder: Path, few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled(folder, tmp_path / "out.csv", few)
    labelled(folder, tmp_path / "out.txt", few, format="csv")
    assert (tmp_path / "out.txt").read_bytes() == (tmp_path / "out.csv").read_bytes()
    for words, told in (
        (["--format", "html"], "--output - writes csv or jsonl: name a file for --format html"),
        (["--resume"], "--output - cannot be gone on with"),
    ):
        assert predict.main([str(few), "--model", str(folder), "--output", "-", *words]) == 2
        assert told in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------- tasks of one's own


def test_tasks_of_a_users_own_can_be_unknown_too(few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = {"school": Task("school", ("Dutch", "Flemish")), "century": Task("century", ("17", "18", "19"))}
    (tmp_path / "run").mkdir()
    runs.save_model(small_network(tasks), tmp_path / "run")
    limits = {"school": 2.0, "century": 0.0}
    runs.save_labels(tmp_path / "run", tasks, 32, 40, False, thresholds=limits)
    rows = labelled(tmp_path / "run", tmp_path / "a.csv", few, unknown=True)
    assert list(rows[0]) == [
        "path",
        "school",
        "school_confidence",
        "century",
        "century_confidence",
        "doubtful",
        "read_in_part",
        "error",
    ]
    assert all(row["school"] in tasks["school"].classes for row in rows)  # only a painter becomes "unknown" unasked
    assert [row["doubtful"] for row in rows] == ["school"] * 5
    doubted = labelled(tmp_path / "run", tmp_path / "b.csv", few, unknown=True, unknown_tasks="school,century")
    assert [row["school"] for row in doubted] == ["unknown"] * 5
    assert [row["century"] for row in doubted] == [row["century"] for row in rows]
    assert rows == labelled(tmp_path / "run", tmp_path / "c.csv", few, unknown_tasks="school")  # with --no-unknown
    words = [str(few), "--model", str(tmp_path / "run"), "--output", str(tmp_path / "d.csv")]
    assert predict.main([*words, "--unknown-tasks", "painter"]) == 2
    assert "--unknown-tasks painter: the network has no such task, but school, century" in capsys.readouterr().err


def test_the_labels_of_a_few_pictures_are_printed_too(folder: Path, few: Path, tmp_path: Path, capsys) -> None:
    """As the table has them: with the confidence, but for "unknown", and why a picture could not be read."""
    (few / "torn.jpg").write_bytes(b"no picture")
    rows = labelled(folder, tmp_path / "labels.csv", few, status=1, unknown=True, unknown_tasks="painter,style")
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines() if line.startswith(str(few)))
    assert set(lines) == {row["path"] for row in rows} and len(rows) == 6
    for row in rows:
        if row["error"]:
            assert lines[row["path"]] == row["error"]
            continue
        said = [
            f"{task} {row[task]}" + f" ({100 * float(row[f'{task}_confidence']):.0f} %)" * (row[task] != "unknown")
            for task in TASK_NAMES
        ]
        assert lines[row["path"]] == ", ".join(said)
    one = few / "one-more.png"
    Image.new("RGB", (40, 30), (200, 30, 30)).save(one)
    words = [str(one), "--model", str(folder), "--output", str(tmp_path / "labels.csv")]
    assert predict.main([*words, "--resume", "--unknown-tasks", "painter,style"]) == 0  # nobody asked about torn.jpg
    assert [line.split(": ")[0] for line in capsys.readouterr().out.splitlines() if str(few) in line] == [str(one)]
