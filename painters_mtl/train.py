"""Train one network with a head for each task, and for comparison a network for each task alone; write a report.

    painters-mtl train                                        # on the demo, or on Kaggle's data where it is
    painters-mtl train --data data/painter-by-numbers --image-size 224 --name full
    painters-mtl train --data FOLDER --fine-tune heads    # quick: the backbone is frozen
    painters-mtl train --data FOLDER --dry-run            # what is understood, and the split; no training
    painters-mtl train --data FOLDER --split models/full/split.csv --seed 1

    painters-mtl train --resume --name full               # goes on where it was ended, by Ctrl-C or a kill
    painters-mtl train --data FOLDER --distribute auto    # on all GPUs, or on each machine of a TF_CONFIG

The same command with the same --name also goes on where the training was ended.
"""

import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from painters_mtl.common import command_line, lazy_imports
from painters_mtl.common.errors import UserError
from painters_mtl.common.files import read_if_sound, write_json
from painters_mtl.common.messages import say
from painters_mtl.runs.run import BASELINES, COMPARISON, CONFIG, LABELS, REPORT
from painters_mtl.training.preflight import check_network, check_several_workers, check_sources
from painters_mtl.training.quality import with_quality
from painters_mtl.training.resume import resume_command, settings_to_resume
from painters_mtl.training.run_folder import changes, prepare_run_folder
from painters_mtl.training.settings import TrainSettings
from painters_mtl.training.start_weights import seen_codes, with_known_start, with_stored_start
from painters_mtl.training.tf_config import cluster_asked_for

if TYPE_CHECKING:
    from painters_mtl.data.dataset import Dataset
    from painters_mtl.training.run_result import RunResult


def train(settings: TrainSettings, named: frozenset[str] = frozenset()) -> int:
    """The verb: data, networks, report. Returns 0, or 130 when Ctrl-C ended the training early.

    Args:
        named: the settings that the command line names; --resume takes the others from the run.
    """
    if (cluster := cluster_asked_for(settings.distribute)) is not None:
        cluster.check_port()
        check_several_workers(settings, cluster.index)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # the peers' every word, else
    settings = with_quality(settings_to_resume(settings, named), named)
    check_network(settings)
    folder = prepare_run_folder(settings)
    check_sources(settings, folder)
    from painters_mtl.data.dataset import prepare
    from painters_mtl.data.summary import split_summary

    settings = with_stored_start(settings, folder)
    data = prepare(settings, seen_codes=seen_codes(settings))
    if data.demo and not settings.overwrite and read_if_sound(folder / LABELS).get("demo") is False:
        raise UserError(
            f"{folder} was trained on real paintings, which --data did not name and which are not found now: name them "
            "there, or choose another --name"
        )
    settings = with_known_start(settings, data)
    if settings.dry_run:
        print(split_summary(data))
        print("nothing was trained: leave --dry-run out to train")
        return 0
    lazy_imports.import_tensorflow()
    from painters_mtl.training.devices import connect

    devices = connect(settings.distribute)
    with devices.together():
        try:
            return _train(data, settings, folder, devices.chief)
        except KeyboardInterrupt:  # between two trainings, or behind the last step of one
            if folder.is_dir() and not changes(settings, folder / CONFIG):  # else the old run is back
                print(resume_command("train", settings, folder), flush=True)
            raise


def _train(data: "Dataset", settings: TrainSettings, folder: Path, chief: bool) -> int:
    """Train, compare with the baselines and report; returns the verb's status."""
    from painters_mtl.reports.html import duration
    from painters_mtl.reports.run_report import write_report
    from painters_mtl.training.fit import fit

    shared = fit(data, settings, folder)
    # What "auto" stood for is kept in config.json.
    settings = dataclasses.replace(settings, precision=shared.metrics.get("precision", settings.precision))
    if chief:
        write_report(folder, data, settings, shared)
        print(table(shared.metrics["test"], shared.metrics.get("balanced", {})))
        say(f"training took {duration(shared.metrics['training_seconds'])}")
    interrupted = shared.interrupted
    if settings.baselines and not interrupted and len(data.tasks) > 1:
        if chief:
            settings.save(folder / CONFIG)  # a run that was made without baselines may get them later
        alone = fit_baselines(data, settings, folder / BASELINES, shared.metrics["updates"])
        interrupted = any(o.interrupted for o in alone.values())
        if alone and not interrupted and chief:
            from painters_mtl.studies.summary import text

            result = compare_with_baselines(data, settings, shared, alone)
            write_json(folder / COMPARISON, result)
            links = {f"{name} alone": f"{BASELINES}/{name}/{REPORT}" for name in alone}
            for name, one in alone.items():
                back = {"the network for all tasks": f"../../{REPORT}"}
                own = TrainSettings.load(folder / BASELINES / name / CONFIG)  # a network for one task has no strategy
                write_report(folder / BASELINES / name, data, own, one, links=back)
            write_report(folder, data, settings, shared, result, links)
            print(text(result))
    print(f"wrote {folder}: open {folder / 'report.html'}, or label paintings:")
    print(f"  painters-mtl predict FOLDER --model {folder}")
    if interrupted:
        print(resume_command("train", settings, folder))
    return 130 if interrupted else 0


def fit_baselines(data: "Dataset", settings: TrainSettings, folder: Path, updates: int) -> "dict[str, RunResult]":
    """The results of the baselines, {task: result}: a network for each task alone; ends at one that Ctrl-C ended."""
    from painters_mtl.training.fit import fit_single_task

    # --overwrite has emptied the run folder already: what is in it now are the teachers of --distill.
    settings, results = dataclasses.replace(settings, overwrite=False), {}
    for name in data.trainable_tasks():
        say(f"a network for {name} alone, for comparison (--no-baselines leaves these networks out)")
        results[name] = fit_single_task(data, settings, folder / name, name, updates)
        if results[name].interrupted:
            break
    return results


def compare_with_baselines(
    data: "Dataset", settings: TrainSettings, shared: "RunResult", alone: "dict[str, RunResult]"
) -> dict[str, Any]:
    """The comparison of one run, as `comparison.compare` gives it."""
    from painters_mtl.studies.comparison import compare
    from painters_mtl.studies.timing import time_predictions

    speed = time_predictions(data, settings, list(alone))
    return compare(data, [[shared]], {name: [[o]] for name, o in alone.items()}, speed)


def table(test: dict[str, dict[str, float]], balanced: dict[str, dict[str, float]]) -> str:
    """The figures on the test paintings as text, and below them those of `predict --balanced`."""
    keys = {"accuracy": "accuracy", "top3": "top 3", "mean_recall": "mean recall", "macro_f1": "macro-F1"}
    keys["majority"] = "majority"
    width = max(10, *(len(name) + 2 for name in test))
    lines = []
    for title, measured in [("test", test), ("balanced", balanced)][: 1 + bool(balanced)]:
        lines.append(f"{title:<{width}}{''.join(f'{label:>13}' for label in keys.values())}{'paintings':>11}")
        for name, m in measured.items():
            shares = "".join(f"{100 * m[key]:>11.1f} %" for key in keys)
            lines.append(f"{name:<{width}}{shares}{m['n']:>11,}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return command_line.run_command(TrainSettings, train, argv, "painters-mtl train", __doc__, with_named=True)


if __name__ == "__main__":
    sys.exit(main())
