"""Tasks of the user's own, any of the usual three, and two classes: from the table to the prediction."""

import csv
import json
from pathlib import Path

import pandas as pd
import pytest
from helpers import arguments, make_data, read_rows, tiny_settings

from painters_mtl import check, compare, describe, embed, explain, export, predict, train


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with the columns School (3 names and two that are too rare), century and maker; a table of colours."""
    folder = make_data(tmp_path_factory.mktemp("own") / "data", count=160, seed=3)
    rows = list(csv.DictReader((folder / "labels.csv").open(encoding="utf-8", newline="")))
    frame = pd.DataFrame(rows).rename(columns={"painter": "maker", "style": "School"})
    frame["Century"] = frame.pop("genre").map({"portrait": "17", "landscape": "18", "": "nan"})
    frame.loc[:1, "School"] = "Sienese"
    frame.drop(columns=["title", "date"]).to_csv(folder / "labels.csv", index=False)
    return folder


def trained(data: Path, out: Path, *options: str) -> Path:
    """The folder of a run of a few epochs."""
    changes = {"epochs": 6, "painters": ("8",), "task_weights": {}, "other_painters": 0.0, "painter_known": True}
    settings = tiny_settings(data, out, **changes)
    assert train.main([*arguments(settings), "--no-baselines", *options]) == 0
    return settings.models / settings.name


def accuracy(rows: list[dict[str, str]], truth: dict[str, str], task: str) -> float:
    """The share of the labelled pictures that get their label."""
    pairs = [(row[task], truth[Path(row["path"]).name]) for row in rows]
    return sum(answer == label for answer, label in pairs if label) / sum(bool(label) for _, label in pairs)


@pytest.mark.slow
def test_two_tasks_of_ones_own(collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--tasks", "school", "century", "--classes", "school=3"]
    run = trained(collection, tmp_path, *options)
    labels = json.loads((run / "labels.json").read_text(encoding="utf-8"))
    assert list(labels["classes"]) == ["school", "century"]
    assert sorted(labels["classes"]["school"]) == ["Dots", "Lines", "Washes"]
    assert sorted(labels["classes"]["century"]) == ["17", "18"]
    assert set(json.loads((run / "metrics.json").read_text(encoding="utf-8"))["test"]) == {"school", "century"}
    assert list(read_rows(run / "split.csv")[0])[-2:] == ["school", "century"]
    report = (run / "report.html").read_text(encoding="utf-8")
    assert "school" in report and "Washes" in report

    output = tmp_path / "p.csv"
    assert predict.main([str(collection / "images"), "--model", str(run), "--output", str(output), "--top-k", "2"]) == 0
    rows = read_rows(output)
    columns = ["path", "school", "school_confidence", "century", "century_confidence"]
    assert list(rows[0])[:5] == columns and list(rows[0])[-1] == "error"
    with (collection / "labels.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    names = [Path(row["filename"]).name for row in table]
    schools = {
        name: "" if row["School"] == "Sienese" else row["School"] for name, row in zip(names, table, strict=True)
    }
    assert accuracy(rows, schools, "school") > 0.8
    century = {name: "" if row["Century"] == "nan" else row["Century"] for name, row in zip(names, table, strict=True)}
    assert accuracy(rows, century, "century") > 0.8

    picture, model = str(collection / "images" / "000.png"), ["--model", str(run)]
    doubt = ["--unknown-tasks", "school,century", "--output", str(tmp_path / "doubt.jsonl")]
    assert predict.main([picture, *model, *doubt]) == 0
    assert predict.main([picture, *model, "--unknown-tasks", "mood"]) == 2
    assert "--unknown-tasks mood: the network has no such task, but school, century" in capsys.readouterr().err
    assert explain.main([picture, *model, "--output", str(tmp_path / "explained")]) == 0
    assert embed.main([picture, *model, "--output", str(tmp_path / "e.npz")]) == 0
    assert describe.main([*model, "--output", str(tmp_path / "d.png")]) == 0
    capsys.readouterr()


@pytest.mark.slow
def test_the_network_of_ones_own_tasks_is_exported(collection: Path, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    run = trained(collection, tmp_path, "--tasks", "school", "century")
    assert export.main(["--model", str(run), "--format", "litert", "--output", str(tmp_path / "lite")]) == 0
    pictures, outputs = str(collection / "images"), [tmp_path / f"{runtime}.csv" for runtime in ("keras", "litert")]
    for output in outputs:
        assert predict.main([pictures, "--model", str(run), "--runtime", output.stem, "--output", str(output)]) == 0
    keras, litert = ([(row["school"], row["century"]) for row in read_rows(output)] for output in outputs)
    assert sum(a == b for a, b in zip(keras, litert, strict=True)) >= len(keras) - 1


@pytest.mark.slow
@pytest.mark.parametrize("tasks", [("school",), ("painter", "century"), ("century",)])
def test_any_tasks_and_two_classes(collection: Path, tmp_path: Path, tasks: tuple[str, ...]) -> None:
    run = trained(collection, tmp_path, "--tasks", *tasks, "--columns", "painter=maker", "--strategy", "joint")
    classes = json.loads((run / "labels.json").read_text(encoding="utf-8"))["classes"]
    assert tuple(classes) == tasks and len(classes.get("century", "12")) == 2
    output = tmp_path / "p.csv"
    assert predict.main([str(collection / "images"), "--model", str(run), "--output", str(output)]) == 0
    assert set(tasks) <= set(read_rows(output)[0]) and ("painter_known" in read_rows(output)[0]) == ("painter" in tasks)


@pytest.mark.slow
def test_a_study_of_ones_own_tasks(collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = tiny_settings(collection, tmp_path, epochs=1, task_weights={}, other_painters=0.0, shared_layers=(16,))
    words = [*arguments(settings), "--tasks", "school", "century", "--fine-tune", "heads", "--seeds", "1"]
    assert compare.main([*words, "--strategies", "joint", "alternate", "pcgrad"]) == 0
    result = read_rows(settings.models / settings.name / "comparison.csv")
    assert {row["task"] for row in result} >= {"school", "century"}
    assert "school" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------- without training


def test_check_says_what_would_be_understood(collection: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", str(collection), "--tasks", "school", "century", "painter", "--columns", "painter=maker"]
    assert check.main([*words, "--painters", "2"]) == 0
    text = capsys.readouterr().out
    with (collection / "labels.csv").open(encoding="utf-8", newline="") as file:
        table = pd.DataFrame(csv.DictReader(file))
    cells = {
        line.split()[0]: line.split()[1:]
        for line in text.splitlines()
        if line.startswith(("school ", "century ", "painter "))
    }
    schools = table["School"][table["School"] != ""]
    assert cells["school"] == [str(len(schools)), "4", "3", str(int((schools != "Sienese").sum()))]
    two = table["maker"][table["maker"] != ""].value_counts()[:2].sum()
    assert cells["painter"][2:] == ["2", str(two)]
    counts = schools.value_counts()
    assert f"school: {counts.index[0]} ({counts.iloc[0]})" in text
    assert f"note: {(table['Century'] == 'nan').sum()} cells of century hold a placeholder (nan)" in text
    assert "note: 1 name of school has under 3 paintings and is left out." in text
    assert text.startswith(
        f"{collection}: 160 paintings, read as a table, labels.csv: painter from maker, school, century"
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--data", "nowhere"], "nowhere: there is no such folder"),
        (
            ["--data", "{data}", "--tasks", "mood"],
            "--tasks mood: labels.csv has no column mood; it has filename, maker",
        ),
        (["--data", "{data}", "picture.jpg"], "--data says what a folder is taken for"),
        (["--data", "{data}", "--columns", "painter=artist"], "has no column artist"),
        ([], "name a folder, a zip or files, or --data FOLDER"),
    ],
)
def test_check_refuses_with_one_sentence(collection: Path, words: list[str], sentence: str,
                                         capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    assert check.main([word.format(data=collection) for word in words]) == 2
    error = capsys.readouterr().err
    assert sentence in error and len(error.splitlines()) == 1


def test_a_dry_run_says_the_split_and_writes_no_run(
    collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tiny_settings(collection, tmp_path)
    words = [*arguments(settings), "--tasks", "school", "century"]
    words = [word for word in words if word not in ("--task-weights", "style=1.0")]
    assert train.main([*words, "--dry-run"]) == 0
    assert not settings.models.exists()
    lines = capsys.readouterr().out.splitlines()
    counts = {line[:38].strip(): [int(n.replace(",", "")) for n in line[38:].split()] for line in lines[-9:-1]}
    assert set(counts) == {"paintings", "school", "Dots", "Lines", "Washes", "century", "17", "18"}
    assert all(n > 0 for row in counts.values() for n in row)
    assert lines[-1].startswith("nothing was trained: leave --dry-run out")
    assert [sum(part) for part in zip(counts["Dots"], counts["Lines"], counts["Washes"], strict=True)] == counts[
        "school"
    ]
    assert [a + b for a, b in zip(counts["17"], counts["18"], strict=True)] == counts["century"]
