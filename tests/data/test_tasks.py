"""Tasks: class names to labels and back."""

import json

import numpy as np

from painters_mtl.data.tasks import Task, tasks_from_dict, tasks_to_dict


def test_names_become_labels_and_come_back() -> None:
    task = Task("style", ("Cubism", "Naïve Art", "Art, New"))
    labels = task.encode(["Art, New", None, "", float("nan"), "cubism", "Naïve Art", 3, "Cubism"])
    assert labels.dtype == np.int32 and labels.tolist() == [2, -1, -1, -1, -1, 1, -1, 0]
    assert task.decode(labels) == ["Art, New", "", "", "", "", "Naïve Art", "", "Cubism"]
    np.testing.assert_array_equal(task.encode(task.decode(labels)), labels)
    assert tasks_from_dict(json.loads(json.dumps(tasks_to_dict({"style": task})))) == {"style": task}
