"""A brain that always says the same: much when it is asked for a story, else very little."""

import asyncio
from collections.abc import AsyncGenerator

from apps.policy.prompt import Prompt
from apps.shared.settings import Settings

STORY = "Once upon a time a little fox ran over the hill. Two foxes ran after him, as fast as they could."
SHORT = "Oh, I see."


class Talker:
    """Tells it word by word."""

    engine, model = "talker", ""

    def __init__(self, settings: Settings) -> None:
        """Nothing to set."""

    async def start(self, prompt: Prompt) -> None:
        """Nothing to load."""

    async def reply(self, prompt: Prompt) -> AsyncGenerator[str, None]:
        for word in (STORY if "story" in prompt.line.text else SHORT).split():
            yield f"{word} "
            await asyncio.sleep(0)

    async def warm(self, prompt: Prompt) -> None:
        """Nothing to evaluate."""

    async def close(self) -> None:
        """Nothing to free."""
