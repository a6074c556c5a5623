import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from apps.policy.models.show_light import Light, light
from apps.shared.access import make_token
from apps.shared.settings import Settings

LIGHT = {"state": "degraded", "engine": "scripted", "reason": "no answer", "fix": "Start it.", "age_s": 1.0}


@pytest.fixture
def show():
    """A show's address that answers as it is told; gives the port and the headers that came."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            came.append((self.path, self.headers["Authorization"]))
            status, body = answer[-1]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    answer = [(200, json.dumps({"modules": {"policy": LIGHT, "tts": {}}, "queue": {}}).encode())]
    came: list[tuple[str, str]] = []
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_port, answer, came
    server.shutdown()
    thread.join()
    server.server_close()


def settings(tmp_path, port) -> Settings:
    return Settings(_env_file=None, aivt_data_dir=tmp_path, aivt_port=port)


def test_a_running_show_tells_its_light(tmp_path, show):
    """The policy's, asked for with this show's own token."""
    port, _, came = show
    here = settings(tmp_path, port)
    token = make_token(here)
    assert light(here) == Light("degraded", "scripted", "", "no answer", "Start it.")
    assert came == [("/status", f"Bearer {token}")]


@pytest.mark.parametrize(
    "answer", [(401, b"{}"), (200, b"hello"), (200, b"{}"), (200, b'{"modules":{"policy":{"state":"?"}}}')]
)
def test_another_program_or_show_at_the_port_is_no_show(tmp_path, show, answer):
    """It is nothing unusual, so it is no error."""
    port, answers, _ = show
    answers.append(answer)
    here = settings(tmp_path, port)
    make_token(here)
    assert light(here) is None


def test_no_show_is_no_error(tmp_path, show):
    """No token yet, no port told, or nobody listening."""
    port, _, came = show
    assert light(settings(tmp_path, port)) is None
    make_token(settings(tmp_path, 0))
    assert light(settings(tmp_path, 0)) is None
    assert light(settings(tmp_path, 1)) is None
    assert came == []
