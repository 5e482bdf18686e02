"""The guard alone, before an application that answers everything: what does it let through?"""

import asyncio
import json
from typing import Any

import pytest

from painters_mtl.page import guard, limits
from painters_mtl.page.guard import Guard


async def everything(scope: Any, receive: Any, send: Any) -> None:
    """An application that reads the whole body and answers with its length."""
    size, more = 0, True
    while more and scope["type"] == "http":
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


class Asked:
    """A guard, and what it answers."""

    def __init__(self, **options: Any) -> None:
        self.guard = Guard(everything, **options)

    def __call__(
        self, path: str, method: str = "GET", bodies: Any = (b"",), pause: float = 0, **headers: str
    ) -> tuple[int, str]:
        """Status and body of the answer to a request whose body comes in pieces, `pause` seconds apart."""
        sent: list[Any] = []
        pieces = list(bodies)

        async def receive() -> Any:
            await asyncio.sleep(pause)
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

        async def send(message: Any) -> None:
            sent.append(message)

        named = [(key.replace("_", "-").encode(), value.encode()) for key, value in headers.items()]
        scope = {"type": "http", "method": method, "path": path, "headers": named}
        asyncio.run(self.guard(scope, receive, send))
        return sent[0]["status"], sent[1]["body"].decode()


def question(path: Any) -> bytes:
    return json.dumps({"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}).encode()


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/config", "/theme.css", "/assets/index-1.js", "/static/fonts/a/b.woff2", "/gradio_api/info"),
        *("/gradio_api/file=/tmp/x/uploads/a/b.jpg", "/gradio_api/queue/data", "/gradio_api/call/label/0a1b"),
    ],
)
def test_what_the_page_needs_goes_through(path: str) -> None:
    assert Asked()(path) == (200, "0")


