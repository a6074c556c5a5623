import asyncio
import contextlib

import pytest

from apps.policy import brains
from apps.policy import persona as personas
from apps.policy.brains import PROBE_S
from apps.policy.prompt import Line
from apps.policy.worker import KEEP_WARM_S, SETTLE_S, Policy
from apps.shared.errors import EngineError, SettingsError
from apps.shared.messages import (
    Cancel,
    Delivery,
    FirstToken,
    Health,
    Heard,
    Persona,
    Piece,
    SetStyle,
    Stopped,
    Think,
    Thought,
)
from apps.shared.settings import Settings
from tests.fakes.ollama import FakeOllama, Fault

HICCUPS = personas.load("kitsu").hiccups
LINGERS_S = 30.0
virtual = pytest.mark.looptime


class Worker(Policy):
    """The policy worker, with what it has sent."""

    def __init__(self, **values):
        self.sent = []
        self.running = None  # the task
        self._thought = asyncio.Event()
        super().__init__(Settings(_env_file=None, **values), self._keep, asyncio.get_running_loop().time)

    def _keep(self, message):
        self.sent.append(message)
        if isinstance(message, Thought):
            self._thought.set()

    @property
    def brain(self):
        return self._brains._links[0].brain

    async def answer(self, text="hi", turn_id="a"):
        """Have a line answered to its end; return what she would say and the end of the thought."""
        self._thought.clear()
        self.receive(think(text, turn_id))
        await self._thought.wait()
        return self.texts(turn_id), self.of(Thought, turn_id)[0]

    def of(self, kind, turn_id):
        return [message for message in self.sent if isinstance(message, kind) and message.turn_id == turn_id]

    def texts(self, turn_id="a"):
        return [piece.approved.text for piece in self.of(Piece, turn_id)]


def think(text="hi", turn_id="a"):
    return Think(turn_id=turn_id, user="Bob", text=text, lane="chat")


@pytest.fixture
async def start():
    """Start policy workers whose brain is up, or has been found missing; the arguments are settings."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(**values):
            worker = Worker(**{"policy_engine": "tests.fakes.brain:FakeBrain", **values})
            task = worker.running = asyncio.create_task(worker.run())
            stack.push_async_callback(asyncio.wait, {task})
            stack.callback(task.cancel)
            async with asyncio.timeout(5):
                while worker.health().state == "starting":
                    await asyncio.sleep(0.005)
            return worker

        yield make


# --- with a brain that does as it is told ---


@virtual
async def test_a_line_is_answered(start):
    """The brain is shown who said what, and its sentences come back approved."""
    worker = await start()
    worker.brain.replies.append(["Hello Bob. ", "How are you?"])
    texts, thought = await worker.answer("good morning")
    assert texts == ["Hello Bob.", "How are you?"]
    assert (thought.outcome, thought.pieces, thought.reason) == ("whole", 2, "")
    line = worker.brain.prompts[0].line
    assert (line.user, line.text, line.lane) == ("Bob", "good morning", "chat")


@virtual
async def test_who_she_is_is_told_on_joining(start):
    """The orchestrator learns her name, her manner and which there are."""
    worker = await start(aivt_persona="kitsu")
    (who,) = worker.joined()
    assert who == Persona(id="kitsu", style="kitsu", styles=tuple(personas.names()), name="Kitsu")


@virtual
async def test_her_name_is_that_of_her_preset(start, monkeypatch, tmp_path):
    """A streamer's own persona is called what its file says, also when it becomes hers in mid-show."""
    text = (personas.FOLDER / "cozy.toml").read_text("utf-8")
    (tmp_path / "otter.toml").write_text(text.replace('name = "Kitsu"', 'name = "Otto"'), "utf-8")
    worker = await start()
    monkeypatch.setattr(personas, "FOLDER", tmp_path)
    worker.receive(SetStyle(name="otter"))
    assert (worker.sent[-1].name, worker.sent[-1].style) == ("Otto", "otter")


@virtual
@pytest.mark.parametrize("wait_s", [0.0, 1.0], ids=["before it began", "in mid-reply"])
async def test_a_cancelled_turn_stops(start, wait_s):
    """Its generation is aborted, `Stopped` answers, and nothing of it follows."""
    worker = await start()
    worker.brain.replies.append(["Hello Bob. ", 5.0, "Never said. "])
    worker.receive(think())
    if wait_s:
        await asyncio.sleep(wait_s)
    worker.receive(Cancel(turn_id="a"))
    await asyncio.sleep(60)
    assert isinstance(worker.sent[-1], Stopped)
    assert worker.texts() == (["Hello Bob."] if wait_s else [])
    assert worker.of(Thought, "a") == []
    assert worker.brain.closed_replies == len(worker.brain.prompts)


