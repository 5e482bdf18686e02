"""The competition "Painter by Numbers" at Kaggle: its files listed, fetched and tested, and what is there already.

sizes = files_to_fetch(listed_files(), images=False)
for name in sizes:
    if not is_whole(folder, name, sizes[name]):
        fetch_whole(name, folder)
"""

import errno
import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from painters_mtl.common.errors import UserError
from painters_mtl.common.files import read_if_sound, write_json
from painters_mtl.common.lazy_imports import environment, import_extra
from painters_mtl.common.messages import ProgressBar, say

COMPETITION = "painter-by-numbers"
TABLES = re.compile(r"\w+\.csv(\.zip)?|replacements_for_corrupted_files\.zip")
IMAGES = re.compile(r"(train_\d+|test)\.zip")
ALL_OF_TRAIN = "train.zip"  # the same pictures as train_1.zip, train_2.zip ...
PARTIAL = ".partial"  # folder of what is being fetched; hidden, so that the catalogue passes over it
TESTED = ".download.json"  # {name: [bytes, time]} of the files that were tested and are sound


def files_to_fetch(sizes: Mapping[str, int], images: bool) -> dict[str, int]:
    """Of the competition's files {name: bytes}, those to fetch; the tables first. Raises `UserError` for none.

    Args:
        images: also those with the images.
    """
    names = [name for name in sorted(sizes) if TABLES.fullmatch(name)]
    if images:
        parts = [name for name in sorted(sizes) if IMAGES.fullmatch(name)]
        whole_train = ALL_OF_TRAIN in sizes and not any(name.startswith("train") for name in parts)
        names += parts
        if whole_train:
            names.append(ALL_OF_TRAIN)
    if not names:
        raise UserError(f"Kaggle lists none of the files of {COMPETITION} that are known here: {', '.join(sizes)}")
    return {name: sizes[name] for name in names}


# ------------------------------------------------------------------------------------------------- what is there


def is_whole(folder: Path, name: str, size: int) -> bool:
    """Whether a file is in the folder and sound, as it is listed, or a table as its owner unpacked or packed it.

    A file that was once tested is not read again until it changes. A zip is tested by its checksums; a table, which has
    none, is whole when it has the listed size, in bytes.
    """
    file = folder / name
    twin = file.with_name(name.removesuffix(".zip") if name.endswith(".csv.zip") else f"{name}.zip")
    if not file.is_file() and ".csv" in name and twin.is_file():
        file, size = twin, twin.stat().st_size
    if not file.is_file():
        return False
    tested = _tested(folder)
    if tested.get(file.name) == _stamp(file):
        return True
    fault = damage(file)
    if not fault and file.suffix != ".zip" and file.stat().st_size != size:
        fault = f"{file.stat().st_size:,} of {size:,} bytes"
    if fault:
        say(f"{file.name} is damaged ({fault}) and is fetched again")
        return False
    write_json(folder / TESTED, tested | {file.name: _stamp(file)})
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
            with ProgressBar(total=size, desc=f"testing {file.name}", unit="B", unit_scale=True, delay=2) as bar:
                for member in members:
                    with archive.open(member) as data:
                        while data.read(1 << 20):
                            pass
                    bar.update(member.compress_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        return str(error) or type(error).__name__
    return ""


def _tested(folder: Path) -> dict[str, list[int]]:
    return read_if_sound(folder / TESTED)


def _stamp(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]


def bytes_begun(folder: Path, name: str) -> int:
    """How much of a file an earlier call has fetched before it broke off."""
    file = _partial(folder, name)
    return file.stat().st_size if file.is_file() else 0


# ------------------------------------------------------------------------------------------------- the service


def listed_files() -> dict[str, int]:
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


def fetch_whole(name: str, folder: Path) -> None:
    """Fetch a file, test it, and only then put it into `folder`. A damaged one is fetched a second time."""
    for last in (False, True):
        file = _fetch(name, folder)
        fault = damage(file) if file else "its checksum is wrong"
        if file and not fault:
            # Where Kaggle packed a table on its own and kagglehub left it so.
            packed = file.suffix == ".csv" and zipfile.is_zipfile(file)
            place = folder / (f"{name}.zip" if packed else name)
            file.replace(place)
            write_json(folder / TESTED, _tested(folder) | {place.name: _stamp(place)})
            return
        if file:
            file.unlink()
        if not last:
            say(f"{name} came damaged ({fault}) and is fetched again")
    raise UserError(f"{name} came damaged twice ({fault}): call again later")


def _fetch(name: str, folder: Path) -> Path | None:
    """One file by kagglehub, from where it broke off, into the hidden folder; None when it is not what was sent.

    kagglehub goes on with what is in its cache, but not with what is in its `output_dir`: so its cache is put there.
    """
    kagglehub = _import_kagglehub()
    from kagglehub.exceptions import DataCorruptionError

    try:
        with environment(KAGGLEHUB_CACHE=str(folder / PARTIAL)), _explained(name):
            return Path(kagglehub.competition_download(COMPETITION, path=name))
    except DataCorruptionError:  # kagglehub deleted it
        return None


def _partial(folder: Path, name: str) -> Path:
    return folder / PARTIAL / "competitions" / COMPETITION / name


def _import_kagglehub() -> Any:
    os.environ.setdefault("KAGGLEHUB_VERBOSITY", "error")  # it tells where its cache is, which is no longer so
    return import_extra("kagglehub", "kaggle")


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
        answer = f"{status}: {response.json()['message']}"
    except (ValueError, KeyError, TypeError):
        answer = str(status)
    if status == 401:
        return f"Kaggle refuses the key ({answer}): make a new one on kaggle.com, Settings, API"
    if status == 403:
        return (
            f"Kaggle refuses {what} ({answer}): log in, open kaggle.com/competitions/{COMPETITION}/rules, accept "
            "them (Late Submission joins a competition that is over) and call again"
        )
    if status == 404:
        return f"Kaggle has no {what} ({answer}): see kaggle.com/competitions/{COMPETITION}/data for what is there"
    return f"Kaggle cannot serve {what} now ({answer}): call again later"
