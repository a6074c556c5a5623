"""Logs: one JSON line each in the file, and no secrets anywhere."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import structlog

from apps.shared import logs
from apps.shared.logs import never_log, redacted
from apps.shared.settings import Settings


@pytest.fixture
def set_up(tmp_path):
    """Set logging up as a process does; undone afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def do(folder: Path = tmp_path, **settings) -> Path:
        logs.set_up("tts", Settings(_env_file=None, aivt_data_dir=folder, **settings))
        return folder / "logs" / "tts.jsonl"

    yield do
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_each_line_is_json_with_its_turn(set_up, capsys):
    """What is bound to the turn's task is on every line that is logged in it; the terminal shows the same."""
    file = set_up()
    structlog.contextvars.bind_contextvars(turn_id="show-00001")
    structlog.get_logger().info("brain failed", reason="ünï\n🦊", spoken=2)
    (line,) = lines(file)
    assert line.pop("timestamp", "").endswith("Z")
    assert line == {
        "event": "brain failed",
        "level": "info",
        "module": "tts",
        "turn_id": "show-00001",
        "reason": "ünï\n🦊",
        "spoken": 2,
    }
    said = capsys.readouterr().err
    assert "brain failed" in said
    assert "turn_id=show-00001" in said


def test_libraries_are_logged_too(set_up, capsys):
    """A line of the standard library's logging looks like one of ours."""
    file = set_up()
    logging.getLogger("some.library").warning("%d frames lost", 3)
    (line,) = lines(file)
    assert (line["event"], line["level"], line["module"]) == ("3 frames lost", "warning", "tts")
    assert "warning: 3 frames lost" in capsys.readouterr().err


def test_an_exception_comes_with_its_traceback(set_up, capsys):
    """In the file and on the terminal, without the secrets that stand in it."""
    file = set_up()
    error = ValueError("Authorization: Bearer abcdef123456")
    structlog.get_logger().error("it broke", exc_info=error)
    said = capsys.readouterr().err
    assert "ValueError" in lines(file)[0]["exception"]
    assert "ValueError" in said
    assert "abcdef123456" not in said + file.read_text()


def test_the_level_is_a_setting(set_up):
    """AIVT_LOG_LEVEL=warning leaves out what is only information."""
    file = set_up(aivt_log_level="warning")
    log = structlog.get_logger()
    log.info("left out")
    log.warning("kept")
    assert [line["event"] for line in lines(file)] == ["kept"]


def test_half_an_emoji_does_not_end_the_log(set_up):
    """A broken character is written in its escaped form."""
    file = set_up()
    log = structlog.get_logger()
    log.info("broken", text="\ud83e")
    log.info("whole")
    assert [line["event"] for line in lines(file)] == ["broken", "whole"]


def test_without_a_file_the_terminal_goes_on(set_up, tmp_path, capsys):
    """A log folder that cannot be written is said once, and the show does not depend on it."""
    (tmp_path / "a file").write_text("")
    set_up(tmp_path / "a file")
    structlog.get_logger().info("still here")
    said = capsys.readouterr().err
    assert said.count("no log file") == 1
    assert "still here" in said


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Bearer abcdef123456",
        "PASS oauth:abcdef123456",
        "OBS_PASSWORD='abcdef123456' cannot be used",
        "OBS_PASSWORD='abcdef123456!?' cannot be used",
        '{"access_token": "abcdef123456", "expires_in": 4}',
        "http://127.0.0.1:8710/do/skip?token=abcdef123456&x=1",
        "client_secret=abcdef123456",
        "api_key: abcdef123456",
    ],
)
def test_what_looks_like_a_secret_is_blacked_out(line):
    """Wherever in a line it stands, and only it."""
    assert "abcdef" not in redacted(line)
    assert "[redacted]" in redacted(line)
    assert redacted(redacted(line)) == redacted(line)


@pytest.mark.parametrize(
    "line",
    [
        "no first token within 8 s",
        "the token of AIVT_DATA_DIR/token is needed; talk to her with: aivt say",
        "password required",
        "the bearer of good news",
        "",
    ],
)
def test_what_only_speaks_of_secrets_stays(line):
    """An error that is about a token can still be read."""
    assert redacted(line) == line


@pytest.mark.parametrize("name", ["token", "password", "access_token", "client_secret", "api_key"])
def test_a_field_with_a_secrets_name_is_blacked_out(set_up, name):
    """Whatever its value looks like."""
    file = set_up()
    structlog.get_logger().info("signed in", **{name: "hunter2"})
    assert lines(file)[0][name] == "[redacted]"


def test_a_known_secret_is_blacked_out_everywhere(monkeypatch):
    """Also where nothing tells that it is one; what is too short would black out half the log."""
    monkeypatch.setattr(logs, "_secrets", set())
    never_log("s3cr3t-t0k3n")
    never_log("ok")
    assert redacted("it is s3cr3t-t0k3n, ok?") == "it is [redacted], ok?"
