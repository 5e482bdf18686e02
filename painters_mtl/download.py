"""Fetch the competition "Painter by Numbers" from Kaggle: its tables, or also its images.

    python -m painters_mtl.download                             # the tables, into data/painter-by-numbers
    python -m painters_mtl.download --images --yes              # and the images: about 40 GB
    python -m painters_mtl.download --output /big/paintings --images

It takes a Kaggle account that accepted the competition's rules, its key (KAGGLE_API_TOKEN, KAGGLE_USERNAME and
KAGGLE_KEY, or ~/.kaggle/kaggle.json), and pip install "painters-mtl[kaggle]". What is there already and whole is not
fetched again, and what broke off goes on when called again. Zips are not unpacked: the catalogue reads them in place,
and takes the pictures of replacements_for_corrupted_files.zip instead of the corrupt ones of the same names.

Exit status: 0 all is there, 1 you said no, 2 it cannot be had (the reason is printed), 130 interrupted.
"""

import errno
import json
import os
import re
import shutil
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from painters_mtl.common import command_line
from painters_mtl.common.errors import UserError
from painters_mtl.common.files import write_json
from painters_mtl.data.locations import KAGGLE_FOLDERS, LOCAL_FOLDER

COMPETITION = "painter-by-numbers"
TABLES = re.compile(r"\w+\.csv(\.zip)?|replacements_for_corrupted_files\.zip")
IMAGES = re.compile(r"(train_\d+|test)\.zip")
ALL_OF_TRAIN = "train.zip"  # the same pictures as train_1.zip, train_2.zip ...
PARTIAL = ".partial"  # what is being fetched; hidden, so that the catalogue passes over it
TESTED = ".download.json"  # {name: [bytes, time]} of the files that were found whole
ASK_ABOVE = 1e9  # bytes


@dataclass
class Settings:
    """What to fetch, and where to."""

    output: Path = LOCAL_FOLDER
    """the folder for the competition's files; train finds the default by itself"""
    images: bool = False
    """also fetch the images: about 40 GB"""
    yes: bool = False
    """do not ask before more than a gigabyte is fetched"""


def download(settings: Settings) -> int:
    """The verb."""
    if mounted := next((f for f in KAGGLE_FOLDERS if f.is_dir() and any(f.iterdir())), None):
        print(f"the data is there already: {mounted}, where train finds it by itself")
        return 0
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        raise UserError(
            f"this Kaggle notebook lacks the competition: Add Input, {COMPETITION}, attaches it without a download"
        )
    output = settings.output.expanduser()
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output} is a file; give the folder to put the files into")
    sizes = wanted(listing(), settings.images)
    missing = {name: size for name, size in sizes.items() if not is_whole(output, name, size)}
    for name in sizes:
        if name not in missing:
            print(f"{name} is there already")
    if missing:
        output.mkdir(parents=True, exist_ok=True)
        if not _agreed(output, missing, settings.yes):
            print("nothing was fetched")
            return 1
        for number, (name, size) in enumerate(missing.items(), 1):
            print(f"{name}, {_gigabytes(size)} ({number} of {len(missing)})", flush=True)
            fetch_whole(name, output)
        shutil.rmtree(output / PARTIAL, ignore_errors=True)
    if settings.images:
        print(f"all is in {output}; next: python -m painters_mtl.train --data {output}")
    else:
        print(f"the tables are in {output}; to train on the images, fetch them too: --images")
    return 0


def wanted(sizes: Mapping[str, int], images: bool) -> dict[str, int]:
    """Of the competition's files {name: bytes}, those to fetch; the tables first."""
    names = [name for name in sorted(sizes) if TABLES.fullmatch(name)]
    if images:
        parts = [name for name in sorted(sizes) if IMAGES.fullmatch(name)]
        whole_train = ALL_OF_TRAIN in sizes and not any(name.startswith("train") for name in parts)
        names += [*parts, *[ALL_OF_TRAIN] * whole_train]
    if not names:
        raise UserError(f"Kaggle lists none of the files of {COMPETITION} that are known here: {', '.join(sizes)}")
    return {name: sizes[name] for name in names}


