"""`aivt bench brains`, in short, with a model that says what the test has written down."""

import argparse

import pytest

from apps.shared.errors import AivtError, MissingError
from scripts.bench import brains
from tests.fakes.gguf import TEMPLATE, write_gguf

ENDLESS = {"reply": " LUL", "loop": True}


@pytest.fixture
def model(folder, monkeypatch):
    """Write a model and let the settings name it."""

    def write(**options):
        (folder / "models").mkdir()
        monkeypatch.setenv("POLICY_GGUF", "fox")
        return write_gguf(folder / "models/fox.gguf", **options)

    return write


def test_without_a_model_there_is_nothing_to_measure(folder):
    """The error says how to name one: exit code 3."""
    with pytest.raises(MissingError, match="POLICY_GGUF") as caught:
        brains.main(argparse.Namespace(turns=1, json=True))
    assert caught.value.fix


def test_a_conversation_ends_with_the_line_that_it_began_with():
    """Else the first turn would be quicker or slower than the tenth for what is in it."""
    assert len(brains.CONVERSATION) == 10
    assert brains.CONVERSATION[0] == brains.CONVERSATION[-1]
    assert len(set(brains.CONVERSATION)) == 9


@pytest.mark.real
@pytest.mark.timeout(120)
def test_brains(run, model):
    """Both answer the same lines; warming up leaves less to read; replies are left in both moments."""
    model(**ENDLESS)
    report = run(brains, turns=2)
    figures = report["figures"]
    assert report["notes"] == {"model": "fox.gguf"}
    assert figures["alone_first_token_ms_count"] == figures["ours_first_token_ms_count"] == 2
    for kind in ("warm", "unwarmed"):
        for name, turns in (("turn_1", 1), ("turns_2_to_9", 8), ("turn_10", 1)):
            assert figures[f"{kind}_{name}_first_token_ms_count"] == turns
            assert figures[f"{kind}_{name}_read_tokens_p50"] > 0
    assert figures["warm_turn_10_read_tokens_p50"] < figures["unwarmed_turn_10_read_tokens_p50"]
    assert figures["warm_turn_10_read_tokens_p50"] == figures["warm_turn_1_read_tokens_p50"]
    assert figures["free_while_writing_ms_count"] == 1
    assert figures["a_batch_ms"] > figures["a_token_ms"] > 0


@pytest.mark.real
@pytest.mark.timeout(60)
def test_a_model_that_says_nothing_is_told(model):
    """Its first token cannot be timed, and that is not taken for a fast one."""
    model(
        reply="Hm", template=TEMPLATE.replace("assistant\n", "assistant\nHm")
    )  # all is said before she begins
    with pytest.raises(AivtError, match="the model said nothing") as caught:
        brains.main(argparse.Namespace(turns=1, json=True))
    assert "POLICY_GGUF" in caught.value.fix
