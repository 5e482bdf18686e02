"""The networks that the page can ask, by name: the one in use, its three baselines together, the runs beside it."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from painters_mtl.common.errors import UserError
from painters_mtl.page.answers import labels
from painters_mtl.page.limits import MODELS_KEPT
from painters_mtl.page.model import PageModel, opening, shown_name
from painters_mtl.runs.model_choice import bundled_model
from painters_mtl.runs.run import BASELINES, LABELS, network_file, open_run

if TYPE_CHECKING:
    from painters_mtl.images.files import ImageFile

ALONE = "one network for each task"  # how the baselines of a run are called: NAME, one network for each task


class ComparableModels:
    """Opens networks when they are asked for, and keeps the few that were asked last.

    Attributes:
        main: the model in use, which stays.
    """

    def __init__(self, main: PageModel) -> None:
        self.main = main
        self._folders = _folders_beside(main)
        self._open: OrderedDict[Path, PageModel] = OrderedDict()
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """What can be compared: the model in use, its baselines, the runs beside it, the bundled one."""
        return list(self._folders)

    def labels(self, name: str, file: "ImageFile") -> dict[str, dict[str, Any]]:
        """What the network, or the networks for one task each, of this name say of a painting: see `answers.labels`.

        Raises `Unreadable` for the painting and `UserError` for a name that is not there.
        """
        if name not in self._folders:
            raise UserError(f"there is no model {name} here, but {', '.join(self._folders)}")
        answers: dict[str, dict[str, Any]] = {}
        for folder in self._folders[name]:
            model = self._model(folder)
            answers |= labels(model.run, model.look(file).prediction)
        order = [task for task in self.main.run.tasks if task in answers]
        return {task: answers[task] for task in dict.fromkeys((*order, *answers))}

    def _model(self, folder: Path) -> PageModel:
        if folder == self.main.run.folder:
            return self.main
        with self._lock:
            if folder not in self._open:
                with opening(f"the model {folder.name}"):
                    run = open_run(folder)
                    run.check()
                self._open[folder] = PageModel(run)
                while len(self._open) > MODELS_KEPT:
                    self._open.popitem(last=False)
            self._open.move_to_end(folder)
            return self._open[folder]


def _folders_beside(main: PageModel) -> Mapping[str, list[Path]]:
    """{name: run folders}; a name stands for several folders where each has the network of one task."""
    folder = main.run.folder.resolve()
    named = {main.name: [main.run.folder]}
    named |= _alone(folder, main.name)
    for run in sorted(file.parent for file in folder.parent.glob(f"*/{LABELS}")):
        if run != folder and _is_finished(run) and not run.name.startswith("."):
            named.setdefault(shown_name(run), [run])
            named |= _alone(run, shown_name(run))
    if (bundled := bundled_model()) is not None:
        named.setdefault(shown_name(bundled), [bundled])
    return named


def _alone(run: Path, name: str) -> dict[str, list[Path]]:
    """The baselines of a run under one name; none where it has none."""
    alone = sorted(file.parent for file in (run / BASELINES).glob(f"*/{LABELS}"))
    return {f"{name}, {ALONE}": alone} if alone and all(map(_is_finished, alone)) else {}


def _is_finished(run: Path) -> bool:
    return (run / LABELS).is_file() and network_file(run).is_file()
