"""What one training is made of, and the fingerprint by which a run folder knows it again."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from painters_mtl import __version__
from painters_mtl.data.dataset import Dataset
from painters_mtl.data.tasks import ALL_PAINTERS, Task
from painters_mtl.runs import run
from painters_mtl.training.settings import TrainSettings
from painters_mtl.training.start_weights import weights_file

# Settings that do not change what is trained: labels and split are looked at themselves.
WITHOUT_EFFECT = {
    "data", "table", "columns", "folders", "tasks", "task_data", "sample", "split", "painters", "styles", "genres",
    "classes", "cache", "memory_gb", "name", "models", "overwrite", "baselines", "budget", *TrainSettings.NOT_STORED,
}  # fmt: skip


@dataclass(frozen=True)
class RunSpec:
    """One training: its data, settings and tasks, and the run folder that it fills."""

    data: Dataset
    settings: TrainSettings
    folder: Path
    tasks: Mapping[str, Task]  # of the data's, those that the network has a head for
    updates: int = 0  # steps to train for, about (whole epochs), whatever the settings say of epochs; 0: as they say
    keep_model: bool = True  # write model.keras, with known-class heads
    teachers_folder: Path = Path()  # with `settings.distill`: for the run folders of the networks it learns from

    def fingerprint(self) -> str:
        """What the trained network depends on, as 16 hexadecimal digits: settings, images, labels, split, version."""
        data, settings = self.data, self.settings
        values = {k: v for k, v in dataclasses.asdict(settings).items() if k not in WITHOUT_EFFECT}
        digest = hashlib.blake2b(digest_size=8)
        for folder in (*settings.start_from, *settings.teachers):
            digest.update(hashlib.blake2b(run.network_file(folder).read_bytes()).digest())
        if (file := weights_file(settings)) is not None:
            digest.update(hashlib.blake2b(file.read_bytes()).digest())
        digest.update(json.dumps([__version__, values, self.updates], sort_keys=True, default=str).encode())
        for name in (*self.tasks, ALL_PAINTERS):
            task, labels = data.all_painters_task() if name == ALL_PAINTERS else (self.tasks[name], data.labels[name])
            digest.update(json.dumps([name, task.classes]).encode() + labels.tobytes())
        for name in self.tasks:  # works outside the classes train the known-class heads, and measure "unknown"
            outside = data.table[name].where(data.labels[name] < 0, "")
            digest.update(json.dumps(outside.tolist()).encode())
        digest.update("\n".join([*data.table["id"], *data.split, *data.images.contents]).encode())
        return digest.hexdigest()
