"""The choice of classes: by number, by name, or all."""

import pandas as pd
import pytest

from painters_mtl.common.errors import UserError
from painters_mtl.data.classes import choose_classes
from painters_mtl.data.tasks import TASK_NAMES


def paintings_of(competition: str = "", **counts: dict[str, int]) -> pd.DataFrame:
    """A table whose columns hold names as often as `counts` says, filled up with ""."""
    columns = {name: [n for n, k in counts.get(name, {}).items() for _ in range(k)] for name in TASK_NAMES}
    longest = max(map(len, columns.values()))
    table = pd.DataFrame({n: v + [""] * (longest - len(v)) for n, v in columns.items()}, dtype=object)
    return table.assign(competition=competition)


def test_the_most_frequent_in_order_of_frequency_then_name():
    table = paintings_of(painter={"B": 5, "A": 5, "C": 9, "D": 2}, style={"S": 4, "T": 3})
    tasks, notes = choose_classes(table, {"painter": 2, "style": 10})
    assert tasks["painter"].classes == ("C", "A") and tasks["style"].classes == ("S", "T")
    assert notes == [
        "1 more name of painter has 3 paintings or more and is left out (B; --painters takes more).",
        "style has 2 classes, not 10: it has no others.",
    ]
    assert choose_classes(table, {"painter": 9})[0]["painter"].classes == ("C", "A", "B")
    assert choose_classes(table, {"painter": 9}, min_works=2)[0]["painter"].classes == ("C", "A", "B", "D")


def test_rows_that_count():
    table = pd.concat([paintings_of("train", painter={"A": 4, "B": 3}), paintings_of("test", painter={"B": 9, "C": 9})])
    table = table.reset_index(drop=True)
    assert choose_classes(table, {"painter": 3})[0]["painter"].classes == ("A", "B")
    test = (table["competition"] == "test").to_numpy()
    assert choose_classes(table, {"painter": 3}, among=test)[0]["painter"].classes == ("B", "C")
    assert choose_classes(table, {"painter": ["B", "A"]}, among=range(7))[0]["painter"].classes == ("B", "A")


def test_listed_names():
    table = paintings_of(painter={"Claude Monet": 5, "Edouard Manet": 2})
    tasks, notes = choose_classes(table, {"painter": ["edouard  manet", "Claude Monet", "Claude Monet"]})
    assert tasks["painter"].classes == ("Edouard Manet", "Claude Monet")
    assert len(notes) == 1 and "Edouard Manet" in notes[0]
    with pytest.raises(UserError, match=r"'Claude Monnet'.*Claude Monet"):
        choose_classes(table, {"painter": ["Claude Monnet", "Edouard Manet"]})
    with pytest.raises(UserError, match="two classes"):
        choose_classes(table, {"painter": ["Claude Monet"]})


def test_tasks_without_two_classes():
    table = paintings_of(painter={"A": 4, "B": 3}, style={"S": 9})
    tasks, notes = choose_classes(table, {"painter": 8, "style": 10, "genre": 23})
    assert list(tasks) == ["painter"] and notes[1:] == [
        "style is left out: all its labels are the same.",
        "genre is left out: no painting has such a label.",
    ]
    _, notes = choose_classes(
        paintings_of(painter={"A": 4, "B": 2}, style={"S": 9, "T": 3}), {"painter": 8, "style": 2}
    )
    assert notes == ["painter is left out: it takes two classes, and of its 2 names only one has 3 paintings or more."]
    cases = [({"style": 2}, "none has two names"), ({"painter": 1}, "too few"), ({"mood": 2}, "no task 'mood'")]
    for wanted, word in cases:
        with pytest.raises(UserError, match=word):
            choose_classes(table, wanted)
