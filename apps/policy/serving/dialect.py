"""Which parameters a server takes, pure: all that are known, until it has refused some."""

import re
from dataclasses import dataclass, replace
from typing import Any

from apps.policy.prompt import Prompt, messages

# In OpenAI's own description of the protocol. The rest is llama.cpp's, vLLM's and LM Studio's.
STANDARD = frozenset({"temperature", "top_p"})


@dataclass(frozen=True, slots=True)
class Dialect:
    """What is left out, and how the limit of a reply is called."""

    without: frozenset[str] = frozenset()
    limit: str = "max_tokens"

    def body(self, model: str, prompt: Prompt, limit_tokens: int) -> dict[str, Any]:
        """Return the body of a request."""
        known = _parameters(prompt)
        return {
            "model": model,
            "messages": messages(prompt),
            "stream": True,
            self.limit: limit_tokens,
            **{name: value for name, value in known.items() if name not in self.without},
        }

    def after(self, words: str, body: dict[str, Any]) -> "Dialect | None":
        """Return what to try once the server has refused `body` with these words.

        Servers refuse what they do not know, or a value of it, with 400 or 422; most name what they mean.
        None: there is nothing left to leave out.
        """
        if self.limit == "max_tokens" and "max_completion_tokens" in words:
            return replace(self, limit="max_completion_tokens")
        sent = body.keys() - {"model", "messages", "stream", self.limit}
        named = {name for name in sent if re.search(rf"\b{name}\b", words)}
        unwanted = named or sent - STANDARD
        return replace(self, without=self.without | unwanted) if unwanted else None


def _parameters(prompt: Prompt) -> dict[str, Any]:
    sampling = prompt.persona.sampling
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repeat_penalty": sampling.repeat_penalty,  # llama.cpp, LM Studio
        "repetition_penalty": sampling.repeat_penalty,  # vLLM
        "cache_prompt": True,
        "chat_template_kwargs": {"enable_thinking": False},
    }
