from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from apps.policy.models import tables
from apps.policy.models.choices import Card
from apps.policy.models.links import Link
from apps.policy.models.ollama_server import Loaded
from apps.policy.models.shelf import Model, Shelf
from apps.policy.models.show_light import Light
from apps.policy.models.tables import Status

GB = 10**9
CARD = Card("Fox 3000", 16380 * 1024**2, 1892 * 1024**2)
READY = Link("ollama", "ready", "llama3.1:8b", "Ollama 0.33.0 at http://127.0.0.1:11434")
AWAY = Link("ollama", "missing", "gemma3:12b", "no answer from Ollama", "Start Ollama.")
SCRIPTED = Link("scripted", "ready", detail="her own lines; needs nothing")
TAKEN = Model("llama3.1:8b", "ollama", 5 * GB, 6 * GB, "game", "Llama 3.1 Community", chosen=True)
LONG = Model("hf.co/somebody/Some-Very-Long-Name-GGUF:Q4_K_M", "ollama", 2 * GB, 3 * GB, "no", "x" * 40)
NEW = Model("gemma3:12b", "", 8 * GB, 10 * GB, "alone", "Gemma terms", note="the liveliest talker")
BROKEN = Model("half", "file", fault="it is cut off", fix="Download it again.")


def shelf(*models: Model, answers=READY, missing=(), **more) -> Shelf:
    return Shelf(models, CARD, answers, missing, **more)


def status(**more) -> Status:
    """The usual one, with these differences."""
    usual = Status("auto", (READY, SCRIPTED), READY, loaded=(), cards=(CARD,), ollama_settings={}, show=None)
    return replace(usual, **more)


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


@pytest.mark.parametrize("columns", [80, 120])
def test_no_line_is_wider_than_the_terminal(columns):
    """A terminal that breaks lines by itself would break the table."""
    everything = [
        tables.shelf(shelf(TAKEN, NEW, LONG, BROKEN, missing=(AWAY,)), columns),
        tables.status(status(loaded=(Loaded("x" * 30, 9 * GB, 5 * GB, 4096),)), columns),
        tables.before_pull("llama3.1:8b", 50 * GB, CARD, columns),
        tables.after_pull(TAKEN, CARD, columns, ["POLICY_MODEL=llama3.1:8b"]),
    ]
    assert [line for text in everything for line in text.splitlines() if len(line) > columns] == []


def test_the_list_says_where_how_large_and_whether_it_fits():
    """The one that answers is marked; a long name stands alone, so that it can be copied."""
    told = lines(tables.shelf(shelf(TAKEN, NEW, LONG, BROKEN), 80))
    assert "Fox 3000: 1.8 of 16 GB in use" in told
    assert "> llama3.1:8b Ollama 5.0 GB 6.0 GB with a game Llama 3.1 Community" in told
    assert "gemma3:12b to pull 8.0 GB 10.0 GB alone Gemma terms" in told
    assert "the liveliest talker" in told
    at = told.index(LONG.name)
    assert told[at + 1].startswith("Ollama 2.0 GB 3.0 GB too big xxx")
    assert told[at + 1].endswith("…")
    assert "half file ? ? - not stated" in told
    assert "cannot be used: it is cut off" in told
    assert "> is the one that she answers with." in told


def test_the_list_without_ollama_says_how_to_get_it():
    """Once, whether she would use it or not."""
    told = tables.shelf(shelf(NEW, answers=SCRIPTED, missing=(AWAY,), trouble="no answer", fix="x"), 80)
    assert "She answers with: her scripted lines." in told
    assert told.count("fix:") == 1
    assert "fix: Start Ollama." in told
    told = tables.shelf(shelf(NEW, answers=SCRIPTED, trouble="no answer", fix="Start it."), 80)
    assert "Ollama's own models are not listed: no answer" in told
    assert "fix: Start it." in told


def test_the_status_marks_what_answers():
    """Each engine of the chain with its state, and the fix of what is missing."""
    told = lines(tables.status(status(chain=(AWAY, SCRIPTED), answers=SCRIPTED), 80))
    assert told[0] == "POLICY_ENGINE=auto: the first of these that is ready answers (>)."
    assert "ollama missing gemma3:12b" in told
    assert "no answer from Ollama" in told
    assert "fix: Start Ollama." in told
    assert "> scripted ready her own lines; needs nothing" in told
    told = lines(tables.status(status(wanted="USE_STUB_POLICY", chain=(SCRIPTED,), answers=SCRIPTED), 80))
    assert told[0] == "USE_STUB_POLICY is on: only her scripted lines answer."