# ------------------------------------------------------------------------------------------------- what is there


def is_whole(output: Path, name: str, size: int) -> bool:
    """Whether a file is there and sound, as it is listed, or a table as its owner unpacked or packed it.

    A file that was once tested is not read again until it changes. A zip is tested by its checksums; a table, which has
    none, is whole when it has the listed size, in bytes.
    """
    file = output / name
    twin = file.with_name(name.removesuffix(".zip") if name.endswith(".csv.zip") else f"{name}.zip")
    if not file.is_file() and ".csv" in name and twin.is_file():
        file, size = twin, twin.stat().st_size
    if not file.is_file():
        return False
    tested = _tested(output)
    if tested.get(file.name) == _stamp(file):
        return True
    fault = damage(file)
    if not fault and file.suffix != ".zip" and file.stat().st_size != size:
        fault = f"{file.stat().st_size:,} of {size:,} bytes"
    if fault:
        print(f"{file.name} is damaged ({fault}) and is fetched again", flush=True)
        return False
    write_json(output / TESTED, tested | {file.name: _stamp(file)})
    return True


def damage(file: Path) -> str:
    """What is wrong with a file: "" or a few words. Every member of a zip is read and its checksum compared."""
    if file.stat().st_size == 0:
        return "empty"
    if file.suffix != ".zip":
        return ""
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            size = sum(member.compress_size for member in members)
            with tqdm(total=size, desc=f"testing {file.name}", unit="B", unit_scale=True, delay=2) as bar:
                for member in members:
                    with archive.open(member) as data:
                        while data.read(1 << 20):
                            pass
                    bar.update(member.compress_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        return str(error) or type(error).__name__
    return ""


def _tested(output: Path) -> dict[str, list[int]]:
    try:
        return dict(json.loads((output / TESTED).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _stamp(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]


# ------------------------------------------------------------------------------------------------- room


def _agreed(output: Path, missing: Mapping[str, int], yes: bool) -> bool:
    """Say what is needed, refuse what has no room, and ask before much is fetched."""
    begun = sum(f.stat().st_size for name in missing if (f := _partial(output, name)).is_file())
    unpacked = max((size for name, size in missing.items() if not name.endswith(".zip")), default=0)
    total = sum(missing.values())
    needed, free = max(total - begun, 0) + unpacked, shutil.disk_usage(output).free  # a table may come zipped
    print(f"to fetch: {len(missing)} files, {_gigabytes(total)}" + f", {_gigabytes(begun)} of it done" * (begun > 0))
    print(f"{output} needs {_gigabytes(needed)} and has {_gigabytes(free)} free (zips stay packed)", flush=True)
    if needed > free:
        raise UserError(
            f"{output} has {_gigabytes(free)} free and needs {_gigabytes(needed)}: make room, or give an --output on a "
            "larger disk"
        )
    if yes or total - begun <= ASK_ABOVE:
        return True
    if not sys.stdin.isatty():
        raise UserError(f"{_gigabytes(total - begun)} are to be fetched: add --yes if that is wanted")
    return input("go on? [y/N] ").strip().lower() in ("y", "yes")


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


# ------------------------------------------------------------------------------------------------- the service


def listing() -> dict[str, int]:
    """The competition's files as Kaggle lists them: {name: bytes}."""
    _import_kagglehub()
    from kagglehub.clients import build_kaggle_client
    from kagglehub.config import get_kaggle_credentials
    from kagglesdk.competitions.types.competition_api_service import ApiListDataFilesRequest

    try:
        key = get_kaggle_credentials()
    except ValueError as error:  # kaggle.json is no JSON, or lacks an entry
        raise UserError(f"{error}: get a fresh one on kaggle.com, Settings, API") from error
    if key is None:
        raise UserError(
            "Kaggle wants a key and there is none: make one on kaggle.com, Settings, API; then set KAGGLE_API_TOKEN, "
            "or KAGGLE_USERNAME and KAGGLE_KEY, or put its kaggle.json into ~/.kaggle"
        )
    request, sizes = ApiListDataFilesRequest(), {}
    request.competition_name, request.page_size = COMPETITION, 200
    with _explained(COMPETITION), build_kaggle_client() as client:
        while True:
            page = client.competitions.competition_api_client.list_data_files(request)
            sizes.update({file.name: file.total_bytes for file in page.files or [] if file})
            if not page.next_page_token:
                return sizes
            request.page_token = page.next_page_token


def fetch_whole(name: str, output: Path) -> None:
    """Fetch a file, test it, and only then put it into `output`. A damaged one is fetched a second time."""
    for last in (False, True):
        file = _fetch(name, output)
        fault = damage(file) if file else "its checksum is wrong"
        if file and not fault:
            # Where Kaggle packed a table on its own and kagglehub left it so.
            packed = file.suffix == ".csv" and zipfile.is_zipfile(file)
            place = output / (f"{name}.zip" if packed else name)
            file.replace(place)
            write_json(output / TESTED, _tested(output) | {place.name: _stamp(place)})
            return
        if file:
            file.unlink()
        if not last:
            print(f"{name} came damaged ({fault}) and is fetched again", flush=True)
    raise UserError(f"{name} came damaged twice ({fault}): call again later")


def _fetch(name: str, output: Path) -> Path | None:
    """One file by kagglehub, from where it broke off, into the hidden folder; None when it is not what was sent.

    kagglehub goes on with what is in its cache, but not with what is in its `output_dir`: so its cache is put there.
    """
    kagglehub = _import_kagglehub()
    from kagglehub.exceptions import DataCorruptionError

    before = os.environ.get("KAGGLEHUB_CACHE")
    os.environ["KAGGLEHUB_CACHE"] = str(output / PARTIAL)
    try:
        with _explained(name):
            return Path(kagglehub.competition_download(COMPETITION, path=name))
    except DataCorruptionError:  # kagglehub deleted it
        return None
    finally:
        if before is None:
            del os.environ["KAGGLEHUB_CACHE"]
        else:
            os.environ["KAGGLEHUB_CACHE"] = before


def _partial(output: Path, name: str) -> Path:
    return output / PARTIAL / "competitions" / COMPETITION / name


def _import_kagglehub():  # type: ignore[no-untyped-def]  # a module
    os.environ.setdefault("KAGGLEHUB_VERBOSITY", "error")  # it tells where its cache is, which is no longer so
    try:
        import kagglehub
    except ImportError as error:
        raise UserError('kagglehub is not installed: pip install "painters-mtl[kaggle]"') from error
    return kagglehub


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Every failure of the service as one sentence with the way out."""
    import requests

    try:
        yield
    except requests.HTTPError as error:
        raise UserError(_refusal(what, error.response)) from error
    except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ReadTimeout) as error:
        raise UserError(f"{what} broke off: call again, it goes on from there") from error
    except requests.ConnectionError as error:
        raise UserError(f"Kaggle cannot be reached for {what}: is there a network? Call again, it goes on") from error
    except requests.RequestException as error:
        raise UserError(f"{what} cannot be fetched ({error}): call again later") from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise UserError(f"the disk is full ({what} is not done): make room and call again, it goes on") from error


def _refusal(what: str, response) -> str:  # type: ignore[no-untyped-def]  # requests.Response
    """What a status of HTTP means here."""
    status = response.status_code
    try:
        said = f"{status}: {response.json()['message']}"
    except (ValueError, KeyError, TypeError):
        said = str(status)
    if status == 401:
        return f"Kaggle refuses the key ({said}): make a new one on kaggle.com, Settings, API"
    if status == 403:
        return (
            f"Kaggle refuses {what} ({said}): log in, open kaggle.com/competitions/{COMPETITION}/rules, accept "
            "them (Late Submission joins a competition that is over) and call again"
        )
    if status == 404:
        return f"Kaggle has no {what} ({said}): see kaggle.com/competitions/{COMPETITION}/data for what is there"
    return f"Kaggle cannot serve {what} now ({said}): call again later"


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return command_line.run_command(Settings, download, argv, "painters-mtl download", __doc__)


if __name__ == "__main__":
    sys.exit(main())
