"""The server of the page: gradio on this machine alone, offline, behind the guard."""

import contextlib
import errno
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from painters_mtl.common.errors import UserError
from painters_mtl.common.lazy_imports import import_extra, import_matplotlib
from painters_mtl.page import limits
from painters_mtl.page.guard import LOOPBACK, Guard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from painters_mtl.runs.run import Run

FIRST_PORT, PORTS = 7860, 100
# What gradio and the packages under it would send or look up, and what they would take from the machine's settings.
OFFLINE = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_SHARE": "False",
    "GRADIO_NUM_WORKERS": "0",
    "GRADIO_ALLOWED_PATHS": "",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
_TONES = ("c50", "c100", "c200", "c300", "c400", "c500", "c600", "c700", "c800", "c900", "c950")
_SLATE = (
    *("#f3f7f9", "#e3ecf1", "#c8d9e2", "#a4c0cd", "#7b9fb1", "#5b8298"),
    *("#456a80", "#385667", "#2e4553", "#263945", "#17242c"),
)
EXAMPLES = (2, 13, 7, 5, 11)  # works of the demo, of different hands


@dataclass(frozen=True)
class Address:
    """Where the page listens, and who may come in."""

    host: str = "127.0.0.1"
    port: int = 0  # 0: the first that is free from 7860 on
    user: str = ""  # "": nobody is asked
    password: str = ""
    public_name: str = ""  # of a server that stands before the page


@contextlib.contextmanager
def serving(run: "Run", address: Address, collection: Path | None, cache: Path) -> Iterator[str]:
    """Serve the page within the block, which is given its address; then everything temporary goes.

    Args:
        collection: a folder to look for similar works in; its vectors are kept in `cache`.

    Raises `UserError` where gradio is missing or no port is free.
    """
    os.environ |= OFFLINE
    os.environ.setdefault("MPLBACKEND", "agg")  # gradio asks for it at every question; to find one out takes a second
    _call_this_machine_directly()
    from painters_mtl.page.uploads import Uploads

    uploads = Uploads()
    os.environ["GRADIO_TEMP_DIR"] = str(uploads.folder)
    os.environ["GRADIO_EXAMPLES_CACHE"] = str(uploads.root / "cached")
    page = works = None
    try:
        gradio = import_extra("gradio", "app")
        import_matplotlib()  # before TensorFlow, in another thread, makes Keras overlook it
        from painters_mtl.page.collection import Collection
        from painters_mtl.page.comparable_models import ComparableModels
        from painters_mtl.page.layout import build_page
        from painters_mtl.page.model import PageModel
        from painters_mtl.page.questions import Questions

        model = PageModel(run)
        works = Collection(collection, model, cache) if collection else None
        page = build_page(Questions(ComparableModels(model), uploads, works), draw_examples(uploads.drawn))
        port = address.port or _free_port(address.host)
        hosts = () if address.host not in LOOPBACK else (*LOOPBACK, address.host, *filter(None, [address.public_name]))
        _launch(gradio, page, address, port, _guard(hosts, uploads))
        threading.Thread(target=_prepare, args=(model, works), name="model", daemon=True).start()
        shown = "localhost" if address.host in ("0.0.0.0", "::") else address.host
        yield f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"
    finally:
        if works is not None:
            works.close()
        if page is not None:
            page.close(verbose=False)
        uploads.close()


def _prepare(model: Any, works: Any) -> None:
    """Open the network, import TensorFlow, read the collection: one after the other, while the page answers already."""
    try:
        model.load()
    except UserError:  # it was said here, and every question is answered with it
        if works is not None:
            works.fail()
        return
    except KeyboardInterrupt:  # Ctrl-C, which ends the page, while it was under way
        return
    if works is not None:
        works.start()


def _guard(hosts: "Sequence[str]", uploads: Any) -> Any:
    """The guard as gradio's application takes it."""
    from starlette.middleware import Middleware

    return Middleware(Guard, hosts=hosts, uploads_full=uploads.full, is_upload=uploads.holds)


def _launch(gradio: Any, page: Any, address: Address, port: int, guard: Any) -> None:
    """Start gradio's server in a thread, with everything off that this page does not need."""
    # `/run/NAME` answers past this queue, also in a Space: such questions wait for a slot in the guard.
    page.queue(max_size=limits.MOST_WAITING, default_concurrency_limit=limits.AT_ONCE, api_open=True)
    try:
        page.launch(
            server_name=address.host,
            server_port=port,
            auth=(address.user, address.password) if address.user else None,
            share=False,
            inbrowser=False,
            inline=False,
            prevent_thread_lock=True,
            quiet=True,
            show_error=False,  # of what nobody expected; it may name paths
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            enable_monitoring=False,
            run_history=False,
            footer_links=[],
            allowed_paths=[],
            max_file_size=limits.MAX_FILE,
            state_session_capacity=limits.MOST_SESSIONS,
            app_kwargs={"middleware": [guard]},
            theme=_theme(gradio),
            css_paths=[Path(__file__).with_name("page.css")],
        )
    except (OSError, gradio.exceptions.ServerFailedToStartError) as error:
        raise UserError(f"the page cannot listen on {address.host}, port {port}: name another --port") from error


def _theme(gradio: Any) -> Any:
    """Quiet colours beside which a painting keeps its own; fonts that gradio itself brings."""
    from gradio.themes.utils.fonts import LocalFont

    slate = gradio.themes.Color(**dict(zip(_TONES, _SLATE, strict=True)))
    # Of this family gradio brings all letters in these two weights; of most others it has those of English headlines.
    fonts = [LocalFont("Source Sans Pro", weights=(400, 700)), "system-ui", "sans-serif"]
    return gradio.themes.Base(
        primary_hue=slate, secondary_hue=slate, neutral_hue="stone", font=fonts, font_mono=["ui-monospace", "monospace"]
    ).set(
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
    )


def draw_examples(folder: Path) -> list[Path]:
    """Some paintings of the demo, drawn now: no picture of a real one comes with this program."""
    from painters_mtl.data.demo.collection import GENRES, STYLES, paint, plan_works

    works = plan_works(100)
    files = []
    for number in EXAMPLES:
        work = works[number]
        file = folder / f"{number + 1:02}-{STYLES[work.style]}-{GENRES[work.genre]}.jpg".replace(" ", "-").lower()
        paint(work, size=360).save(file, quality=90)
        files.append(file)
    return files


def _free_port(host: str) -> int:
    """The first free port from 7860 on. Raises `UserError` where none of a hundred is."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        with socket.socket(family) as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                attempt.bind((host, port))
            except OSError as error:
                if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                    raise UserError(f"--host {host} is no name or address of this machine") from error
                continue
            return port
    raise UserError(f"no port from {FIRST_PORT} to {FIRST_PORT + PORTS - 1} is free on {host}: name one with --port")


def _call_this_machine_directly() -> None:
    """gradio asks itself over HTTP whether it runs; a proxy of the machine's settings must not be asked for that."""
    for name in ("NO_PROXY", "no_proxy"):
        known = [part for part in os.environ.get(name, "").split(",") if part]
        os.environ[name] = ",".join([*known, *(host for host in LOOPBACK if host not in known)])