@virtual
async def test_a_cancel_of_another_turn(start):
    """A late cancel does nothing to the turn under way."""
    worker = await start()
    worker.brain.replies.append(["Hello ", 1.0, "Bob. "])
    worker.receive(think())
    worker.receive(Cancel(turn_id="z"))
    await asyncio.sleep(5)
    assert worker.texts() == ["Hello Bob."]


@virtual
async def test_a_new_turn_ends_the_older(start):
    """The orchestrator has gone on without it: it is aborted, and a cancel means the new one."""
    worker = await start()
    worker.brain.replies.extend([["One ", 5.0, "two. "], ["Three. ", 5.0, "Four. "]])
    worker.receive(think("first"))
    await asyncio.sleep(1)
    worker.receive(think("second", "b"))
    await asyncio.sleep(1)
    assert [len(worker.of(Stopped, turn_id)) for turn_id in "ab"] == [1, 0]
    worker.receive(Cancel(turn_id="b"))
    await asyncio.sleep(60)
    assert [worker.texts(turn_id) for turn_id in "ab"] == [[], ["Three."]]
    assert [len(worker.of(Stopped, turn_id)) for turn_id in "ab"] == [1, 1]


@virtual
async def test_losing_the_orchestrator(start):
    """Nobody waits for the reply: it is aborted, its line forgotten; the next line is answered."""
    worker = await start()
    worker.brain.replies.append(["One ", 5.0, "two. "])
    worker.receive(think())
    await asyncio.sleep(1)
    worker.lost()
    worker.receive(Heard(turn_id="a", text="One"))
    assert (await worker.answer("still there?", "b"))[0] == ["All right."]
    assert worker.texts() == []
    assert worker.brain.prompts[1].history == ()


@virtual
async def test_she_remembers_what_was_heard(start):
    """History has each line with what was out of the answer to it; what nobody heard was never said."""
    worker = await start()
    for turn_id, heard in (("a", "All right."), ("b", ""), ("c", "All")):
        await worker.answer(f"line {turn_id}", turn_id)
        worker.receive(Heard(turn_id=turn_id, text=heard))
        worker.receive(Heard(turn_id=turn_id, text="twice"))
    worker.receive(Heard(turn_id="z", text="of a turn that she does not know"))
    await worker.answer("line d", "d")
    history = worker.brain.prompts[-1].history
    assert [(each.line.text, each.reply) for each in history] == [("line a", "All right."), ("line c", "All")]


@virtual
async def test_the_line_that_was_meant(start):
    """A reply begun on half-heard words is remembered as the answer to what was said in the end."""
    worker = await start()
    worker.receive(Think(turn_id="a", user="Mia", text="what do you thing", lane="streamer"))
    await asyncio.sleep(1)
    worker.receive(Heard(turn_id="a", text="All right.", line="What do you think?"))
    await worker.answer("and now?", "b")
    worker.receive(Heard(turn_id="b", text="All right."))
    await worker.answer("so?", "c")
    lines = [each.line for each in worker.brain.prompts[-1].history]
    assert lines == [Line("Mia", "What do you think?", "streamer"), Line("Bob", "and now?", "chat")]


@virtual
@pytest.mark.parametrize(
    "begun", [0.0, 0.5, 2.0], ids=["before it began", "before a word", "with a sentence"]
)
async def test_a_head_start_that_is_thrown_away(start, begun):
    """It is in no later prompt, not even when another one follows at once; its line does not come back."""
    worker = await start()
    if begun:
        worker.brain.replies.append([1.0, "Never heard. ", 5.0, "Nor this. "])
    worker.receive(think("half a senten"))
    if begun:
        await asyncio.sleep(begun)
    worker.receive(Cancel(turn_id="a"))
    worker.receive(Heard(turn_id="a", text="", line="half a sentence"))
    worker.receive(think("a whole sentence", "b"))
    await asyncio.sleep(10)
    assert worker.brain.prompts[-1].history == ()
    assert worker.texts("b") == ["All right."]
    worker.receive(Heard(turn_id="b", text="All right."))
    worker.receive(Heard(turn_id="a", text="Never heard."))
    await worker.answer("next", "c")
    assert [each.line.text for each in worker.brain.prompts[-1].history] == ["a whole sentence"]
    assert [len(worker.of(Stopped, turn_id)) for turn_id in "abc"] == [1, 0, 0]


