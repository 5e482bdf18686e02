"""A checkpoint is read back as it was written, or not at all."""

import random
from pathlib import Path

import numpy as np
import pytest
from helpers import largest_file

from painters_mtl.common.errors import UserError
from painters_mtl.training import checkpoint


def state(seed: int) -> checkpoint.Checkpoint:
    rng = np.random.default_rng(seed)
    arrays = {"network": [rng.random((20, 30)), rng.integers(0, 9, 7)], "losses": [], "best": [np.array(seed)]}
    record = {"history": [{"loss": float(rng.random()), "other": float("nan")}], "best": float("-inf")}
    return checkpoint.Checkpoint(record, arrays)


def is_state(loaded: checkpoint.Checkpoint | None, seed: int) -> bool:
    saved = state(seed)
    assert loaded is not None and str(loaded.record) == str(saved.record)
    assert {name: len(arrays) for name, arrays in loaded.arrays.items()} == {"network": 2, "losses": 0, "best": 1}
    return all(all(map(np.array_equal, arrays, saved.arrays[name])) for name, arrays in loaded.arrays.items())


def test_a_checkpoint_comes_back_or_not_at_all(tmp_path: Path) -> None:
    """Whatever byte is another one or wherever it ends."""
    checkpoint.save(tmp_path, "key", state(3))
    assert is_state(checkpoint.load(tmp_path, "key"), 3)
    file = tmp_path / checkpoint.CHECKPOINT
    sound = file.read_bytes()
    rng = random.Random(0)
    for _ in range(200):
        broken = bytearray(sound)
        broken[rng.randrange(len(sound))] ^= 1 << rng.randrange(8)
        file.write_bytes(broken)
        assert checkpoint.load(tmp_path, "key") is None
        file.write_bytes(sound[: rng.randrange(len(sound))])
        assert checkpoint.load(tmp_path, "key") is None
    file.write_bytes(sound)
    assert is_state(checkpoint.load(tmp_path, "key"), 3)


@pytest.mark.parametrize("seed", range(5))
def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, seed: int) -> None:
    checkpoint.save(tmp_path, "key", state(1))
    size = (tmp_path / checkpoint.CHECKPOINT).stat().st_size
    with (
        largest_file(random.Random(seed).randrange(size)),
        pytest.raises(UserError, match=r"cannot be written .* the last one is kept"),
    ):
        checkpoint.save(tmp_path, "key", state(2))
    assert is_state(checkpoint.load(tmp_path, "key"), 1)
    assert [f.name for f in tmp_path.iterdir()] == [checkpoint.CHECKPOINT]
