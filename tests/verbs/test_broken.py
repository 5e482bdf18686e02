"""Hundreds of broken files, made from 300 real ones, through `predict`: a row for each, and nothing worse."""

import csv
import os
import random
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from helpers import trained

from painters_mtl.common import errors
from painters_mtl.images import files as images

CASES, FILES = int(os.environ.get("PAINTERS_BROKEN", "900")), 300  # PAINTERS_BROKEN=3000 takes minutes
PER_ZIP = CASES // 12
SLOWEST = 5.0  # seconds for one file
MEMORY = 2.5e9  # bytes of the process that has them all: TensorFlow and the largest pictures, 1.9e9 when measured


def broken(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A copy with bits flipped, cut short, with another file's head, or with a piece lost, doubled or made of noise."""
    way = rng.choice(["flip", "cut", "head", "lose", "double", "noise", "zeros"])
    at = rng.randrange(len(data))
    length = rng.choice([1, 16, 512, 20_000])
    piece = data[at : at + length]
    if way == "flip":
        changed = bytearray(data)
        reach = rng.choice([64, 2048, len(data)])  # headers as often as pixels
        for _ in range(rng.choice([1, 8, 100])):
            changed[rng.randrange(min(reach, len(data)))] ^= 1 << rng.randrange(8)
        return bytes(changed)
    if way == "cut":
        return data[:at]
    if way == "head":
        return rng.choice(others)[: rng.choice([4, 12, 600])] + data[12:]
    new = {"lose": b"", "double": piece * 2, "noise": rng.randbytes(len(piece)), "zeros": bytes(len(piece))}[way]
    return data[:at] + new + data[at + length :]


def make_broken(paintings: Path, folder: Path) -> int:
    """Most in folders, a sixth as members of two zips that are themselves damaged; returns how many there are."""
    rng = random.Random(5)
    found = [f for f in images.find_images(paintings / "originals", paintings / "gallery") if not f.member]
    chosen = [Path(f.path).read_bytes() for f in rng.sample(found, FILES)]
    chosen = [data for data in chosen if data]
    for k in range(CASES - 2 * PER_ZIP):
        (folder / f"{k % 10}").mkdir(exist_ok=True)
        (folder / f"{k % 10}" / f"{k}.jpg").write_bytes(broken(chosen[k % len(chosen)], chosen, rng))
    for name in ("a", "b"):
        with zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for k in range(PER_ZIP):
                archive.writestr(f"{k}.png", broken(chosen[k % len(chosen)], chosen, rng)[:60_000])
        data = bytearray((folder / f"{name}.zip").read_bytes())
        with zipfile.ZipFile(folder / f"{name}.zip") as archive:
            start = archive.start_dir  # the list at the end stays: else there is one row, for the zip
        for _ in range(400):
            data[rng.randrange(start)] ^= 1 << rng.randrange(8)
        (folder / f"{name}.zip").write_bytes(data)
    return CASES


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_broken_files(paintings: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each is read, or refused with a reason (every third is timed: 5 s), and predict has a row for every one, within
    its memory."""
    folder = tmp_path / "broken"
    folder.mkdir()
    count = make_broken(paintings, folder)
    files = images.find_images(folder)
    assert len(files) == count
    slow = []
    for file in files[::3]:  # one by one, for their times; predict below has them all
        start = time.perf_counter()
        try:
            picture = images.load_image(file, square=120)
            assert picture.pixels.shape == (120, 120, 3)
        except images.Unreadable as refusal:
            assert refusal.reason in errors.REASONS
        if time.perf_counter() - start > SLOWEST:
            slow.append(str(file))
    assert not slow
    run, _ = trained(tmp_path_factory)
    code = (
        "import sys; from painters_mtl import predict; status = predict.main(sys.argv[1:]); "
        # Not getrusage: its peak is at least what this process, which starts it, has in memory.
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM')); "
        "print('peak', peak.split()[1]); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder, "--model", run, "--output", tmp_path / "out.csv"],
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr[-2000:]
    assert int(done.stdout.split("peak ")[1]) * 1024 < MEMORY
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert [r["path"] for r in rows] == [str(f) for f in files]
    assert all(bool(r["painter"]) != bool(r["error"]) for r in rows)
    assert {r["error"].split(" (")[0] for r in rows} <= {"", *errors.REASONS}
    readable = sum(not r["error"] for r in rows)
    assert 0.3 * count < readable < 0.95 * count
