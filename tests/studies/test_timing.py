"""The time of a prediction: a figure for each network, in the order of the comparison."""

import time
from pathlib import Path

from helpers import make_data, tiny_settings

from painters_mtl.data.dataset import prepare
from painters_mtl.studies import timing


def test_each_network_has_its_time_and_all_of_them_fit_into_what_passed(tmp_path: Path) -> None:
    settings = tiny_settings(make_data(tmp_path / "data", count=60), tmp_path)
    data = prepare(settings)
    start = time.perf_counter()
    milliseconds = timing.time_predictions(data, settings, ["style", "genre"], count=16, rounds=2)
    passed = 1000 * (time.perf_counter() - start)
    assert len(milliseconds) == 3 and all(value > 0 for value in milliseconds)
    assert 2 * 16 * sum(milliseconds) < passed  # the fastest of two rounds, twice, of 16 paintings
