from dataclasses import replace

import msgspec
import pytest

from apps.policy.persona import Sampling, load
from apps.policy.prompt import Line, Prompt, messages
from apps.policy.serving.dialect import STANDARD, Dialect

PROMPT = Prompt(load("kitsu"), (), Line("Bob", "hi", "chat"))
BODY = Dialect().body("m", PROMPT, 50)
EXTRAS = BODY.keys() - STANDARD - {"model", "messages", "stream", "max_tokens"}


def test_at_first_everything_is_said():
    """The persona's sampling under every name that some server knows, and no thinking."""
    sampling = Sampling(temperature=0.1, top_p=0.2, top_k=3, min_p=0.4, repeat_penalty=1.5)
    body = Dialect().body("m", replace(PROMPT, persona=replace(PROMPT.persona, sampling=sampling)), 50)
    assert body["model"] == "m"
    assert body["messages"] == messages(PROMPT)
    assert body["stream"] is True
    assert body["max_tokens"] == 50
    for name, value in msgspec.to_builtins(sampling).items():
        assert body[name] == value
    assert body["repetition_penalty"] == 1.5
    assert body["cache_prompt"] is True
    assert body["chat_template_kwargs"] == {"enable_thinking": False}


@pytest.mark.parametrize(
    ("words", "without"),
    [
        ("Unrecognized request argument supplied: top_k", {"top_k"}),
        ("Unrecognized request arguments supplied: cache_prompt, min_p", {"cache_prompt", "min_p"}),
        ('[{"type":"extra_forbidden","loc":["body","repeat_penalty"],"msg":"no"}]', {"repeat_penalty"}),
        ("Unsupported value: 'temperature' does not support 0.9 with this model.", {"temperature"}),
        ("property 'stop_top_k' is unknown", EXTRAS),
        ("Bad Request", EXTRAS),
        ("", EXTRAS),
    ],
)
def test_what_is_refused_is_left_out(words, without):
    """What the server names, or, when it names nothing, all that is not in OpenAI's own description."""
    dialect = Dialect().after(words, BODY)
    assert dialect is not None
    assert dialect.without == without
    assert dialect.body("m", PROMPT, 50).keys() == BODY.keys() - without


def test_the_limit_has_a_newer_name():
    """Models of OpenAI's that think want it, and other servers do not know it."""
    words = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
    dialect = Dialect().after(words, BODY)
    assert dialect == Dialect(limit="max_completion_tokens")
    body = dialect.body("m", PROMPT, 50)
    assert body["max_completion_tokens"] == 50
    assert "max_tokens" not in body


def test_it_comes_to_an_end():
    """A server that refuses everything is asked a few times, not for ever."""
    words = ["Bad Request", "use max_completion_tokens", "top_p, temperature", "Bad Request"]
    dialect: Dialect | None = Dialect()
    for each in words[:-1]:
        assert dialect is not None
        dialect = dialect.after(each, dialect.body("m", PROMPT, 50))
    assert dialect is not None
    body = dialect.body("m", PROMPT, 50)
    assert body.keys() == {"model", "messages", "stream", "max_completion_tokens"}
    assert dialect.after(words[-1], body) is None


def test_what_has_been_learnt_is_kept():
    """Each refusal adds to those before."""
    first = Dialect().after("top_k", BODY)
    assert first is not None
    second = first.after("min_p", first.body("m", PROMPT, 50))
    assert second is not None
    assert second.without == {"top_k", "min_p"}
