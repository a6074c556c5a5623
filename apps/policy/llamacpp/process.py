"""The policy's end of the pipes to the process that runs llama.cpp (host.py)."""

import asyncio
import contextlib
import itertools
import re
import subprocess
import sys
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import structlog

from apps.policy.llamacpp import lines
from apps.policy.llamacpp.lines import Asked, Chunk, Done, Failed, Generate, Hello, Load, Refused, Stop, Told
from apps.shared.settings import PROJECT_DIR

HELLO_LIMIT_S = 30.0  # for an interpreter and llama.cpp's library, from a slow disk through a virus scanner
LINE_LIMIT_BYTES = 1_000_000
TAIL_LINES = 40
WORDS_LIMIT = 200  # characters

NO_WINDOW: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # Windows only
OWN_GROUP: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # keeps Ctrl+C from it, likewise

# The line of llama.cpp's output that tells most, and where in it the telling begins.
TELLING = re.compile(
    r"GGML_ASSERT.*|(?:CUDA|Vulkan|Metal) error.*|.*out of memory.*|.*unable to allocate.*"
    r"|.*failed to allocate.*|(?<=error loading model: ).*|chat template parsing error.*|\w*Error: .*"
)
SIGNALS = {
    -4: "this processor lacks instructions that llama.cpp was built with (AVX2)",
    0xC000001D: "this processor lacks instructions that llama.cpp was built with (AVX2)",
    -9: "the system ended it, most likely because memory ran out",
}

log = structlog.get_logger()


class HostError(Exception):
    """Something went wrong over there; `str(error)` is what llama.cpp said."""


class DiedError(HostError):
    """The process is gone."""


class RefusedError(HostError):
    """llama.cpp does not take the model; the process is gone."""


class HostProcess:
    """A running process. `begun`, then `hello`, then `load`, then `chunks` as often as wanted, then `end`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Queue[Told | None]] = {0: asyncio.Queue()}  # 0: not of a reply
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._ended = False  # by us
        self._readers = [asyncio.create_task(self._read()), asyncio.create_task(self._read_errors())]

    @classmethod
    async def begun(cls) -> "HostProcess":
        """Start the process."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-X", "utf8", "-m", "apps.policy.llamacpp.host",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=PROJECT_DIR,
            limit=LINE_LIMIT_BYTES,
            creationflags=NO_WINDOW | OWN_GROUP,
            start_new_session=sys.platform != "win32",
        )  # fmt: skip
        return cls(process)

    async def hello(self) -> Hello:
        """Wait until llama.cpp is there. Raises DiedError, TimeoutError."""
        async with asyncio.timeout(HELLO_LIMIT_S):
            message = await self._next(0)
        assert isinstance(message, Hello)
        return message

    async def load(self, load: Load) -> None:
        """Load a model, for as long as it takes. Raises RefusedError, DiedError."""
        self._write(load)
        if isinstance(await self._next(0), Refused):
            raise RefusedError(await self._last_words())

    async def chunks(self, body: dict[str, Any]) -> AsyncGenerator[msgspec.Raw, None]:
        """Make a reply: a streaming request in, its events out. Ending this generator stops it over there.

        Raises HostError.
        """
        number = next(self._numbers)
        # No limit: a reply has one, and at most 1000 tokens.
        self._waiting[number] = asyncio.Queue()
        over = False
        self._write(Generate(number, msgspec.Raw(msgspec.json.encode(body))))
        try:
            while True:
                message = await self._next(number)
                over = isinstance(message, Done | Failed)
                if isinstance(message, Chunk):
                    yield message.data
                elif isinstance(message, Failed):
                    raise HostError(message.words)
                elif over:
                    return
        finally:
            del self._waiting[number]
            if not over:
                self._write(Stop(number))

    async def end(self) -> None:
        """End the process, whatever it does: it has nothing to save. All of its memory is free afterwards."""
        self._ended = True
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await asyncio.wait(self._readers)
        await self._process.wait()

    async def _next(self, number: int) -> Told:
        queue = self._waiting[number]
        if self._readers[0].done() and queue.empty():
            raise DiedError(await self._last_words())
        if (message := await queue.get()) is None:
            raise DiedError(await self._last_words())
        return message

    def _write(self, message: Asked) -> None:
        assert self._process.stdin is not None
        if not self._process.stdin.is_closing():
            self._process.stdin.write(lines.encoded(message))

    async def _read(self) -> None:
        """Hand over what comes, until the process is gone."""
        assert self._process.stdout is not None
        try:
            async for line in self._process.stdout:
                message = lines.told(line)
                number = message.id if isinstance(message, Chunk | Done | Failed) else 0
                if queue := self._waiting.get(number):  # else: of a reply that nobody waits for any more
                    queue.put_nowait(message)
        except (msgspec.MsgspecError, ValueError):  # no line of ours: there is no going on with it
            self._process.kill()
            raise
        finally:
            for queue in self._waiting.values():
                queue.put_nowait(None)

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            text = line.decode("utf-8", "replace").rstrip()
            log.debug("llama.cpp", said=text)
            self._tail.append(text)

    async def _last_words(self) -> str:
        """Return why it ended."""
        await self._readers[1]
        code = await self._process.wait()
        if self._ended:
            return "it was ended"
        if words := SIGNALS.get(code):
            return words
        for line in reversed(self._tail):
            if found := TELLING.search(line):
                return found[0].strip()[:WORDS_LIMIT]
        return (self._tail[-1] if self._tail else f"exit code {code}")[:WORDS_LIMIT]
