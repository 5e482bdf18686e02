"""Cached images: the same pixels as the originals give, made once, whatever happened in between."""

import hashlib
import os
import random
import shutil
import zipfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import make_data, table_of
from PIL import Image
from stopped import KILLS, killed, start

from painters_mtl.common.errors import UserError
from painters_mtl.common.journal import read_records
from painters_mtl.images import files as images
from painters_mtl.images import fingerprints
from painters_mtl.images.cache import MARGIN, ImageCache, build_image_cache, cache_side

SIDE = 20
BYTES = SIDE * SIDE * 3


def draw(file: Path, seed: int, size: tuple[int, int] = (48, 30)) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(file)
    return file


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Seven pictures of several formats and shapes."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    names = ["a.jpg", "b.png", "c.webp", "d.jpg", "e.png", "f.bmp", "g.jpg"]
    return [draw(folder / name, i, (30 + 7 * i, 64 - 5 * i)) for i, name in enumerate(names)]


def expected(files: list[Path]) -> np.ndarray:
    return np.stack([images.load_image(f, square=SIDE).pixels for f in files])


def build(files: list[Path], cache: Path, memory_gb: float = 1) -> ImageCache:
    return build_image_cache(table_of(files), SIDE, cache, memory_gb, workers=2)


def of_paintings(store: ImageCache) -> np.ndarray:
    return np.asarray(store.pixels[store.rows])


def spoil(file: Path) -> None:
    """Put other bytes in a file without a trace in its size and time: whoever reads it now gets no picture."""
    status = file.stat()
    file.write_bytes(b"x" * status.st_size)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_copy_is_what_images_load_gives(files: list[Path], tmp_path: Path) -> None:
    store = build(files, tmp_path / "cache")
    assert store.pixels.dtype == np.uint8 and store.pixels.shape == (len(files), SIDE, SIDE, 3)
    np.testing.assert_array_equal(of_paintings(store), expected(files))
    assert store.refused.empty and store.repaired.empty


@pytest.mark.parametrize("side", [SIDE, 120, 200])
@pytest.mark.parametrize("inputs", [("whole",), ("whole", "detail")])
def test_near_copies_are_told_by_the_same_pictures_whatever_the_side(
    files: list[Path], tmp_path: Path, side: int, inputs: tuple[str, ...]
) -> None:
    """Hashes and thumbnails made from cached images would give another split at another --image-size."""
    draw(files[2], 40, (900, 700))  # decoded at a half or whole, as the side asks for
    store = build_image_cache(table_of(files), side, tmp_path / "cache", inputs=inputs)
    compared = [images.load_image(file, square=120).pixels for file in files]
    assert [int(h) for h in store.hashes] == [fingerprints.phash(pixels) for pixels in compared]
    grey = [Image.fromarray(pixels).convert("L").resize((32, 32), Image.Resampling.BOX) for pixels in compared]
    np.testing.assert_array_equal(store.thumbnails[store.rows], np.stack([np.asarray(image) for image in grey]))


@pytest.mark.parametrize("image_size", [32, 96, 127, 224])
def test_copies_are_larger_than_the_view_by_the_margin(image_size: int) -> None:
    assert abs(cache_side(image_size) - MARGIN * image_size) <= 0.5 and cache_side(image_size) > image_size


def test_a_second_build_opens_no_picture_and_writes_nothing(files: list[Path], tmp_path: Path) -> None:
    first = build(files, tmp_path / "cache")
    wanted = expected(files)
    before = {f.name: (f.stat().st_mtime_ns, f.read_bytes()) for f in first.folder.iterdir()}
    for file in files:
        spoil(file)
    second = build(files, tmp_path / "cache")
    np.testing.assert_array_equal(of_paintings(second), wanted)
    np.testing.assert_array_equal(second.hashes, first.hashes)
    assert {f.name: (f.stat().st_mtime_ns, f.read_bytes()) for f in first.folder.iterdir()} == before


def test_mapped_from_disk_gives_the_same(files: list[Path], tmp_path: Path) -> None:
    held = build(files, tmp_path / "cache")
    mapped = build(files, tmp_path / "cache", memory_gb=0)
    assert isinstance(mapped.pixels, np.memmap) and not isinstance(held.pixels, np.memmap)
    np.testing.assert_array_equal(mapped.pixels, held.pixels)
    np.testing.assert_array_equal(mapped.rows, held.rows)