@virtual
@pytest.mark.parametrize("cancel", [True, False], ids=["cancelled", "overtaken"])
async def test_a_slow_abort_delays_nobody(start, cancel):
    """The next line goes to the brain in the very moment that it comes, while the old reply still closes."""
    worker = await start()
    worker.brain.replies.append([3600.0])
    reply = worker.brain.reply

    async def lingering(prompt):
        async with contextlib.aclosing(reply(prompt)) as pieces:
            try:
                async for piece in pieces:
                    yield piece
            except asyncio.CancelledError:
                await asyncio.sleep(LINGERS_S)
                raise

    worker.brain.reply = lingering
    worker.receive(think())
    await asyncio.sleep(1)
    if cancel:
        worker.receive(Cancel(turn_id="a"))
    asked_s = asyncio.get_running_loop().time()
    worker.receive(think("next", "b"))
    await asyncio.sleep(1)
    assert (worker.of(FirstToken, "b")[0].at_s, worker.texts("b")) == (asked_s, ["All right."])
    assert worker.of(Stopped, "a") == []
    await asyncio.sleep(LINGERS_S)
    assert len(worker.of(Stopped, "a")) == 1


@virtual
async def test_another_manner(start):
    """A change of style is answered, and shows in the next prompt; she keeps her name and her history."""
    worker = await start()
    await worker.answer()
    worker.receive(Heard(turn_id="a", text="All right."))
    worker.receive(SetStyle(name="cozy"))
    cozy = personas.load("cozy").voice
    assert worker.sent[-1] == Persona(
        id="kitsu",
        style="cozy",
        styles=tuple(personas.names()),
        name="Kitsu",
        voice=cozy.name,
        delivery=Delivery(speed=cozy.speed, pitch=cozy.pitch, volume=cozy.volume),
    )
    await worker.answer("and now?", "b")
    prompt = worker.brain.prompts[-1]
    assert (prompt.persona.id, len(prompt.history)) == ("cozy", 1)


@virtual
@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        pytest.param(lambda file: file.write_text(""), "broken_persona", id="empty"),
        pytest.param(lambda file: file.write_text("name = 'half a file"), "broken_persona", id="broken"),
        pytest.param(lambda file: file.mkdir(), "broken_persona", id="unreadable"),
        pytest.param(lambda _file: None, "unknown_persona", id="gone"),
    ],
)
async def test_a_manner_whose_file_is_broken(start, monkeypatch, tmp_path, spoil, code):
    """A file that was spoiled in mid-show is refused with its fix: she stays as she is, and lives."""
    worker = await start()
    spoil(tmp_path / "cozy.toml")
    monkeypatch.setattr(personas, "FOLDER", tmp_path)
    worker.receive(SetStyle(name="cozy"))
    refusal = worker.sent[-1]
    assert isinstance(refusal, Persona)
    assert (refusal.style, refusal.code) == ("kitsu", code)
    assert refusal.reason
    assert refusal.fix
    assert (await worker.answer())[0] == ["All right."]


async def test_an_unknown_persona():
    """AIVT_PERSONA is checked before anything else, and the error names those there are."""
    with pytest.raises(SettingsError, match="AIVT_PERSONA") as caught:
        Worker(aivt_persona="nobody")
    assert "kitsu" in caught.value.fix


@virtual
async def test_a_failure_shows_at_once(start):
    """Scripted lines answer in the same turn; the light changes with it, not a heartbeat later."""
    worker = await start()
    worker.brain.replies.append([EngineError("broke", "it broke", fix="Mend it.")])
    texts, thought = await worker.answer()
    assert texts
    assert not set(texts) & set(HICCUPS)
    assert (thought.reason, thought.fix) == ("broke: it broke", "Mend it.")
    await asyncio.sleep(0)
    *_, health = (message for message in worker.sent if isinstance(message, Health))
    assert (health.state, health.engine) == ("degraded", "scripted")


