"""The list of models, from the strict stand-in and real files."""

import pytest

from apps.policy.models import links, shelf
from apps.policy.models.choices import CHOICES
from apps.policy.models.links import Link
from apps.policy.models.ollama_server import OllamaServer, Pulled
from apps.policy.models.shelf import Model
from apps.shared.settings import Settings
from tests.fakes.gguf import write_adapter, write_gguf
from tests.fakes.ollama import FakeOllama
from tests.fakes.raw_http import answering, whole

CARD_BYTES = 12 * 1024**3
TABLE = [row.name for row in CHOICES]


@pytest.fixture
async def fake():
    names = ["llama3.1:8b", "qwen2.5:3b", "nomic-embed-text", "gpt-oss:120b-cloud"]
    async with FakeOllama(models=names) as fake:
        yield fake


@pytest.fixture
def settings(tmp_path, fake):
    def make(**values) -> Settings:
        return Settings(_env_file=None, aivt_data_dir=tmp_path, ollama_host=fake.url, **values)

    return make


async def listed(settings: Settings, card_bytes: int | None = CARD_BYTES) -> dict[str, Model]:
    async with OllamaServer(settings.ollama_host) as server:
        ollama = await links.ask(server)
        found = await shelf.models_there(server, ollama, settings, card_bytes)
    assert len({(model.name, model.place) for model in found}) == len(found)
    return {model.name: model for model in found}


async def test_the_table_comes_first_with_what_is_there(settings):
    """Each recommended model once, as Ollama has it or as the table describes it."""
    found = await listed(settings())
    assert list(found)[:4] == TABLE
    there, away = found["llama3.1:8b"], found["gemma3:12b"]
    assert (there.place, there.disk_bytes, there.kind) == ("ollama", 4_920_753_328, "8.0B Q4_K_M")
    assert (there.licence, there.fit) == ("Llama 3.1 Community", "game")
    assert (away.place, away.disk_bytes, away.licence) == ("", 8_100_000_000, "Gemma terms")
    assert away.fit == "alone"
    assert there.note
    assert away.note


async def test_what_cannot_or_should_not_talk_says_so(settings):
    """A model that only makes vectors, and one that runs in a cloud."""
    found = await listed(settings())
    assert "cannot talk" in found["nomic-embed-text:latest"].fault
    cloud = found["gpt-oss:120b-cloud"]
    assert cloud.place == "cloud"
    assert "leave this computer" in cloud.note
    assert found["qwen2.5:3b"].licence == "non-commercial (Qwen Research)"


async def test_without_a_card_nothing_is_said_to_fit(settings):
    """The estimate of its memory is there all the same."""
    model = (await listed(settings(), None))["llama3.1:8b"]
    assert model.fit is None
    assert model.vram_bytes > model.disk_bytes


async def test_without_ollama_the_table_and_the_files_are_left(settings, tmp_path, fake):
    """She can be told what to get before Ollama is there."""
    await fake.stop()
    (tmp_path / "models").mkdir()
    write_gguf(tmp_path / "models" / "fox.gguf")
    found = await listed(settings())
    assert list(found) == [*TABLE, "fox"]
    assert all(model.place == "" for model in found.values() if model.name != "fox")


async def test_files_are_looked_into(settings, tmp_path):
    """Size, memory, licence and kind of a sound one; what is wrong with another, and how to mend it."""
    folder = tmp_path / "models"
    folder.mkdir()
    write_gguf(folder / "fox.gguf", general__license="apache-2.0")
    write_gguf(folder / "mute.GGUF", template=None)
    write_adapter(folder / "lora.gguf")
    (folder / "notes.txt").write_text("no model")
    elsewhere = write_gguf(tmp_path / "own.gguf")
    found = await listed(settings(policy_gguf=str(elsewhere)))
    fox = found["fox"]
    assert (fox.place, fox.licence, fox.fit, fox.fault) == ("file", "Apache-2.0", "game", "")
    assert fox.disk_bytes == (folder / "fox.gguf").stat().st_size
    assert "no chat template" in found["mute"].fault
    assert found["lora"].fault
    assert found["lora"].fix
    assert found["own"].place == "file"
    assert "notes" not in found


async def test_the_wanted_file_is_listed_once(settings, tmp_path):
    """POLICY_GGUF may be one of the folder."""
    (tmp_path / "models").mkdir()
    write_gguf(tmp_path / "models" / "fox.gguf")
    assert list(await listed(settings(policy_gguf="fox")))[-1] == "fox"
    assert "gone" not in await listed(settings(policy_gguf="gone"))


@pytest.mark.parametrize(
    ("engine", "model", "chosen"),
    [
        ("ollama", "llama3.1:8b", ("llama3.1:8b", "ollama")),
        ("ollama", "gpt-oss:120b-cloud", ("gpt-oss:120b-cloud", "cloud")),
        ("llamacpp", "fox", ("fox", "file")),
        ("scripted", "", None),
        ("openai", "fox", None),
    ],
)
def test_the_one_that_would_answer_is_marked(engine, model, chosen):
    """One, or none when what answers is no model of this list."""
    found = [
        Model("llama3.1:8b", "ollama"),
        Model("gpt-oss:120b-cloud", "cloud"),
        Model("fox", "file"),
        Model("fox", "ollama"),
        Model("gemma3:12b", ""),
    ]
    marked = [
        (each.name, each.place) for each in shelf.choose(found, Link(engine, "ready", model)) if each.chosen
    ]
    assert marked == ([chosen] if chosen else [])


async def test_a_model_that_ollama_cannot_show_is_still_listed():
    """Its manifest is damaged: the others are listed, and this one says what Ollama says."""
    refused = whole(b'{"error":"unexpected EOF"}', "500 Internal Server Error")
    async with answering(refused) as url, OllamaServer(url) as server:
        pulled = Pulled("fox:latest", 5)
        model = await shelf.of_ollama(server, pulled, CARD_BYTES)
    assert (model.name, model.place, model.disk_bytes) == ("fox:latest", "ollama", 5)
    assert "unexpected EOF" in model.fault
    assert model.fix
