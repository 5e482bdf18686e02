"""Compare one network for all tasks with a network for each, trained with several seeds or folds.

    painters-mtl compare --data FOLDER --fine-tune heads      # minutes: the backbone's features are shared
    painters-mtl compare --data FOLDER --seeds 5 --name study # hours: every network trains its backbone
    painters-mtl compare --data FOLDER --fine-tune heads --shared-layers 256 --strategies all
    painters-mtl compare --data FOLDER --folds 5 --seeds 1    # cross-validation, for small collections

    painters-mtl compare --resume --name study                # goes on where it was ended
    painters-mtl compare --data FOLDER --engine ray           # the trainings spread over a Ray cluster

Writes models/NAME/comparison.json, comparison.csv and report.html. The same command also goes on where it was ended.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from painters_mtl.common import command_line, lazy_imports
from painters_mtl.common.errors import UserError
from painters_mtl.common.messages import counted
from painters_mtl.runs.run import CONFIG, REPORT
from painters_mtl.studies.settings import CompareSettings
from painters_mtl.training.preflight import check_network, check_sources
from painters_mtl.training.quality import with_quality
from painters_mtl.training.resume import resume_command, settings_to_resume
from painters_mtl.training.run_folder import changes, is_whole, new_run_folder, prepare_run_folder, run_folder_lock
from painters_mtl.training.start_weights import seen_codes, weights_of_run, with_known_start, with_stored_start

if TYPE_CHECKING:
    from painters_mtl.data.dataset import Dataset


def run(settings: CompareSettings, named: frozenset[str] = frozenset()) -> int:
    """The verb: data, trainings, statistics, report. Returns 0, or 130 when Ctrl-C ended it early.

    Args:
        named: the settings that the command line names; --resume takes the others from the study.
    """
    settings = with_quality(settings_to_resume(settings, named), named)
    check_network(settings, trained_here=settings.engine == "local")
    folder = prepare_run_folder(settings)
    check_sources(settings, folder)
    if settings.folds and weights_of_run(settings):
        raise UserError(
            f"--folds tests every painting, and the run of --weights {settings.weights} has seen some: leave it out"
        )
    if settings.engine == "ray":
        from painters_mtl.common.ray_cluster import import_ray

        import_ray(settings.ray_address)
    from painters_mtl.data.dataset import prepare
    from painters_mtl.data.summary import split_summary

    settings = with_stored_start(settings, folder)
    data = prepare(settings, cross_validated=settings.folds > 0, seen_codes=seen_codes(settings))
    settings = with_known_start(settings, data, folds=settings.folds > 0)
    if settings.dry_run:
        print(split_summary(data))
        return 0
    names = data.trainable_tasks()
    if len(names) < 2:
        raise UserError(f"only {', '.join(names) or 'no task'} has labels in train and test: there is nothing to share")
    lazy_imports.import_tensorflow()
    try:
        with run_folder_lock(folder, wait=False), new_run_folder(folder, replace=settings.overwrite):
            return _train_and_compare(data, settings, folder, names)
    except KeyboardInterrupt:  # between two trainings, or behind the last
        put_back = settings.overwrite and is_whole(folder)  # the old study: nothing of the new one is left
        if folder.is_dir() and not put_back and not changes(settings, folder / CONFIG):
            print(resume_command("compare", settings, folder), flush=True)
        raise


def _train_and_compare(data: "Dataset", settings: CompareSettings, folder: Path, names: list[str]) -> int:
    """Train all that is not trained yet, compare, write the report; returns the verb's status."""
    from painters_mtl.reports.study_report import write_study_report
    from painters_mtl.studies.study import compare_all, train_all, write_results
    from painters_mtl.studies.summary import strategies_text, text

    settings.save(folder / CONFIG)
    sides, trained_seeds = train_all(data, settings, folder / "runs", names)
    first, seeds = settings.strategies[0], len(trained_seeds)
    if seeds == 0:
        raise KeyboardInterrupt  # so that an old study comes back where the new one has no checkpoint
    results = compare_all(data, settings, sides, names)
    write_results(folder, data, settings, results)
    write_study_report(folder, data, settings, sides, trained_seeds, results)
    for name, result in results.items():
        print(f"\n{name}, {counted(seeds, 'seed')} against {seeds} of each baseline")
        print(text(result))
    if len(results) > 1:
        print(f"\n{strategies_text(results, first)}")
    print(f"wrote {folder}: open {folder / REPORT}")
    if seeds < settings.seeds:
        print(f"interrupted after {seeds} of {settings.seeds} seeds; {resume_command('compare', settings, folder)}")
        return 130
    return 0


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return command_line.run_command(CompareSettings, run, argv, "painters-mtl compare", __doc__, with_named=True)


if __name__ == "__main__":
    sys.exit(main())