@virtual
async def test_a_brain_without_words(start):
    """When it has nothing to say, twice, a safe line is spoken, another one each time; it stays in use."""
    worker = await start()
    for turn_id, hiccup in zip("abc", HICCUPS, strict=False):
        worker.brain.replies.extend([[" "], ["🦊"]])
        assert (await worker.answer(turn_id=turn_id))[0] == [hiccup]
    assert (worker.health().state, worker.health().engine) == ("ok", "fake")


# --- between turns ---


@virtual
async def test_what_the_next_turn_needs_is_evaluated_before_it(start):
    """After each turn the model reads what was heard, so that the next one waits for its own line only."""
    worker = await start()
    await worker.answer()
    worker.receive(Heard(turn_id="a", text="All right."))
    await asyncio.sleep(1)
    (warmed,) = worker.brain.warmed
    await worker.answer("and now?", "b")
    assert worker.brain.prompts[-1].history == warmed.history
    assert len(warmed.history) == 1


@virtual
async def test_another_manner_is_evaluated_before_it_is_needed(start):
    """A change of style changes the whole prompt: the model reads it at once."""
    worker = await start()
    worker.receive(SetStyle(name="cozy"))
    await asyncio.sleep(1)
    assert [prompt.persona.id for prompt in worker.brain.warmed] == ["cozy"]


@virtual
async def test_a_quiet_show_keeps_its_model(start):
    """Nobody says anything for hours, and the model stays in memory."""
    worker = await start()
    await asyncio.sleep(2 * 3600)
    assert len(worker.brain.warmed) == 2 * 3600 // KEEP_WARM_S - 1


@virtual
async def test_warming_up_is_in_nobodys_way(start):
    """In a busy chat the next turn follows at once, and nothing else is asked of the model."""
    worker = await start()
    for turn_id in "abcdef":
        await worker.answer(turn_id=turn_id)
        worker.receive(Heard(turn_id=turn_id, text="All right."))
    assert worker.brain.warmed == []


@virtual
async def test_a_model_that_is_gone_between_turns(start):
    """It is noticed before a viewer waits for it."""
    worker = await start()
    worker.receive(SetStyle(name="cozy"))
    worker.brain.missing = EngineError("gone", "it is gone", fix="Start it.")
    await asyncio.sleep(1)
    assert (worker.health().state, worker.health().fix) == ("degraded", "Start it.")


@pytest.fixture
def spare(monkeypatch):
    """Settings for a brain to fall back to."""
    monkeypatch.setitem(brains.KNOWN, "llamacpp", "tests.fakes.brain:SpareBrain")
    return {"policy_gguf": "kitsu.gguf"}


async def fallen_back(worker):
    """Let a worker's first brain fail, which is back in PROBE_S; return it and the one in use."""
    first, second = (link.brain for link in worker._brains._links[:2])
    worker._brains.failed(first, EngineError("broke", "it broke"))
    await asyncio.sleep(0.01)
    assert worker._brains.current is second
    return first, second


@virtual
async def test_only_the_brain_in_use_is_warmed_up(start, spare):
    """A better one may take over just before; the other is closed then, and stays so."""
    worker = await start(**spare)
    first, second = await fallen_back(worker)
    await asyncio.sleep(PROBE_S - SETTLE_S / 2)
    worker.receive(SetStyle(name="cozy"))
    await asyncio.sleep(1)
    assert second.closed
    assert (len(first.warmed), len(second.warmed)) == (1, 0)


@virtual
async def test_a_warm_up_that_is_no_longer_wanted(start, spare):
    """A brain that was closed in the middle of it has not failed."""
    worker = await start(**spare)
    first, second = await fallen_back(worker)

    async def warm(_prompt):
        while not second.closed:
            await asyncio.sleep(0.1)
        raise EngineError("closed", "it was closed")

    second.warm = warm
    worker.receive(SetStyle(name="cozy"))
    await asyncio.sleep(PROBE_S + 1)
    assert worker.health().state == "ok"
    second.start_s = 60.0
    worker._brains.failed(first, EngineError("broke", "it broke"))
    await asyncio.sleep(1)
    assert worker.health().reason == "scripted lines answer: it broke; loading spare-1b"


