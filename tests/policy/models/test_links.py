"""Which engines could answer, against strict stand-ins and real files."""

import importlib.util

import pytest

from apps.policy.models import choices, links
from apps.policy.models.choices import Card
from apps.policy.models.links import Link
from apps.policy.models.ollama_server import OllamaServer
from apps.shared.errors import SettingsError
from apps.shared.settings import Settings
from tests.fakes.gguf import write_gguf
from tests.fakes.ollama import FakeOllama
from tests.fakes.openai import FakeOpenAI
from tests.fakes.raw_http import answering, whole

NAME = "llama3.1:8b"


@pytest.fixture(autouse=True)
def card(monkeypatch):
    """A card of 12 GB, for which the table has llama3.1:8b."""
    monkeypatch.setattr(choices, "cards", lambda: (Card("Fox 3000", 12 * 1024**3, 0),))


@pytest.fixture
async def fake():
    async with FakeOllama(models=[NAME]) as fake:
        yield fake


@pytest.fixture
def settings(tmp_path, fake):
    def make(**values) -> Settings:
        return Settings(_env_file=None, aivt_data_dir=tmp_path, **({"ollama_host": fake.url} | values))

    return make


async def chain(settings: Settings) -> list[Link]:
    async with OllamaServer(settings.ollama_host) as server:
        return await links.links(settings, await links.ask(server))


async def test_ollama_with_the_wanted_model_is_ready(settings, fake):
    """The one that is set, else the one for the card; a name without a tag is the latest."""
    for wanted, answered in (("", NAME), (NAME, NAME), ("kitsu", "kitsu:latest")):
        fake.models[answered] = False
        ollama, scripted = await chain(settings(policy_model=wanted))
        assert ollama == Link("ollama", "ready", answered, f"Ollama 0.33.0 at {fake.url}")
        assert scripted.state == "ready"
        assert links.answering([ollama, scripted]) is ollama


async def test_ollama_without_the_model_says_how_to_get_it(settings):
    """Or which one of the table is there already."""
    ollama, scripted = await chain(settings(policy_model="gemma3:12b"))
    assert (ollama.state, ollama.model) == ("missing", "gemma3:12b")
    assert ollama.fix == f"aivt model pull gemma3:12b, or set POLICY_MODEL={NAME}"
    assert links.answering([ollama, scripted]) is scripted
    assert links.scripted_only(scripted)


async def test_ollama_away_says_how_to_start_it(settings, fake):
    """Its link carries the reason and the fix of the question that failed."""
    await fake.stop()
    ollama, _ = await chain(settings())
    assert ollama.state == "missing"
    assert "no answer from" in ollama.detail
    assert "ollama serve" in ollama.fix


async def test_a_model_in_the_cloud_is_called_one(settings, fake):
    """It would answer; that chat leaves the computer is said beside it."""
    fake.models["gpt-oss:120b-cloud"] = False
    ollama, _ = await chain(settings(policy_model="gpt-oss:120b-cloud"))
    assert ollama.state == "ready"
    assert "leaves this computer" in ollama.detail


async def test_a_file_is_looked_into(settings, tmp_path, fake):
    """A sound one takes over when Ollama is away; a cut or silent one says what is wrong."""
    await fake.stop()
    path = write_gguf(tmp_path / "fox.gguf")
    ollama, llamacpp, _ = found = await chain(settings(policy_gguf=str(path)))
    assert (ollama.state, llamacpp.state, llamacpp.model) == ("missing", "ready", "fox")
    assert links.answering(found) is llamacpp
    path.write_bytes(path.read_bytes()[:100_000])
    _, llamacpp, _ = await chain(settings(policy_gguf=str(path)))
    assert llamacpp.state == "missing"
    assert "cut off" in llamacpp.detail
    assert llamacpp.fix
    write_gguf(path, template=None)
    _, llamacpp, _ = await chain(settings(policy_gguf=str(path)))
    assert "no chat template" in llamacpp.detail
    _, llamacpp, _ = await chain(settings(policy_gguf="nothing-there"))
    assert "nothing-there" in llamacpp.detail


