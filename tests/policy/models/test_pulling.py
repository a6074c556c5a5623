"""What a pull tells, against the strict stand-in, and every way in which it ends early."""

import asyncio
from contextlib import aclosing

import pytest

from apps.policy.models import pulling
from apps.policy.models.ollama_server import OllamaServer, PullLine
from apps.policy.models.pulling import Layers, Progress, checked_name, failure
from apps.shared.errors import AivtError, EngineError, MissingError, SettingsError
from tests.fakes.ollama import FakeOllama
from tests.fakes.ollama_library import FACTS, PullFault

NAME = "llama3.1:8b"
SIZE = FACTS[NAME].size
MODEL, LICENCE = "sha256:aa", "sha256:bb"


@pytest.fixture
async def fake():
    async with FakeOllama(models=[], library=[NAME]) as fake:
        yield fake


@pytest.fixture
async def server(fake):
    async with OllamaServer(fake.url) as server:
        yield server


async def everything(lines, name=NAME, **more) -> list[Progress]:
    async with aclosing(pulling.pull(lines, name, **more)) as progress:
        return [now async for now in progress]


async def written(*lines: PullLine, pause_s: float = 0.0):
    """Lines that the test has written down, at a pace; then silence."""
    for line in lines:
        await asyncio.sleep(pause_s)
        yield line
    await asyncio.Event().wait()


# --- what it tells ---


async def test_a_pull_counts_the_bytes_of_all_layers(server, fake):
    """From nothing to all of it, through the states in Ollama's order; afterwards the model is there."""
    told = await everything(server.pull(NAME))
    assert told[0] == Progress("pulling manifest")
    assert [now.done_bytes for now in told] == sorted(now.done_bytes for now in told)
    assert told[-1] == Progress("success", SIZE, SIZE)
    assert [now.status for now in told][-3:] == ["verifying sha256 digest", "writing manifest", "success"]
    assert fake.models == {NAME: False}


async def test_a_pull_that_was_stopped_goes_on_where_it_was(server, fake):
    """Closing the progress stops Ollama; the next pull begins with what is there."""
    fake.downloads.bytes_per_s = SIZE / 0.6
    async with aclosing(pulling.pull(server.pull(NAME), NAME)) as progress:
        async for now in progress:
            if now.done_bytes:
                break
    kept = sum(fake.downloads.partial.values())
    fake.downloads.bytes_per_s = 0
    again = await everything(server.pull(NAME))
    assert 0 < kept < SIZE
    assert again[1].done_bytes >= kept
    assert again[-1].status == "success"


def test_layers_are_added_up_whatever_their_order():
    """Layers may come mixed; a line without bytes keeps the sum; more than all is all."""
    layers = Layers()
    layers.take(PullLine("pulling aa", MODEL, 900))
    layers.take(PullLine("pulling bb", LICENCE, 100, 150))
    assert layers.take(PullLine("pulling aa", MODEL, 900, 300)) == Progress("pulling aa", 400, 1000)
    assert layers.take(PullLine("verifying sha256 digest")) == Progress("verifying sha256 digest", 400, 1000)


# --- how it ends early ---


@pytest.mark.parametrize(
    ("fault", "kind", "code", "words"),
    [
        (PullFault.DISK_FULL, MissingError, "disk_full", "OLLAMA_MODELS"),
        (PullFault.OFFLINE, EngineError, "no_network", "internet"),
        (PullFault.TOO_OLD, MissingError, "ollama_too_old", "Update Ollama"),
        (PullFault.DIGEST, EngineError, "digest_mismatch", "same command again"),
        (PullFault.NO_SUCCESS, EngineError, "pull_incomplete", "goes on where it stopped"),
        (PullFault.GARBAGE, EngineError, "garbage", "OLLAMA_HOST"),
    ],
)
async def test_a_fault_is_one_error_with_its_fix(server, fake, fault, kind, code, words):
    """Each in our words, and the same command works once it is mended."""
    fake.pull_faults.append(fault)
    with pytest.raises(kind) as caught:
        await everything(server.pull(NAME))
    assert caught.value.code == code
    assert "\n" not in str(caught.value)
    assert words in caught.value.fix
    assert (await everything(server.pull(NAME)))[-1].status == "success"


async def test_an_unknown_model_names_the_one_that_was_meant(server):
    """The nearest of the known names, or the place to look in."""
    with pytest.raises(SettingsError) as caught:
        await everything(server.pull("lama3.1:8b"), "lama3.1:8b", known=["gemma3:12b", NAME])
    assert caught.value.code == "unknown_model"
    assert caught.value.fix == f"Did you mean: aivt model pull {NAME}"
    with pytest.raises(SettingsError) as caught:
        await everything(server.pull("xyz"), "xyz", known=[NAME])
    assert "ollama.com/library" in caught.value.fix


