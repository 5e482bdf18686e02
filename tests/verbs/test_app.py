"""The verb of the page: what it refuses before anything is imported or opened."""

from pathlib import Path

import pytest

from painters_mtl import app
from painters_mtl.common.errors import UserError
from painters_mtl.page.guard import LOOPBACK
from painters_mtl.page.server import _free_port


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What it says, with status 2."""
    assert app.main([str(word) for word in words]) == 2
    return capsys.readouterr().err


def test_others_need_a_password(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(app.PASSWORD, raising=False)
    assert "add --auth USER" in refused(capsys, "--host", "0.0.0.0")
    assert "add --auth USER" in refused(capsys, "--public-name", "gallery.example")
    for short in ("", "short"):
        monkeypatch.setenv(app.PASSWORD, short)
        assert "at least 8 letters" in refused(capsys, "--host", "0.0.0.0", "--auth", "curator")


def test_the_password_comes_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(app.PASSWORD, "from the environment")
    settings = app.Settings(host="0.0.0.0", auth="curator")
    assert app._address(settings).password == "from the environment"
    (tmp_path / "password").write_text("from the file\nmore\n")
    settings.password_file = tmp_path / "password"
    assert app._address(settings).password == "from the file"
    settings.public_name = "Gallery.example"
    with pytest.raises(UserError, match="leave --host out"):
        app._address(settings)
    settings.host = "127.0.0.1"
    assert app._address(settings).public_name == "gallery.example"
    settings.public_name = "https://gallery.example"
    with pytest.raises(UserError, match="must be a name alone"):
        app._address(settings)


def test_it_listens_on_this_machine_alone_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    address = app._address(app.Settings())
    assert address.host in LOOPBACK and address.user == ""
    monkeypatch.setenv("SPACE_ID", "someone/painters")
    assert app._address(app.Settings()).host == "0.0.0.0" and app._address(app.Settings()).port == 7860


def test_what_is_not_there_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "--model" in refused(capsys, "--model", tmp_path / "nowhere")
    assert "--collection" in refused(capsys, "--collection", tmp_path / "nowhere")
    assert "--password-file" in refused(capsys, "--auth", "x", "--password-file", tmp_path / "nowhere")
    assert "--port 70000" in refused(capsys, "--port", "70000")


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(UserError, match=r"--host 203\.0\.113\.7 is no name or address of this machine"):
        _free_port("203.0.113.7")
    assert _free_port("127.0.0.1") >= 7860
