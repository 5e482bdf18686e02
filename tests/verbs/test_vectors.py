"""Vectors of pictures: they are the network's own features, kept rightly, found by cosine, written and mapped."""

import contextlib
import dataclasses
import os
import shutil
import sqlite3
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers import largest_file, python, read_rows, small_network
from PIL import Image, ImageDraw
from sklearn.neighbors import NearestNeighbors

from painters_mtl import embed, predict, similar
from painters_mtl.common.errors import UserError, count_reasons
from painters_mtl.common.row_cache import RowCache
from painters_mtl.data.tasks import Task
from painters_mtl.evaluation.calibration import apply_temperature
from painters_mtl.images import files as images
from painters_mtl.images.cache import file_stamps
from painters_mtl.images.decode import cached_image
from painters_mtl.inference import embeddings
from painters_mtl.inference.nearest import LoadedVectors, Match, nearest
from painters_mtl.inference.predictor import label
from painters_mtl.inference.vector_files import write_vectors
from painters_mtl.network.forward import center_crops, whole_crops
from painters_mtl.network.multitask import build_model, features_model
from painters_mtl.reports.sheets_map import map_figure, project, write_map
from painters_mtl.reports.sheets_neighbours import SIDE, neighbours_sheet
from painters_mtl.runs import run as runs

TASKS = {
    "painter": Task("painter", ('Ada "A", Red', "Bo $1")),
    "style": Task("style", ("Dots", "Lines", "Washes")),
    "genre": Task("genre", ("portrait", "landscape")),
}
TEMPERATURES = {"painter": 0.5, "style": 2.0, "genre": 1.0}


