"""What a brain engine is: a prompt in, a stream of text pieces out."""

from collections.abc import AsyncGenerator
from typing import Protocol

from apps.policy.prompt import Prompt


class Brain(Protocol):
    """A language model, or what stands in for one.

    Engines are chosen by name or import string (apps.shared.engines) and built as `Engine(settings)`
    without doing any work; `start` does it.
    """

    engine: str  # the engine's name, as in POLICY_ENGINE ("ollama")
    model: str  # which of its models ("qwen3:8b"); "" when there is only one

    async def start(self, prompt: Prompt) -> None:
        """Load the model and evaluate what every prompt begins with, so that the first turn is not slower.

        `prompt` is a sample of what is to come. May be called again after a failure.
        Raises MissingError (server away, model not pulled) or EngineError, each with its fix.
        """

    def reply(self, prompt: Prompt) -> AsyncGenerator[str, None]:
        """Stream the reply, piece by piece as the model makes it.

        There is no deadline in it: who reads it puts one on each wait (apps.policy.deadlines).
        `aclose()` on the generator, or cancelling the task that reads it, aborts the generation at once.
        A stream that ends without an error is a whole reply. Raises EngineError (code, fix, retryable).
        """

    async def warm(self, prompt: Prompt) -> None:
        """Evaluate a prompt that is likely to come, so that its reply begins sooner; keep the model loaded.

        Makes no text. Cancelling it frees the model at once. Raises EngineError.
        """

    async def close(self) -> None:
        """Let go of connections and models."""