@pytest.mark.parametrize(
    "path",
    [
        *("/gradio_api/proxy=https://example.com/", "/gradio_api/file=https://example.com/a.jpg", "/monitoring"),
        *("/gradio_api/file=http:/example.com", "/gradio_api/vibe-code", "/gradio_api/run-history/buckets"),
        *("/gradio_api/dev/reload", "/gradio_api/deep_link", "/gradio_api/component_server", "/docs"),
    ],
)
def test_what_it_does_not_need_is_not_there(path: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE"):
        status, body = Asked()(path, method)
        assert status == 404 and "nothing at this address" in json.loads(body)["error"]


def test_a_foreign_name_does_not_reach_a_page_on_loopback() -> None:
    ask = Asked(hosts=("127.0.0.1", "localhost", "::1"))
    assert ask("/", host="evil.example:7860")[0] == 421
    assert [ask("/", host=host)[0] for host in ("127.0.0.1:7860", "localhost", "[::1]:7860")] == [200] * 3
    assert Asked()("/", host="painters.example")[0] == 200  # --host: any name
    behind = Asked(hosts=("127.0.0.1", "gallery.example"))  # --public-name
    body = [question("/tmp/a.jpg")]
    for origin, status in (("https://gallery.example", 200), ("https://evil.example", 403)):
        assert behind("/gradio_api/run/label", "POST", body, host="Gallery.example", origin=origin)[0] == status


def test_another_page_cannot_post_anything() -> None:
    ask = Asked()
    body = [question("/tmp/a.jpg")]
    assert ask("/gradio_api/run/label", "POST", body, host="h:1", origin="http://evil.example")[0] == 403
    assert ask("/gradio_api/run/label", "POST", body, host="h:1", origin="http://h:1")[0] == 200


@pytest.mark.parametrize("path", ["http://127.0.0.1:1/a.jpg", "https://example.com/a.jpg", "file:///etc/passwd"])
def test_an_address_in_the_place_of_an_upload_is_refused(path: str) -> None:
    for body in (question(path), json.dumps({"data": [[{"deep": [{"path": path}]}]]}).encode()):
        for address in ("/gradio_api/run/label", "/gradio_api/call/label", "/gradio_api/queue/join"):
            status, answer = Asked()(address, "POST", [body])
            assert status == 400 and "uploaded" in json.loads(answer)["error"]


def test_a_question_in_pieces_arrives_whole() -> None:
    body = question("/tmp/uploads/é.jpg")
    pieces = [body[:5], body[5:40], body[40:]]
    assert Asked()("/gradio_api/run/label", "POST", pieces) == (200, str(len(body)))
    assert Asked()("/gradio_api/run/label", "POST", [b"{no json"])[0] == 400


def test_what_is_too_large_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_REQUEST", 1000)
    monkeypatch.setattr(limits, "MAX_JSON", 100)
    ask = Asked()
    upload, run = "/gradio_api/upload", "/gradio_api/run/label"
    assert ask(upload, "POST", [b"x" * 500, b"x" * 500]) == (200, "1000")
    assert ask(upload, "POST", [b"x" * 500, b"x" * 501])[0] == 413  # also where nothing said how large it is
    assert ask(upload, "POST", content_length="1001")[0] == 413
    assert ask(upload, "POST", content_length="-1")[0] == 413
    assert ask(run, "POST", [b"{" + b" " * 98 + b"}"])[0] == 200
    assert ask(run, "POST", [b"{" + b" " * 99 + b"}"])[0] == 413
    path = "/tmp/painters-page-1-abcdefgh/uploads/" + "0" * 64 + "/a-painting-with-a-long-name.jpg"
    one = {"path": path, "url": f"http://127.0.0.1:7860/gradio_api/file={path}", "orig_name": "a.jpg", "size": 123456,
           "mime_type": "image/jpeg", "is_stream": False, "meta": {"_type": "gradio.FileData"}}  # fmt: skip
    folder = json.dumps({"data": [[one] * limits.MOST_PICTURES], "fn_index": 3}).encode()
    assert 1 << 20 < len(folder) < limits.MAX_FOLDER_JSON
    assert ask("/gradio_api/queue/join", "POST", [folder])[0] == 200


def test_what_stalls_or_never_ends_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STALL_SECONDS", 0.2)
    monkeypatch.setattr(limits, "UPLOAD_SECONDS", 0.5)
    ask = Asked()
    assert ask("/gradio_api/upload", "POST", [b"x"] * 3, pause=0.01) == (200, "3")
    assert ask("/gradio_api/upload", "POST", [b"x"] * 3, pause=1)[0] == 408
    assert ask("/gradio_api/upload", "POST", [b"x"] * 40, pause=0.05)[0] == 408  # steady, but for ever
    assert ask.guard._active_posts == 0


def test_too_many_at_once_are_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_REQUESTS", 0)
    status, body = Asked()("/gradio_api/run/label", "POST", [question("a")])
    assert status == 503 and "try again" in json.loads(body)["detail"]
    assert Asked()("/")[0] == 200  # a GET goes on


class Working:
    """An application that works on each request until it is told to end, and how many it had at once."""

    def __init__(self) -> None:
        self.at_once = self.most = self.answered = 0
        self.may_end = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["body"]
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await self.may_end.wait()
        self.at_once -= 1
        self.answered += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def asked(guarded: Guard, path: str, gone: asyncio.Event | None = None) -> int:
    """The status of the answer to a question; `gone` says when the one who asked has gone."""
    sent, whole = [], False

    async def receive() -> Any:
        nonlocal whole
        if whole:
            await (gone or asyncio.Event()).wait()
            return {"type": "http.disconnect"}
        whole = True
        return {"type": "http.request", "body": b'{"data": []}', "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await guarded({"type": "http", "method": "POST", "path": path, "headers": []}, receive, send)
    return sent[0]["status"]


def test_what_answers_past_the_queue_waits_for_a_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at a time, six may wait, the others are told so; who goes away meanwhile is not worked for."""
    monkeypatch.setattr(limits, "AT_ONCE", 2)
    monkeypatch.setattr(limits, "MOST_WAITING", 6)

    async def crowd() -> None:
        working = Working()
        guarded, gone = Guard(working), asyncio.Event()
        first = [asyncio.ensure_future(asked(guarded, "/gradio_api/run/label", gone)) for _ in range(5)]
        await asyncio.sleep(0.05)
        assert working.at_once == 2
        gone.set()  # the three that wait go away; the two under way are not looked at
        await asyncio.sleep(0.05)
        assert [each.done() for each in first].count(True) == 3
        later = [asyncio.ensure_future(asked(guarded, "/gradio_api/run/explain")) for _ in range(10)]
        await asyncio.sleep(0.05)
        assert [each.result() for each in later if each.done()] == [503] * 4
        folders = [asyncio.ensure_future(asked(guarded, "/gradio_api/run/label_folder")) for _ in range(3)]
        await asyncio.sleep(0.05)
        assert working.at_once == 3  # one folder has a slot of its own
        working.may_end.set()
        statuses = await asyncio.gather(*first, *later, *folders)
        assert (statuses.count(200), statuses.count(503), statuses.count(400)) == (2 + 6 + 3, 4, 3)
        assert (working.most, working.answered) == (3, 11)
        assert await asked(guarded, "/gradio_api/run/label") == 200  # all slots are given back

    asyncio.run(crowd())


def test_what_goes_into_the_queue_does_not_wait_here(monkeypatch: pytest.MonkeyPatch) -> None:
    async def crowd() -> None:
        working = Working()
        guarded = Guard(working)
        ways = ("/gradio_api/queue/join", "/gradio_api/call/label")
        many = [asyncio.ensure_future(asked(guarded, ways[k % 2])) for k in range(8)]
        await asyncio.sleep(0.05)
        assert working.at_once == 8
        working.may_end.set()
        await asyncio.gather(*many)

    asyncio.run(crowd())


def test_the_address_alone_names_the_question() -> None:
    """By a number, a folder could be asked for under the name of a question that is answered at once."""
    body = json.dumps({"data": [], "fn_index": 4}).encode()
    for path in ("/gradio_api/run/model", "/gradio_api/run/predict", "/gradio_api/call/model"):
        status, answer = Asked()(path, "POST", [body])
        assert status == 400 and "its address names the question" in json.loads(answer)["error"]
    assert Asked()("/gradio_api/queue/join", "POST", [body])[0] == 200  # as the page itself asks
    for path in ("/gradio_api/api/model", "/gradio_api/api/label_folder", "/gradio_api/call/v2/label"):
        assert Asked()(path, "POST", [body])[0] == 404


def test_so_many_streams_may_be_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_STREAMS", 0)
    for path in ("/gradio_api/heartbeat/0a1b", "/gradio_api/queue/data", "/gradio_api/call/label/0a1b"):
        assert Asked()(path)[0] == 503
    assert Asked()("/config")[0] == 200


def test_an_upload_ends_where_the_room_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "ROOM_STEP", 100)
    rooms = [False, False, True]  # before it, after 100 bytes, after 200
    assert Asked(uploads_full=lambda: rooms.pop(0))("/gradio_api/upload", "POST", [b"x" * 60] * 10)[0] == 503
    assert rooms == []


def test_a_browser_is_told_to_fetch_nothing_from_elsewhere() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    asyncio.run(Guard(everything)({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send))
    assert dict(sent[0]["headers"])[b"content-security-policy"].startswith(b"default-src 'self'")


def test_uploads_wait_where_the_folder_is_full() -> None:
    ask = Asked(uploads_full=lambda: True)
    assert ask("/gradio_api/upload", "POST")[0] == 503
    assert ask("/gradio_api/run/label", "POST", [question("a")])[0] == 200


def test_passwords_cannot_be_guessed_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wrong(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 400, "headers": []})
        await send({"type": "http.response.body", "body": b"0"})

    ask = Asked()
    monkeypatch.setattr(ask.guard, "_app", wrong)
    statuses = [ask("/login", "POST", [b"password=x"])[0] for _ in range(limits.MOST_WRONG + 2)]
    assert statuses == [400] * limits.MOST_WRONG + [429] * 2
    assert ask("/gradio_api/run/label", "POST", [question("a")])[0] == 400  # nothing else is refused
    monkeypatch.setattr(limits, "WRONG_SECONDS", 0.0)
    assert ask("/login", "POST", [b"password=x"])[0] == 400
    burst = Asked()
    monkeypatch.setattr(burst.guard, "_app", wrong)

    async def at_once(count: int) -> list[int]:
        sent: list[int] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b"password=x", "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                sent.append(message["status"])

        scope = {"type": "http", "method": "POST", "path": "/login", "headers": []}
        await asyncio.gather(*(burst.guard(dict(scope), receive, send) for _ in range(count)))
        return sent

    monkeypatch.setattr(limits, "WRONG_SECONDS", 300.0)
    assert sorted(asyncio.run(at_once(100))) == [400] * limits.MOST_WRONG + [429] * (100 - limits.MOST_WRONG)
    fresh = Asked()
    assert {fresh("/login", "POST", [b"password=right"])[0] for _ in range(2 * limits.MOST_WRONG)} == {200}
