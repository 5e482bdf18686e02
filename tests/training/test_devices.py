"""Several devices make the steps of one that sees the whole batch, in one process and in three."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from cluster import WORKERS, run_together, start
from workers import OF_MIRRORED, OF_PROCESSES, Case, frozen_steps, steps

from painters_mtl.common.errors import UserError
from painters_mtl.training.devices import Devices
from painters_mtl.training.settings import TrainSettings
from painters_mtl.training.tf_config import Cluster


def test_the_parts_of_a_step_are_the_batch_once() -> None:
    """Part by part: the devices' parts of the first batch that accumulates, then of the second."""

    class Three:
        num_replicas_in_sync = 6

    cluster = Cluster(("a:1", "b:1", "c:1"), 0)
    every = [Devices(Three(), dataclasses.replace(cluster, index=i)) for i in range(3)]  # type: ignore[arg-type]
    assert [d.chief for d in every] == [True, False, False] and [d.first for d in every] == [0, 2, 4]
    rows = [d.local_places(12, micro_batches=2) for d in every]
    assert rows[1].tolist() == [4, 5, 6, 7, 16, 17, 18, 19]
    assert sorted(np.concatenate(rows)) == list(range(24))
    with pytest.raises(UserError, match="a batch of 16 cannot be divided among 6 devices: --batch-size 18 can"):
        every[0].local_places(16, 1)
    assert TrainSettings(distribute="auto").to_dict() == TrainSettings().to_dict()  # a run may go on on other machines


def check_steps(file: Path, cases: list[Case]) -> None:
    expected = {str(case): steps(case, Devices()) for case in cases} | {"frozen": frozen_steps(Devices())}
    with np.load(file) as arrays:
        for case, values in expected.items():
            for i, value in enumerate(values):
                np.testing.assert_allclose(arrays[f"{case}/{i}"], value, rtol=1e-5, atol=1e-6, err_msg=case)


def check_seeds(of_processes: list[np.ndarray]) -> None:
    """Each device drops out units of its own, the first one those that one device alone would."""
    before, own = of_processes[0][0], np.concatenate([seeds[1:] for seeds in of_processes])
    assert all((seeds[0] == before).all() for seeds in of_processes)
    assert (own[0] == before).all() and len(np.unique(own, axis=0)) == len(own) > 1


@pytest.mark.slow
def test_three_processes_make_the_steps_of_one(tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.npz" for i in range(3)]
    with run_together([[WORKERS, "multiworker", file] for file in files]) as workers:
        for worker in workers:
            out, _ = worker.communicate(timeout=300)
            assert worker.returncode == 0, out
    check_steps(files[0], OF_PROCESSES)
    first, *others = (dict(np.load(file)) for file in files)
    check_seeds([of_process.pop("seeds") for of_process in (first, *others)])
    for other in others:
        assert all(np.array_equal(other[k], v, equal_nan=True) for k, v in first.items())


@pytest.mark.slow
def test_two_devices_of_a_process_make_the_steps_of_one(tmp_path: Path) -> None:
    worker = start([WORKERS, "mirrored", tmp_path / "values.npz"])
    out, _ = worker.communicate(timeout=300)
    assert worker.returncode == 0, out
    check_steps(tmp_path / "values.npz", OF_MIRRORED)
    check_seeds([np.load(tmp_path / "values.npz")["seeds"]])
