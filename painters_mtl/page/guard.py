"""What stands between the network and gradio: which requests are answered at all, how large, how slow, how many.

gradio has many addresses beside those that this page needs: some fetch what lies on other hosts, some are for
developers. Here every address that is not named is refused, a path in a request must be one of an upload, and a body
must come steadily and end. What is asked at `/run/NAME` passes gradio's queue by, and so waits here for a slot. (An
ASGI middleware: https://asgi.readthedocs.io/en/latest/specs/www.html)
"""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from painters_mtl.page import limits

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
UPLOAD, LOGIN = "/gradio_api/upload", "/login"
ROOM_STEP = 32 << 20  # bytes of an upload after which it is asked again whether there is room
BUSY = "many people ask at this moment: please try again in a minute"
NO_ROOM = "the page holds as many pictures as it may: please try again in half an hour"
# What a browser may fetch for this page: nothing from any other host. (gradio's scripts are made while they run.)
POLICY = "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; object-src 'none'; base-uri 'self'"
_GET_PATHS = re.compile(  # for HEAD too
    r"/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|logout|login_check)/?"
    r"|/(assets|static|svelte|pwa_icon)/.*"
    r"|/gradio_api/(info|openapi\.json|startup-events|login_check|user|token|app_id|theme\.css|upload_progress)/?"
    r"|/gradio_api/(heartbeat/[\w-]+|queue/data|call/(v2/)?[\w-]+/[\w-]+)"
    r"|/gradio_api/file=(?!\w+:).*",  # no file of another host
    re.DOTALL,
)
# Of them those whose answer is a stream, which may stay open for long.
_STREAMS = re.compile(r"/gradio_api/(heartbeat/.*|queue/data|call/.*|upload_progress)/?", re.DOTALL)
_POST_PATHS = re.compile(r"/login/?|/gradio_api/(queue/join|upload|reset|cancel|(call|run)/[\w-]+)/?")
_ENDPOINT = re.compile(r"/gradio_api/(queue/join|(call|run)/([\w-]+))/?")  # where questions are asked
FOLDER = "label_folder"  # the question that may take minutes, and has a slot of its own