async def test_a_server_that_goes_away_is_said_to_go_on_later(server, fake):
    """Ollama that is closed in the middle of a download."""
    fake.pull_faults.append(PullFault.SILENT)

    async def broken():
        async with aclosing(server.pull(NAME)) as lines:
            async for line in lines:
                if line.completed > SIZE // 3:
                    await fake.stop()
                yield line

    with pytest.raises(EngineError) as caught:
        await everything(broken())
    assert caught.value.code == "pull_broken"
    assert "goes on where it stopped" in caught.value.fix


async def test_too_little_space_is_noticed_before_the_download(server, fake):
    """What is still to come is compared with what was free, not the whole model."""
    fake.downloads.bytes_per_s = SIZE / 0.6
    with pytest.raises(MissingError) as caught:
        await everything(server.pull(NAME), free_bytes=SIZE // 2)
    assert caught.value.code == "disk_full"
    assert "4.9 GB more, and 2.5 GB are free" in str(caught.value)
    assert NAME not in fake.models
    fake.downloads.bytes_per_s = 0
    model, *_ = fake.downloads.partial
    fake.downloads.partial[model] = SIZE * 3 // 4
    assert (await everything(server.pull(NAME), free_bytes=SIZE // 2))[-1].status == "success"


@pytest.mark.looptime
@pytest.mark.parametrize("lines", [(), (PullLine("pulling aa", MODEL, 900, 300),) * 3000])
async def test_a_download_without_a_new_byte_ends_after_two_minutes(lines):
    """Also when its lines come on: Ollama sends one every 60 ms, whatever happens."""
    started_s = asyncio.get_running_loop().time()
    with pytest.raises(EngineError) as caught:
        await everything(written(*lines, pause_s=0.06))
    assert caught.value.code == "pull_stalled"
    assert asyncio.get_running_loop().time() - started_s == pytest.approx(120, abs=0.1)


@pytest.mark.looptime
async def test_layers_that_take_turns_without_a_byte_are_no_progress():
    """A state that was there before does not set the clock back."""
    lines = [PullLine(f"pulling {digest}", digest, 900, 300) for digest in (MODEL, LICENCE)] * 1500
    with pytest.raises(EngineError) as caught:
        await everything(written(*lines, pause_s=0.06))
    assert caught.value.code == "pull_stalled"


@pytest.mark.looptime
async def test_a_slow_download_and_a_long_check_are_waited_for():
    """A byte every 100 s is enough; reading 8 GB for their checksum takes minutes without a line."""
    slow = [PullLine("pulling aa", MODEL, 4, done) for done in (0, 1, 2, 3, 4)]
    with pytest.raises(EngineError) as caught:
        await everything(written(*slow, PullLine("verifying sha256 digest"), pause_s=100))
    assert caught.value.code == "pull_stalled"
    assert asyncio.get_running_loop().time() == pytest.approx(600 + 900, abs=1)


@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        ("write C:\\models\\x: There is not enough space on the disk.", "disk_full", 3),
        ("pull model manifest: file does not exist", "unknown_model", 2),
        ("pull model manifest: 412: requires a newer version of Ollama", "ollama_too_old", 3),
        ("pull model manifest: 401: {}", "pull_refused", 1),
        ("pull model manifest: 429: Too Many Requests", "too_many_requests", 1),
        ("pull model manifest: 503: upstream", "no_network", 1),
        ("max retries exceeded: unexpected EOF", "no_network", 1),
        ("Head x: net/http: TLS handshake timeout", "no_network", 1),
        ("invalid model name", "bad_name", 2),
        ("something new", "pull_failed", 1),
    ],
)
def test_ollamas_words_are_understood(words, code, exit_code):
    """As Ollama writes them on Windows and Linux; words nobody knows are passed on."""
    error = failure(words, NAME)
    assert (error.code, error.exit_code) == (code, exit_code)
    assert isinstance(error, AivtError)
    assert error.fix
    assert code != "pull_failed" or words in str(error)


# --- names ---


@pytest.mark.parametrize(
    "name",
    ["llama3.1", NAME, " qwen3:4b-instruct\n", "user/model", "hf.co/a/b-GGUF:Q4_K_M", "localhost:5000/a/b:c"],
)
def test_names_of_the_library_are_taken(name):
    """With a tag or without, of a user, or of another library; a blank of copying is dropped."""
    assert checked_name(name) == name.strip()


@pytest.mark.parametrize(
    "name",
    ["", "llama 3", "https://ollama.com/library/x", "-f", "../x", "a:b:c", "a//b", "läma", "x" * 201, "a\nb"],
)
def test_what_cannot_be_a_name_is_refused(name):
    """Before anything is asked, with an example of one."""
    with pytest.raises(SettingsError) as caught:
        checked_name(name)
    assert caught.value.code == "bad_name"
    assert "llama3.1:8b" in caught.value.fix


@pytest.mark.parametrize("name", ["gpt-oss:120b-cloud", "deepseek:CLOUD"])
def test_a_model_in_the_cloud_is_refused(name):
    """Nothing that chat says leaves this computer unnoticed."""
    with pytest.raises(SettingsError) as caught:
        checked_name(name)
    assert caught.value.code == "cloud_model"
