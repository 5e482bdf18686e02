"""The verb explain: maps over the right part of the picture, and the command line."""

import dataclasses
import os
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from marked_pictures import COLOURS, SIDE, TASKS, VIEWS, network, taught_network
from PIL import Image

from painters_mtl import explain
from painters_mtl.images import files as images
from painters_mtl.images.decode import cached_image
from painters_mtl.images.stream import ImageOutput
from painters_mtl.network.forward import center_crops
from painters_mtl.network.gradcam import explainer
from painters_mtl.reports.sheets_explanation import (
    FOOT,
    GAP,
    UNPROVEN,
    Panel,
    PanelRow,
    explanation_sheet,
    panel_rows,
    panel_size,
)
from painters_mtl.reports.sheets_explanation import SIDE as PANEL_SIDE
from painters_mtl.runs import run as runs


@pytest.fixture(scope="module")
def taught() -> keras.Model:
    """A small network that reads both marks."""
    return taught_network()


@pytest.fixture
def folder(taught: keras.Model, tmp_path: Path) -> Path:
    """A run folder of the taught network, with temperatures of its own."""
    run = tmp_path / "run"
    run.mkdir()
    runs.save_labels(run, TASKS, SIDE, SIDE, False, temperatures={"painter": 2.0, "style": 0.5})
    runs.save_model(taught, run)
    return run


def coloured(file: Path, width: int, height: int, box: tuple[int, int, int, int], colour: int = 0) -> Path:
    """A grey picture with one coloured box (left, top, right, bottom)."""
    pixels = np.full((height, width, 3), 128, np.uint8)
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = COLOURS[colour]
    Image.fromarray(pixels).save(file)
    return file


def run_verb(folder: Path, output: Path, *words: object, status: int = 0) -> list[Path]:
    assert explain.main([*map(str, words), "--model", str(folder), "--output", str(output)]) == status
    return sorted(output.iterdir())


@pytest.mark.parametrize(
    ("width", "height", "box"),
    [(600, 150, (400, 20, 600, 130)), (600, 150, (0, 20, 200, 130)), (150, 600, (20, 400, 130, 600))],
)
def test_the_bright_part_of_the_drawn_map_is_over_the_box(
    folder: Path, tmp_path: Path, width: int, height: int, box: tuple[int, int, int, int]
) -> None:
    """Of a picture far from square, on the PNG as it is written: the colours of inferno lie where the box lies."""
    picture = coloured(tmp_path / "wide.png", width, height, box)
    (file,) = run_verb(folder, tmp_path / "out", picture, "--tasks", "painter")
    pixels = np.asarray(Image.open(file).convert("RGB")).astype(int)
    panel_width, panel_height = panel_size(width, height)
    assert panel_width / panel_height == pytest.approx(width / height, rel=0.02)
    column = max(PANEL_SIDE * 3 // 4, panel_width)
    left = 2 * GAP + column
    top = pixels.shape[0] - FOOT - panel_height
    panel = pixels[top : top + panel_height, left : left + panel_width]
    bright = np.maximum(panel[..., 0] - panel[..., 2], 0)  # inferno is redder than blue only in its upper half
    rows, columns = np.indices(bright.shape)
    x = (bright * columns).sum() / bright.sum() / panel_width * width
    y = (bright * rows).sum() / bright.sum() / panel_height * height
    assert box[0] < x < box[2] and box[1] < y < box[3]
    original = pixels[top : top + panel_height, GAP : GAP + panel_width]
    inside = original[int(y / height * panel_height), int(x / width * panel_width)]
    np.testing.assert_allclose(inside, COLOURS[0], atol=2)


def test_the_figure_of_two_views_has_a_row_for_each() -> None:
    rng = np.random.default_rng(0)
    whole, detail = rng.integers(0, 256, (60, 90, 3), dtype=np.uint8), rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)
    heat = rng.random((3, 3)).astype(np.float32)
    rows = [
        PanelRow(whole, [Panel("painter\na $x$ 50.0 %", None), Panel("style\nx 50.0 %", heat)]),
        PanelRow(detail, [Panel("painter\na $x$ 50.0 %", heat), Panel("style\nx 50.0 %", None)]),
    ]
    drawn_figure = explanation_sheet(rows, "b.png")
    boxes = [axis.get_position() for axis in drawn_figure.axes]
    assert len(boxes) == 4  # two pictures, two maps
    assert boxes[0].y0 > boxes[2].y1 and boxes[0].x0 == boxes[2].x0 and boxes[1].x0 > boxes[3].x0 > boxes[0].x1 - 0.1
    texts = [t.get_text() for t in drawn_figure.texts]
    assert texts.count("this head does not see this view") == 2 and texts.count("a $x$ 50.0 %") == 2
    assert "b.png" in texts and any("3 x 3 cells" in t for t in texts)
    assert not any("no more than" in t for t in texts)