def test_other_orders_and_parts_of_the_data_find_their_copies(files: list[Path], tmp_path: Path) -> None:
    build(files, tmp_path / "cache")
    for file in files:
        shutil.copy(file, file.with_suffix(".kept"))
    wanted = dict(zip(files, expected(files), strict=True))
    for file in files:
        spoil(file)
    for chosen in (files[::-1], files[2:5], [files[6], files[0]]):
        np.testing.assert_array_equal(of_paintings(build(chosen, tmp_path / "cache")), [wanted[f] for f in chosen])


@pytest.mark.parametrize("seed", range(25))
def test_a_kill_at_any_byte_is_made_good(files: list[Path], tmp_path: Path, seed: int) -> None:
    """Lines follow their pixels to disk, so a kill tears the end of one file or the other, or of both."""
    rng = random.Random(seed)
    whole = build(files, tmp_path / "cache")
    pixels, manifest = whole.folder / "pixels.u8", whole.folder / "manifest.journal"
    thumbnails = whole.folder / "thumbnails.u8"
    torn = rng.choice([(pixels,), (thumbnails,), (manifest,), (pixels, manifest), (pixels, thumbnails, manifest)])
    for file in torn:
        os.truncate(file, rng.randrange(file.stat().st_size))
    again = build(files, tmp_path / "cache")
    np.testing.assert_array_equal(of_paintings(again), expected(files))
    np.testing.assert_array_equal(again.hashes, whole.hashes)
    np.testing.assert_array_equal(again.thumbnails[again.rows], whole.thumbnails[whole.rows])
    assert pixels.stat().st_size == len(files) * BYTES and thumbnails.stat().st_size == len(files) * 32 * 32
    third = build(files, tmp_path / "cache")  # what was written in between is sound too
    np.testing.assert_array_equal(of_paintings(third), expected(files))


def test_lost_pixels_are_not_found_in_other_pictures_places(files: list[Path], tmp_path: Path) -> None:
    """The manifest outlives its pixels (a full disk, a crash of the machine); other pictures take the places."""
    store = build(files[:4], tmp_path / "cache")
    os.truncate(store.folder / "pixels.u8", 2 * BYTES)
    build(files[4:], tmp_path / "cache")
    np.testing.assert_array_equal(of_paintings(build(files, tmp_path / "cache")), expected(files))