class _Refused(Exception):
    """A request that is answered with an HTTP status and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class Guard:
    """The middleware.

    Args:
        app: the application behind it.
        hosts: the names by which the page may be called; empty: any. A foreign page cannot reach one that listens on
            loopback under a name of its own.
        uploads_full: says whether uploads must wait because too much is kept already.
        is_upload: says whether a path is one of an upload.
    """

    def __init__(
        self,
        app: Any,
        hosts: Collection[str] = (),
        uploads_full: Callable[[], bool] = lambda: False,
        is_upload: Callable[[str], bool] = lambda path: True,
    ) -> None:
        self._app, self._hosts, self._uploads_full, self._is_upload = app, frozenset(hosts), uploads_full, is_upload
        self._active_posts = self._open_streams = 0
        self._slots, self._folder_slots = _Slots(limits.AT_ONCE), _Slots(1)
        self._wrong: dict[str, list[float]] = {}  # when an address gave a wrong password

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a status and {"error": sentence, "detail": the same}."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        answered = False

        async def noted(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                headers = [*message["headers"], (b"content-security-policy", POLICY.encode())]
                message = {**message, "headers": headers}
            await send(message)

        try:
            headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
            self._check_address(scope, headers)
            if scope["method"] != "POST":
                await self._get(scope, receive, noted)
            else:
                await self._post(scope, headers, receive, noted)
        except _Refused as refusal:
            if not answered:
                await _answer(send, refusal)

    def _check_address(self, scope: Scope, headers: dict[str, str]) -> None:
        named = headers.get("host", "").lower()
        host = _host_name(named)
        if self._hosts and host not in self._hosts:
            raise _Refused(421, f"this page does not go by the name {host[:100]!r}")
        origin = headers.get("origin", "")
        if scope["method"] == "POST" and origin and urlsplit(origin.lower()).netloc != named:
            raise _Refused(403, "another page must not use this one")
        allowed = {"GET": _GET_PATHS, "HEAD": _GET_PATHS, "POST": _POST_PATHS}.get(scope["method"])
        if allowed is None or allowed.fullmatch(scope["path"]) is None:
            raise _Refused(404, "there is nothing at this address")

    async def _get(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a GET or HEAD on; of streams, as an open page has one or two, only so many at a time."""
        is_stream = _STREAMS.fullmatch(scope["path"]) is not None
        if is_stream and self._open_streams >= limits.MOST_STREAMS:
            raise _Refused(503, BUSY)
        self._open_streams += is_stream
        try:
            await self._app(scope, receive, send)
        finally:
            self._open_streams -= is_stream

    async def _post(self, scope: Scope, headers: dict[str, str], receive: Receive, send: Send) -> None:
        """Pass a POST on, within the limits."""
        uploads = scope["path"].startswith(UPLOAD)
        if self._active_posts >= limits.MOST_REQUESTS:
            raise _Refused(503, BUSY)
        if uploads and self._uploads_full():
            raise _Refused(503, NO_ROOM)
        endpoint = _ENDPOINT.fullmatch(scope["path"])
        names_files = endpoint is not None and (endpoint[1] == "queue/join" or endpoint[3] == FOLDER)
        most = limits.MAX_REQUEST if uploads else limits.MAX_FOLDER_JSON if names_files else limits.MAX_JSON
        body = _LimitedBody(receive, headers, most, self._uploads_full if uploads else None)
        self._active_posts += 1
        try:
            if scope["path"].rstrip("/") == LOGIN:
                await self._log_in(scope, body, send)
            elif endpoint:
                checked = await _checked_body(body, self._is_upload, numbered=endpoint[1] == "queue/join")
                async with self._slot(endpoint[2], endpoint[3], body):
                    await self._app(scope, checked, send)
            else:
                await self._app(scope, body, send)
        finally:
            self._active_posts -= 1

    async def _log_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a name and a password on, unless the same address has given too many wrong ones."""
        address, now = (scope.get("client") or ("",))[0], time.monotonic()
        recent = [when for when in self._wrong.get(address, []) if now - when < limits.WRONG_SECONDS]
        if len(recent) >= limits.MOST_WRONG:
            raise _Refused(429, "too many wrong passwords: please try again in some minutes")

        # It counts until it turns out right: many may come at once. Of addresses without an end the last are known.
        self._wrong = dict(list(self._wrong.items())[-limits.MOST_SESSIONS :]) | {address: [*recent, now]}

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400 and now in self._wrong[address]:
                self._wrong[address].remove(now)
            await send(message)

        await self._app(scope, receive, noted)

    def _slot(
        self, way: str | None, name: str | None, receive: Receive
    ) -> "contextlib.AbstractAsyncContextManager[None]":
        """A slot for a question of `/run/NAME`; the other ways lead into gradio's queue, which has its own limit."""
        if way != "run":
            return contextlib.nullcontext()
        slots = self._folder_slots if name == FOLDER else self._slots
        return slots.hold(receive)


