"""`predict --engine ray`: the machines of a Ray cluster share the files of a folder.

What is done on the machines is what is done without it: `predictor.prediction_rows`. Files come back as whole groups or
not at all; what a machine was labelling when it died, another one labels.
"""

import json
import logging
import pickle
import traceback
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from painters_mtl.common.errors import UserError
from painters_mtl.common.lazy_imports import import_extra
from painters_mtl.common.messages import warn
from painters_mtl.common.ray_cluster import (
    MAX_TRIES,
    WorkerResources,
    enter_worker,
    ray_connection,
    worker_resources,
)

if TYPE_CHECKING:
    from painters_mtl.images.files import ImageFile
    from painters_mtl.inference.predictor import PredictOptions

MAX_BATCHES = 8  # in a group of files: more cost more when a machine dies, fewer keep the network waiting
MAX_SAMPLE = 64  # pictures sent for a comparison with Keras, should a worker have to make one


@dataclass(frozen=True)
class WorkerOptions:
    """What each worker needs to label files. Ray pickles it."""

    run_folder: Path
    options: "PredictOptions"
    sample: "Sequence[ImageFile]"  # to compare a runtime with Keras on, if that is still to be done
    folder: str  # where the command was called
    threads: int  # of TensorFlow


def label_on_ray(
    run_folder: Path, files: Sequence["ImageFile"], options: "PredictOptions", address: str, cpus: int
) -> Iterator[dict[str, Any]]:
    """The journal's row of each file, once, as the groups come back from the machines.

    Args:
        options: with a runtime other than "auto", which each machine would choose for itself.
        address: of a running cluster; "": one is started for the time of the call.
        cpus: cores of a worker, of which each machine has as many as find room; 0: see `worker_resources`.

    Raises `UserError` when nothing comes back any more.
    """
    with ray_connection(address) as ray:
        resources = worker_resources(ray, cpus)
        size = options.batch_size
        size *= max(1, min(MAX_BATCHES, len(files) // (4 * resources.count * size)))
        # Groups of whole batches: a picture is in the same batch as without Ray, and its numbers are the same.
        groups = [files[i : i + size] for i in range(0, len(files), size)]
        missing, tries = dict(enumerate(groups)), 0
        while missing:
            before = len(missing)
            resources = worker_resources(ray, cpus)
            settled = replace(options, threads=options.threads or resources.cpus)
            worker = WorkerOptions(run_folder, settled, files[:MAX_SAMPLE], str(Path.cwd()), resources.threads)
            for number, rows in _one_round(ray, missing, worker, resources):
                if missing.pop(number, None) is not None:
                    yield from rows
            tries = 0 if len(missing) < before else tries + 1
            if missing:
                left = sum(map(len, missing.values()))
                warn(f"\na machine is gone: others label its pictures ({left:,} are left)")
            if tries == MAX_TRIES:
                first = next(iter(missing.values()))
                raise UserError(
                    f"the workers die over {first[0]} and what follows it ({len(first)} pictures): see to the "
                    "machines' memory; --resume goes on"
                )


def _one_round(
    ray: Any, groups: Mapping[int, Sequence["ImageFile"]], worker: WorkerOptions, resources: WorkerResources
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Ask for the rows of all groups, by number; those of a machine that dies do not come back."""
    data = import_extra("ray.data", "ray")
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1
    for name in ("ray.data", "ray"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    items = [{"number": number, "files": pickle.dumps(list(files))} for number, files in groups.items()]
    with warnings.catch_warnings(action="ignore"):  # of arguments that are to go in Ray 2.64, as max_task_retries
        labelled = data.from_items(items, override_num_blocks=len(items)).map_batches(
            _Labeller,
            fn_constructor_args=(worker,),
            batch_size=1,
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            compute=data.ActorPoolStrategy(size=min(resources.count, len(items))),
            max_task_retries=0,  # an actor keeps its work while it waits for room to start again
        )
    try:
        for batch in labelled.iter_batches(batch_size=None, prefetch_batches=0, batch_format="numpy"):
            for number, text in zip(batch["number"], batch["rows"], strict=True):
                result = json.loads(text)
                if "refused" in result:
                    raise UserError(result["refused"])
                if "failed" in result:
                    raise RuntimeError(f"in a worker:\n{result['failed']}")
                yield int(number), result["rows"]
    except ray.exceptions.RayError as error:  # what was lost is asked for again
        if getattr(error, "actor_init_failed", False):  # nothing died: it would fail again
            reason = (str(error).strip().splitlines() or ["no reason given"])[-1][:200]
            raise UserError(
                f"a machine of the cluster cannot start a worker ({reason}): install this package there, as here"
            ) from error
        return


class _Labeller:
    """In a worker: opens the network once, and labels a group of files at each call."""

    def __init__(self, worker: WorkerOptions) -> None:
        self.worker = worker
        self.opened: tuple[Any, Any] | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Columns number and files (pickled) of one group to number and rows (JSON), or what went wrong."""
        try:
            result: dict[str, Any] = {"rows": list(self._rows(pickle.loads(batch["files"][0])))}
        except UserError as error:
            result = {"refused": str(error)}
        except Exception:  # Ray Data would pass over it, as over the death of a machine
            result = {"failed": traceback.format_exc()}
        return {"number": batch["number"], "rows": [json.dumps(result)]}

    def _rows(self, files: list["ImageFile"]) -> Iterable[dict[str, Any]]:
        from painters_mtl.inference.predictor import open_forward, prediction_rows
        from painters_mtl.runs.run import open_run

        options = self.worker.options
        if self.opened is None:
            enter_worker(self.worker.folder, self.worker.threads)
            opened = open_run(self.worker.run_folder)
            self.opened = opened, open_forward(opened, options, self.worker.sample)
        run, forward = self.opened
        return prediction_rows(run, forward, files, options)
