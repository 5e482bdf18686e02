"""Train one network with three heads (painter, style, genre) and write its run folder and report.

python -m painters_mtl.train                                        # on the demo, or on Kaggle's data where it is
python -m painters_mtl.train --data data/painter-by-numbers --image-size 224 --name full
python -m painters_mtl.train --data FOLDER --fine-tune heads    # quick: the backbone is frozen
python -m painters_mtl.train --data FOLDER --split models/full/split.csv --seed 1
"""

import shutil
import sys
import time
from pathlib import Path

from painters_mtl import cli
from painters_mtl.errors import UserError
from painters_mtl.runs import MODEL
from painters_mtl.settings import TrainSettings


def train(settings: TrainSettings) -> int:
    """The verb: data, network, report. Returns 0, or 130 when Ctrl-C ended the training early."""
    folder = run_folder(settings)
    _check_network(settings)
    from painters_mtl.dataset import prepare

    data = prepare(settings)
    cli.import_tensorflow()
    from painters_mtl.report import write_report
    from painters_mtl.training import fit

    replaces = folder.exists()
    try:
        outcome = fit(data, settings, folder)
    except BaseException:
        if not replaces and not (folder / MODEL).exists():  # nothing half-written stays behind
            shutil.rmtree(folder, ignore_errors=True)
        raise
    write_report(folder, data, settings, outcome)
    print(table(outcome.metrics["test"]))
    print(f"training took {outcome.metrics['training_seconds']:.0f} s")
    print(f"wrote {folder}: open {folder / 'report.html'}, or label paintings:")
    print(f"  python -m painters_mtl.predict FOLDER --model {folder}")
    return 130 if outcome.interrupted else 0


def _check_network(settings: TrainSettings) -> None:
    """Find a wrong name now, not after an hour of making small copies."""
    if settings.weights not in ("imagenet", "none") and not Path(settings.weights).is_file():
        raise UserError(f"--weights {settings.weights} is not there: give a weights file, imagenet, or none")
    if settings.backbone not in ("efficientnet_lite0", "small_convnet"):
        cli.import_tensorflow()
        from painters_mtl.backbones import find_application

        find_application(settings.backbone)


def run_folder(settings: TrainSettings) -> Path:
    """Where the run goes; refuses to overwrite one unless told to."""
    folder = settings.models / (settings.name or time.strftime("%Y%m%d-%H%M%S"))
    if folder.exists():
        if not folder.is_dir():
            raise UserError(f"{folder} is a file: choose another --name")
        if any(folder.iterdir()) and not settings.overwrite:
            raise UserError(f"{folder} is there already: choose another --name, or --overwrite to replace it")
        if any(folder.iterdir()) and not (folder / "labels.json").exists():
            raise UserError(f"{folder} is not the folder of a run and is not replaced: choose another --name")
    return folder


def table(test: dict[str, dict[str, float]]) -> str:
    """The figures on the test paintings, as text."""
    lines = [f"{'test':<10}{'accuracy':>10}{'top 3':>10}{'macro-F1':>10}{'majority':>10}{'paintings':>11}"]
    for name, m in test.items():
        shares = "".join(f"{100 * m[key]:>8.1f} %" for key in ("accuracy", "top3", "macro_f1", "majority"))
        lines.append(f"{name:<10}{shares}{m['n']:>11,}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return cli.run(TrainSettings, train, argv, "painters-mtl train", __doc__)


if __name__ == "__main__":
    sys.exit(main())
