import pytest

from apps.policy.models.ollama_server import OllamaServer, PullLine
from apps.shared.errors import EngineError, MissingError
from tests.fakes.ollama import FakeOllama
from tests.fakes.raw_http import answering, chunked, whole

NAME = "llama3.1:8b"


@pytest.fixture
async def fake():
    async with FakeOllama(models=[NAME, "gpt-oss:120b-cloud", "nomic-embed-text"]) as fake:
        yield fake


@pytest.fixture
async def server(fake):
    async with OllamaServer(fake.url) as server:
        yield server


async def test_it_tells_its_version_and_its_models(server):
    """Sizes in bytes, kind and where a model runs that is not here."""
    assert await server.version() == "0.33.0"
    model, cloud, embedder = await server.pulled()
    assert (model.name, model.size, model.remote_host) == (NAME, 4_920_753_328, "")
    assert model.details
    assert (model.details.parameter_size, model.details.quantization_level) == ("8.0B", "Q4_K_M")
    assert cloud.remote_host == "https://ollama.com:443"
    assert embedder.name == "nomic-embed-text:latest"


async def test_it_tells_everything_about_one_model(server):
    """Licence, metadata, and whether it can talk at all."""
    shown = await server.shown(NAME)
    assert shown.license.startswith("LLAMA 3.1 COMMUNITY")
    assert shown.model_info["llama.block_count"] == 32
    assert shown.talks
    assert not (await server.shown("nomic-embed-text")).talks


async def test_it_tells_what_is_in_memory(server, fake):
    """How much of it is on the card, with how much context, and until when."""
    assert await server.loaded() == []
    fake.on_card = 0.5
    async with server._server.post("/api/chat", {"model": NAME, "messages": [], "keep_alive": -1}) as loading:
        await loading.read()
    [loaded] = await server.loaded()
    assert loaded.size_vram * 2 == pytest.approx(loaded.size, abs=2)
    assert loaded.context_length == 4096
    assert loaded.expires_at
    assert loaded.expires_at.year > 2050


async def test_a_refusal_is_in_ollamas_words(server):
    """A model that it does not have."""
    with pytest.raises(EngineError, match="model 'nobody' not found"):
        await server.shown("nobody")


async def test_nobody_there_is_an_error_that_says_how_to_get_it(fake, server):
    """For every question, the pull too."""
    await fake.stop()
    for asked in (server.version(), server.pulled(), server.loaded(), server.shown(NAME)):
        with pytest.raises((MissingError, EngineError)) as caught:
            await asked
        assert caught.value.code == "ollama_unreachable"
        assert "https://ollama.com/download" in caught.value.fix
    with pytest.raises(EngineError, match="no answer from"):
        await anext(server.pull(NAME))


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "502 Bad Gateway"])
async def test_another_program_is_not_taken_for_ollama(status):
    """A page at Ollama's address, whatever its status."""
    async with (
        answering(whole(b"<html>Hi</html>", status, "text/html")) as url,
        OllamaServer(url) as server,
    ):
        with pytest.raises(MissingError) as caught:
            await server.version()
    assert "is not Ollama" in str(caught.value)
    assert "OLLAMA_HOST" in caught.value.fix


async def test_no_models_may_be_null():
    """Go writes an empty list as null where nobody has made one."""
    async with answering(whole(b'{"models":null}')) as url, OllamaServer(url) as server:
        assert await server.pulled() == []


async def test_a_pull_passes_on_what_comes():
    """Line by line; a status other than 200 is a line with its error."""
    packets = chunked(b'{"status":"pulling manifest"}\n', b'{"error":"file does not exist"}\n')
    async with answering(*packets) as url, OllamaServer(url) as server:
        lines = [line async for line in server.pull("x")]
    assert lines == [PullLine("pulling manifest"), PullLine(error="file does not exist")]
    refused = whole(b'{"error":"invalid model name"}', "400 Bad Request")
    async with answering(refused) as url, OllamaServer(url) as server:
        assert [line async for line in server.pull("x")] == [PullLine(error="invalid model name")]


async def test_a_pull_that_breaks_off_can_be_continued():
    """The connection ends in the middle of the stream."""
    packets = chunked(b'{"status":"pulling manifest"}\n')[:-1]
    async with answering(*packets) as url, OllamaServer(url) as server:
        with pytest.raises(EngineError) as caught:
            _ = [line async for line in server.pull("x")]
    assert caught.value.code == "pull_broken"
    assert caught.value.retryable
