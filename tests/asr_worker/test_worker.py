import asyncio
import contextlib
import subprocess
import sys
import wave
from concurrent.futures import Executor, Future

import pytest

from apps.asr_worker import recognisers
from apps.asr_worker import worker as asr_worker
from apps.asr_worker.sound import FRAME_S, FRAME_SAMPLES, RATE_HZ, Block
from apps.asr_worker.worker import PROBE_S, RETRY_S, Asr
from apps.shared.errors import AivtError, EngineError, MissingError, SettingsError
from apps.shared.messages import (
    Ears,
    Health,
    HerVoice,
    Message,
    NoWords,
    Output,
    Partial,
    PlayFile,
    Transcript,
    UtteranceStarted,
    Vocabulary,
)
from apps.shared.settings import PROJECT_DIR, Settings
from tests.asr_worker.scripted_sound import WORD_S, Reader, SteadyVad, spoken
from tests.fakes.executor import Inline

pytestmark = pytest.mark.looptime


class Microphone:
    """A source that gives what a test puts in, in real time."""

    name = "microphone"
    lost_s = 0.0

    def __init__(self, now_s, on_change):
        self.now_s, self.on_change = now_s, on_change
        self.trouble: AivtError | None = None
        self.blocks: asyncio.Queue[Block | None] = asyncio.Queue()
        self.runs = False

    async def run(self):
        self.runs = True
        try:
            await asyncio.Event().wait()
        finally:
            self.runs = False

    async def read(self):
        return await self.blocks.get()

    async def say(self, text):
        samples = spoken(text)
        for start in range(0, len(samples), FRAME_SAMPLES):
            at_s = self.now_s()
            await asyncio.sleep(FRAME_S)
            self.blocks.put_nowait(Block(samples[start : start + FRAME_SAMPLES], at_s))
        await asyncio.sleep(0.001)

    def fail(self, trouble):
        self.trouble = trouble
        self.on_change()


class Held(Executor):
    """Runs nothing until it is let go."""

    def __init__(self):
        self.waiting = []

    def submit(self, call, /, *args, **kwargs):
        future: Future[object] = Future()
        self.waiting.append(lambda: future.set_result(call(*args, **kwargs)))
        return future

    def let_go(self):
        for finish in self.waiting:
            finish()

    def shutdown(self, wait=True, *, cancel_futures=False):
        """Nothing runs."""


class Rig:
    """A worker under test, its microphone and its recogniser."""

    def __init__(self, monkeypatch, settings, loader=None):
        self.sent: list[Message] = []
        self.reader, self.vad = Reader(), SteadyVad()
        self.loads = 0
        self.refuses: list[AivtError] = []
        self.microphone = None
        now_s = asyncio.get_running_loop().time

        def open_source(settings, now_s, on_change):
            if settings.asr_input == "none":
                return None
            self.microphone = Microphone(now_s, on_change)
            return self.microphone

        def load(_settings):
            self.loads += 1
            if self.refuses:
                raise self.refuses.pop(0)
            return self.reader

        monkeypatch.setattr(asr_worker, "open_source", open_source)
        monkeypatch.setattr(asr_worker, "open_vad", lambda _setting: self.vad)
        monkeypatch.setattr(recognisers, "load", load)
        self.asr = Asr(settings, self.sent.append, now_s, Inline(), loader)
        self.task = asyncio.create_task(self.asr.run())

    async def ready(self):
        async with asyncio.timeout(5):
            while not self.asr.health().ready:
                await asyncio.sleep(0.001)

    def of(self, kind):
        return [message for message in self.sent if isinstance(message, kind)]

    def texts(self):
        return [message.text for message in self.of(Transcript)]

    @property
    def light(self):
        health = self.asr.health()
        return health.state, health.ready


@pytest.fixture
async def start(monkeypatch, tmp_path):
    """Start ears; the arguments are settings, and the loader."""
    async with contextlib.AsyncExitStack() as stack:

        def make(loader=None, refuses=(), **values):
            settings = Settings(**{"_env_file": None, "aivt_data_dir": tmp_path, **values})
            rig = Rig(monkeypatch, settings, loader)
            rig.refuses = list(refuses)
            stack.push_async_callback(asyncio.wait, {rig.task})
            stack.callback(rig.task.cancel)
            return rig

        yield make


def write(path, text, rate_hz=RATE_HZ):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((spoken(text) * 32767).astype("<i2").tobytes())
    return str(path)


async def test_what_the_microphone_hears(start):
    """It is told from its first voice to its text."""
    rig = start()
    await rig.ready()
    assert rig.light == ("ok", True)
    assert (rig.asr.health().engine, rig.asr.health().model) == ("reader", "steady")
    await rig.microphone.say("_ hello kitsu what _ _ _ _")
    assert len(rig.of(UtteranceStarted)) == 1
    assert rig.of(Partial)[-1].complete
    assert rig.texts() == ["hello kitsu what"]