def make_run(folder: Path, seed: int = 0, views: Sequence[str] = ("whole",)) -> runs.Run:
    """An untrained small network in a run folder: 64 features."""
    import keras

    folder.mkdir(parents=True)
    keras.utils.set_random_seed(seed)
    runs.save_model(small_network(TASKS, views=views), folder)
    runs.save_labels(folder, TASKS, 32, 40, False, views, TEMPERATURES)
    return runs.open_run(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    return make_run(tmp_path_factory.mktemp("models") / "run")


def drawn(seed: int) -> Image.Image:
    """A picture of 90 x 70 pixels: a coloured ground with six ellipses."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 256, (7, 3)).tolist()
    image = Image.new("RGB", (90, 70), tuple(colours[0]))
    for colour in colours[1:]:
        x, y, w, h = rng.uniform(0, 1, 4) * (70, 50, 40, 40)
        ImageDraw.Draw(image).ellipse([x, y, x + w + 4, y + h + 4], fill=tuple(colour))
    return image


def draw_all(folder: Path) -> Path:
    folder.mkdir()
    for k in range(12):
        drawn(k).save(folder / f"{k:02d}.png")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve pictures, 00.png to 11.png, to change at will."""
    return draw_all(tmp_path / "pictures")


@pytest.fixture(scope="module")
def first(run: runs.Run, tmp_path_factory: pytest.TempPathFactory) -> embeddings.Vectors:
    """The vectors of the same pictures in a folder that stays as it is, just computed."""
    out = tmp_path_factory.mktemp("first")
    found = embeddings.compute(run, images.find_images(draw_all(out / "pictures")), out / "cache")
    assert found.computed == 12
    return found


@pytest.fixture
def cache(first: embeddings.Vectors, tmp_path: Path) -> Path:
    """A cache that holds `first`, to change at will."""
    return Path(shutil.copytree(first.cache.file.parent, tmp_path / "cache"))


def features_of(found: embeddings.Vectors) -> np.ndarray:
    return np.stack([one.features for one in found if one.features is not None])


# ------------------------------------------------------------------------------------------------- what a vector is


def test_vectors_are_the_features_of_the_same_copy(run: runs.Run, folder: Path, tmp_path: Path) -> None:
    files = images.find_images(folder)
    found = list(embeddings.compute(run, files, tmp_path / "cache", batch_size=5))
    model = run.model()
    encoder = features_model(model)
    copies = np.stack([cached_image(f.read(), run.cache_side)[1] for f in files])
    seen = whole_crops(copies, run.image_size)
    wanted, probabilities = np.asarray(encoder(seen)), model(seen)
    assert [one.file for one in found] == files
    for k, one in enumerate(found):
        assert one.features is not None and one.features.dtype == np.float32
        np.testing.assert_allclose(one.features, wanted[k], rtol=1e-4, atol=1e-5)
        assert list(one.labels) == list(TASKS)
        for task, (name, confidence) in one.labels.items():
            p = apply_temperature(np.asarray(probabilities[task])[k : k + 1], TEMPERATURES[task])[0]
            assert name == TASKS[task].classes[p.argmax()] and confidence == pytest.approx(p.max(), abs=1e-4)


@pytest.mark.parametrize("with_head", [False, True])
def test_a_painter_that_predict_calls_unknown_is_unknown(with_head: bool, folder: Path, tmp_path: Path) -> None:
    """The threshold lies in the middle of the scores; with and without a head that learned who is known."""
    run = make_run(tmp_path / "run")
    if with_head:
        heads = {**TASKS, "painter_known": Task("painter_known", ("another", "known"))}
        runs.save_model(small_network(heads), run.folder)
    files = images.find_images(folder)
    known = [one.known_scores["painter"] for one in label(run, files)]
    limits = {"painter": float(np.median(known))}
    runs.save_labels(run.folder, TASKS, 32, 40, False, ("whole",), TEMPERATURES, limits)
    run = runs.open_run(run.folder)
    output = tmp_path / "p.csv"
    assert predict.main([str(folder), "--model", str(run.folder), "--output", str(output)]) == 0
    wanted = [(row["painter"], float(row["painter_confidence"])) for row in read_rows(output)]
    assert [name for name, _ in wanted].count("unknown") == 6
    for _ in range(2):  # computed, then from the cache
        found = list(embeddings.compute(run, files, tmp_path / "cache"))
        assert [one.labels["painter"][0] for one in found] == [name for name, _ in wanted]
        assert [one.labels["painter"][1] for one in found] == pytest.approx([p for _, p in wanted], abs=1e-4)
        assert all(one.features is not None and len(one.features) == 64 for one in found)


def test_a_network_with_two_views_has_the_features_of_both(folder: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", views=("whole", "detail"))
    found = embeddings.compute(run, images.find_images(folder), tmp_path / "cache")
    features = features_of(found)
    whole, detail = zip(*(cached_image(f.read(), run.cache_side, run.views)[1] for f in found.files), strict=True)
    seen = {"image": whole_crops(np.stack(whole), 32), "detail": center_crops(np.stack(detail), 32)}
    assert features.shape == (12, 128)
    np.testing.assert_allclose(features, np.asarray(features_model(run.model())(seen)), rtol=1e-4, atol=1e-5)


def test_unreadable_pictures_keep_their_place(run: runs.Run, folder: Path, tmp_path: Path) -> None:
    (folder / "03.png").write_bytes(b"")
    (folder / "07.png").write_text("<html>404</html>")
    found = embeddings.compute(run, images.find_images(folder), tmp_path / "cache")
    errors = {Path(one.file.path).name: one.error for one in found if one.features is None}
    assert list(errors) == ["03.png", "07.png"] and found.computed == 10 and len(found) == 12
    assert errors["03.png"].startswith("empty") and errors["07.png"].startswith("not an image")
    assert count_reasons(errors.values()) == "1 empty, 1 not an image"


# ------------------------------------------------------------------------------------------------- the cache


def test_what_is_kept_is_not_computed_again(run: runs.Run, folder: Path, tmp_path: Path) -> None:
    """The second time the pictures and the network are gone bad: what comes out can only be what was kept."""
    private = dataclasses.replace(run, folder=tmp_path / "copy")
    shutil.copytree(run.folder, private.folder)
    files = images.find_images(folder)
    first = embeddings.compute(private, files, tmp_path / "cache")
    assert first.computed == 12
    kept = features_of(first)
    for file in folder.iterdir():
        status = file.stat()
        file.write_bytes(b"\0" * status.st_size)  # same size, same time
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = embeddings.compute(private, files, tmp_path / "cache")
    assert again.computed == 0 and not again.errors
    np.testing.assert_array_equal(features_of(again), kept)
    assert [one.labels for one in again] == [one.labels for one in first]


def test_only_what_has_changed_is_computed(run: runs.Run, folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    before = features_of(embeddings.compute(run, images.find_images(folder), cache))
    shutil.copy(folder / "00.png", folder / "05.png")
    drawn(99).save(folder / "12.png")
    (folder / "06.png").unlink()
    found = embeddings.compute(run, images.find_images(folder), cache)
    assert found.computed == 1  # 12.png; what 05.png holds now is known
    after = {Path(one.file.path).name: one.features for one in found}
    np.testing.assert_array_equal(after["05.png"], before[0])
    np.testing.assert_array_equal(after["07.png"], before[7])
    assert "06.png" not in after and len(after) == 12


def test_pictures_that_were_moved_are_not_computed_again(run: runs.Run, folder: Path, tmp_path: Path) -> None:
    """They are read once more to know them again; from then on their new places tell."""
    cache = tmp_path / "cache"
    before = features_of(embeddings.compute(run, images.find_images(folder), cache))
    folder.rename(tmp_path / "moved")
    for name in ("00", "11"):
        (tmp_path / "moved" / f"{name}.png").rename(tmp_path / "moved" / f"renamed {name}.png")
    files = images.find_images(tmp_path / "moved")
    order = [int(Path(file.path).stem.removeprefix("renamed ")) for file in files]
    found = embeddings.compute(run, files, cache)
    assert found.computed == 0
    np.testing.assert_array_equal(features_of(found), before[order])
    places = {embeddings.real_location(file): stamp for file, stamp in zip(files, file_stamps(files), strict=True)}
    assert found.cache.contents_of(places).keys() == places.keys()


def test_the_way_a_picture_is_named_does_not_matter(
    run: runs.Run, first: embeddings.Vectors, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = Path(first.files[0].path).parent
    (tmp_path / "link").symlink_to(pictures)
    monkeypatch.chdir(pictures.parent)
    for name in (Path("pictures"), Path("pictures/../pictures"), tmp_path / "link"):
        found = embeddings.compute(run, images.find_images(name), cache)
        assert found.computed == 0
        np.testing.assert_array_equal(features_of(found), features_of(first))


def test_members_of_a_zip_are_known_by_their_content(run: runs.Run, folder: Path, tmp_path: Path) -> None:
    packed = tmp_path / "all.zip"

    def pack(names: Sequence[str], prefix: str = "in/") -> list[images.ImageFile]:
        with zipfile.ZipFile(packed, "w") as archive:
            for name in names:
                archive.writestr(f"{prefix}{name}", (folder / name).read_bytes())
        os.utime(packed, ns=(0, 10**18 + packed.stat().st_size))
        return images.find_images(packed)

    names = sorted(f.name for f in folder.iterdir())
    plain = features_of(embeddings.compute(run, images.find_images(folder), tmp_path / "cache"))
    found = embeddings.compute(run, pack(names), tmp_path / "cache")
    assert found.computed == 0
    np.testing.assert_array_equal(features_of(found), plain)
    drawn(77).save(folder / "02.png")
    assert (
        embeddings.compute(run, pack(names), tmp_path / "cache").computed == 1
    )  # the zip is new, eleven members are not


def test_another_network_has_a_cache_of_its_own(
    run: runs.Run, first: embeddings.Vectors, cache: Path, tmp_path: Path
) -> None:
    other = embeddings.compute(make_run(tmp_path / "other", seed=1), first.files, cache)
    assert other.computed == 12 and first.network != other.network
    assert not np.allclose(features_of(first), features_of(other))
    moved = shutil.copytree(run.folder, tmp_path / "moved")  # the same network in another place is the same
    assert embeddings.compute(runs.open_run(moved), first.files, cache).computed == 0
    for changed in ({"cache_side": 48}, {"image_size": 40}):  # it sees other pixels
        assert embeddings.model_key(dataclasses.replace(run, **changed)) != first.network  # type: ignore[arg-type]


def test_a_new_calibration_needs_no_new_vectors(run: runs.Run, first: embeddings.Vectors, cache: Path) -> None:
    softer = dataclasses.replace(run, temperatures={**TEMPERATURES, "style": 20.0})
    found = embeddings.compute(softer, first.files, cache)
    assert found.computed == 0
    for one, before in zip(found, first, strict=True):
        assert one.labels["style"][0] == before.labels["style"][0]
        assert 1 / 3 <= one.labels["style"][1] <= before.labels["style"][1]
        assert one.labels["painter"] == before.labels["painter"]


@pytest.mark.parametrize("damage", ["cut to 0", "cut to 50", "cut to 5000", "cut by 6000", "cut by 3000", "garbage"])
def test_a_damaged_cache_is_made_again(damage: str, run: runs.Run, first: embeddings.Vectors, cache: Path) -> None:
    (file,) = cache.iterdir()
    data = file.read_bytes()
    how, _, number = damage.rpartition(" ")
    length = {"cut to": int(number), "cut by": len(data) - int(number)}[how] if how else 0
    file.write_bytes(data[:length] if how else b"no database at all" * 100)
    again = embeddings.compute(run, first.files, cache)
    # The last page holds places only: the pictures are read, and their rows are there.
    assert again.computed == (0 if damage == "cut by 3000" else 12)
    np.testing.assert_allclose(features_of(again), features_of(first), rtol=1e-5, atol=1e-6)
    assert embeddings.compute(run, first.files, cache).computed == 0


def test_a_flipped_bit_is_seen(run: runs.Run, first: embeddings.Vectors, cache: Path) -> None:
    (file,) = cache.iterdir()
    wanted = features_of(first)
    sound = wanted[4].tobytes()
    flipped = bytes([*sound[:2], sound[2] ^ 0x40, *sound[3:]])
    data = file.read_bytes()
    assert sound in data
    file.write_bytes(data.replace(sound, flipped))  # all of them: SQLite leaves old copies in a page's free space
    again = embeddings.compute(run, first.files, cache)
    assert again.computed == 1
    np.testing.assert_allclose(features_of(again), wanted, rtol=1e-5, atol=1e-6)


def test_a_run_that_was_cut_off_goes_on(run: runs.Run, first: embeddings.Vectors, cache: Path) -> None:
    (file,) = cache.iterdir()
    with contextlib.closing(sqlite3.connect(file)) as database, database:  # as it was when seven were written
        database.execute("DELETE FROM rows WHERE rowid > 7")
    found = embeddings.compute(run, first.files, cache)
    assert found.computed == 5
    np.testing.assert_allclose(features_of(found), features_of(first), rtol=1e-5, atol=1e-6)


def test_names_that_are_no_text(run: runs.Run, tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/caf\xe9\n.png"
    drawn(0).save(tmp_path / "0.png")
    (tmp_path / "0.png").rename(os.fsdecode(odd))
    embeddings.compute(run, images.find_images(tmp_path), tmp_path / "cache")
    found = embeddings.compute(run, images.find_images(tmp_path), tmp_path / "cache")
    assert found.computed == 0 and [os.fsencode(one.file.path) for one in found] == [odd]
    write_vectors(found, tmp_path / "v.npz")
    with np.load(tmp_path / "v.npz") as table:
        assert [os.fsencode(str(path)) for path in table["path"]] == [odd]
    pq = pytest.importorskip("pyarrow.parquet")
    write_vectors(found, tmp_path / "v.parquet")
    assert pq.read_table(tmp_path / "v.parquet")["path"].to_pylist() == [f"{tmp_path}/caf\\udce9\n.png"]


# ------------------------------------------------------------------------------------------------- the nearest ones


def test_the_order_is_that_of_scikit_learn(run: runs.Run, folder: Path, tmp_path: Path) -> None:
    for k in range(12, 150):  # more than one look into the cache
        drawn(k).save(folder / f"{k:03d}.png")
    drawn(1000).save(tmp_path / "query.png")
    (folder / "broken.png").write_bytes(b"")
    among = embeddings.compute(run, images.find_images(folder), tmp_path / "cache")
    (query,) = embeddings.compute(run, images.find_images(tmp_path / "query.png"), tmp_path / "cache")
    assert query.features is not None
    (found,) = nearest([query], among, 20)
    readable = [one.file for one in among if one.features is not None]
    search = NearestNeighbors(n_neighbors=20, metric="cosine").fit(features_of(among))
    distances, rows = search.kneighbors(query.features[None])
    np.testing.assert_allclose([m.cosine for m in found], 1 - distances[0], atol=1e-5)
    assert [m.vector.file for m in found] == [readable[k] for k in rows[0]]
    (loaded,) = nearest([query], LoadedVectors(among), 20)
    assert [(m.cosine, m.vector.file) for m in loaded] == [(m.cosine, m.vector.file) for m in found]
    (every,) = nearest([query], among, 1000)
    assert len(every) == len(readable) and [m.cosine for m in every[:20]] == [m.cosine for m in found]


@pytest.fixture
def many(run: runs.Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> embeddings.Vectors:
    """The vectors of twelve pictures, which are now enough to be kept as one array, and of one that is broken."""
    monkeypatch.setattr("painters_mtl.inference.nearest.MANY", 12)
    (folder / "05b.png").write_bytes(b"")
    return embeddings.compute(run, images.find_images(folder), tmp_path / "cache")


def answer(among: embeddings.Vectors | LoadedVectors, k: int = 0) -> list[tuple[float, str]]:
    """The cosines and names of all that are like picture `k`."""
    (matches,) = nearest(list(among.at([k])), among, 20)
    return [(match.cosine, match.vector.file.name) for match in matches]


def test_many_vectors_are_kept_as_one_array(many: embeddings.Vectors, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = answer(many)
    assert answer(LoadedVectors(many)) == wanted and len(wanted) == 11
    (array,) = many.cache.file.parent.glob("directions-*.npy")
    assert np.load(array).shape == (12, 64)
    os.utime(array, (10, 10))
    monkeypatch.setattr(embeddings.Vectors, "feature_blocks", lambda _: pytest.fail("the rows were read again"))
    again = LoadedVectors(many)
    assert answer(again) == wanted and answer(again, 12) == answer(LoadedVectors(many), 12)
    assert array.stat().st_mtime > 10  # used: the cache's limit spares it


def test_the_array_of_other_vectors_is_not_taken(many: embeddings.Vectors, run: runs.Run, folder: Path) -> None:
    """A picture has changed, is gone, is in another place, or another network looks: the answers are those of now."""
    cache, before = many.cache.file.parent, answer(LoadedVectors(many))
    drawn(50).save(folder / "07.png")
    (folder / "05b.png").unlink()
    changed = embeddings.compute(run, images.find_images(folder), cache)
    assert answer(LoadedVectors(changed)) == answer(changed) != before
    mixed = dataclasses.replace(changed, files=changed.files[::-1])
    assert answer(LoadedVectors(mixed), 11) == answer(changed)
    (folder / "08.png").rename(folder / "99.png")
    renamed = embeddings.compute(run, images.find_images(folder), cache)
    assert answer(LoadedVectors(renamed)) == answer(renamed) != answer(changed)
    other = embeddings.compute(make_run(cache.parent / "other", seed=3), images.find_images(folder), cache)
    assert answer(LoadedVectors(other)) == answer(other) != answer(renamed)


@pytest.mark.parametrize("kept", [0, 50, 1000, -1])
def test_an_array_that_was_cut_is_made_again(kept: int, many: embeddings.Vectors) -> None:
    wanted = answer(LoadedVectors(many))
    (array,) = many.cache.file.parent.glob("directions-*.npy")
    whole = array.read_bytes()
    array.write_bytes(whole[:kept])
    array.with_name(f".123-{array.name}").write_bytes(b"left by a call that was killed")
    assert answer(LoadedVectors(many)) == wanted and array.read_bytes() == whole
    assert not array.with_name(f".123-{array.name}").exists()


def test_a_disk_without_room_for_the_array_is_done_without(many: embeddings.Vectors) -> None:
    with largest_file(2000):
        assert answer(LoadedVectors(many)) == answer(many)
    assert not list(many.cache.file.parent.glob("*directions-*"))


def test_a_picture_has_one_place_whatever_links_lead_to_it(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    (folder / "link.png").symlink_to("03.png")
    (folder / "nowhere.png").symlink_to("gone.png")
    paths = [f"{root}/{name}" for root in (folder, tmp_path / "link") for name in ("03.png", "link.png", "nowhere.png")]
    paths += [f"{folder}/../link/03.png", f"{folder}/missing.png", "relative.png", "/", f"{folder}/."]
    places = [embeddings.real_location(images.ImageFile(path)) for path in paths]
    assert places == [os.fsencode(f"{os.path.realpath(path)}/") for path in paths]
    assert len(set(places)) == 6


def test_of_equal_ones_the_first_come_first(run: runs.Run, folder: Path, tmp_path: Path) -> None:
    """Also where the end of the answer falls among them, in blocks whose products round differently."""
    for k in range(40):
        shutil.copy(folder / "09.png", folder / f"{50 + k}.png")
    among = embeddings.compute(run, images.find_images(folder), tmp_path / "cache")
    query = next(one for one in among if one.file.name == "60.png")
    for where in (among, LoadedVectors(among)):
        (found,) = nearest([query], where, 20)
        assert [m.vector.file.name for m in found] == ["09.png", *(f"{k}.png" for k in range(50, 70) if k != 60)][:20]
        assert {m.cosine for m in found} == {1.0}


def test_a_copy_is_the_nearest_and_the_picture_itself_is_left_out(run: runs.Run, folder: Path, tmp_path: Path) -> None:
    drawn(4).save(folder / "copy.jpg", quality=85)
    drawn(8).resize((300, 233), Image.Resampling.LANCZOS).save(folder / "large.webp", quality=90)
    shutil.copy(folder / "09.png", folder / "same.png")
    (tmp_path / "link.png").symlink_to(folder / "02.png")
    among = embeddings.compute(run, images.find_images(folder), tmp_path / "cache")
    names = [one.file.name for one in among]
    queries = list(among)
    answers = nearest(queries, among, 30)
    first_of = {query.file.name: a[0].vector.file.name for query, a in zip(queries, answers, strict=True)}
    for one, other in (("04.png", "copy.jpg"), ("08.png", "large.webp"), ("09.png", "same.png")):
        assert first_of[one] == other and first_of[other] == one
    for query, answer in zip(queries, answers, strict=True):
        assert sorted(m.vector.file.name for m in answer) == sorted(set(names) - {query.file.name})
        cosines = [m.cosine for m in answer]
        assert cosines == sorted(cosines, reverse=True)
    assert answers[names.index("09.png")][0].cosine == pytest.approx(1, abs=1e-5)
    linked = dataclasses.replace(queries[0], file=images.ImageFile(str(tmp_path / "link.png")))
    (found,) = nearest([linked], among, 30)
    assert "02.png" not in [m.vector.file.name for m in found] and "00.png" in [m.vector.file.name for m in found]


def search(run: runs.Run, tmp_path: Path, *words: object, status: int = 0) -> None:
    options = ("--model", run.folder, "--cache", tmp_path / "cache", "--output", tmp_path / "s.png")
    assert similar.main([str(w) for w in (*words, *options)]) == status


def test_what_was_drawn_is_not_searched(
    run: runs.Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sheet and the map lie in the folder itself: the second command must not take them for paintings."""
    words = ["--model", run.folder, "--cache", tmp_path / "cache"]
    for _ in range(2):
        asked = [folder / "03.png", "--in", folder, "--count", 30, "--output", folder / "similar.png"]
        assert similar.main([str(w) for w in (*asked, *words)]) == 0
        shown = capsys.readouterr().out
        assert "03.png" in shown and "similar.png" not in shown.split("wrote")[0]
    (folder / "similar.png").unlink()
    for _ in range(2):
        asked = [folder, "--output", tmp_path / "v.npz", "--map", folder / "map.png", "--projection", "pca"]
        assert embed.main([str(w) for w in (*asked, *words)]) == 0
        with np.load(tmp_path / "v.npz") as arrays:
            assert not [path for path in arrays["path"] if str(path).endswith("map.png")]


@pytest.mark.parametrize("name", ["a\0b.png", "bad.zip/x.jpg"])
def test_names_that_cannot_be_looked_up_are_rows(name: str, run: runs.Run, tmp_path: Path) -> None:
    """A NUL, and a zip in whose directory a name is said to be UTF-8 and is not."""
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("é.jpg", b"")
    data = (tmp_path / "bad.zip").read_bytes()
    (tmp_path / "bad.zip").write_bytes(data.replace("é".encode(), b"\xff\xfe"))
    found = embeddings.compute(run, [images.ImageFile.of(f"{tmp_path}/{name}")], tmp_path / "cache")
    assert len(found.errors) == 1


def test_similar_prints_the_table_and_shows_the_pictures(
    run: runs.Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = folder / "03.png"
    drawn(3).save(folder / "copy.jpg", quality=95)
    (folder / "bad.png").write_bytes(b"")
    search(run, tmp_path, query, "--in", folder, "--count", 7, status=1)
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("cosine"))
    assert lines[start].split() == ["cosine", *TASKS, "path"]
    assert lines[start + 1].startswith("query") and lines[start + 1].endswith(str(query))
    rows = lines[start + 2 : start + 9]
    assert rows[0].endswith(str(folder / "copy.jpg")) and not any(row.endswith(str(query)) for row in rows)
    among = embeddings.compute(run, images.find_images(folder), tmp_path / "cache")
    asked = next(one for one in among if one.file.path == str(query))
    (found,) = nearest([asked], among, 7)
    for row, match in zip(rows, found, strict=True):
        name, confidence = match.vector.labels["style"]
        assert row.startswith(f"{match.cosine:.4f}") and f"{name} {100 * confidence:.0f} %" in row
    assert "1 picture could not be read (1 empty)" in printed.err
    shown = np.asarray(Image.open(tmp_path / "s.png"), np.float32)
    # The picture asked for stands first, at the top left: four times enlarged, so as wide as 90 pixels become.
    width = 4 * 90
    block = shown[36 : 36 + 4 * 70, 36 : 36 + width]
    wanted = np.asarray(drawn(3).resize((width, 4 * 70), Image.Resampling.BICUBIC), np.float32)
    assert np.abs(block - wanted).mean() < 1


def test_a_block_for_each_picture(first: embeddings.Vectors) -> None:
    queries = list(first.at([2, 5]))
    answers = nearest(queries, first, 4)
    both, one = neighbours_sheet(queries, answers), neighbours_sheet(queries[:1], answers[:1])
    assert both.width == one.width and both.height > 2 * one.height - 100
    np.testing.assert_array_equal(np.asarray(both)[: one.height - 40], np.asarray(one)[: one.height - 40])


def test_a_picture_that_is_gone_leaves_a_gap_on_the_sheet(first: embeddings.Vectors) -> None:
    queries = list(first.at([0]))
    (answer,) = nearest(queries, first, 3)
    before = np.asarray(neighbours_sheet(queries, [answer]))
    gone = dataclasses.replace(answer[1].vector, file=images.ImageFile(f"gone/{answer[1].vector.file.name}"))
    answer[1] = Match(answer[1].cosine, gone)
    after = np.asarray(neighbours_sheet(queries, [answer]))
    changed = np.flatnonzero((before != after).any(axis=(0, 2)))
    assert before.shape == after.shape and 0 < np.ptp(changed) < SIDE  # one column, the others as they were


def test_similar_without_tensorflow_when_all_is_known(run: runs.Run, folder: Path, tmp_path: Path) -> None:
    """The second question needs no network: the process that answers it never imports one."""
    (folder / "bad.png").write_bytes(b"")
    search(run, tmp_path, folder / "03.png", "--in", folder, status=1)
    code = (
        "import sys; from painters_mtl import similar; status = similar.main(sys.argv[1:]); "
        "print('tensorflow' in sys.modules, status)"
    )
    words = (folder / "03.png", "--in", folder, "--model", run.folder, "--cache", tmp_path / "cache")
    done = python("-c", code, *words, "--output", tmp_path / "again.png")
    assert done.stdout.splitlines()[-1] == "False 1", done.stderr
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "s.png").read_bytes()


# ------------------------------------------------------------------------------------------------- the table


def make_table(run: runs.Run, cache: Path, output: Path, *words: object, status: int = 0) -> None:
    options = ("--model", run.folder, "--cache", cache, "--output", output)
    assert embed.main([str(w) for w in (*words, *options)]) == status


@pytest.mark.parametrize("ending", [".npz", ".parquet"])
def test_the_table_holds_what_was_computed(
    ending: str, run: runs.Run, first: embeddings.Vectors, cache: Path, tmp_path: Path
) -> None:
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    output, bad = tmp_path / f"v{ending}", tmp_path / "bad.png"
    bad.write_bytes(b"")
    make_table(run, cache, output, bad, Path(first.files[0].path).parent, status=1)
    if ending == ".npz":
        with np.load(output) as file:
            table = dict(file)
        assert table.pop("network") == first.network
        unread = np.isnan(table["vector"]).all(axis=1)
    else:
        import pandas as pd
        import pyarrow.parquet as pq

        frame = pd.read_parquet(output)
        table = {name: frame[name].to_numpy() for name in frame}
        unread = frame["vector"].isna().to_numpy()
        assert pq.read_schema(output).metadata[b"network"].decode() == first.network
    assert set(table) == {"path", *TASKS, *(f"{t}_confidence" for t in TASKS), "error", "vector"}
    assert table["path"].tolist() == [str(bad), *map(str, first.files)]
    assert np.flatnonzero(unread).tolist() == [0]
    assert table["error"][0].startswith("empty") and set(table["error"][1:]) == {""}
    assert np.isnan(table["painter_confidence"][0]) and table["painter"][0] not in TASKS["painter"].classes
    for k, one in enumerate(first, 1):
        assert table["vector"][k].dtype == np.float32
        np.testing.assert_array_equal(table["vector"][k], one.features)
        for task, (name, confidence) in one.labels.items():
            assert table[task][k] == name and table[f"{task}_confidence"][k] == pytest.approx(confidence)


def test_nothing_but_unreadable_pictures(run: runs.Run, tmp_path: Path) -> None:
    files = [tmp_path / "a.jpg", tmp_path / "b.png"]
    for file in files:
        file.write_bytes(b"no picture")
    make_table(run, tmp_path / "cache", tmp_path / "v.npz", *files, "--map", tmp_path / "m.png", status=1)
    with np.load(tmp_path / "v.npz") as table:
        assert table["vector"].shape == (2, 0) and all(table["error"])
    assert not (tmp_path / "m.png").exists()


def test_a_table_that_cannot_be_finished_leaves_the_old_one(
    first: embeddings.Vectors, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "v.npz").write_text("the old table")
    lost = dataclasses.replace(first, cache=RowCache(cache, "lost"))  # somebody emptied the cache meanwhile
    with pytest.raises(UserError, match="changed by others"):
        write_vectors(lost, tmp_path / "v.npz")
    assert (tmp_path / "v.npz").read_text() == "the old table" and not list(tmp_path.glob(".*"))


# ------------------------------------------------------------------------------------------------- the map


def test_pca_is_the_singular_value_decomposition() -> None:
    features = np.random.default_rng(0).gamma(1.0, 1.0, (40, 12)).astype(np.float32)
    points = project(features, "pca")
    unit = features / np.sqrt((features.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
    u, s, _ = np.linalg.svd(unit - unit.mean(axis=0), full_matrices=False)
    for k in range(2):
        wanted = u[:, k] * s[k]
        np.testing.assert_allclose(points[:, k] * np.sign(points[0, k] * wanted[0]), wanted, atol=1e-6)


def test_tsne_keeps_groups_together() -> None:
    """Three directions in 64 dimensions, 30 noisy vectors of very different length along each."""
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(3), 30)
    features = np.abs(np.eye(64)[group] + rng.normal(0, 0.03, (90, 64))) * rng.uniform(0.1, 10, (90, 1))
    points = project(features.astype(np.float32), "tsne")
    neighbours = NearestNeighbors(n_neighbors=6).fit(points).kneighbors(return_distance=False)
    assert points.shape == (90, 2) and (group[neighbours] == group[:, None]).all()
    np.testing.assert_array_equal(points, project(features.astype(np.float32), "tsne"))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_map_of_almost_nothing(n: int) -> None:
    features = np.random.default_rng(2).random((n, 8)).astype(np.float32)
    points = project(features, "pca")
    assert points.shape == (n, 2) and np.isfinite(points).all()
    if n == 2:  # their distance is kept
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        assert np.linalg.norm(points[0] - points[1]) == pytest.approx(np.linalg.norm(unit[0] - unit[1]), abs=1e-6)
    same = np.repeat(features[:1], n, axis=0)
    np.testing.assert_array_equal(project(same, "tsne"), np.zeros((n, 2)))


def test_the_points_of_a_map_have_the_colours_of_its_legend() -> None:
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    labels = {
        "style": [("Dots $", 1.0), ("Lines", 1.0), ("Dots $", 0.2), ("Dots $", 0.9)],
        "genre": [(str(k), 1.0) for k in range(4)],
    }
    figure = map_figure(points, labels, "four", ["a.png", "$b$.png", "c.png", "d.png"])
    figure.canvas.draw()  # a "$" would be mathematics
    style, genre = figure.axes
    drawn_points = style.collections[0]
    where = [tuple(p) for p in drawn_points.get_offsets()]
    colours = dict(zip(where, drawn_points.get_facecolors()[:, :3], strict=True))
    entries = {
        text.get_text(): handle.get_facecolor()[0][:3]
        for text, handle in zip(style.get_legend().get_texts(), style.get_legend().legend_handles, strict=True)
    }
    assert list(entries) == ["Dots $  3", "Lines  1"]
    dots, lines = entries.values()
    np.testing.assert_allclose(colours[0.0, 0.0], dots)
    np.testing.assert_allclose(colours[1.0, 0.0], lines)
    # Paler means nearer to white, on the line between white and the class's colour.
    whiteness = {p: (colours[p] - dots) / (1 - dots) for p in ((0.0, 0.0), (1.0, 1.0), (0.0, 1.0))}
    assert np.ptp(whiteness[0.0, 1.0]) < 1e-6
    assert abs(whiteness[0.0, 0.0][0]) < 1e-6 < whiteness[1.0, 1.0][0] < whiteness[0.0, 1.0][0] < 1
    assert len(genre.get_legend().get_texts()) == 4


def test_points_without_a_class_are_grey_and_below_the_others() -> None:
    """However many they are, "unknown" takes no class's colour and stands last in the legend."""
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    labels = [("unknown", 1.0), ("Dots", 0.2), ("unknown", 0.9), ("unknown", 1.0)]
    (axis,) = map_figure(points, {"style": labels}).axes
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["Dots  1", "unknown  3"]
    of_class, of_none = (handle.get_facecolor()[0][:3] for handle in axis.get_legend().legend_handles)
    assert np.ptp(of_none) == 0 < np.ptp(of_class)
    assert axis.collections[0].get_offsets()[-1].tolist() == [1.0, 0.0]
    np.testing.assert_allclose(axis.collections[0].get_facecolors()[-2, :3], of_none)


def test_a_map_shows_a_part_of_many(
    run: runs.Run, first: embeddings.Vectors, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (Path(first.files[0].path).parent, "--map", tmp_path / "m.png", "--projection", "pca")
    make_table(run, cache, tmp_path / "v.npz", *words)
    assert "a map of 12 pictures, by PCA" in capsys.readouterr().out
    assert min(Image.open(tmp_path / "m.png").size) > 500
    write_map(first, tmp_path / "m.svg", "tsne", most=5)
    said = capsys.readouterr().out
    assert "fewer than 10" in said and "5 of 12 pictures, drawn at random, by PCA" in said
    svg = (tmp_path / "m.svg").read_text()
    assert svg.count("5 of 12") == 1 and (tmp_path / "m.svg").stat().st_size > 5000


# ------------------------------------------------------------------------------------------------- misuse


def refused(capsys: pytest.CaptureFixture[str], verb, *words: object) -> str:  # type: ignore[no-untyped-def]
    capsys.readouterr()
    assert verb([str(w) for w in words]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "pictures/s" not in line and line]
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in "".join(lines)
    return errors[0]


def test_embed_misused(
    run: runs.Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    model = ("--model", run.folder, "--cache", tmp_path / "cache")
    out = ("--output", tmp_path / "v.npz")
    assert "nothing to embed" in refused(capsys, embed.main, *model, *out)
    assert "no picture" in refused(capsys, embed.main, tmp_path / "empty", *model, *out)
    assert "nowhere" in refused(capsys, embed.main, tmp_path / "nowhere", *model, *out)
    assert "lacks model.keras" in refused(capsys, embed.main, folder, "--model", tmp_path / "empty", *out)
    assert ".npz or .parquet" in refused(capsys, embed.main, folder, *model, "--output", tmp_path / "v.csv")
    assert "no/where" in refused(capsys, embed.main, folder, *model, "--output", "no/where/v.npz")
    assert ".png or" in refused(capsys, embed.main, folder, *model, *out, "--map", tmp_path / "m.gif")
    assert "--batch-size 0" in refused(capsys, embed.main, folder, *model, *out, "--batch-size", 0)
    assert "--threads -1" in refused(capsys, embed.main, folder, *model, *out, "--threads", -1)
    (tmp_path / "file").write_text("")
    words = (folder, "--model", run.folder, *out, "--cache", tmp_path / "file")
    assert "--cache" in refused(capsys, embed.main, *words)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    said = refused(capsys, embed.main, folder, *model, "--output", tmp_path / "v.parquet")
    assert 'pip install "painters-mtl[parquet]"' in said and ".npz" in said
    assert not (tmp_path / "v.npz").exists() and not (tmp_path / "cache").exists()


def test_similar_misused(run: runs.Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.png").write_bytes(b"")
    query = folder / "00.png"
    rest = ("--model", run.folder, "--cache", tmp_path / "cache", "--output", tmp_path / "s.png")
    assert "name a picture" in refused(capsys, similar.main, "--in", folder, *rest)
    assert "nowhere to look" in refused(capsys, similar.main, query, "--in", *rest)
    assert "gone.png" in refused(capsys, similar.main, folder / "gone.png", "--in", folder, *rest)
    assert "no picture in" in refused(capsys, similar.main, query, "--in", tmp_path / "empty", *rest)
    assert "--count 0" in refused(capsys, similar.main, query, "--in", folder, "--count", 0, *rest)
    assert "ask for fewer" in refused(capsys, similar.main, query, "--in", folder, "--count", 1000, *rest)
    assert ".png or .jpg" in refused(capsys, similar.main, query, "--in", folder, *rest[:-1], tmp_path / "s.gif")
    assert "can be read" in refused(capsys, similar.main, tmp_path / "bad.png", "--in", folder, *rest)
    (tmp_path / "many").mkdir()
    for k in range(100):
        shutil.copy(query, tmp_path / "many" / f"{k}.png")
    words = (tmp_path / "many", "--in", folder, "--count", 4, *rest[:-1], tmp_path / "s.jpg")
    assert "name a .png" in refused(capsys, similar.main, *words)
    assert not (tmp_path / "s.png").exists()
    search(run, tmp_path, query, tmp_path / "bad.png", "--in", folder, status=1)  # the other one is answered
    assert f"{tmp_path / 'bad.png'} cannot be read: empty" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------- real paintings


@pytest.mark.real
def test_real_originals_find_their_copies(run: runs.Run, paintings: Path, tmp_path: Path) -> None:
    """Full-resolution files and the gallery's small copies of the same works: even untrained features match them."""
    originals = images.find_images(*sorted((paintings / "originals").glob("large_*")))
    names = {file.name.removeprefix("large_") for file in originals}
    others = sorted((paintings / "gallery" / "images").iterdir())[:150]
    copies = [paintings / "gallery" / "images" / name for name in sorted(names)]
    among = embeddings.compute(run, images.find_images(*others, *copies), tmp_path / "cache")
    queries = list(embeddings.compute(run, originals, tmp_path / "cache"))
    for query, answer in zip(queries, nearest(queries, among, 1), strict=True):
        assert f"large_{answer[0].vector.file.name}" == query.file.name


@pytest.mark.real
@pytest.mark.slow
def test_mirrored_and_recompressed_paintings_find_each_other(paintings: Path, tmp_path: Path) -> None:
    """With ImageNet's features a work, its mirror image and a small poor JPEG of it are each other's nearest two."""
    folder = tmp_path / "run"
    folder.mkdir()
    runs.save_model(build_model(TASKS), folder)
    runs.save_labels(folder, TASKS, 96, 120, False)
    gallery = sorted((paintings / "gallery" / "images").glob("*.jpg"))
    (tmp_path / "made").mkdir()
    chosen = gallery[::110]
    for file in chosen:
        with Image.open(file).convert("RGB") as image:
            image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "made" / f"{file.stem}-mirrored.png")
            image.reduce(2).save(tmp_path / "made" / f"{file.stem}-small.jpg", quality=50)
    among = embeddings.compute(
        runs.open_run(folder), images.find_images(*gallery[::13], *chosen, tmp_path / "made"), tmp_path / "cache"
    )

    def work(one: embeddings.Vector) -> str:
        return Path(one.file.path).stem.removesuffix("-mirrored").removesuffix("-small")

    stems = {file.stem for file in chosen}
    queries = [one for one in among if work(one) in stems]
    assert len(queries) == 3 * len(chosen) > 30
    for query, answer in zip(queries, nearest(queries, among, 2), strict=True):
        assert {work(match.vector) for match in answer} == {work(query)}
