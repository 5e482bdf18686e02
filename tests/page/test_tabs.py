"""What the tabs show step by step, without a browser."""

from collections.abc import Iterator

import pytest
from pictures import encode, scene
from small_runs import trained_run

from painters_mtl.page.answers import class_choices
from painters_mtl.page.comparable_models import ComparableModels
from painters_mtl.page.model import PageModel
from painters_mtl.page.questions import Questions
from painters_mtl.page.uploads import Uploads

pytest.importorskip("gradio", reason='needs pip install "painters-mtl[app]"')
from painters_mtl.page import tab_painting


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Questions]:
    uploads = Uploads()
    yield Questions(ComparableModels(PageModel(trained_run(tmp_path_factory.mktemp("models") / "first"))), uploads)
    uploads.close()


def test_who_must_wait_for_an_explanation_is_told_why(questions: Questions) -> None:
    file = questions.uploads.folder_for(None) / "a.jpg"
    file.write_bytes(encode(scene(), "JPEG"))
    painting = questions.look({"path": str(file)})
    chosen = class_choices(questions.values(painting)["labels"])[0][1]
    waited, shown = tab_painting.explain(questions, painting, chosen)
    assert "made ready" in waited and 'role="status"' in waited and 'type="range"' in shown
    questions.model.load()
    (shown,) = tab_painting.explain(questions, painting, chosen)  # nothing to wait for any more
    assert 'type="range"' in shown
    assert list(tab_painting.explain(questions, None, None)) == [tab_painting.render.hint(tab_painting.EMPTY_MAP)]


def test_the_picture_to_send_asks_for_no_second_explanation(questions: Questions) -> None:
    file = questions.uploads.folder_for(None) / "b.jpg"
    file.write_bytes(encode(scene(seed=1), "JPEG"))
    painting = questions.look({"path": str(file)})
    assert questions.explain(painting, "style/d") is questions.explain(painting, "style/d")
    assert questions.explain(painting, "style/d") is not questions.explain(painting, "style/e")
    other = questions.look({"path": str(file)})
    assert questions.explain(other, "style/d") is not questions.explain(painting, "style/d")