def test_a_map_that_proves_nothing_is_not_drawn_without_saying_so(folder: Path) -> None:
    """Under the map, not over it, and under no other."""
    run, heat = runs.open_run(folder), np.random.default_rng(0).random((1, 12, 12)).astype(np.float32)
    outputs = {}
    for name, task in TASKS.items():
        count = len(task.classes)
        outputs |= {f"{name} probabilities": np.full(count, 1 / count), f"{name} class": np.int32(0)}
        outputs |= {
            f"{name} map": heat,
            f"{name} sees": np.array([True]),
            f"{name} stands out": np.bool_(name == "style"),
        }
    seen = ImageOutput(images.ImageFile("a.png"), outputs)
    rows = panel_rows(run, TASKS, seen, np.zeros((60, 90, 3), np.uint8))
    sheet = explanation_sheet(rows)
    (first, *_, last) = notes = [
        text for text in sheet.texts if text.get_text() in " ".join(UNPROVEN.split()) and text.get_text()
    ]
    assert " ".join(text.get_text() for text in notes) == UNPROVEN
    _, painter, style = (axis.get_position() for axis in sheet.axes)
    assert painter.y0 > first.get_position()[1] and last.get_position()[1] > 0
    assert painter.x0 == pytest.approx(first.get_position()[0]) and painter.x1 < style.x0


# ------------------------------------------------------------------------------------------------- the command line


def test_titles_say_what_predict_says(folder: Path, tmp_path: Path) -> None:
    """Class and calibrated confidence of both verbs are the same; a class that was asked for has its own confidence."""
    from helpers import read_rows

    from painters_mtl import predict
    from painters_mtl.images.stream import stream_images

    picture = coloured(tmp_path / "a.png", 200, 100, (120, 30, 180, 80), colour=2)
    out = tmp_path / "p.csv"
    assert predict.main([str(picture), "--model", str(folder), "--output", str(out), "--top-k", "4"]) == 0
    (row,) = read_rows(out)
    run = runs.open_run(folder)
    look = explainer(run.model(), run.image_size)

    def titles(**classes: int) -> list[str]:
        def forward(copies: np.ndarray) -> dict[str, np.ndarray]:
            found = look(copies, {name: np.full(len(copies), classes.get(name, -1), np.int32) for name in TASKS})
            return {f"{name} {key}": v.numpy() for name, values in found.items() for key, v in values.items()}

        (seen,) = stream_images([images.ImageFile(str(picture))], forward, run.cache_side, run.views)
        (row,) = panel_rows(run, TASKS, seen, np.zeros((4, 8, 3), np.uint8))
        return [panel.title for panel in row.panels]

    assert not any("unknown" in title for title in titles())
    best = {name: f"{row[name]}  {100 * float(row[f'{name}_confidence']):.1f} %" for name in TASKS}
    assert titles() == [f"{name}\n{best[name]}" for name in TASKS]
    other = next(c for c in TASKS["painter"].classes if c != row["painter"])
    confidence = next(float(row[f"painter_{k}_confidence"]) for k in (2, 3, 4) if row[f"painter_{k}"] == other)
    found = titles(painter=TASKS["painter"].classes.index(other))[0].split("\n")
    assert found == ["painter", f"{other}  {100 * confidence:.1f} %", f"likeliest: {best['painter']}"]
    known = float(row["painter_known"])
    for limit, unknown in ((known - 1e-3, False), (known + 1e-3, True)):
        run = dataclasses.replace(run, thresholds={"painter": limit})
        assert [title.endswith("\npredict says: unknown") for title in titles()] == [unknown, False]