class _Slots:
    """Slots for questions: so many are under way at a time, in the order in which they came; so many more may wait.

    Args:
        at_once: how many are under way.
    """

    def __init__(self, at_once: int) -> None:
        self._free, self._waiting = asyncio.Semaphore(at_once), 0

    @contextlib.asynccontextmanager
    async def hold(self, receive: Receive) -> AsyncIterator[None]:
        """Hold a slot, for the block. Raises `_Refused` where too many wait, and for one that has gone meanwhile.

        Args:
            receive: of the request, whose body has come: what it gives now is only that the other side has gone.
        """
        if self._free.locked():
            if self._waiting >= limits.MOST_WAITING:
                raise _Refused(503, BUSY)
            self._waiting += 1
            try:
                await self._wait(receive)
            finally:
                self._waiting -= 1
        else:
            await self._free.acquire()
        try:
            yield
        finally:
            self._free.release()

    async def _wait(self, receive: Receive) -> None:
        slot, gone = asyncio.ensure_future(self._free.acquire()), asyncio.ensure_future(receive())
        try:
            await asyncio.wait({slot, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not slot.done():
                raise _Refused(400, "the request broke off")
        except BaseException:
            if slot.done():
                self._free.release()
            slot.cancel()
            raise
        finally:
            gone.cancel()


class _LimitedBody:
    """A request's body as it comes, within limits: not too large, not too slow.

    Args:
        most: bytes.
        uploads_full: of an upload, whether it must end because there is no room any more; asked as it goes on.
    """

    def __init__(
        self, receive: Receive, headers: dict[str, str], most: int, uploads_full: Callable[[], bool] | None
    ) -> None:
        self._receive, self._most, self._uploads_full = receive, most, uploads_full
        self._until = time.monotonic() + (limits.STALL_SECONDS if uploads_full is None else limits.UPLOAD_SECONDS)
        self._asked = 0  # how many steps of ROOM_STEP the body had when there was room
        self._size, self._whole = 0, False
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._most:
            raise _Refused(413, self._too_large())

    def _too_large(self) -> str:
        return f"that is too large: at most {self._most >> 20:,} MB go in one request"

    async def __call__(self) -> Message:
        if self._whole:  # what comes now is only that the other side has gone
            return await self._receive()
        left = min(limits.STALL_SECONDS, self._until - time.monotonic())
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, left))
        except TimeoutError:
            raise _Refused(408, "the request came too slowly, or stopped: please send it again") from None
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._size > self._most:
                raise _Refused(413, self._too_large())
            if self._uploads_full is not None and self._size // ROOM_STEP > self._asked:
                self._asked = self._size // ROOM_STEP
                if self._uploads_full():
                    raise _Refused(503, NO_ROOM)
        return message


async def _checked_body(receive: _LimitedBody, is_upload: Callable[[str], bool], numbered: bool) -> Receive:
    """A question's body, read to its end and looked through: a file in it must be an upload, and none of another host.

    gradio would fetch an address, from the machine on which the page runs. It refuses a file that is no upload, without
    a word why. And it would answer another question than the one that stands in the address, where the body holds its
    number.

    Args:
        is_upload: says whether a path is one of an upload.
        numbered: whether the body may say by a number which question it is: in the queue.
    """
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise _Refused(400, "the request broke off")
        body += message.get("body", b"")
        more = message.get("more_body", False)
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        raise _Refused(400, "the request is no JSON") from None
    if not numbered and (not isinstance(values, dict) or values.get("fn_index") is not None):
        raise _Refused(400, 'the request must be {"data": [...]}: its address names the question')
    paths = [path for path in _paths(values) if path and isinstance(path, str)]
    if any("://" in path or path.startswith("data:") for path in paths):
        raise _Refused(400, "the page reads only what was uploaded to it, no addresses: upload the file first")
    if not all(is_upload(path) for path in paths):
        raise _Refused(400, "the page reads only what was uploaded to it: upload the file first")
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _paths(values: Any) -> list[Any]:
    """All values under the name "path" in JSON, at any depth."""
    paths, waiting = [], [values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            paths += [value["path"]] if "path" in value else []
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return paths


def _host_name(host: str) -> str:
    """The name in a Host header, without the port: "localhost:7860", "[::1]:7860"."""
    return host.partition("]")[0].lstrip("[") if host.startswith("[") else host.rpartition(":")[0] or host


async def _answer(send: Send, refusal: _Refused) -> None:
    body = json.dumps({"error": refusal.sentence, "detail": refusal.sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(b"connection", b"close")] if refusal.status in (408, 413) else []
    headers += [(b"retry-after", b"60")] if refusal.status == 503 else []
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
