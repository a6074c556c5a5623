"""A brain with plenty of time to be interrupted in."""

import asyncio
from collections.abc import AsyncGenerator

from apps.policy.prompt import Prompt
from apps.shared.settings import Settings


class SlowBrain:
    """Says a sentence, thinks for a while, and says another; a short line gets the first one only."""

    engine, model = "slow", ""

    def __init__(self, settings: Settings) -> None:
        """Nothing to set."""

    async def start(self, prompt: Prompt) -> None:
        """Nothing to load."""

    async def reply(self, prompt: Prompt) -> AsyncGenerator[str, None]:
        yield "Let me think about that for a while. "
        if "story" in prompt.line.text:
            await asyncio.sleep(4)
            yield "Once upon a time there was a fox."

    async def warm(self, prompt: Prompt) -> None:
        """Nothing to evaluate."""

    async def close(self) -> None:
        """Nothing to free."""
