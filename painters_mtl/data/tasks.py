"""The tasks and their class lists: encode, decode. A label of -1 is "no label".

Painter, style and genre are only the usual names: a task may be called after any column of a table.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from painters_mtl.common.errors import UserError

if TYPE_CHECKING:
    import numpy as np

TASK_NAMES = ("painter", "style", "genre")
NO_LABEL = -1
UNKNOWN = "unknown"  # the answer where a painting seems to be of none of the classes
ALL_PAINTERS = "all_painters"  # a head that helps in training and is no part of the finished network


# Names of columns and layers that a task's would be mistaken for.
RESERVED = ("id", "file", "member", "filename", "path", "title", "date", "part", "split", "competition", "error",
            "read_in_part", "doubtful", "features", "trunk", "shared", "image", "images", "mean", "loss", "epoch",
            ALL_PAINTERS)  # fmt: skip


def check_task_name(name: str) -> None:
    """Refuse what cannot be the name of a task: it becomes part of columns, files and layers. Raises `UserError`."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise UserError(
            f"--tasks {name}: a task is named by a-z, 0-9 and _, as in art_school (for a column called Art School, too)"
        )
    ends = ("_known", "_confidence", "_features", "_loss")
    if name in RESERVED or name.endswith(ends) or re.search(r"_\d+$", name):
        raise UserError(f"--tasks {name} has another meaning in tables of predictions: --columns school={name} --tasks "
                        "school gives it another name")  # fmt: skip


def plural(task: str) -> str:
    """What the classes of a task are called: "painters"; of a column of somebody's own "classes of century"."""
    return f"{task}s" if task in TASK_NAMES else f"classes of {task}"


def known_output(task: str) -> str:
    """The name of a head with two classes, beside that of a task: is it by, or of, none of the task's classes?"""
    return f"{task}_known"


@dataclass(frozen=True)
class Task:
    """One thing to predict: its name and its classes, in the order of the softmax."""

    name: str
    classes: tuple[str, ...]

    def encode(self, names: Iterable[object]) -> "np.ndarray":
        """Class names to int32 labels of shape (n,); whatever is not one of the classes becomes -1.

        >>> Task("style", ("Cubism", "Fauvism")).encode(["Fauvism", None, "Cubism", "Rococo"]).tolist()
        [1, -1, 0, -1]
        """
        import numpy as np  # late: the settings of every verb need the names of tasks

        index = {name: i for i, name in enumerate(self.classes)}
        return np.array([index.get(n, NO_LABEL) if isinstance(n, str) else NO_LABEL for n in names], np.int32)

    def decode(self, labels: Iterable[int]) -> list[str]:
        """Labels to class names; -1 becomes the empty string."""
        return [self.classes[i] if i >= 0 else "" for i in labels]


def tasks_to_dict(tasks: Mapping[str, Task]) -> dict[str, list[str]]:
    """What `labels.json` holds under "classes": task name to class names."""
    return {name: list(task.classes) for name, task in tasks.items()}


def tasks_from_dict(classes: Mapping[str, Sequence[str]]) -> dict[str, Task]:
    """The inverse of `tasks_to_dict`."""
    return {name: Task(name, tuple(names)) for name, names in classes.items()}


def chosen_tasks(tasks: Mapping[str, Task], names: Iterable[str], option: str) -> dict[str, Task]:
    """The tasks that an option names, in the order of `tasks`; all of them where it names none.

    Args:
        names: with commas or without: ("painter,style",) and ("painter", "style") are the same.
        option: for the sentence of the `UserError` where a name is no task: "--tasks".
    """
    chosen = {name for words in names for name in words.split(",") if name}
    for name in sorted(chosen - set(tasks)):
        raise UserError(f"{option} {name}: the network has no such task, but {', '.join(tasks)}")
    return {name: task for name, task in tasks.items() if name in chosen or not chosen}


def are_predictions(names: Iterable[str]) -> bool:
    """Whether columns are those of a table that `predict` or `embed` wrote: its labels are a network's guesses."""
    names = set(names)
    return {"path", "error"} <= names and any(name.endswith("_confidence") for name in names)
