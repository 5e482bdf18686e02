"""Pictures are found in folders, zips, patterns and lists, and opened or refused by name."""

import io
import os
import pickle
import struct
import sys
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from helpers import python
from pictures import encode, scene
from PIL import Image

from painters_mtl.common import errors
from painters_mtl.common.errors import Unreadable, UserError
from painters_mtl.images import files as images
from painters_mtl.images import zips
from painters_mtl.images.files import ImageFile, find_images, images_from_arguments, load_image

# --- files, folders, zips ---


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures in a folder, two in a zip, and much that is none."""
    data = encode(scene(), "JPEG")
    root = tmp_path / "root"
    (root / "sub" / ".hidden").mkdir(parents=True)
    for name in ("10.jpg", "sub/2.JPEG", ".x.jpg", "sub/.hidden/a.jpg", "notes.txt", "sub/._2.jpg"):
        (root / name).write_bytes(data)
    with zipfile.ZipFile(root / "train_1.zip", "w") as archive:
        for name in ("train_1/10.jpg", "train_1/9.png", "__MACOSX/train_1/._9.png", "train_1/.x.jpg", "readme.txt"):
            archive.writestr(name, data)
    return root


def test_the_same_folder_spelled_otherwise_has_the_same_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert find_images("root") == find_images("./root/", "root//") == find_images("./root/.", "root/./10.jpg")
    assert find_images("root/../root")[0].path == "root/../root/10.jpg"  # behind a link it may be another folder


@pytest.mark.parametrize("name", ["scan.PSD", "scan.psb", "IMG_1.NEF", "a.dng", "b.cr3"])
def test_what_people_keep_beside_their_pictures_is_refused_and_not_overlooked(name: str, tmp_path: Path) -> None:
    content = b"8BPS\0\1" + bytes(40) if name.lower().endswith(("psd", "psb")) else encode(scene(), "TIFF")
    (tmp_path / name).write_bytes(content)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr(name, content)
    assert [file.name for file in find_images(tmp_path)] == [name, name]
    for file in find_images(tmp_path):
        with pytest.raises(Unreadable, match="unsupported format"):
            load_image(file)


def test_find(folder: Path) -> None:
    names = [str(file)[len(str(folder)) + 1 :] for file in find_images(folder)]
    assert names == ["10.jpg", "sub/2.JPEG", "train_1.zip/train_1/9.png", "train_1.zip/train_1/10.jpg"]
    assert [file.name for file in find_images(folder)] == ["10.jpg", "2.JPEG", "9.png", "10.jpg"]
    assert find_images(folder, folder / "10.jpg") == find_images(folder)  # none twice
    assert find_images(folder / "notes.txt") == [ImageFile(str(folder / "notes.txt"))]
    assert [file.member for file in find_images(folder / "train_1.zip")] == ["train_1/9.png", "train_1/10.jpg"]
    with pytest.raises(UserError, match="nowhere"):
        find_images(folder / "nowhere")


def test_find_keeps_strange_names_and_leaves_loops(tmp_path: Path) -> None:
    strange = [b"a,b.jpg", b"new\nline.jpg", b"\xff\xfe.jpg", "Naïve.jpg".encode()]
    for name in strange:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(encode(scene(), "JPEG"))
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "x.jpg").mkdir()
    found = find_images(tmp_path)
    assert sorted(os.fsencode(file.name) for file in found) == sorted(strange)
    assert all(load_image(file).width == 120 for file in found)
    assert all(errors.display_path(str(file)).isprintable() for file in found)


def test_zip_members_equal_files(folder: Path) -> None:
    member = ImageFile(str(folder / "train_1.zip"), "train_1/10.jpg")
    assert member.read() == (folder / "10.jpg").read_bytes()
    assert (load_image(member).pixels == load_image(folder / "10.jpg").pixels).all()
    assert (load_image(str(member)).pixels == load_image(member).pixels).all()  # what was printed can be given back
    assert find_images(str(member)) == [member]
    assert pickle.loads(pickle.dumps(member)) == member


def test_zip_is_opened_once_and_read_in_parallel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(200):
            archive.writestr(f"{i}.jpg", bytes([i]) * 3000)
    files = find_images(tmp_path)
    assert [file.member for file in files] == [f"{i}.jpg" for i in range(200)]
    opened = []
    monkeypatch.setattr(zipfile, "ZipFile", lambda *a: opened.append(a) or pytest.fail("opened again"))
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert list(pool.map(ImageFile.read, files)) == [bytes([i]) * 3000 for i in range(200)]
    monkeypatch.undo()
    with get_context("fork").Pool(2) as processes:  # children must not share the position in the file
        parts = processes.map_async(ImageFile.read, files, chunksize=5)
        assert [file.read() for file in files] == [bytes([i]) * 3000 for i in range(200)]
        assert parts.get(30) == [bytes([i]) * 3000 for i in range(200)]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:  # replaced: read anew
        archive.writestr("0.jpg", b"other, longer than before" * 999)
    assert files[0].read().startswith(b"other")


def refusal(file: ImageFile | str | Path) -> Unreadable:
    with pytest.raises(Unreadable) as caught:
        load_image(file)
    return caught.value


def test_refusals_of_files(folder: Path, tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.jpg").reason == "missing"
    assert refusal("nul\0.jpg").reason == "missing"
    assert refusal("x" * 5000).reason == "missing"
    assert refusal(folder).reason == "not an image"
    os.mkfifo(folder / "pipe.jpg")
    (folder / "gone.jpg").symlink_to("nowhere")
    reasons = {file.name: refusal(file).reason for file in find_images(folder) if file.name in ("pipe.jpg", "gone.jpg")}
    assert reasons == {"pipe.jpg": "not an image", "gone.jpg": "missing"}
    assert refusal("/dev/zero").reason == "not an image"
    assert refusal(ImageFile(str(folder / "train_1.zip"), "no.jpg")).reason == "missing"
    assert refusal(ImageFile(str(folder / "no.zip"), "no.jpg")).reason == "missing"
    assert refusal(folder / "train_1.zip").reason == "not an image"
    error = refusal(folder / "notes.tx")
    assert str(error) == f"{folder}/notes.tx cannot be read: missing (No such file or directory)"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_damaged_zips(folder: Path) -> None:
    data = (folder / "train_1.zip").read_bytes()
    (folder / "train_2.zip").write_bytes(data[: len(data) // 2])
    bad = [file for file in find_images(folder) if file.path.endswith("train_2.zip")]
    assert bad == [ImageFile(str(folder / "train_2.zip"))]
    assert refusal(bad[0]).reason == "damaged zip"
    flipped = bytearray(data)
    at = data.index(b"train_1/10.jpg") + 500
    flipped[at] ^= 255
    (folder / "train_3.zip").write_bytes(flipped)
    error = refusal(ImageFile(str(folder / "train_3.zip"), "train_1/10.jpg"))
    assert error.reason == "damaged zip" and "CRC" in error.detail


def test_no_permission(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:  # root may read all: let the system say no

        def refuse(owner, name: str, *denied: str) -> None:
            real = getattr(owner, name)

            def call(path, *args):
                if str(path).endswith(denied):
                    raise PermissionError(13, "Permission denied", str(path))
                return real(path, *args)

            monkeypatch.setattr(owner, name, call)

        refuse(Path, "open", "root/10.jpg")
        refuse(os, "scandir", "sub")
        monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("sub"))
    else:
        (folder / "10.jpg").chmod(0)
        (folder / "sub").chmod(0)
    try:
        files = find_images(folder)
        assert [file.name for file in files] == ["10.jpg", "sub", "9.png", "10.jpg"]  # the folder stands for itself
        assert [refusal(file).reason for file in files[:2]] == ["no permission"] * 2
    finally:
        (folder / "sub").chmod(0o755)


def test_a_folder_that_may_be_listed_but_not_entered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in it cannot even be asked for its kind: it is listed by its suffix, and refused when it is read."""
    (folder / "sub" / "deeper").mkdir()
    if os.geteuid() == 0:
        real = os.stat

        def refuse(path, *args, **options):  # type: ignore[no-untyped-def]
            if "/sub/" in str(path):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *args, **options)

        monkeypatch.setattr(os, "stat", refuse)
    else:
        (folder / "sub").chmod(0o444)
    try:
        files = {str(file.path).removeprefix(f"{folder}/"): file for file in find_images(folder)}
        inside = {name for name in files if name.startswith("sub/")}
        assert inside == {"sub/deeper", "sub/2.JPEG"}
        assert {refusal(files[name]).reason for name in inside} == {"no permission"}
    finally:
        (folder / "sub").chmod(0o755)