def test_names_do_not_collide_and_nothing_is_explained_twice(folder: Path, tmp_path: Path) -> None:
    box = (10, 10, 50, 50)
    for name in ("a/lily.png", "b/lily.png", "b/Lily.bmp", "b/x.y, z'.png", "b/.png.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        coloured(tmp_path / "in" / name, 80, 60, box)
    with zipfile.ZipFile(tmp_path / "in" / "c.zip", "w") as archive:
        archive.write(tmp_path / "in" / "a" / "lily.png", "deep/lily.png")
    out = tmp_path / "in" / "explanations"
    words = (tmp_path / "in", "--method", "levels")
    found = run_verb(folder, out, *words)
    names = [f.name for f in found]
    assert len(names) == 5 and len({n.casefold() for n in names}) == 5  # .png.png is hidden
    assert sum(n.lower().startswith("lily") for n in names) == 4 and "x_y, z_-explained.png" in names
    assert [f.name for f in run_verb(folder, out, *words)] == names
    many = [images.ImageFile(f"{k}/{'é' * 200}.jpg") for k in range(3)]
    names = explain.output_names([*many, images.ImageFile(os.fsdecode(b"caf\xe9\n.png"))])
    assert len(set(names)) == 4 and all(len(n.encode()) < 200 and n.isprintable() for n in names)


def test_an_unreadable_picture_is_a_sentence_and_the_others_go_on(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coloured(tmp_path / "a.png", 80, 60, (10, 10, 50, 50))
    (tmp_path / "b.jpg").write_bytes(b"<html>404</html>")
    coloured(tmp_path / "c.png", 80, 60, (10, 10, 50, 50))
    pictures = [tmp_path / name for name in ("a.png", "b.jpg", "c.png")]
    found = run_verb(folder, tmp_path / "out", *pictures, "--method", "levels", status=1)
    assert [f.name for f in found] == ["a-explained.png", "c-explained.png"]
    error = capsys.readouterr().err
    assert "b.jpg cannot be read: not an image (a web page" in error and "1 picture could not be read" in error
    with Image.open(found[0]) as one, Image.open(found[1]) as two:
        assert one.size == two.size and one.format == "PNG"


def test_a_larger_size_gives_another_map(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twice the side: what the network sees is no longer the same, nor is the map in the PNG."""
    picture = coloured(tmp_path / "a.png", 300, 300, (180, 20, 280, 120))
    found = [run_verb(folder, tmp_path / str(size), picture, "--size", size)[0] for size in (128, 256)]
    small, large = (np.asarray(Image.open(file)) for file in found)
    assert "looking at 256 x 256 pixels, not 128 x 128 as in training" in capsys.readouterr().out
    assert small.shape == large.shape
    maps, middle = slice(-FOOT - PANEL_SIDE, -FOOT), small.shape[0] // 2
    assert np.abs(small[maps, 420:].astype(int) - large[maps, 420:]).max() > 10
    np.testing.assert_array_equal(small[middle, :400], large[middle, :400])  # the original


def test_misuse_is_one_sentence(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = coloured(tmp_path / "a.png", 80, 60, (10, 10, 50, 50))
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    model, out = ("--model", folder), ("--output", tmp_path / "out")

    def refused(*words: object) -> str:
        capsys.readouterr()
        assert explain.main([str(w) for w in words]) == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if line]
        assert len(lines) == 1 and lines[0].startswith("error: "), lines
        return lines[0]

    assert "nowhere" in refused(picture, "--model", tmp_path / "nowhere", *out)
    assert "lacks model.keras" in refused(picture, "--model", tmp_path / "empty", *out)
    assert "nowhere.jpg" in refused(tmp_path / "nowhere.jpg", *model, *out)
    assert "no picture" in refused(tmp_path / "empty", *model, *out)
    assert "nothing to explain" in refused(*model, *out)
    assert "--threads -1" in refused(picture, *model, *out, "--threads", -1)
    unknown = refused(picture, *model, *out, "--classes", "painter=Claude Monet")
    assert "--classes painter=Claude Monet" in unknown and "a, b, c, d" in unknown
    assert "painter, style" in refused(picture, *model, *out, "--classes", "school=x")
    assert "(style)" in refused(picture, *model, *out, "--tasks", "style", "--classes", "painter=a")
    assert "--tasks school" in refused(picture, *model, *out, "--tasks", "painter,school")
    assert "--size 20" in refused(picture, *model, *out, "--size", 20)
    assert "--batch-size 0" in refused(picture, *model, *out, "--batch-size", 0)
    assert "is a file" in refused(picture, *model, "--output", tmp_path / "file")
    assert not (tmp_path / "out").exists()


def test_a_network_that_looks_at_one_place_is_told(
    taught: keras.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same picture eight times: maps that do not depend on the picture. Boxes in eight places: they do."""
    run = tmp_path / "run"
    run.mkdir()
    runs.save_labels(run, TASKS, SIDE, SIDE, False)
    runs.save_model(taught, run)
    for k in range(8):
        (tmp_path / "one").mkdir(exist_ok=True)
        (tmp_path / "many").mkdir(exist_ok=True)
        coloured(tmp_path / "one" / f"{k}.png", 128, 128, (10, 10, 50, 50))
        left, top = 32 * (k % 4), 60 * (k // 4)
        coloured(tmp_path / "many" / f"{k}.png", 128, 128, (left, top, left + 30, top + 30), k % 4)
    for name, told in (("one", True), ("many", False)):
        run_verb(run, tmp_path / f"out-{name}", tmp_path / name, "--tasks", "painter")
        assert ("much alike" in capsys.readouterr().out) == told


@pytest.mark.parametrize("words", [("--layer", "last"), ("--method", "levels"), ("--method", "occlusion")])
def test_other_methods(folder: Path, tmp_path: Path, words: tuple[str, str]) -> None:
    """The map changes; everything beside it stays. What was called --layer goes on to work."""
    picture = coloured(tmp_path / "a.png", 200, 200, (10, 10, 70, 70))
    (plain,) = run_verb(folder, tmp_path / "plain", picture, "--tasks", "painter")
    (other,) = run_verb(folder, tmp_path / "other", picture, "--tasks", "painter", *words)
    one, two = (np.asarray(Image.open(file).convert("RGB")).astype(int) for file in (plain, other))
    side, left = PANEL_SIDE, 2 * GAP + PANEL_SIDE
    maps = [pixels[-FOOT - side : -FOOT, left : left + side] for pixels in (one, two)]
    assert np.abs(maps[0] - maps[1]).mean() > 0.5
    np.testing.assert_array_equal(one[:-FOOT, : left - GAP], two[:-FOOT, : left - GAP])


def test_a_map_that_proves_nothing_says_so_below_the_last_view_that_its_head_sees() -> None:
    heat, pixels = np.ones((2, 3, 3), np.float32), np.zeros((8, 8, 3), np.uint8)
    outputs = {"cached image": np.zeros((2, 60, 60, 3), np.uint8)}
    for name, sees in (("painter", [False, True]), ("style", [True, False])):
        probabilities = np.full(len(TASKS[name].classes), 1 / len(TASKS[name].classes), np.float32)
        outputs |= {f"{name} class": np.int32(0), f"{name} probabilities": probabilities, f"{name} map": heat}
        outputs |= {f"{name} sees": np.array(sees), f"{name} stands out": np.bool_(False)}
    run = runs.Run(Path(), TASKS, 48, 60, False, dict.fromkeys(TASKS, 1.0), VIEWS)
    output = ImageOutput(images.ImageFile("a.png"), outputs)
    notes = [[panel.note for panel in row.panels] for row in panel_rows(run, TASKS, output, pixels)]
    assert notes == [["", UNPROVEN], [UNPROVEN, ""]]
    figure = explanation_sheet(panel_rows(run, TASKS, output, pixels), "a.png")
    drawn = [(text.get_text(), text.get_position()) for text in figure.texts]
    words = UNPROVEN.split()[0]
    of_style = min(y for text, (x, y) in drawn if text.startswith(words) and x > 0.5)  # the lowest line starts there
    titles = [y for text, (x, y) in drawn if text == "style" and x > 0.5]
    assert min(titles) < of_style < max(titles)


@pytest.mark.slow
def test_two_views_on_the_command_line(tmp_path: Path) -> None:
    model = network(views=VIEWS, merge="none", view_of={"painter": "detail"})
    run = tmp_path / "run"
    run.mkdir()
    runs.save_labels(run, TASKS, 48, 60, False, VIEWS)
    runs.save_model(model, run)
    picture = coloured(tmp_path / "a.png", 200, 120, (60, 40, 120, 100))
    (file,) = run_verb(run, tmp_path / "out", picture)
    forward = explain._explaining(runs.open_run(run), TASKS, {}, "rise")
    found = forward(cached_image(picture.read_bytes(), 60, VIEWS)[1][None])
    assert not found["style map"][0, 1].any() and found["style map"][0, 0].any()  # of the unseen view there is no map
    data = picture.read_bytes()
    _, copy = cached_image(data, 60, VIEWS)
    detail = center_crops(tf.constant(copy[None, 1]), 48).numpy()[0]
    pixels = np.asarray(Image.open(file).convert("RGB")).astype(int)
    side = PANEL_SIDE
    column = panel_size(200, 120)[0]
    shown = pixels[
        -FOOT - side : -FOOT,
        GAP : GAP + side,
    ]
    np.testing.assert_allclose(shown[::38, ::38].mean((0, 1)), detail[::5, ::5].mean((0, 1)), atol=12)
    map_of_painter = pixels[-FOOT - side : -FOOT, 2 * GAP + column :][:, :side]
    beside = pixels[-FOOT - side : -FOOT, 3 * GAP + 2 * column :][60:]
    assert map_of_painter.std() > 5 and (beside == 255).all()  # the style does not see the detail


@pytest.mark.real
@pytest.mark.slow
def test_real_paintings(paintings: Path, folder: Path, tmp_path: Path) -> None:
    files = sorted((paintings / "originals").glob("*"))[::8]
    good = [f for f in files if not f.name.startswith("lfspointer")]
    found = run_verb(folder, tmp_path / "out", *files, status=int(len(good) < len(files)))
    assert len(found) == len(good)
    for file, original in zip(found, good, strict=True):
        picture = images.load_image(original)
        width, _ = panel_size(picture.width, picture.height)
        columns = GAP + 3 * (max(PANEL_SIDE * 3 // 4, width) + GAP)
        with Image.open(file) as png:
            assert abs(png.size[0] - columns) <= 4  # the sides of the picture that is drawn are rounded
