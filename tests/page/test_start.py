"""The first seconds of a page: it labels before TensorFlow is there; what waits for that waits in a bounded line."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import Popen

import pytest
from pages import ask, file_data, label, post, running, upload
from pictures import encode, scene

from painters_mtl.runs.model_choice import bundled_model

pytest.importorskip("gradio", reason='needs pip install "painters-mtl[app]"')
pytest.importorskip("ai_edge_litert", reason="labels without TensorFlow come from LiteRT")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bundled_model() is None, reason="no model is bundled with this copy"),
]
# TensorFlow is not imported before a file appears; three questions may wait for their turn.
HELD = """
import importlib.machinery, pathlib, sys, time
class Held:
    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        def when_told(module, execute=spec.loader.exec_module):
            while not pathlib.Path({go!r}).exists():
                time.sleep(0.1)
            execute(module)
        spec.loader.exec_module = when_told
        return spec
sys.meta_path.insert(0, Held())
from painters_mtl.page import limits
limits.MOST_WAITING = 3
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, "Popen[str]", Path]]:
    where = tmp_path_factory.mktemp("start")
    with running(
        *("--model", "paintings", "--cache", where / "cache"),
        code=HELD.format(go=str(where / "go")),
        XDG_CACHE_HOME=str(where / "user"),
    ) as (url, process):
        yield url, process, where / "go"


def test_it_labels_before_tensorflow_and_then_explains(page: tuple[str, "Popen[str]", Path]) -> None:
    url, process, go = page
    picture = encode(scene(), "JPEG")
    before = label(url, "a.jpg", picture)
    assert set(before["labels"]) == {"painter", "style", "genre"}
    maps = Path(f"/proc/{process.pid}/maps")
    assert "libtensorflow" not in maps.read_text()

    given = file_data(upload(url, "a.jpg", picture)[1][0])
    body = json.dumps({"data": [given, "style/"]}).encode()

    def explain(way: str) -> tuple[int, object]:
        return post(f"{url}/gradio_api/{way}/explain", body, "application/json")

    with ThreadPoolExecutor(40) as people:
        # Past the queue: two are under way and three wait, and all of them for TensorFlow.
        answers = [people.submit(explain, "run") for _ in range(12)]
        until = time.monotonic() + 60
        while sum(each.done() for each in answers) < 7 and time.monotonic() < until:
            time.sleep(0.1)
        refused = [each.result() for each in answers if each.done()]
        assert [status for status, _ in refused] == [503] * 7 and "try again" in str(refused)
        # In the queue: the same.
        joined = list(people.map(lambda _: explain("call"), range(12)))
        assert [status for status, _ in joined].count(503) >= 12 - 2 - 3
        assert "libtensorflow" not in maps.read_text()
        go.touch()
        found = [each.result() for each in answers if each.result()[0] == 200]
    assert len(found) == 5 and all("picture" in each["data"][0] for _, each in found)  # type: ignore[index]
    assert "libtensorflow" in maps.read_text()
    after = label(url, "a.jpg", picture)
    assert after["labels"] == before["labels"]
    assert ask(url, "model")[0] == 200