def test_garbage_at_the_end_of_the_manifest_is_dropped(files: list[Path], tmp_path: Path) -> None:
    store = build(files[:4], tmp_path / "cache")
    with (store.folder / "manifest.journal").open("ab") as manifest:
        manifest.write(b'{"id": "e.png", "row": 3, "sta')
    with (store.folder / "pixels.u8").open("ab") as pixels:
        pixels.write(b"\7" * (BYTES // 2))
    np.testing.assert_array_equal(of_paintings(build(files, tmp_path / "cache")), expected(files))


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_manifest_is_made_good(files: list[Path], tmp_path: Path, seed: int) -> None:
    """A flipped bit anywhere: what stands behind it is made again."""
    store = build(files, tmp_path / "cache")
    manifest = store.folder / "manifest.journal"
    data = bytearray(manifest.read_bytes())
    rng = random.Random(seed)
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    manifest.write_bytes(data)
    again = build(files, tmp_path / "cache")
    np.testing.assert_array_equal(of_paintings(again), expected(files))
    np.testing.assert_array_equal(again.hashes, store.hashes)
    assert again.pixels.shape == store.pixels.shape


def test_the_cache_of_an_older_version_goes(files: list[Path], tmp_path: Path) -> None:
    """Version 1 had other colours, version 2 no thumbnails; the folders of other data and sides stay."""
    keys = [hashlib.blake2b(f"{files[0].parent}|{SIDE}|{v}".encode(), digest_size=6).hexdigest() for v in (1, 2)]
    old = [tmp_path / "cache" / f"{name}-{SIDE}-{key}" for name, key in zip(("store", "images"), keys, strict=True)]
    other = tmp_path / "cache" / f"store-{SIDE}-{keys[0][::-1]}"
    for folder in (*old, other):
        folder.mkdir(parents=True)
        (folder / "pixels.u8").write_bytes(b"old")
    store = build(files, tmp_path / "cache")
    assert not any(folder.exists() for folder in old) and other.exists() and store.folder.is_dir()


def test_only_a_changed_picture_is_made_again(files: list[Path], tmp_path: Path) -> None:
    before = build(files, tmp_path / "cache")
    draw(files[3], 99, (90, 41))
    wanted = expected(files)
    for file in [*files[:3], *files[4:]]:
        spoil(file)  # would be refused if it were read again
    after = build(files, tmp_path / "cache")
    np.testing.assert_array_equal(of_paintings(after), wanted)
    changed = [i for i in range(len(files)) if (of_paintings(after)[i] != of_paintings(before)[i]).any()]
    assert changed == [3]
    assert (after.hashes != before.hashes).tolist() == [i == 3 for i in range(len(files))]


def test_a_touched_picture_is_not_made_again(files: list[Path], tmp_path: Path) -> None:
    store = build(files, tmp_path / "cache")
    os.utime(files[2], ns=(0, 1_000_000_000))
    again = build(files, tmp_path / "cache")
    np.testing.assert_array_equal(again.rows, store.rows)
    assert (store.folder / "pixels.u8").stat().st_size == len(files) * BYTES
    spoil(files[2])  # the new time is known by now: it is not even read
    np.testing.assert_array_equal(of_paintings(build(files, tmp_path / "cache")), of_paintings(store))


def test_another_side_is_another_store(files: list[Path], tmp_path: Path) -> None:
    small = build(files, tmp_path / "cache")
    large = build_image_cache(table_of(files), 2 * SIDE, tmp_path / "cache")
    assert small.folder != large.folder
    np.testing.assert_array_equal(large.pixels[0], images.load_image(files[0], square=2 * SIDE).pixels)


def test_refused_pictures_have_reasons_and_no_copy(files: list[Path], tmp_path: Path) -> None:
    files[1].write_bytes(b"")
    files[4].write_bytes(b"<html>not found</html>")
    files[5].unlink()
    store = build(files, tmp_path / "cache")
    bad = [1, 4, 5]
    assert np.flatnonzero(store.rows < 0).tolist() == bad and (store.hashes[bad] == 0).all()
    assert store.refused["id"].tolist() == [files[i].name for i in bad]
    for i, reason, detail in zip(bad, store.refused["reason"], store.refused["detail"], strict=True):
        with pytest.raises(images.Unreadable) as refusal:
            images.load_image(files[i], square=SIDE)
        assert (reason, detail) == (refusal.value.reason, refusal.value.detail)
    manifest = store.folder / "manifest.journal"
    entries = len(list(read_records(manifest)))
    assert build(files, tmp_path / "cache").refused.equals(store.refused)
    assert len(list(read_records(manifest))) == entries + 1  # only the missing one was looked for again

    good = [i for i in range(len(files)) if i not in bad]
    np.testing.assert_array_equal(store.pixels[store.rows[good]], expected([files[i] for i in good]))
    assert sorted(store.rows[good]) == list(range(len(good)))

    draw(files[4], 4)  # put right, it comes in without the others being made again
    repaired = build(files, tmp_path / "cache")
    assert repaired.refused["id"].tolist() == [files[1].name, files[5].name]
    np.testing.assert_array_equal(repaired.pixels[repaired.rows[4]], expected([files[4]])[0])
    np.testing.assert_array_equal(repaired.rows[good], store.rows[good])


def test_a_repaired_picture_is_marked(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.jpg" for name in "ab"]
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for file in files:
        Image.fromarray(noise).save(file, quality=95)
    files[1].write_bytes(files[1].read_bytes()[:-900])
    assert images.load_image(files[1], square=SIDE).repaired
    store = build(files, tmp_path / "cache")
    assert store.repaired["id"].tolist() == ["b.jpg"] and store.rows.tolist() == [0, 1]
    assert store.repaired["repaired"].tolist() == [images.load_image(files[1], square=SIDE).repaired]


def test_no_readable_picture_is_an_error_that_counts_the_reasons(files: list[Path], tmp_path: Path) -> None:
    for file in files[:5]:
        file.write_bytes(b"")
    for file in files[5:]:
        file.unlink()
    reasons = []
    for file in (files[0], files[5]):
        with pytest.raises(images.Unreadable) as refusal:
            images.load_image(file)
        reasons.append(refusal.value.reason)
    with pytest.raises(UserError) as error:
        build(files, tmp_path / "cache")
    assert f"5 {reasons[0]}" in str(error.value) and f"2 {reasons[1]}" in str(error.value)


def test_members_of_a_zip_equal_files(files: list[Path], tmp_path: Path) -> None:
    archive = tmp_path / "pictures" / "all.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for file in files:
            out.write(file, f"all/{file.name}")
    names = [f.name for f in files]
    table = pd.DataFrame({"id": names, "file": str(archive), "member": [f"all/{n}" for n in names]})
    zipped = build_image_cache(table, SIDE, tmp_path / "zipped")
    np.testing.assert_array_equal(of_paintings(zipped), expected(files))
    manifest = (zipped.folder / "manifest.journal").read_bytes()

    os.utime(archive, ns=(0, 1))  # a copied zip: its members are the same
    build_image_cache(table, SIDE, tmp_path / "zipped")
    assert (zipped.folder / "manifest.journal").read_bytes() == manifest

    draw(files[2], 77)
    with zipfile.ZipFile(archive, "w") as out:
        for file in files:
            out.write(file, f"all/{file.name}")
    np.testing.assert_array_equal(of_paintings(build_image_cache(table, SIDE, tmp_path / "zipped")), expected(files))


def test_the_pictures_are_not_touched(files: list[Path], tmp_path: Path) -> None:
    before = {f: (f.read_bytes(), f.stat().st_mtime_ns) for f in files[0].parent.iterdir()}
    build(files, tmp_path / "cache")
    assert {f: (f.read_bytes(), f.stat().st_mtime_ns) for f in files[0].parent.iterdir()} == before


def test_a_disk_too_small_is_refused_before_anything_is_written(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6, len(files) * BYTES - 1))
    with pytest.raises(UserError, match="make room"):
        build(files, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.u8"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6, len(files) * BYTES))
    assert len(build(files, tmp_path / "cache").pixels) == len(files)


@pytest.mark.real
def test_real_originals(paintings: Path, tmp_path: Path) -> None:
    files = sorted((paintings / "originals").iterdir())[:24]
    store = build(files, tmp_path / "cache")
    good = [i for i, row in enumerate(store.rows) if row >= 0]
    assert len(good) + len(store.refused) == len(files) and len(good) >= 20
    np.testing.assert_array_equal(store.pixels[store.rows[good]], expected([files[i] for i in good]))


BUILD = (
    "import sys\n"
    "from pathlib import Path\n"
    "import pandas as pd\n"
    "from painters_mtl.common import messages\n"
    "from painters_mtl.images.cache import build_image_cache\n"
    "messages.TENTHS_FROM = 0.0\n"
    "files = [str(f) for f in sorted((Path(sys.argv[1]) / 'images').iterdir())]\n"
    "table = pd.DataFrame({'id': [f.rsplit('/', 1)[-1] for f in files], 'file': files, 'member': ''})\n"
    "print('ready', flush=True)\n"
    "build_image_cache(table, 20, Path(sys.argv[2]), workers=2)\n"
)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,100 pictures, 80 of them drawn: more than two writes of the cache."""
    data = make_data(tmp_path_factory.mktemp("many") / "data", count=80, seed=2)
    drawn = sorted((data / "images").iterdir())
    for i in range(80, 1100):
        shutil.copy(drawn[i % 80], data / "images" / f"{i:04d}.png")
    return data


def check_cache(data: Path, cache: Path) -> None:
    files = sorted((data / "images").iterdir())
    store = build_image_cache(table_of(files), 20, cache)
    assert store.pixels.shape[0] == len(files) and len(set(store.rows)) == len(files)
    for i in range(0, len(files), 50):
        np.testing.assert_array_equal(store.pixels[store.rows[i]], images.load_image(files[i], square=20).pixels)
    assert {f.name for f in store.folder.iterdir()} == {"pixels.u8", "thumbnails.u8", "manifest.journal"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(max(3, KILLS)))
def test_killed_while_the_cache_is_built(many: Path, tmp_path: Path, seed: int) -> None:
    process = start("-c", BUILD, many, tmp_path)
    killed(process, lambda line: line == "ready\n", random.Random(seed).uniform(0.05, 1.5))
    check_cache(many, tmp_path)


@pytest.mark.slow
def test_two_processes_do_not_build_the_same_cache_at_once(many: Path, tmp_path: Path) -> None:
    both = [start("-c", BUILD, many, tmp_path) for _ in range(2)]
    outs = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outs
    check_cache(many, tmp_path)
    made = ["caching images: 100 % of 1,100 pictures" in out for out in outs]
    assert made.count(True) == 1, outs


def test_folders_of_links_to_one_archive_have_pictures_of_their_own(tmp_path: Path) -> None:
    """The same name, size and time: only the place tells them apart."""
    (tmp_path / "archive").mkdir()
    works = [draw(tmp_path / "archive" / f"work{k}.bmp", k, (40, 40)) for k in range(2)]
    for work in works:
        os.utime(work, ns=(1, 1))
    links = []
    for k, work in enumerate(works):
        (tmp_path / f"exp{k}").mkdir()
        links.append(tmp_path / f"exp{k}" / "0.bmp")
        links[k].symlink_to(work)
    table = pd.DataFrame({"id": ["0.bmp"], "member": [""]}, dtype=object)
    for link, work in [*zip(links, works, strict=True)] * 2:
        store = build_image_cache(table.assign(file=str(link)), SIDE, tmp_path / "cache")
        np.testing.assert_array_equal(of_paintings(store), expected([work]))
        assert len(store.pixels) <= 2  # none is made twice
