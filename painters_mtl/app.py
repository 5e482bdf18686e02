"""Open a page to drop a painting on: its painter, style and genre, how sure, and what in it speaks for each.

    painters-mtl app
    painters-mtl app --model models/full --collection FOLDER
    PAINTERS_PASSWORD=... painters-mtl app --host 0.0.0.0 --auth curator

Prints an address to open in a browser; Ctrl-C ends it. Everything comes from this machine: no network is needed, and
nothing is sent anywhere. The page listens on this machine alone; with --host others can come in, and are asked for the
password of --auth, which is read from the environment variable PAINTERS_PASSWORD or from --password-file. Uploads stay
in a temporary folder and go with their tab, after half an hour, or with the page. docs/guides/app.md is a guide of the
page and of its HTTP interface. As a Hugging Face Space (it sets SPACE_ID) it listens where the Space expects it.

Exit status: 2 misuse, 130 ended with Ctrl-C.
"""

import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from painters_mtl.common import command_line, interrupts, messages
from painters_mtl.common.errors import UserError

if TYPE_CHECKING:
    from painters_mtl.page.server import Address

PASSWORD = "PAINTERS_PASSWORD"
SHORTEST = 8  # letters of a password


@dataclass
class Settings:
    """Which model answers, and who may ask."""

    model: Path | None = None
    """run folder of the model, such as models/full, or paintings: the bundled model; without it the newest run
    of real paintings in models, else the bundled model"""
    collection: Path | None = None
    """a folder (with all below it) or a zip, in which works most like a painting are looked for"""
    host: str = "127.0.0.1"
    """where to listen: this machine alone, or 0.0.0.0 for all who can reach it, which needs --auth"""
    port: int = 0
    """the port to listen on; 0: the first that is free from 7860 on"""
    auth: str = ""
    """the name that visitors log in with; the password comes from PAINTERS_PASSWORD or --password-file"""
    public_name: str = ""
    """the name, such as gallery.example, by which a server with HTTPS before the page is called; it needs --auth"""
    password_file: Path | None = None
    """a file with the password in its first line"""
    cache: Path = Path("data/cache")
    """where the vectors of the collection are kept"""


def app(settings: Settings) -> int:
    """The verb. Serves until it is interrupted."""
    address = _address(settings)
    if settings.collection is not None and not settings.collection.exists():
        raise UserError(f"--collection {settings.collection} is not there: name a folder or a zip")
    from painters_mtl.page.server import serving
    from painters_mtl.runs.model_choice import open_run_for_pictures

    run = open_run_for_pictures(settings.model)
    messages.say(f"opening the page with {run.title} ...")
    # The page itself shows how far a folder or a collection is.
    with messages.quiet(), serving(run, address, settings.collection, settings.cache) as url:
        print(f"open {url} in a browser; Ctrl-C ends it", flush=True)
        waiting = threading.Event()
        while not waiting.wait(0.5):
            interrupts.stop_if_requested()
    return 0


def _address(settings: Settings) -> "Address":
    """Where to listen, and for whom. Raises `UserError` where others could come in unasked."""
    from painters_mtl.page.guard import LOOPBACK
    from painters_mtl.page.server import Address

    command_line.check_numbers(settings, port=0)
    if settings.port > 65_535:
        raise UserError(f"--port {settings.port} must be at most 65535")
    if os.environ.get("SPACE_ID") and settings.host in LOOPBACK:  # the Space itself says who may come in
        return Address("0.0.0.0", settings.port or int(os.environ.get("GRADIO_SERVER_PORT", "7860")))
    if (settings.host not in LOOPBACK or settings.public_name) and not settings.auth:
        option = f"--public-name {settings.public_name}" if settings.public_name else f"--host {settings.host}"
        raise UserError(
            f"{option} lets others in: add --auth USER, with the password in {PASSWORD} or --password-file FILE"
        )
    if settings.public_name and settings.host not in LOOPBACK:
        raise UserError(
            f"--public-name {settings.public_name} is for a page that listens on this machine alone: leave --host out"
        )
    if set(settings.public_name) & set("/: "):
        raise UserError(f"--public-name {settings.public_name} must be a name alone, such as gallery.example")
    password = _password(settings) if settings.auth else ""
    return Address(settings.host, settings.port, settings.auth, password, settings.public_name.lower())


def _password(settings: Settings) -> str:
    """The password for --auth; never from the command line, which everybody on the machine can read."""
    if settings.password_file is not None:
        try:
            lines = settings.password_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--password-file {settings.password_file} cannot be read ({error})") from error
        password = lines[0].strip() if lines else ""
    else:
        password = os.environ.get(PASSWORD, "")
    if len(password) < SHORTEST:
        raise UserError(
            f"--auth {settings.auth} needs a password of at least {SHORTEST} letters: in the environment variable "
            f"{PASSWORD}, or in the first line of --password-file FILE"
        )
    return password


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return command_line.run_command(Settings, app, argv, "painters-mtl app", __doc__)


if __name__ == "__main__":
    sys.exit(main())
