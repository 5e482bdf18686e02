"""The classes of each task: the most frequent names of a catalogue's table, or those that the user lists.

tasks, notes = choose_classes(catalog.table, {"painter": 8, "style": 10, "genre": 23})
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import numpy as np
import pandas as pd

from painters_mtl.common.errors import UserError
from painters_mtl.common.messages import in_singular
from painters_mtl.data.tasks import TASK_NAMES, Task
from painters_mtl.data.values import clean


def may_be_trained_on(table: pd.DataFrame) -> np.ndarray:
    """Whether each painting is in no part that the data themselves keep for validation or test: bool (n,)."""
    return ~table["part"].isin(["validation", "test"]).to_numpy()


def choose_classes(
    table: pd.DataFrame,
    wanted: Mapping[str, int | Sequence[str] | None],
    among: Sequence[int] | np.ndarray | None = None,
    min_works: int = 3,
) -> tuple[dict[str, Task], list[str]]:
    """The classes of each task, by number (the most frequent, of equals the first by name) or by list (in its order).

    Args:
        table: a catalogue's table; `among` are the positions or the mask of the rows to count, by default all.
            The competition's test rows are not counted, unless there are no others.
        wanted: task name (a column of the table) to a number of classes, to names, or to None for all there are.
        min_works: a name with fewer paintings is not chosen by number (three: one each to train, validate and test).

    Returns the tasks, less those for which there are not two classes, and a sentence for all that is not as wanted.
    Raises `UserError` for a listed name without a painting, and when no task is left.
    """
    rows = table if among is None else table.iloc[np.arange(len(table))[np.asarray(among)]]
    counted = rows[rows["competition"] != "test"]
    counted = counted if len(counted) else rows
    tasks: dict[str, Task] = {}
    notes: list[str] = []
    for name, wish in wanted.items():
        if name not in rows:
            raise UserError(f"there is no task {name!r}: the paintings have no such labels (--tasks names columns)")
        counts = Counter(value for value in counted[name] if value)
        if wish is None or isinstance(wish, int):
            classes = _most_frequent(name, wish, counts, min_works, notes)
        else:
            classes = _listed(name, wish, counts, min_works, notes)
        if len(classes) >= 2:
            tasks[name] = Task(name, classes)
        else:
            notes.append(f"{name} is left out: {_why_too_few(len(counts), len(classes), min_works)}.")
    if not tasks:
        raise UserError(f"{', '.join(wanted)}: none has two names with {min_works} paintings each; add some")
    return tasks, notes


def _most_frequent(
    task: str, number: int | None, counts: Counter[str], min_works: int, notes: list[str]
) -> tuple[str, ...]:
    if number is not None and number < 2:
        raise UserError(f"{number} classes of {task} are too few; ask for two or more")
    ranked = sorted((name for name in counts if counts[name] >= min_works), key=lambda name: (-counts[name], name))
    if number is None:
        few = len(counts) - len(ranked)
        if few:
            note = f"{few:,} names of {task} have under {min_works} paintings and are left out."
            notes.append(in_singular(note))
    elif 2 <= len(ranked) < number:
        others = f"no other name has {min_works} paintings or more" if len(counts) > len(ranked) else "it has no others"
        notes.append(f"{task} has {len(ranked)} classes, not {number}: {others}.")
    elif left_out := ranked[number:]:
        option = f"--{task}s" if task in TASK_NAMES else f"--classes {task}=NUMBER"
        shown = ", ".join(left_out[:3]) + (" ..." if len(left_out) > 3 else "")
        note = f"{len(left_out):,} more names of {task} have {min_works} paintings or more and are left out"
        notes.append(f"{in_singular(note)} ({shown}; {option} takes more).")
    return tuple(ranked[:number])


def _why_too_few(names: int, classes: int, min_works: int) -> str:
    """Why a task with so many names, and so many of them frequent enough, cannot be trained."""
    if not names:
        return "no painting has such a label"
    if names == 1:
        return "all its labels are the same"
    enough = "only one has" if classes else "none has"
    return f"it takes two classes, and of its {names:,} names {enough} {min_works} paintings or more"


def _listed(task: str, names: Sequence[str], counts: Counter[str], min_works: int, notes: list[str]) -> tuple[str, ...]:
    spelling = {name.casefold(): name for name in counts}
    wanted = [clean(name) for name in ([names] if isinstance(names, str) else names)]
    for name in wanted:
        if name.casefold() not in spelling:
            near = [spelling[n] for n in get_close_matches(name.casefold(), spelling, n=3)]
            offer = near or sorted(counts, key=lambda name: (-counts[name], name))[:3]
            raise UserError(f"no painting has the {task} {name!r}; choose from {', '.join(offer) or 'nothing'} ...")
    classes = tuple(dict.fromkeys(spelling[name.casefold()] for name in wanted))
    if len(classes) < 2:
        raise UserError(f"{task} needs at least two classes; it got {', '.join(classes) or 'none'}")
    if few := [name for name in classes if counts[name] < min_works]:
        notes.append(f"{task}: {', '.join(few)} have under {min_works} paintings, too few for each part of a split.")
    return classes