def test_a_member_is_no_larger_than_it_says(tmp_path: Path) -> None:
    """20 MB behind a header that says 1,000 bytes: not unpacked beyond them."""
    file = tmp_path / "bomb.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(20_000_000))
    data = bytearray(file.read_bytes())
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", 1000)
    file.write_bytes(data)
    tracemalloc.start()
    try:
        assert refusal(ImageFile(str(file), "a.png")).reason == "damaged zip"
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_too_many_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_BYTES", 100)
    assert refusal(folder / "10.jpg").reason == "too large"
    assert refusal(ImageFile(str(folder / "train_1.zip"), "train_1/10.jpg")).reason == "too large"


def test_of_a_large_file_that_is_no_picture_only_its_head_is_read(tmp_path: Path) -> None:
    """A member of 300 MB of zeros in a zip of 300 kB: 1.5 MB more in memory at most, where it was all of it."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.jpg", "w") as out:
        for _ in range(300):
            out.write(bytes(1_000_000))
    tracemalloc.start()
    found = refusal(ImageFile(str(tmp_path / "a.zip"), "x.jpg"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.reason, found.path) == ("not an image", f"{tmp_path}/a.zip/x.jpg") and peak < 1_500_000


# --- what systems keep in folders of pictures ---

SYSTEM_FOLDERS = ("@eaDir", "#recycle", "@Recycle", "$RECYCLE.BIN", ".thumbnails", "lost+found", "__MACOSX", "@__thumb")


@pytest.mark.parametrize("where", ["folder", "zip"])
def test_folders_of_systems_are_passed_over(where: str, tmp_path: Path) -> None:
    data = encode(scene(), "JPEG")
    inside = ["Degas/1.jpg", *(f"Degas/{name}/1.jpg/SYNOPHOTO_THUMB_XL.jpg" for name in SYSTEM_FOLDERS)]
    inside += [f"{name.upper()}/old.jpg" for name in SYSTEM_FOLDERS]
    if where == "zip":
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for name in inside:
                archive.writestr(name, data)
    else:
        for name in inside:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(data)
    assert [str(file).removesuffix("Degas/1.jpg") for file in find_images(tmp_path)] == [
        f"{tmp_path}/" + ("a.zip/" if where == "zip" else "")
    ]
    if where == "folder":  # a pattern finds no more; a folder that is named is meant
        assert names(tmp_path, "**/*.jpg") == ["Degas/1.jpg"]
        assert names(tmp_path, "#RECYCLE") == names(tmp_path, "#RECYCLE/*.jpg") == ["#RECYCLE/old.jpg"]


def test_synology(cases: Path) -> None:
    files = find_images(cases / "synology")
    assert len(files) == 12 and {Path(f.path).parent.name for f in files} == {"Vincent_van_Gogh", "Edgar_Degas"}


# --- zips inside zips ---


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """A zip with a picture, two zips of pictures, a zip that is none and a zip with a zip in it."""
    data = encode(scene(), "JPEG")
    inner = zipped({"in/10.jpg": data, "in/9.jpg": data, "__MACOSX/in/._9.jpg": data, "notes.txt": b"x"})
    deep = zipped({"a.jpg": data, "deeper.zip": inner})
    members = {"1.jpg": data, "part1.zip": inner, "x/Part2.ZIP": inner, "torn.zip": b"no zip", "deep.zip": deep}
    (tmp_path / "outer.zip").write_bytes(zipped(members))
    return tmp_path / "outer.zip"


def test_pictures_of_a_zip_inside_a_zip_are_read(nested: Path) -> None:
    files = {file.member: file for file in find_images(nested)}
    pictures = ["1.jpg", "deep.zip/a.jpg", "part1.zip/in/9.jpg", "part1.zip/in/10.jpg"]
    pictures += ["x/Part2.ZIP/in/9.jpg", "x/Part2.ZIP/in/10.jpg"]
    assert list(files) == ["1.jpg", "deep.zip/a.jpg", "deep.zip/deeper.zip", *pictures[2:4], "torn.zip", *pictures[4:]]
    expected = load_image(files["1.jpg"]).pixels
    for name in pictures:
        assert (load_image(files[name]).pixels == expected).all()
        assert ImageFile.of(str(files[name])) == files[name]
    with ThreadPoolExecutor(8) as pool:
        assert len({data for data in pool.map(ImageFile.read, [files[name] for name in pictures * 9])}) == 1
    deeper = refusal(files["deep.zip/deeper.zip"])
    assert (deeper.reason, deeper.path) == ("unsupported format", f"{nested}/deep.zip/deeper.zip")
    assert "unpack" in deeper.detail
    torn = refusal(files["torn.zip"])
    assert (torn.reason, torn.path) == ("damaged zip", f"{nested}/torn.zip")
    assert refusal(ImageFile(str(nested), "part1.zip")).reason == "not an image"
    assert refusal(ImageFile(str(nested), "part1.zip/none.jpg")).reason == "missing"
    assert refusal(ImageFile(str(nested), "torn.zip/none.jpg")).reason == "damaged zip"


def test_a_zip_inside_a_zip_can_be_named(nested: Path) -> None:
    def members(path: str) -> list[str]:
        return [file.member for file in find_images(f"{nested}/{path}")]

    assert members("part1.zip") == members("part1.zip/in") == ["part1.zip/in/9.jpg", "part1.zip/in/10.jpg"]
    assert members("part1.zip/in/1*.jpg") == members("part1.zip/in/10.jpg") == ["part1.zip/in/10.jpg"]
    assert members("part1.zip/notes.txt") == ["part1.zip/notes.txt"]  # named directly: whatever it is called
    assert members("torn.zip") == ["torn.zip"]
    with pytest.raises(UserError, match=r"outer\.zip holds no picture part1\.zip/none"):
        members("part1.zip/none")


def test_a_zip_inside_a_zip_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One too large is refused by name; of zeros that call themselves a zip nothing is unpacked."""
    members = {"large.zip": zipped({"a.jpg": bytes(5000)}, zipfile.ZIP_STORED), "zeros.zip": bytes(30_000_000)}
    (tmp_path / "outer.zip").write_bytes(zipped(members))
    del members
    monkeypatch.setattr(zips, "MAX_NESTED", 4000)
    large = refusal(find_images(tmp_path)[0])
    assert (large.reason, large.path) == ("too large", f"{tmp_path}/outer.zip/large.zip")
    monkeypatch.setattr(zips, "MAX_NESTED", 1 << 30)
    tracemalloc.start()
    zeros = refusal(find_images(tmp_path)[1])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert zeros.reason == "damaged zip" and peak < 5_000_000


