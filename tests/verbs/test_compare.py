"""The comparison: the baselines of a run, and the study of several seeds."""

import json
import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import arguments, make_data, python, read_rows, tiny_settings, trained
from sklearn.metrics import accuracy_score

from painters_mtl import __version__, compare, train
from painters_mtl.common import command_line
from painters_mtl.data.tasks import TASK_NAMES
from painters_mtl.runs import run
from painters_mtl.studies import jobs
from painters_mtl.studies.settings import CompareSettings
from painters_mtl.training.resume import settings_to_resume
from painters_mtl.training.run_folder import run_folder_lock
from painters_mtl.training.settings import STRATEGY_NAMES, TrainSettings


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder of a study of two seeds, made by the command line, and that command line."""
    out = tmp_path_factory.mktemp("study")
    settings = tiny_settings(make_data(out / "data", count=120), out, name="study", epochs=3, painter_known=True)
    command = [*arguments(settings), "--seeds", "2"]
    assert compare.main(command) == 0
    return settings.models / "study", command


def test_a_run_has_its_baselines(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder, _ = trained(tmp_path_factory)
    result = json.loads((folder / "comparison.json").read_text())
    shared = json.loads((folder / "metrics.json").read_text())
    for task in TASK_NAMES:
        alone = run.open_run(folder / "baselines" / task)
        assert set(alone.tasks) == {task}
        measured = json.loads((alone.folder / "metrics.json").read_text())
        assert result["tasks"][task]["alone"]["accuracy"][0] == pytest.approx(measured["test"][task]["accuracy"])
        assert result["tasks"][task]["shared"]["accuracy"][0] == pytest.approx(shared["test"][task]["accuracy"])
        assert result["tasks"][task]["alone"]["macro_f1"][0] == pytest.approx(measured["test"][task]["macro_f1"])
        assert TrainSettings.load(alone.folder / "config.json").other_painters == 0
        assert (alone.folder / "split.csv").read_bytes() == (folder / "split.csv").read_bytes()
    cost = result["cost"]
    assert cost["shared"]["parameters"] == shared["parameters"]
    assert cost["alone"]["training_seconds"] == pytest.approx(sum(cost[t]["training_seconds"] for t in TASK_NAMES))
    # Three backbones against one: what is not the backbone is the heads, which both sides have.
    heads = sum(65 * len(run.open_run(folder).tasks[t].classes) for t in TASK_NAMES)
    assert cost["alone"]["parameters"] - heads == 3 * (cost["shared"]["parameters"] - heads)
    assert "One network against three" in (folder / "report.html").read_text()
    assert (folder / "figures" / "differences.png").exists()


def test_the_same_command_trains_nothing_again(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, settings = trained(tmp_path_factory)
    copy = tmp_path / "models" / "run"
    shutil.copytree(folder, copy)
    shutil.rmtree(copy / "baselines" / "genre")
    before = {f: f.stat().st_mtime_ns for f in copy.rglob("model.keras")}
    command = [*arguments(settings), "--models", str(copy.parent)]
    assert train.main(command) == 0
    out = capsys.readouterr().out
    assert out.count("is trained already: reusing it") == 3
    assert {f: f.stat().st_mtime_ns for f in before} == before
    assert (copy / "baselines" / "genre" / "model.keras").exists()
    one, other = (json.loads((f / "baselines/genre/metrics.json").read_text())["test"] for f in (copy, folder))
    assert one == other


def test_another_setting_is_refused_and_named(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, settings = trained(tmp_path_factory)
    before = (folder / "metrics.json").read_bytes()
    assert train.main([*arguments(settings), "--epochs", "2", "--dropout", "0.5"]) == 2
    error = capsys.readouterr().err
    assert "other settings (dropout, epochs)" in error and "--overwrite" in error
    assert (folder / "metrics.json").read_bytes() == before


@pytest.mark.slow
def test_other_labels_are_not_taken_for_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = tiny_settings(make_data(tmp_path / "data", count=80), tmp_path, epochs=1)
    command = [*arguments(settings), "--no-baselines"]
    assert train.main(command) == 0
    table = pd.read_csv(tmp_path / "data" / "labels.csv")
    table.loc[table["style"].notna(), "style"] = table["style"].dropna().to_numpy()[::-1]
    table.to_csv(tmp_path / "data" / "labels.csv", index=False)
    capsys.readouterr()
    assert train.main(command) == 2
    assert "was trained with other paintings, labels or settings" in capsys.readouterr().err
    assert train.main([*command, "--overwrite"]) == 0


@pytest.mark.slow
def test_equal_updates_and_reports_that_tell_of_their_own_training(tmp_path: Path) -> None:
    """A network for one task is trained by no strategy, whatever the shared network is trained by."""
    data = make_data(tmp_path / "data", count=120, missing=0.5)
    settings = tiny_settings(data, tmp_path, epochs=4, patience=1, strategy="pcgrad")
    assert train.main([*arguments(settings), "--budget", "equal-updates"]) == 0
    folder = settings.models / "run"
    shared = json.loads((folder / "metrics.json").read_text())
    alone = [json.loads((folder / "baselines" / t / "metrics.json").read_text()) for t in TASK_NAMES]
    for measured in alone:
        assert abs(measured["updates"] - shared["updates"]) <= measured["updates"] / measured["epochs"] / 2
        assert measured["epochs"] > shared["epochs"]
    reports = [file.read_text(encoding="utf-8") for file in sorted((tmp_path / "models").rglob("report.html"))]
    told = ["trained together by the strategy pcgrad" in report for report in reports]
    assert len(told) == 1 + len(TASK_NAMES) and sum(told) == 1


# ------------------------------------------------------------------------------------------------- the study


@pytest.mark.slow
def test_a_study_that_fails_leaves_its_name_free(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = tiny_settings(make_data(tmp_path / "data", count=60), tmp_path, name="study", epochs=1)
    (tmp_path / "wrong.weights.h5").write_bytes(b"no weights")
    command = [*arguments(settings), "--seeds", "1"]
    assert compare.main([*command, "--weights", str(tmp_path / "wrong.weights.h5")]) == 2
    assert "wrong.weights.h5" in capsys.readouterr().err and not (settings.models / "study").exists()
    assert compare.main(command) == 0
    before = (settings.models / "study" / "comparison.json").read_bytes()
    slip = ["--weights", str(tmp_path / "wrong.weights.h5"), "--overwrite"]
    assert compare.main([*command, *slip]) == 2
    assert (settings.models / "study" / "comparison.json").read_bytes() == before  # the old study is worth more
    assert [f.name for f in settings.models.iterdir()] == ["study"]


def test_a_study_and_a_training_do_not_share_a_folder(
    tmp_path_factory: pytest.TempPathFactory, study: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, settings = trained(tmp_path_factory)
    before = (folder / "config.json").read_bytes()
    assert compare.main(arguments(settings)) == 2
    assert "it was made by painters-mtl train" in capsys.readouterr().err
    assert (folder / "config.json").read_bytes() == before
    assert train.main(study[1][: study[1].index("--seeds")]) == 2
    assert "it was made by painters-mtl compare" in capsys.readouterr().err


def test_resume_heeds_an_option_that_is_named_though_it_is_the_default(
    study: tuple[Path, list[str]], tmp_path: Path
) -> None:
    shutil.copytree(study[0], tmp_path / "study")
    found = []

    def seen(settings: CompareSettings, named: frozenset[str]) -> int:
        found.append(settings_to_resume(settings, named))
        return 0

    words = ["--resume", "--name", "study", "--models", str(tmp_path)]
    for more in ([], ["--seeds", "5"], ["--seeds=5", "--no-refit"], ["--refit", "--epochs", "0"]):
        assert command_line.run_command(CompareSettings, seen, [*words, *more], "test", with_named=True) == 0
    # The study has 2 seeds, --no-refit and 3 epochs: what is not named is as it was.
    assert [(s.seeds, s.refit, s.epochs) for s in found] == [(2, False, 3), (5, False, 3), (5, False, 3), (2, True, 0)]


def test_the_study_follows_from_its_predictions(study: tuple[Path, list[str]]) -> None:
    folder, _ = study
    found = json.loads((folder / "comparison.json").read_text())
    assert (found["seeds"], found["folds"], found["budget"]) == (2, 0, "early-stop")
    for task in TASK_NAMES:
        means = {}
        for side, kind in (("shared", "joint"), ("alone", task)):
            accuracies = []
            for seed in range(2):
                rows = [
                    r for r in read_rows(folder / f"runs/seed{seed}/{kind}/test_predictions.csv") if r[f"{task}_true"]
                ]
                accuracies.append(accuracy_score([r[f"{task}_true"] for r in rows], [r[task] for r in rows]))
            means[side] = np.mean(accuracies)
        values = found["strategies"]["joint"]["tasks"][task]
        for side, mean in means.items():
            estimate, low, high = values[side]["accuracy"]
            assert estimate == pytest.approx(mean) and low <= estimate <= high
        assert values["difference"]["accuracy"][0] == pytest.approx(means["shared"] - means["alone"])
        assert sum(values["agreement"].values()) == pytest.approx(1)
    table = pd.read_csv(folder / "comparison.csv")
    assert len(table) == 2 * len(TASK_NAMES) + 2
    row = table[(table["task"] == "style") & (table["statistic"] == "macro_f1")].iloc[0]
    wanted = found["strategies"]["joint"]["tasks"]["style"]["difference"]["macro_f1"]
    assert [row["difference"], row["difference_low"], row["difference_high"]] == pytest.approx(wanted)


def test_seeds_differ_and_the_split_does_not(study: tuple[Path, list[str]]) -> None:
    folder, _ = study
    one, other = (folder / f"runs/seed{seed}/joint" for seed in (0, 1))
    assert (one / "split.csv").read_bytes() == (other / "split.csv").read_bytes()
    assert (one / "history.csv").read_bytes() != (other / "history.csv").read_bytes()
    assert not list(folder.rglob("model.keras"))


def test_the_study_goes_on_where_it_ended(study: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    folder, command = study
    before = (folder / "comparison.csv").read_bytes()
    gone = folder / "runs" / "seed1" / "style"
    history = (gone / "history.csv").read_bytes()
    shutil.rmtree(gone)
    assert compare.main(command) == 0
    assert capsys.readouterr().out.count("is trained already: reusing it") == 7
    assert (gone / "history.csv").read_bytes() == history
    assert (folder / "comparison.csv").read_bytes() == before


@pytest.mark.slow
def test_a_strategy_is_added_and_set_against_the_first(
    study: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, command = study
    shutil.copytree(folder, tmp_path / "study")
    assert compare.main([*command, "--models", str(tmp_path), "--strategies", "joint,alternate"]) == 0
    out = capsys.readouterr().out
    assert out.count("is trained already: reusing it") == 8 and "gain over joint" in out
    found = json.loads((tmp_path / "study" / "comparison.json").read_text())["strategies"]
    before = json.loads((folder / "comparison.json").read_text())["strategies"]["joint"]
    assert found["joint"]["tasks"] == before["tasks"]
    for task in TASK_NAMES:
        mine, joint = (found[way]["tasks"][task]["shared"]["accuracy"][0] for way in ("alternate", "joint"))
        estimate, low, high = found["alternate"]["against"]["tasks"][task]["accuracy"]
        assert estimate == pytest.approx(mine - joint) and low <= estimate <= high
    measured = json.loads((tmp_path / "study/runs/seed0/alternate/metrics.json").read_text())
    assert sum(turns["share"] for turns in measured["turns"].values()) == pytest.approx(1, abs=1e-3)
    page = (tmp_path / "study" / "report.html").read_text(encoding="utf-8")
    assert "Ways of training together" in page and "<td>alternate</td>" in page and "<h3>Turns</h3>" in page
    table = pd.read_csv(tmp_path / "study" / "comparison.csv")
    assert set(table["strategy"]) == {"joint", "alternate"}
    assert table[table["strategy"] == "alternate"]["against_first"].notna().all()


@pytest.mark.slow
def test_a_distilled_network_learns_from_the_baselines_of_its_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tiny_settings(make_data(tmp_path / "data", count=120), tmp_path, name="study", epochs=2)
    words = ["--seeds", "1", "--seed", "1", "--strategies", "joint,distilled"]
    assert compare.main([*arguments(settings), *words]) == 0
    out = capsys.readouterr().out
    assert out.count("is trained already: reusing it") == 3 and "gain over joint" in out
    assert out.count("come on top of its own") == 1
    strategies = json.loads((tmp_path / "models" / "study" / "comparison.json").read_text())["strategies"]
    assert set(strategies) == {"joint", "distilled"} and "against" in strategies["distilled"]
    config = TrainSettings.load(tmp_path / "models/study/runs/seed1/distilled/config.json")
    assert config.distill and config.seed == 1
    assert CompareSettings(strategies=("all", "distilled")).strategies == (*STRATEGY_NAMES, "distilled")
    page = (tmp_path / "models" / "study" / "report.html").read_text(encoding="utf-8")
    assert "Where it is distilled, it alone learns from soft targets" in page


def test_figures_that_are_read_back_keep_what_they_were_made_with(study: tuple[Path, list[str]]) -> None:
    folder, command = study
    file = folder / "comparison.json"
    found = json.loads(file.read_text())
    assert found["made_with"]["painters-mtl"] == __version__ and found["made_with"]["cores"] == os.cpu_count()
    older = {**found, "made_with": {**found["made_with"], "painters-mtl": "0.0.1"}}
    file.write_text(json.dumps(older))
    assert compare.main(command) == 0  # all is trained already
    assert json.loads(file.read_text())["made_with"] == older["made_with"]
    older["strategies"]["joint"]["tasks"]["style"]["shared"]["accuracy"][0] += 0.1  # as if of other trainings
    file.write_text(json.dumps(older))
    assert compare.main(command) == 0
    assert json.loads(file.read_text())["made_with"] == found["made_with"]


def test_the_report_of_a_study_is_one_file(study: tuple[Path, list[str]]) -> None:
    folder, _ = study
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 2 + 4 * len(TASK_NAMES)
    assert not re.search(r'src="(?!data:)', page) and "http" not in page
    assert all((folder / link).is_file() for link in re.findall(r'href="([^#"]+)"', page))
    found = json.loads((folder / "comparison.json").read_text())["strategies"]["joint"]
    for task in TASK_NAMES:
        assert f"<li>{task}: " in page
        assert f"{100 * found['tasks'][task]['shared']['accuracy'][0]:.1f} %" in page
    assert "3 epochs, or until the validation accuracy has not risen for 8 epochs" in page
    assert "weighted (painter 1, style 1, genre 1)" in page
    assert "alone trains with a head over all painters with ten works or more" in page
    assert "known-class" not in page  # a study adds no such heads
    measured = json.loads((folder / "runs/seed1/style/metrics.json").read_text())["test"]["style"]["accuracy"]
    line = re.search(r"<td>style alone</td><td>1</td>.*?runs/seed1/style/test_predictions.csv", page)
    assert line is not None and f"{100 * measured:.1f} %" in line[0]


@pytest.mark.slow
def test_a_study_with_folds_tests_every_painting(tmp_path: Path) -> None:
    settings = tiny_settings(
        make_data(tmp_path / "data", count=120), tmp_path, name="folds", epochs=1, fine_tune="heads"
    )
    assert compare.main([*arguments(settings), "--seeds", "1", "--folds", "3"]) == 0
    folder = settings.models / "folds"
    found = json.loads((folder / "comparison.json").read_text())["strategies"]["joint"]
    tested = [r for f in sorted(folder.glob("runs/seed0-fold*/joint/test_predictions.csv")) for r in read_rows(f)]
    for task in TASK_NAMES:
        assert found["tasks"][task]["n"] == sum(bool(r[f"{task}_true"]) for r in tested)
    assert len({r["id"] for r in tested}) == len(tested)


def test_a_study_that_runs_is_not_replaced(study: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    folder, command = study
    before = (folder / "comparison.json").read_bytes()
    with run_folder_lock(folder, wait=False):  # as the other process does
        assert compare.main([*command, "--overwrite"]) == 2
    assert "another process" in capsys.readouterr().err
    assert (folder / "comparison.json").read_bytes() == before and (folder / "runs").is_dir()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--seeds", "0"], "--seeds 0 must be at least 1"),
        (["--folds", "1"], "--folds 1 cannot be"),
        (["--no-baselines"], "--no-baselines is for one training"),
        (["--styles", "0"], "--styles 0 is too few"),
        (["--folds", "2", "--split", "x.csv"], "leave --split out"),
        (["--strategies", "jont"], "jont is none of all, distilled, joint"),
        (["--distill"], "a study has --strategies joint,distilled"),
        (["--strategies", "distilled", "--budget", "equal-updates"], "waits for the baselines"),
    ],
)
def test_misuse_is_one_sentence(options: list[str], words: str, tmp_path: Path) -> None:
    done = python("-m", "painters_mtl.compare", "--data", tmp_path, *options)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr


def test_a_new_study_that_was_stopped_at_once_gives_the_old_one_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings(make_data(tmp_path / "data", count=60), tmp_path, name="study")
    folder = settings.models / "study"
    folder.mkdir(parents=True)
    CompareSettings(seeds=1).save(folder / "config.json")
    (folder / "comparison.json").write_text('{"seeds": 1}')

    def stop(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(jobs, "fit", stop)  # before the first step
    assert compare.main([*arguments(settings), "--seeds", "1", "--overwrite"]) == 130
    assert (folder / "comparison.json").read_text() == '{"seeds": 1}'
    assert [path.name for path in settings.models.iterdir()] == ["study"]
    assert "--resume" not in capsys.readouterr().out