async def test_a_model_that_takes_a_minute(start):
    """The light says what is loaded; wishes of that minute are obeyed, and the microphone stays closed."""
    loader = Held()
    rig = start(loader, asr_model="small.en", asr_hotwords="Mika")
    while not loader.waiting:
        await asyncio.sleep(0)
    health = rig.asr.health()
    assert (health.state, health.ready) == ("starting", False)
    assert "small.en" in health.reason
    assert not rig.microphone.runs
    rig.asr.receive(Vocabulary(words=("Kitsu",)))
    rig.asr.receive(Ears(on=True, push_to_talk=True))
    loader.let_go()
    await rig.ready()
    await asyncio.sleep(0)
    await rig.microphone.say("hello kitsu _ _ _ _")
    assert rig.texts() == []
    rig.asr.receive(Ears(on=True))
    await rig.microphone.say("hello kitsu _ _ _ _")
    assert rig.texts() == ["hello kitsu"]
    assert rig.reader.vocabulary == ("Mika", "Kitsu")
    assert [health.state for health in rig.of(Health)] == ["starting", "ok"]


async def test_her_voice_while_the_model_is_loaded(start):
    """What began before she could hear is held as well."""
    loader = Held()
    rig = start(loader, echo_mode="speakers")
    while not loader.waiting:
        await asyncio.sleep(0)
    rig.asr.receive(HerVoice(sounding=True, text="hello kitsu", at_s=0))
    loader.let_go()
    await rig.ready()
    await asyncio.sleep(0)
    await rig.microphone.say("hello kitsu _ _ _ _")
    assert rig.of(UtteranceStarted) == []


async def test_no_model(start):
    """The light is off and says how to get one, the show goes on, and a model that is there later is used."""
    missing = MissingError("no_model", "there is no model to hear with", fix="Run aivt hearing --download.")
    rig = start(refuses=[missing, missing])
    await asyncio.sleep(1)
    health = rig.asr.health()
    assert (health.state, health.ready, health.fix) == ("off", False, "Run aivt hearing --download.")
    assert not rig.microphone.runs
    await asyncio.sleep(2 * PROBE_S)
    assert (rig.loads, rig.light) == (3, ("ok", True))
    await rig.microphone.say("hello kitsu _ _ _ _")
    assert rig.texts() == ["hello kitsu"]


async def test_a_model_that_does_not_load(start):
    """The light is red with the reason; it is tried again, but not often."""
    broken = EngineError("broken", "the model is damaged", fix="Download it again.")
    rig = start(refuses=[broken])
    await asyncio.sleep(1)
    health = rig.asr.health()
    assert (health.state, health.reason, health.fix) == ("down", "the model is damaged", "Download it again.")
    await asyncio.sleep(RETRY_S - 2)
    assert rig.loads == 1
    await asyncio.sleep(2)
    assert rig.light == ("ok", True)


async def test_settings_that_cannot_be_used(start):
    """End the process with their fix."""
    rig = start(refuses=[SettingsError("unknown_engine", "ASR_ENGINE='robot' is not an engine", fix="...")])
    await asyncio.wait({rig.task})
    with pytest.raises(BaseExceptionGroup) as raised:
        await rig.task
    assert raised.group_contains(SettingsError, match="ASR_ENGINE")


async def test_without_a_microphone(start):
    """ASR_INPUT=none loads nothing and says so."""
    rig = start(asr_input="none")
    await asyncio.sleep(60)
    assert rig.loads == 0
    assert rig.light == ("off", False)
    assert "ASR_INPUT" in rig.asr.health().fix