async def test_llama_cpp_that_is_not_installed_is_missing(settings, tmp_path, monkeypatch):
    """On a computer that has no wheel of it."""
    path = write_gguf(tmp_path / "fox.gguf")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    llamacpp, _ = await chain(settings(policy_engine="llamacpp", policy_gguf=str(path)))
    assert (llamacpp.state, llamacpp.detail) == ("missing", "xllamacpp is not installed")


async def test_a_model_server_is_asked_for_its_models(settings):
    """Its first, or the wanted one; an unknown one names what it has."""
    async with FakeOpenAI(models=["fox-7b"]) as server:
        values = {"policy_engine": "openai", "openai_base_url": server.url}
        openai, _ = await chain(settings(**values))
        assert openai == Link("openai", "ready", "fox-7b", f"at {server.url}")
        openai, _ = await chain(settings(**values, policy_model="cat-7b"))
        assert openai.state == "missing"
        assert "it has: fox-7b" in openai.detail


async def test_a_refused_key_is_not_shown(settings):
    """Neither key nor password stands in what is printed."""
    async with FakeOpenAI(models=["fox-7b"], key="right") as server:
        url = server.url.replace("http://", "http://me:secret@")
        values = {"policy_engine": "openai", "openai_base_url": url, "openai_api_key": "sk-wrong"}
        openai, _ = await chain(settings(**values))
    assert openai.state == "missing"
    assert "OPENAI_API_KEY" in openai.fix
    assert "sk-wrong" not in repr(openai)
    assert "secret" not in repr(openai)


@pytest.mark.parametrize("body", [b'{"data":[]}', b"<html></html>", b"[]"])
async def test_a_server_without_models_is_not_ready(settings, body):
    """An empty list, or an answer that is none."""
    async with answering(whole(body)) as url:
        openai, _ = await chain(settings(policy_engine="openai", openai_base_url=url))
    assert openai.state == "missing"
    assert openai.fix


async def test_a_model_server_that_is_away_is_missing(settings):
    """With the addresses of the usual ones."""
    openai, scripted = await chain(settings(policy_engine="openai", openai_base_url="http://127.0.0.1:1/v1"))
    assert openai.state == "missing"
    assert "OPENAI_BASE_URL" in openai.fix
    assert links.answering([openai, scripted]) is scripted


async def test_an_engine_of_ones_own_is_imported_and_not_started(settings):
    """It is taken as ready; one that does not exist is an error of the settings."""
    own, _ = await chain(settings(policy_engine="tests.fakes.brain:FakeBrain"))
    assert (own.engine, own.state) == ("tests.fakes.brain:FakeBrain", "ready")
    with pytest.raises(SettingsError):
        await chain(settings(policy_engine="olama"))


@pytest.mark.parametrize(
    ("values", "wants"),
    [
        ({}, False),
        ({"policy_engine": "scripted"}, False),
        ({"policy_engine": "ollama"}, True),
        ({"policy_model": NAME}, True),
        ({"policy_gguf": "fox"}, True),
        ({"policy_engine": "ollama", "use_stub_policy": True}, False),
    ],
)
async def test_what_the_settings_ask_for(settings, values, wants):
    """A newcomer who has set nothing misses nothing; the roll-back switch is a wish too."""
    assert links.wants_a_model(settings(**values)) is wants


async def test_what_has_to_be_set_for_a_pulled_model(settings):
    """Nothing for the one that she asks for anyway."""
    assert await links.to_answer_with(settings(), NAME) == []
    assert await links.to_answer_with(settings(policy_model="kitsu"), "kitsu:latest") == []
    assert await links.to_answer_with(settings(), "x:1b") == ["POLICY_MODEL=x:1b"]
    scripted = settings(policy_engine="scripted")
    assert await links.to_answer_with(scripted, NAME) == ["POLICY_ENGINE=auto"]
