"""The page as people see it, in Chromium: without a network, by mouse and keyboard, on a desk and on a telephone."""

import base64
import json
import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import running
from pictures import scene
from small_runs import trained_run

from painters_mtl.images.files import ImageFile
from painters_mtl.inference.predictor import label
from painters_mtl.runs.run import Run, open_run, save_labels

pytest.importorskip("gradio", reason='needs pip install "painters-mtl[app]"')
playwright = pytest.importorskip("playwright.sync_api", reason="the extra dev is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]
OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",  # the network is cut off
)
PATIENCE = 240_000  # ms, on a machine that is busy; 20 s alone
SCALE = "document.documentElement.scrollWidth <= window.innerWidth"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small network that calls the painter of about every other picture unknown."""
    made = trained_run(tmp_path_factory.mktemp("models") / "first")
    limits = {"painter": 0.45, "style": 0.1}
    sizes = (made.image_size, made.cache_side)
    save_labels(made.folder, made.tasks, *sizes, made.demo, temperatures=made.temperatures, thresholds=limits)
    return open_run(made.folder)


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page has its temporary folder."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def url(run: Run, uploads: Path) -> Iterator[str]:
    with running("--model", run.folder, TMPDIR=str(uploads)) as (at, _):
        yield at


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Any]:
    yield from opened(browser, url, {"width": 1280, "height": 900})


@pytest.fixture
def telephone(browser: Any, url: str) -> Iterator[Any]:
    yield from opened(browser, url, {"width": 360, "height": 740}, has_touch=True, color_scheme="dark")


def opened(browser: Any, url: str, viewport: dict[str, int], **options: Any) -> Iterator[Any]:
    """The page in a browser of its own, with all requests it makes in `asked` and errors in `wrong`."""
    context = browser.new_context(viewport=viewport, **options)
    context.set_default_timeout(PATIENCE)
    one = context.new_page()
    one.asked, one.wrong = [], []
    one.on("request", lambda request: one.asked.append(request.url))
    one.on("response", lambda answer: one.wrong.append(answer.url) if answer.status >= 400 else None)
    one.on("pageerror", lambda error: one.wrong.append(str(error)))
    one.goto(url)
    one.wait_for_selector("#painting button")
    yield one
    context.close()


@pytest.fixture(scope="module")
def painting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("paintings") / "lilies.png"
    scene(90, 130, 4).save(file)
    return file


def give(page: Any, file: Path) -> None:
    page.locator("#painting input[type=file]").first.set_input_files(file)


def drop(page: Any, file: Path) -> None:
    """Drop a file where paintings are dropped, as a mouse does."""
    code = """([content, name]) => {
        const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
        const carried = new DataTransfer();
        carried.items.add(new File([bytes], name, {type: 'image/png'}));
        return carried;
    }"""
    carried = page.evaluate_handle(code, [base64.b64encode(file.read_bytes()).decode(), file.name])
    page.dispatch_event("#painting button", "drop", {"dataTransfer": carried})


def answers(page: Any) -> dict[str, str]:
    """What is said of each task."""
    page.wait_for_selector(".answers .answer")
    sections = page.locator("#answers .answer")
    each = (sections.nth(number) for number in range(sections.count()))
    return {
        section.get_attribute("aria-label"): " ".join(section.locator(".said").text_content().split())
        for section in each
    }


def said_by(run: Run, *files: Path) -> list[dict[str, str]]:
    """What `predict` says of each task of each painting, as the page says it."""
    all_said = []
    for found in label(run, [ImageFile(str(file)) for file in files]):
        assert found.probabilities is not None
        said = {}
        for name, task in run.tasks.items():
            likeliest = task.classes[int(found.probabilities[name].argmax())]
            doubtful = found.unknown(run, name)
            said[name] = "Unknown" if doubtful and name == "painter" else likeliest + (" doubtful" if doubtful else "")
        all_said.append(said)
    return all_said


def test_a_dropped_painting_is_labelled_and_explained_without_a_network(page: Any, run: Run, painting: Path) -> None:
    drop(page, painting)
    assert [answers(page)] == said_by(run, painting)
    page.wait_for_selector(".wipe")
    assert page.get_by_role("slider", name="How much of the picture the map covers").is_visible()
    page.locator("#works").get_by_text("No collection was given").wait_for()  # it comes a step later
    assert all(address.startswith(("http://127.0.0.1:", "data:", "blob:")) for address in page.asked)
    assert not page.wrong
    fonts = page.evaluate("[...document.fonts].filter(font => font.status == 'error').length")
    assert fonts == 0 and page.evaluate("document.fonts.check('16px \"Source Sans Pro\"')")


@pytest.mark.real
def test_a_real_painting_is_labelled(page: Any, run: Run, paintings: Path) -> None:
    painting = sorted((paintings / "originals").glob("pbnorig_*.jpg"))[0]
    drop(page, painting)
    assert [answers(page)] == said_by(run, painting)
    assert painting.name in page.inner_text("#answers .foot")


def test_the_slider_goes_by_keyboard(page: Any, painting: Path) -> None:
    give(page, painting)
    page.wait_for_selector(".wipe")
    slider = page.get_by_role("slider", name="How much of the picture the map covers")
    slider.focus()
    page.keyboard.press("End")
    assert page.evaluate("document.querySelector('.wipe').style.getPropertyValue('--at')") == "100%"


def test_a_picture_to_send_and_json_can_be_had(page: Any, painting: Path) -> None:
    give(page, painting)
    page.wait_for_selector("#card:not([disabled])")
    with page.expect_download() as download:
        page.click("#card")
    assert download.value.suggested_filename == "lilies-labels.png"
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")
    page.get_by_text("The answers as JSON, to copy").click()
    said = page.get_by_role("textbox", name="The answers as JSON").input_value()
    assert json.loads(said)["file"] == "lilies.png"
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#json").get_by_role("button", name="Copy").click()
    page.get_by_text("Copied.").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == said


def test_unknown_is_said_in_words(page: Any, run: Run, tmp_path: Path) -> None:
    """One of many pictures, whose painter `predict` calls unknown."""
    files = [tmp_path / f"{seed}.png" for seed in range(60)]
    for seed, file in enumerate(files):
        scene(60, 60, seed).rotate(7 * seed).save(file)
    said = said_by(run, *files)
    unknown = [file for file, each in zip(files, said, strict=True) if each["painter"] == "Unknown"]
    assert 0 < len(unknown) < len(files)
    give(page, unknown[0])
    assert answers(page)["painter"] == "Unknown"
    assert "none of the 3 painters that the model knows" in page.inner_text("#answers")


def test_a_broken_file_is_said_and_the_next_one_works(page: Any, painting: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.jpg").write_bytes(b"a letter")
    give(page, tmp_path / "letter.jpg")
    page.wait_for_selector("#answers .problem")
    assert page.get_by_role("alert").inner_text().startswith("letter.jpg cannot be read: not an image (a text file")
    page.get_by_label("Clear").or_(page.get_by_label("Remove Image")).first.click()
    page.wait_for_selector("#answers .hint")
    give(page, painting)
    assert set(answers(page)) == {"painter", "style"}


def test_a_zip_becomes_a_table_and_a_csv(page: Any, painting: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "works.zip", "w") as archive:
        archive.write(painting, "hall/lilies.png")
        archive.writestr("hall/letter.jpg", "a letter")
    page.get_by_role("tab", name="Folder").click()
    page.locator("#files input[type=file]").first.set_input_files(tmp_path / "works.zip")
    page.wait_for_selector("#files a[download], #files .file-preview")
    page.click("#start")
    page.wait_for_selector("#csv:not([disabled])")
    assert "1 could not be read" in page.inner_text("#folder .hint")
    assert "works.zip/hall/letter.jpg: not an image" in page.inner_text("#folder .unread")
    assert "works.zip/hall/lilies.png" in page.inner_text("#folder table")
    with page.expect_download() as download:
        page.click("#csv")
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0].startswith("path,painter,") and lines[2].startswith("works.zip/hall/lilies.png,")


def test_it_fits_a_telephone_in_the_dark(telephone: Any, run: Run, painting: Path) -> None:
    assert telephone.evaluate(SCALE)
    tabs = telephone.get_by_role("tab").all()
    assert [tab.inner_text() for tab in tabs if tab.is_visible()] == ["Painting", "Folder", "Compare", "Model"]
    give(telephone, painting)
    assert [answers(telephone)] == said_by(run, painting)
    telephone.wait_for_selector(".wipe")
    assert telephone.evaluate(SCALE)
    dark = telephone.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)")
    assert sum(dark) < 200 and not telephone.wrong


def test_every_tab_is_as_wide_as_the_window_allows(browser: Any, url: str) -> None:
    for width, scheme in ((390, "dark"), (1180, "light")):
        tab = opened(browser, url, {"width": width, "height": 800}, color_scheme=scheme)
        one, widths = next(tab), set()
        for name in ("Painting", "Folder", "Compare", "Model"):
            one.get_by_role("tab", name=name).click()
            one.get_by_role("tab", name=name, selected=True).wait_for()
            one.wait_for_timeout(300)
            widths.add(one.evaluate("Math.round(document.querySelector('.gradio-container main').clientWidth)"))
            assert one.evaluate(SCALE), name
        assert len(widths) == 1
        next(tab, None)


def test_everything_can_be_reached_and_has_a_name(page: Any, painting: Path) -> None:
    """Every button, field and picture has a name that a screen reader can say."""
    give(page, painting)
    page.wait_for_selector("#card:not([disabled])")
    nameless = page.evaluate(
        """[...document.querySelectorAll('button, input, select, textarea, img')].filter(element => {
            if (!element.checkVisibility() || element.closest('[aria-hidden=true]')) return false;
            if (element.tagName == 'IMG') return !element.hasAttribute('alt');
            const labels = [...(element.labels || [])].map(label => label.innerText).join('');
            return !(labels + (element.getAttribute('aria-label') || '') + element.innerText + (element.title || '')
                + [...element.querySelectorAll('img')].map(image => image.alt).join('')).trim();
        }).map(element => element.outerHTML.slice(0, 160))"""
    )
    assert nameless == []
    page.keyboard.press("Tab")
    for _ in range(3):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement !== document.body")


def test_a_closed_tab_leaves_nothing(browser: Any, url: str, uploads: Path, tmp_path: Path) -> None:
    scene(50, 70, 9).save(tmp_path / "mine.png")
    tab = opened(browser, url, {"width": 1280, "height": 900})
    give(page := next(tab), tmp_path / "mine.png")
    page.wait_for_selector("#card:not([disabled])")

    def kept() -> list[Path]:
        return [file for file in uploads.rglob("*") if file.name in ("mine.png", "mine-labels.png")]

    assert kept()
    next(tab, None)
    until = time.monotonic() + 120
    while kept() and time.monotonic() < until:
        time.sleep(0.5)
    assert kept() == []
