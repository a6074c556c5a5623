"""What a bench is made of: engines, floor, and a show that is driven from outside, as its panel does."""

import contextlib
import http.client
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from apps.shared.clock import now_s
from apps.shared.errors import AivtError
from scripts.bench.engines import MODEL, Asked, Costs, Setup
from scripts.bench.programs import Program
from scripts.bench.stream import Watcher, watching

START_LIMIT_S = 60.0
ASK_LIMIT_S = 60.0
RECORDED = "dir:"  # as an output: the show records into its own data folder
HEARD = "heard"
OURS = (
    "AIVT_",
    "USE_STUB_",
    "POLICY_",
    "OLLAMA_",
    "OPENAI_",
    "TTS_",
    "ESPEAK_",
    "PIPER_",
    "VOICES_",
    "ASR_",
    "ECHO_",
    "STREAMER_",
)


def ask(url: str, method: str, path: str, body: object = None, token: str = "") -> tuple[float, Any]:
    """Return when the request left, and the JSON that came back. Raises AivtError for another status."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=ASK_LIMIT_S)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    content = msgspec.json.encode(body) if body is not None else None
    try:
        connection.connect()
        asked_s = now_s()
        connection.request(method, path, content, headers)
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise AivtError("bench_failed", f"{method} {path}: {error!r}") from error
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise AivtError("bench_failed", f"{method} {path}: {response.status} {answer[:200]!r}")
    return asked_s, json.loads(answer) if answer else None


class Engines:
    """The process of scripts.bench.engines."""

    def __init__(self, program: Program) -> None:
        self.url = program.wait_line("http", START_LIMIT_S)[1]

    def set_up(self, costs: Costs, replies: Iterable[Sequence[str]]) -> None:
        """Set what the engines cost and say from now on."""
        ask(self.url, "PUT", "/setup", Setup(costs, [list(reply) for reply in replies]))

    def requests(self) -> list[Asked]:
        """What was asked since then."""
        return msgspec.convert(ask(self.url, "GET", "/requests")[1], list[Asked])


class Floor:
    """The process of scripts.bench.floor."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def say(self, text: str) -> dict[str, float]:
        """Return the stages' times, in ms."""
        self.program.tell(text)
        marks: dict[str, float] = json.loads(self.program.wait_line("{", ASK_LIMIT_S)[1])
        return marks


class Show:
    """One `aivt up` on a data folder of its own."""

    def __init__(self, program: Program, folder: Path) -> None:
        self.program = program
        self.folder = folder
        ready_at_s, line = program.wait_line("READY ", START_LIMIT_S)
        self.ready_s = ready_at_s - program.started_s
        self._url = line.split()[1]
        self._token = (folder / "token").read_text().strip()

    def answer(self, text: str) -> dict[str, Any]:
        """Put a line in and return what `POST /control/say` says at its end."""
        answer: dict[str, Any] = ask(self._url, "POST", "/control/say", {"text": text}, self._token)[1]
        return answer

    def say(self, text: str) -> dict[str, float]:
        """Return the stages' times, in ms. Raises AivtError when the line was not spoken."""
        answer = self.answer(text)
        if answer["outcome"] != "spoken":
            raise AivtError("bench_failed", f"a line was {answer['outcome']}: {answer['reason']}")
        marks: dict[str, float] = answer["timings_ms"]
        return marks

    def recording(self, turn_id: str) -> Path:
        """Where what was heard of a turn lies, with TTS_OUTPUT=RECORDED."""
        return self.folder / HEARD / f"{turn_id}.wav"

    def skip(self) -> float:
        """End the turn under way; return when that was asked."""
        return ask(self._url, "POST", "/control/skip", token=self._token)[0]

    def hear(self, path: Path) -> None:
        """Let her hear a recording."""
        ask(self._url, "POST", "/control/hear", {"path": str(path)}, self._token)

    def watch(self) -> AbstractContextManager[Watcher]:
        """Look at `WS /stream`."""
        return watching(self._url.replace("http", "ws", 1) + "stream", self._token)


@contextlib.contextmanager
def engines() -> Iterator[Engines]:
    """Engines of fixed cost, running."""
    with Program("scripts.bench.engines") as program:
        yield Engines(program)


@contextlib.contextmanager
def floor(engines: Engines) -> Iterator[Floor]:
    """Run the floor on these engines."""
    with Program("scripts.bench.floor", engines.url) as program:
        yield Floor(program)


@contextlib.contextmanager
def show(**settings: str) -> Iterator[Show]:
    """Run a show that is ready, with these settings and otherwise the defaults."""
    with tempfile.TemporaryDirectory(prefix="aivt-bench-", ignore_cleanup_errors=True) as name:
        kept = {key: value for key, value in os.environ.items() if not key.upper().startswith(OURS)}
        own = {"AIVT_PORT": "0", "AIVT_DATA_DIR": name, "USE_STUB_POLICY": "0", "USE_STUB_TTS": "0"}
        env = {**kept, **own, "PYTHONUTF8": "1", **settings}
        if env.get("TTS_OUTPUT") == RECORDED:
            env["TTS_OUTPUT"] += str(Path(name) / HEARD)
        with Program("apps.cli", "up", "--rehearsal", "--no-browser", env=env) as program:
            yield Show(program, Path(name))


def on(engines: Engines, output: str, **settings: str) -> AbstractContextManager[Show]:
    """Run a show on these engines, into this TTS_OUTPUT."""
    return show(
        POLICY_ENGINE="ollama",
        POLICY_MODEL=MODEL,
        OLLAMA_HOST=engines.url,
        TTS_ENGINE="scripts.bench.voice:HttpVoice",
        TTS_CACHE_MB="0",
        TTS_OUTPUT=output,
        **settings,
    )