@pytest.mark.parametrize(
    ("vram", "words"),
    [
        (10, "100 % on the graphics card"),
        (6, "40 % on the processor: slow"),
        (0, "100 % on the processor: slow"),
    ],
)
def test_what_is_in_memory_says_where(vram, words):
    """The share that the processor has to do, and what helps, unless the card does it all."""
    told = tables.status(status(loaded=(Loaded("fox", 10 * GB, vram * GB, 4096),)), 120)
    assert f"fox  10.0 GB, {words}, context 4096 tokens" in told
    assert ("smaller model" in told) == (vram < 10)


def test_what_is_in_memory_says_until_when():
    """The time of day here, or that it stays."""
    now = datetime.now(UTC)
    soon = now + timedelta(minutes=5)
    told = tables.status(status(loaded=(Loaded("fox", GB, GB, 0, soon),)), 120)
    assert f"until {soon.astimezone():%H:%M}" in told
    told = tables.status(status(loaded=(Loaded("fox", GB, GB, 0, now + timedelta(days=9999)),)), 120)
    assert "for good" in told
    assert "In Ollama's memory now: nothing" in tables.status(status(), 120)
    assert "In Ollama's memory" not in tables.status(status(loaded=None), 120)


def test_the_status_tells_of_ollamas_settings_and_the_show():
    """As far as they are visible, and the fix that the show's light has."""
    light = Light("degraded", "scripted", "", "no answer from Ollama", "Start Ollama.")
    told = tables.status(status(ollama_settings={"OLLAMA_KV_CACHE_TYPE": "q8_0"}, show=light), 80)
    assert "OLLAMA_KV_CACHE_TYPE=q8_0" in told
    assert "The running show says: degraded scripted (no answer from Ollama)" in told
    assert "fix: Start Ollama." in told
    told = tables.status(status(cards=()), 80)
    assert "No show is running." in told
    assert "No NVIDIA graphics card was found" in told


def test_before_a_pull_what_is_known_is_said():
    """Size and memory from the table, space and card from this computer; nothing is made up."""
    told = " ".join(tables.before_pull("llama3.1:8b", 50 * GB, CARD, 80).split())
    assert told.startswith("Pulling llama3.1:8b: 4.9 GB, about 6.0 GB in memory. 50.0 GB are free")
    assert "The card has 16 GB." in told
    told = " ".join(tables.before_pull("fox", None, None, 80).split())
    assert told == "Pulling fox. Ctrl+C stops; the same command goes on later."


@pytest.mark.parametrize(
    ("fit", "words"),
    [("game", "room for a game"), ("alone", "little for a game"), ("no", "too much"), (None, "in memory.")],
)
def test_after_a_pull_it_says_whether_it_fits(fit, words):
    """In a sentence, with the licence and where its text is."""
    model = Model("fox", "ollama", 5 * GB, 6 * GB, fit, "MIT", kind="8B Q4_K_M")
    told = " ".join(tables.after_pull(model, CARD, 80, []).split())
    assert words in told
    assert "fox is there: 5.0 GB on disk (8B Q4_K_M)." in told
    assert "Licence: MIT. Its text: ollama show fox --license" in told
    assert told.endswith("She answers with it from now on.")


def test_after_a_pull_it_says_what_to_set():
    """When she asks for another; and nothing of that when she cannot use it."""
    told = tables.after_pull(TAKEN, CARD, 120, ["POLICY_ENGINE=auto", "POLICY_MODEL=llama3.1:8b"])
    assert "set POLICY_ENGINE=auto and POLICY_MODEL=llama3.1:8b in .env." in told
    told = tables.after_pull(Model("fox", "ollama", GB, fault="it cannot talk"), CARD, 120, ["x"])
    assert "She cannot answer with it: it cannot talk." in told
    assert "set" not in told


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "?"), (1, "0.1 MB"), (460_512, "0.5 MB"), (274 * 10**6, "0.3 GB"), (GB, "1.0 GB")],
)
def test_sizes_are_written_as_ollama_does(size_bytes, text):
    """Thousands, not 1024s; nothing that is there is 0."""
    assert tables.gb(size_bytes) == text