@pytest.mark.parametrize("asr_input", ["none", ""], ids=["no microphone", "no model"])
def test_nothing_heavy_is_loaded_for_nothing(tmp_path, asr_input):
    """A process that hears nothing costs no memory worth speaking of."""
    heavy = {"faster_whisper", "ctranslate2", "onnxruntime", "av", "torch"}
    script = f"""
import asyncio, sys
from apps.asr_worker.worker import Asr
from apps.shared.settings import Settings

async def main():
    settings = Settings(_env_file=None, aivt_data_dir={str(tmp_path)!r}, asr_input={asr_input!r})
    asr = Asr(settings, print)
    task = asyncio.create_task(asr.run())
    while asr.health().state == "starting":
        await asyncio.sleep(0.01)
    assert asr.health().state == "off", asr.health()
    task.cancel()

asyncio.run(main())
print("loaded:", *sorted({heavy!r} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT_DIR, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "loaded:"


async def test_a_microphone_that_is_lost(start):
    """The light is red with the reason and the fix, and green again by itself."""
    rig = start()
    await rig.ready()
    lost = MissingError("microphone_lost", "the microphone Blue Yeti has gone", fix="Plug it in again.")
    rig.microphone.fail(lost)
    health = rig.of(Health)[-1]
    assert (health.state, health.ready, health.reason, health.fix) == ("down", False, str(lost), lost.fix)
    rig.microphone.fail(None)
    assert rig.of(Health)[-1].state == "ok"
    await rig.microphone.say("hello kitsu _ _ _ _")
    assert rig.texts() == ["hello kitsu"]


async def test_a_microphone_that_is_lost_in_mid_word(start):
    """What was said up to then is told soon, though no silence follows it, and with a held key as well."""
    rig = start()
    await rig.ready()
    await rig.microphone.say("hello kitsu")
    await asyncio.sleep(1.5)
    assert rig.texts() == ["hello kitsu"]
    rig.asr.receive(Ears(on=True, push_to_talk=True, talking=True))
    await rig.microphone.say("yes go on")
    await asyncio.sleep(1.5)
    assert rig.texts() == ["hello kitsu", "yes go on"]


async def test_a_microphone_that_is_too_loud(start):
    """She hears all the same, under a yellow light."""
    rig = start()
    await rig.ready()
    rig.microphone.fail(AivtError("clipped", "too loud", fix="Turn it down."))
    assert rig.light == ("degraded", True)


async def test_a_recogniser_that_is_not_what_was_wanted(start):
    """It works, under a yellow light."""
    rig = start()
    rig.reader.trouble = MissingError("no_cuda", "cublas64_12.dll is missing", fix="Run aivt setup cuda.")
    await rig.ready()
    health = rig.asr.health()
    assert (health.state, health.fix) == ("degraded", "Run aivt setup cuda.")


async def test_a_voice_detector_that_is_not_what_was_wanted(start):
    """She hears with the other one, under a yellow light."""
    rig = start()
    rig.vad.trouble = MissingError("silero_missing", "webrtc listens instead", fix="Run up again.")
    await rig.ready()
    assert rig.light == ("degraded", True)
    assert rig.asr.health().reason == "webrtc listens instead"


async def test_a_decode_that_fails(start):
    """The light is yellow until one goes well."""
    rig = start()
    await rig.ready()
    rig.reader.fails = EngineError("memory", "out of memory", fix="Choose a smaller ASR_MODEL.")
    await rig.microphone.say("hello kitsu _ _ _ _")
    assert [message.code for message in rig.of(NoWords)] == ["failed"]
    assert (rig.of(Health)[-1].state, rig.of(Health)[-1].fix) == ("degraded", "Choose a smaller ASR_MODEL.")
    rig.reader.fails = None
    await rig.microphone.say("hello kitsu _ _ _ _")
    assert rig.of(Health)[-1].state == "ok"


async def test_ears_off(start):
    """The light is off, what is said is forgotten, and the microphone stays open."""
    rig = start()
    await rig.ready()
    await rig.microphone.say("hello kitsu")
    rig.asr.receive(Ears(on=False))
    await rig.microphone.say("what do you think _ _ _ _")
    assert [message.code for message in rig.of(NoWords)] == ["forgotten"]
    assert rig.texts() == []
    assert rig.light == ("off", False)
    assert rig.microphone.runs
    rig.asr.receive(Ears(on=True))
    assert rig.light == ("ok", True)


async def test_the_settings_are_the_first_wish(start):
    """ASR_MODE=push waits for the key until it is told otherwise."""
    rig = start(asr_mode="push")
    await rig.ready()
    await rig.microphone.say("hello kitsu _ _ _ _")
    assert rig.sent == [message for message in rig.sent if not isinstance(message, UtteranceStarted)]
    rig.asr.receive(Ears(on=True, push_to_talk=True, talking=True))
    await rig.microphone.say("what do you think")
    rig.asr.receive(Ears(on=True, push_to_talk=True))
    await rig.microphone.say("_ _")
    assert rig.texts() == ["what do you think"]


async def test_the_orchestrator_is_lost(start):
    """What is being said is forgotten and the key let go; she is silent, and what comes next is heard."""
    rig = start(echo_mode="speakers", asr_mode="push")
    await rig.ready()
    rig.asr.receive(HerVoice(sounding=True, text="hello", at_s=asyncio.get_running_loop().time()))
    rig.asr.receive(Output(muted=False, held=False))
    rig.asr.receive(Ears(on=True, push_to_talk=True, talking=True))
    await rig.microphone.say("hello kitsu")
    rig.asr.lost()
    await rig.microphone.say("tell me more _ _ _ _")
    rig.asr.receive(Ears(on=True))
    await rig.microphone.say("_ _ _ what do you think _ _ _ _")
    assert rig.texts() == ["what do you think"]
    assert list(rig.asr.joined()) == []


# --- recordings --------------------------------------------------------------------------------------


async def test_a_recording_instead_of_the_microphone(start, tmp_path):
    """It is heard once, in its own time, and the microphone not meanwhile; then the microphone again."""
    rig = start()
    await rig.ready()
    await rig.microphone.say("tell me")
    rig.asr.receive(PlayFile(path=write(tmp_path / "a.wav", "hello kitsu _ _ _ _")))
    began_s = asyncio.get_running_loop().time()
    await rig.microphone.say("_ yes go on _ _")
    await asyncio.sleep(5)
    await rig.microphone.say("_ what do you think _ _ _ _")
    assert rig.texts() == ["tell me", "hello kitsu", "what do you think"]
    played = rig.of(Transcript)[1]
    assert played.end_s == pytest.approx(began_s + 2 * WORD_S, abs=0.1)
    assert rig.light == ("ok", True)


async def test_a_recording_without_a_microphone(start, tmp_path):
    """It is what the recogniser is loaded for; afterwards she listens to nothing again."""
    rig = start(asr_input="none")
    await asyncio.sleep(1)
    rig.asr.receive(PlayFile(path=write(tmp_path / "a.wav", "hello kitsu _ _ _ _"), speed=2))
    await asyncio.sleep(10)
    assert rig.texts() == ["hello kitsu"]
    assert rig.light == ("off", False)


@pytest.mark.parametrize("content", [None, b"", b"ID3 this is no WAV at all"])
async def test_a_recording_that_cannot_be_used(start, tmp_path, content):
    """One clear line in the light, and the microphone is heard on; the next recording is played."""
    rig = start()
    await rig.ready()
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    rig.asr.receive(PlayFile(path=str(path)))
    await asyncio.sleep(1)
    health = rig.asr.health()
    assert (health.state, health.ready) == ("degraded", True)
    assert health.reason
    assert health.fix
    await rig.microphone.say("hello kitsu _ _ _ _")
    assert rig.texts() == ["hello kitsu"]
    rig.asr.receive(PlayFile(path=write(path, "yes go on _ _ _ _")))
    await asyncio.sleep(5)
    assert rig.texts() == ["hello kitsu", "yes go on"]
    assert rig.light == ("ok", True)


async def test_a_damaged_recording_without_a_microphone(start, tmp_path):
    """The light tells of the file, which matters more than that there is no microphone."""
    rig = start(asr_input="none")
    path = tmp_path / "notes.wav"
    path.write_text("nothing to be heard")
    await asyncio.sleep(1)
    rig.asr.receive(PlayFile(path=str(path)))
    assert rig.light == ("starting", False)
    await asyncio.sleep(1)
    assert rig.light[0] == "degraded"
    assert str(path) in rig.asr.health().reason
    assert {health.state for health in rig.of(Health)} == {"off", "starting", "degraded"}, "never well"


async def test_another_recording(start, tmp_path):
    """It takes the place of the one that is heard; when the orchestrator is lost there is none."""
    rig = start()
    await rig.ready()
    rig.asr.receive(PlayFile(path=write(tmp_path / "a.wav", "hello kitsu what do you think " * 5)))
    await asyncio.sleep(0.1)
    rig.asr.receive(PlayFile(path=write(tmp_path / "b.wav", "yes go on _ _ _ _")))
    await asyncio.sleep(5)
    assert rig.texts() == ["yes go on"]
    rig.asr.receive(PlayFile(path=str(tmp_path / "a.wav")))
    await asyncio.sleep(1)
    rig.asr.lost()
    await asyncio.sleep(5)
    await rig.microphone.say("_ _ _ what do you think _ _ _ _")
    assert rig.texts() == ["yes go on", "what do you think"]


async def test_a_recording_as_the_microphone(start):
    """When it is over the light says so; nothing ends."""
    rig = start()
    await rig.ready()
    await rig.microphone.say("hello kitsu")
    rig.microphone.blocks.put_nowait(None)
    await asyncio.sleep(1)
    assert rig.texts() == ["hello kitsu"]
    assert rig.light == ("off", False)
    assert "end" in rig.asr.health().reason
    assert not rig.task.done()


async def test_it_leaves_nothing_behind(start):
    """Stopping it closes the microphone and the model."""
    rig = start()
    await rig.ready()
    rig.task.cancel()
    await asyncio.wait({rig.task})
    assert not rig.microphone.runs
    assert rig.reader.closed
