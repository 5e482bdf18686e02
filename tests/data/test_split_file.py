"""split.csv: what is written is read again, and a file that cannot be meant is refused in one sentence."""

import numpy as np
import pandas as pd
import pytest

from painters_mtl.common.errors import UserError
from painters_mtl.data.split_file import load_split, save_split


def catalogue(n: int) -> pd.DataFrame:
    return pd.DataFrame({"id": [f"{i}.jpg" for i in range(n)], "painter": "", "style": "", "genre": ""}, dtype=object)


def test_saved_and_loaded(tmp_path):
    table = catalogue(6).assign(painter=["A, B", 'C "D"', "É", "", "x", "y"])
    split = np.array(["train", "validation", "test", "", "train", "test"], object)
    path = tmp_path / "runs" / "split.csv"
    save_split(path, table, split)
    assert [p.name for p in path.parent.iterdir()] == ["split.csv"]
    assert path.read_text(encoding="utf-8").splitlines()[:2] == ["id,split,painter,style,genre", '0.jpg,train,"A, B",,']
    loaded, notes = load_split(path, table)
    assert loaded.tolist() == split.tolist()
    assert notes == ["1 of 6 paintings are not in split.csv and are left out (the first is 3.jpg)."]
    more, notes = load_split(path, table.iloc[[5, 0, 3]])
    assert (
        more.tolist() == ["test", "train", ""]
        and notes[-1] == "3 ids of split.csv are not in the data (the first is 1.jpg)."
    )
    _, notes = load_split(path, table, groups=np.array([0, 0, 1, 1, 1, 2]))
    assert any(note.startswith("2 groups of near-copies") for note in notes)


def test_names_of_paintings_may_have_another_unicode_form(tmp_path):
    """A folder that was moved to macOS, or from there, has the same names in other code points."""
    composed, apart = "C\u00e9zanne.jpg", "Ce\u0301zanne.jpg"
    for here, there in ((composed, apart), (apart, composed)):
        table = catalogue(2).assign(id=[here, "b.jpg"])
        (tmp_path / "split.csv").write_text(f"id,split\n{there},test\nb.jpg,train\n", encoding="utf-8")
        split, notes = load_split(tmp_path / "split.csv", table)
        assert [*split] == ["test", "train"] and notes == []
    table = catalogue(2).assign(id=["a b.jpg", "a  b.jpg"])  # white space tells two pictures apart
    (tmp_path / "split.csv").write_text("id,split\na b.jpg,train\n", encoding="utf-8")
    assert [*load_split(tmp_path / "split.csv", table)[0]] == ["train", ""]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("id,part\n0.jpg,train\n", "id and split; it has id, part"),
        ("id,split\n0.jpg,train\n1.jpg,val\n", "line 3: the split is 'val'"),
        ("id,split\n0.jpg,train\n0.jpg,test\n", "line 3: 0.jpg is in test and in train"),
        ("id,split\nz.jpg,train\n", "none of its 1 ids"),
        ("", "is empty"),
    ],
)
def test_bad_split_files_are_named(tmp_path, text, word):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=word) as error:
        load_split(path, catalogue(3))
    assert str(path) in str(error.value)
    with pytest.raises(UserError, match="no such file"):
        load_split(tmp_path / "none.csv", catalogue(3))


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "split.csv"
    path.write_text("old")

    def full_disk(self, target, **kwargs):
        target.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_split(path, catalogue(1), np.array(["train"], object))
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_the_users_own_tasks_are_columns(tmp_path):
    table = catalogue(2).drop(columns="genre").assign(school=["Delft", ""])
    save_split(tmp_path / "split.csv", table, np.array(["train", "test"], object), ["style", "school"])
    lines = (tmp_path / "split.csv").read_text(encoding="utf-8").splitlines()
    assert lines == ["id,split,painter,style,school", "0.jpg,train,,,Delft", "1.jpg,test,,,"]


def test_a_split_and_paintings_of_a_tasks_own_folder_are_matched_by_the_id_there(tmp_path):
    """--task-data puts "style:" before the ids of its folder; a run on that folder alone has none."""
    split = np.array(["train", "test", "validation"], object)
    save_split(tmp_path / "plain.csv", catalogue(3), split)
    prefixed = catalogue(3).assign(id=[f"style:{i}.jpg" for i in range(3)])
    assert load_split(tmp_path / "plain.csv", prefixed)[0].tolist() == split.tolist()
    save_split(tmp_path / "prefixed.csv", prefixed, split)
    assert load_split(tmp_path / "prefixed.csv", catalogue(3))[0].tolist() == split.tolist()
    assert load_split(tmp_path / "prefixed.csv", prefixed)[0].tolist() == split.tolist()
    other = catalogue(3).assign(id=[f"scan:{i}.jpg" for i in range(3)])  # no task: a name like any other
    with pytest.raises(UserError, match="none of its 3 ids"):
        load_split(tmp_path / "plain.csv", other)
