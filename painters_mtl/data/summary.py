"""What was understood of a folder, as text: layout, labels, classes with their counts, the split.

text, trainable = summary(read_catalog(folder, settings), settings)  # check --data
print(split_summary(prepare(settings)))                             # train --dry-run
"""

import shlex
from collections import Counter
from typing import TYPE_CHECKING

from painters_mtl.common.errors import UserError
from painters_mtl.data.classes import choose_classes, may_be_trained_on
from painters_mtl.data.tasks import Task

if TYPE_CHECKING:
    from painters_mtl.data.catalog import Catalog
    from painters_mtl.data.dataset import Dataset
    from painters_mtl.data.settings import LabelSettings

LISTED = 12  # classes named for each task


def summary(catalog: "Catalog", settings: "LabelSettings") -> tuple[str, bool]:
    """The layout, for each task its labels and classes with their counts, and all that was left out or put right; and
    whether anything can be trained on it."""
    table = catalog.table
    understood, *notes = catalog.notes
    lines = [f"{catalog.folder}: {len(table):,} paintings, {understood}", ""]
    try:
        tasks, class_notes = choose_classes(table, settings.requested_classes(), may_be_trained_on(table))
    except UserError as error:
        tasks, class_notes = {}, [f"nothing can be trained on this: {error}."]
    lines.append(f"{'':<12}{'labelled':>10}{'names':>9}{'classes':>9}{'paintings of these classes':>28}")
    counts = {name: Counter(value for value in table[name] if value) for name in settings.task_names()}
    for name, count in counts.items():
        classes = tasks[name].classes if name in tasks else ()
        used = sum(count[label] for label in classes)
        lines.append(f"{name:<12}{count.total():>10,}{len(count):>9,}{len(classes):>9,}{used:>28,}")
    lines += ["", *(class_line(task, counts[task.name]) for task in tasks.values())]
    lines += [f"note: {note}" for note in (*notes, *class_notes)]
    if tasks:
        lines.append("next, with the options given here too: the split (without --dry-run: the training)")
        lines.append(f"  painters-mtl train --data {shlex.quote(str(catalog.folder))} --dry-run")
    return "\n".join(lines), bool(tasks)


def class_line(task: Task, counts: Counter[str]) -> str:
    """The classes of a task and how many paintings each has."""
    names = [f"{label} ({counts[label]:,})" for label in task.classes[:LISTED]]
    more = len(task.classes) - len(names)
    return f"{task.name}: {', '.join(names)}" + (f" and {more:,} more" if more else "")


def split_summary(data: "Dataset") -> str:
    """For each class of each task, how many paintings each part of the split has."""
    from painters_mtl.data.split import PARTS  # late: scikit-learn is behind it

    lines = [f"{'':<40}" + "".join(f"{part:>12}" for part in PARTS)]
    lines.append(f"{'paintings':<40}" + "".join(f"{len(data.rows(part)):>12,}" for part in PARTS))
    for name, task in data.tasks.items():
        labels = {part: data.labels[name][data.rows(part)] for part in PARTS}
        lines.append(f"{name:<40}" + "".join(f"{(labels[part] >= 0).sum():>12,}" for part in PARTS))
        for number, label in enumerate(task.classes):
            lines.append(f"  {label[:37]:<38}" + "".join(f"{(labels[part] == number).sum():>12,}" for part in PARTS))
    return "\n".join(lines)