@virtual
async def test_the_end_in_mid_turn(start):
    """Her brain is closed when nobody uses it any more, also when the process is stopped in mid-turn."""
    worker = await start()
    open_replies = []

    async def close():
        open_replies.append(len(worker.brain.prompts) - worker.brain.closed_replies)

    worker.brain.close = close
    worker.brain.replies.append(["Well", 3600.0])
    worker.receive(think())
    await asyncio.sleep(1)
    assert len(worker.brain.prompts) == 1
    worker.running.cancel()
    await asyncio.wait({worker.running})
    assert worker.running.cancelled()
    assert open_replies == [0]
    assert isinstance(worker.sent[-1], Stopped)


# --- with Ollama ---


FIRST = "Oh, hello there."
SCRIPTED: list[str] = []  # stands for whatever the scripted lines say
OLLAMA = {"policy_engine": "ollama", "policy_model": "kitsu"}


@pytest.fixture
async def ollama():
    async with FakeOllama(reply=[f"{FIRST} And ", "more."]) as fake:
        yield fake


@pytest.mark.parametrize(
    ("engine", "state"), [("auto", "ok"), ("ollama", "degraded")], ids=["auto", "explicit"]
)
@pytest.mark.parametrize("trouble", ["down", "not pulled"])
async def test_ollama_is_not_there(start, ollama, engine, state, trouble):
    """Scripted lines answer, and the light says what is missing and the command that mends it."""
    if trouble == "down":
        await ollama.stop()
    values = {**OLLAMA, "policy_engine": engine, "ollama_host": ollama.url}
    worker = await start(**values | ({} if trouble == "down" else {"policy_model": "qwen3:8b"}))
    health = worker.health()
    assert (health.state, health.ready, health.engine) == (state, True, "scripted")
    assert ("no answer from" if trouble == "down" else "no model qwen3:8b") in health.reason
    assert ("ollama serve" if trouble == "down" else "ollama pull qwen3:8b") in health.fix
    texts, thought = await worker.answer("good morning")
    assert texts
    assert (thought.outcome, thought.reason) == ("whole", "")


@pytest.mark.parametrize(
    ("faults", "limits", "texts", "reason"),
    [
        pytest.param([], {}, [FIRST, "And more."], "", id="nothing"),
        pytest.param([Fault.NO_DONE], {}, [FIRST, "And"], "", id="no done"),
        pytest.param([Fault.ERROR_LINE], {}, [FIRST], "stream_error", id="error in mid-stream"),
        pytest.param([Fault.DROPPED], {}, [FIRST], "stream_error", id="connection breaks"),
        pytest.param([Fault.GARBAGE], {}, [FIRST], "garbage", id="garbage"),
        pytest.param([Fault.HALF_LINE], {}, [FIRST], "garbage", id="half a line"),
        pytest.param(
            [Fault.SILENT_MIDWAY], {"policy_stall_s": 0.05}, [FIRST], "stalled", id="silence in mid-stream"
        ),
        pytest.param([Fault.HTTP_500], {}, [FIRST, "And more."], "", id="error, once"),
        pytest.param([Fault.HTTP_500] * 2, {}, SCRIPTED, "http_500", id="error, twice"),
        pytest.param(
            [Fault.SILENT_START],
            {"policy_first_token_s": 0.05},
            SCRIPTED,
            "first_token_timeout",
            id="no first token",
        ),
    ],
)
async def test_ollama_goes_wrong(start, ollama, faults, limits, texts, reason):
    """Whole sentences are spoken, half ones are not, a safe line instead of nothing; the light follows."""
    worker = await start(**OLLAMA, **limits, ollama_host=ollama.url)
    ollama.faults.extend(faults)
    said, thought = await worker.answer()
    assert said == texts if texts is not SCRIPTED else said and not set(said) & {FIRST, *HICCUPS}
    assert (thought.outcome, thought.reason.split(":")[0]) == ("whole", reason)
    assert bool(thought.fix) == bool(reason)
    await asyncio.sleep(0)
    assert worker.health().state == ("degraded" if reason else "ok")


async def test_a_cancel_reaches_ollama(start, ollama):
    """Cancelling a turn ends the generation in the server, which would be busy with it otherwise."""
    ollama.tokens_per_s = 0.001
    worker = await start(**OLLAMA, ollama_host=ollama.url)
    worker.receive(think())
    async with asyncio.timeout(5):
        while not worker.texts():
            await asyncio.sleep(0.005)
        worker.receive(Cancel(turn_id="a"))
        await ollama.idle()
    assert len(ollama.generations) == 2  # the warm-up's, and this one
    assert ollama.generations[-1].ended == "aborted"