def test_the_list_of_a_zip_inside_a_zip_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before the list is read, which takes ten times its size of memory."""
    many = zipped({f"{k:060}.jpg": b"" for k in range(2000)}, zipfile.ZIP_STORED)
    (tmp_path / "outer.zip").write_bytes(zipped({"many.zip": many, "few.zip": zipped({"a.jpg": b""})}))
    monkeypatch.setattr(zips, "MAX_LISTING", 100_000)
    files = {file.member: file for file in find_images(tmp_path)}
    assert list(files) == ["few.zip/a.jpg", "many.zip"]
    refused = refusal(files["many.zip"])
    assert refused.reason == "too large" and f"list of files has {2000 * (46 + 64):,} bytes" in refused.detail
    monkeypatch.setattr(zips, "MAX_MEMBERS", 2)
    (tmp_path / "outer.zip").write_bytes(zipped({f"{k}.jpg": b"" for k in range(3)}))
    (whole,) = find_images(tmp_path)
    assert refusal(whole).reason == "too large" and "more than 2 files in it: unpack it" in refusal(whole).detail


def test_the_size_of_a_zips_list_is_known_before_it_is_read() -> None:
    """Also of a zip64, whose older field, with 32 bits, nobody reads and anybody can set."""
    assert zips.listing_bytes(io.BytesIO(b"no zip")) == zips.listing_bytes(io.BytesIO()) == 0
    assert zips.listing_bytes(io.BytesIO(zipped({}))) == 0
    buffer = io.BytesIO(zipped({"a.jpg": b"1", "bb.jpg": b"2"}))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = b"a comment" * 100
    assert zips.listing_bytes(buffer) == 2 * 46 + len("a.jpg") + len("bb.jpg")
    buffer = io.BytesIO(zipped({f"{k:06}": b"" for k in range(70_000)}, zipfile.ZIP_STORED))  # more than 16 bits count
    content = buffer.getvalue()
    end = content.rindex(b"PK\5\6")
    lying = content[: end + 12] + (50).to_bytes(4, "little") + content[end + 16 :]
    assert len(zipfile.ZipFile(io.BytesIO(lying)).namelist()) == 70_000
    assert zips.listing_bytes(io.BytesIO(lying)) == zips.listing_bytes(buffer) == 70_000 * (46 + 6)
    content = zipped({"a.jpg": b"1", "bb.jpg": b"2"})
    lying = content[:-18] + b"PK\5\6" + content[-14:]  # where the numbers of disks stand, which nobody reads
    assert len(zipfile.ZipFile(io.BytesIO(lying)).namelist()) == 2
    assert zips.listing_bytes(io.BytesIO(lying)) == 2 * 46 + len("a.jpg") + len("bb.jpg")


def test_nested_case(cases: Path) -> None:
    files = find_images(cases / "zips" / "nested.zip")
    assert [file.member for file in files] == ["003.jpg", *(f"part1.zip/00{k}.jpg" for k in range(3))]
    assert {load_image(file).width for file in files} == {64}


# --- what a command line names ---


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """a0.png to a2.png, below/a3.png, "b[1].png", "Renoir, Pierre.png", and two of them in z.zip under odd names."""
    (tmp_path / "below").mkdir()
    for name in ("a0", "a1", "a2", "below/a3", "b[1]", "Renoir, Pierre"):
        Image.new("RGB", (40, 30), "teal").save(tmp_path / f"{name}.png")
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        for name in ("c[1].png", "d.png", "in/e.png", "in/f.png", "in/notes.txt"):
            archive.write(tmp_path / "a0.png", name)
    return tmp_path


def names(folder: Path, *paths: str) -> list[str]:
    return [os.path.relpath(str(file), folder) for file in images_from_arguments(str(folder / path) for path in paths)]


def test_patterns_files_and_members(named: Path) -> None:
    assert names(named, "a*.png") == ["a0.png", "a1.png", "a2.png"]
    assert names(named, "**/a*.png") == ["a0.png", "a1.png", "a2.png", "below/a3.png"]
    assert names(named, "a[12].png", "a0.png", "a1.png") == ["a1.png", "a2.png", "a0.png"]  # none twice
    assert names(named, "b[1].png", "Renoir, Pierre.png") == ["b[1].png", "Renoir, Pierre.png"]  # they are files
    assert names(named, "z.zip/c[1].png") == ["z.zip/c[1].png"]  # a member, no pattern
    assert names(named, "*.zip") == ["z.zip/c[1].png", "z.zip/d.png", "z.zip/in/e.png", "z.zip/in/f.png"]
    assert names(named, "z.zip/in/*.png") == names(named, "z.zip/in/") == ["z.zip/in/e.png", "z.zip/in/f.png"]
    assert names(named, "z.zip/in/notes.txt") == ["z.zip/in/notes.txt"]  # named directly: whatever it is called
    for gone in ("z.zip/gone.png", "z.zip/gone/*.png"):
        with pytest.raises(UserError, match=r"z\.zip holds no picture gone"):
            names(named, gone)
    with pytest.raises(UserError, match=r"no file fits the pattern .*x\*\.png"):
        names(named, "x*.png")
    with pytest.raises(UserError, match="there is no file or folder"):
        names(named, "nowhere.png")


def test_a_list_on_standard_input(named: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [named / "a1.png", named / "gone.png", "", named / "below", named / "z.zip/d.png", named / "a*.png"]
    text = "\r\n".join(map(str, lines)).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    found = [os.path.relpath(str(file), named) for file in images_from_arguments(["-"])]
    assert found == ["a1.png", "gone.png", "below/a3.png", "z.zip/d.png", "a*.png"]  # a line is a name as it stands


def test_check_takes_patterns_too(named: Path) -> None:
    done = python("-m", "painters_mtl.check", "a*.png", "--output", "rows.csv", cwd=named)
    assert done.returncode == 0 and len((named / "rows.csv").read_text().splitlines()) == 4
