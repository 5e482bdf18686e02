"""A study as a list of trainings."""

import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from painters_mtl.common import interrupts
from painters_mtl.common.iteration import in_batches
from painters_mtl.data.tasks import TASK_NAMES
from painters_mtl.studies import jobs
from painters_mtl.studies.jobs import time_left, training_jobs
from painters_mtl.training.run_result import RunResult
from painters_mtl.training.settings import TrainSettings


def test_a_study_is_laid_out_in_an_order_that_can_be_done() -> None:
    settings = TrainSettings(budget="equal-updates", seed=3)
    jobs = training_jobs(settings, 2, 2, ["dwa", "joint", *TASK_NAMES], Path("runs"))
    assert len(jobs) == len(set(jobs)) == len({job.folder for job in jobs}) == 2 * 2 * 5
    for number, job in enumerate(jobs):
        if job.kind in TASK_NAMES:
            assert job.after is not None and job.after in jobs[:number]
            assert (job.after.kind, job.after.seed, job.after.fold) == ("dwa", job.seed, job.fold)
        else:
            assert job.after is None
    assert str(jobs[-1]) == "genre alone, seed4-fold1" and jobs[-1].folder == Path("runs/seed4-fold1/genre")
    jobs = training_jobs(TrainSettings(), 1, 0, ["joint", "distilled", *TASK_NAMES], Path("runs"))
    assert all(job.after is None for job in jobs)
    assert [job.for_all_tasks for job in jobs] == [True, True, False, False, False]


def test_time_left_is_told_where_it_is_long() -> None:
    assert time_left([], 9) == "" and time_left([59], 1) == "" and time_left([60, 240], 4) == ", about 10 min left"
    assert time_left([3600] * 15, 5) == ", about 300 min left" and time_left([3600], 4, 2) == ", about 120 min left"


def test_ctrl_c_in_a_teacher_ends_the_study_behind_the_last_complete_training(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = training_jobs(TrainSettings(), 2, 0, ["distilled", "style"], Path("runs"))
    done = RunResult(pd.DataFrame(), {"updates": 7, "training_seconds": 1.0}, np.arange(2), {}, interrupted=False)

    def train(job: jobs.TrainingJob, *_: object) -> RunResult:
        if job == listed[2]:
            signal.raise_signal(signal.SIGINT)
        return done

    monkeypatch.setattr(jobs, "run_job", train)
    with interrupts.watched():
        assert list(jobs.run_jobs(listed, [], TrainSettings())) == [(listed[0], done), (listed[1], done)]
        assert len(list(in_batches(100, 10))) == 10  # and they are compared, whatever asks for the signal
