"""A brain that does what the test has written down."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable

from apps.policy.prompt import Prompt
from apps.shared.errors import AivtError
from apps.shared.settings import Settings


class FakeBrain:
    """Say what `replies` has, a list for each reply: text, seconds of silence, the error it breaks with."""

    engine, model = "fake", "fake-7b"

    def __init__(self, _settings: Settings | None = None) -> None:
        self.replies: deque[Iterable[str | float | AivtError]] = deque()
        self.prompts: list[Prompt] = []
        self.warmed: list[Prompt] = []
        self.starts = 0
        self.start_s = 0.0  # how long it takes to start
        self.missing: AivtError | None = None  # why it cannot be started now
        self.closed_replies = 0
        self.closed = False

    async def start(self, prompt: Prompt) -> None:
        self.starts += 1
        await asyncio.sleep(self.start_s)
        if self.missing:
            raise self.missing

    async def reply(self, prompt: Prompt) -> AsyncGenerator[str, None]:
        self.prompts.append(prompt)
        try:
            for each in self.replies.popleft() if self.replies else ["All right. "]:
                if isinstance(each, AivtError):
                    raise each
                if isinstance(each, str):
                    yield each
                else:
                    await asyncio.sleep(each)
        finally:
            self.closed_replies += 1

    async def warm(self, prompt: Prompt) -> None:
        self.warmed.append(prompt)
        if self.missing:
            raise self.missing

    async def close(self) -> None:
        self.closed = True


class SpareBrain(FakeBrain):
    """Another one, to fall back to."""

    engine, model = "spare", "spare-1b"
