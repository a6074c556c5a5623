"""The conductor and the streamer's words: who is answered when, what is shown, what is written down."""

import pytest
from msgspec.structs import replace

from apps.orchestrator import events
from apps.orchestrator.inbox import Inbox
from apps.orchestrator.turn import SHOW_ENDED
from apps.shared.errors import AivtError, SettingsError
from apps.shared.messages import (
    Cancel,
    Decision,
    Ears,
    Heard,
    Hearing,
    HerVoice,
    Level,
    Output,
    Piece,
    PlayFile,
    Speak,
    Stopped,
    Think,
    TurnState,
    Vocabulary,
)
from tests.orchestrator.led import Led, beat, leading, with_both
from tests.orchestrator.scene import (
    approved,
    cough,
    final,
    partial,
    played,
    ready,
    speech_end,
    started,
    thought,
    voice,
)
from tests.orchestrator.served import PERSONA

pytestmark = pytest.mark.looptime

KITSU = replace(PERSONA, name="Kitsu")


def thinks(led: Led) -> list[tuple[str, str]]:
    """What policy was asked, in order: the line's id and text."""
    return [(told.turn_id, told.text) for told in led.sent["policy"] if isinstance(told, Think)]


def give_piece(led: Led, turn_id: str, index: int = 0, text: str = "Hello there Mika.") -> None:
    """Let policy send a piece that the gate has let through."""
    now_s = led.conductor._now_s()
    told = replace(approved(text), decision_id=f"{turn_id}.{index}")
    led.conductor.receive(
        "policy",
        Decision(turn_id=turn_id, decision_id=f"{turn_id}.{index}", action="allow", sha256=told.sha256),
    )
    led.conductor.receive("policy", Piece(turn_id=turn_id, index=index, approved=told, at_s=now_s))


def speak(led: Led, turn_id: str) -> None:
    """Let a turn be heard."""
    give_piece(led, turn_id)
    led.conductor.receive("tts", started(turn_id, at_s=led.conductor._now_s()))


def finish(led: Led, turn_id: str) -> None:
    """Let a turn that is heard come to its end."""
    led.conductor.receive("policy", thought(turn_id))
    led.conductor.receive("tts", played(turn_id, at_s=led.conductor._now_s()))
    led.conductor.receive("tts", speech_end(turn_id))


def hear(led: Led, *messages) -> None:
    for message in messages:
        led.conductor.receive("asr", message)


async def says(led: Led, text: str):
    """Put a chat line into the show; return what will hold its end."""
    line = led.say(text)
    await beat(led, 1)
    return line


# --- who is answered when ---


async def test_the_streamer_is_answered_before_everything_that_waits():
    """The turn that was heard is cancelled; the words go before lines that came long ago."""
    async with with_both() as led:
        led.join("asr")
        first = await says(led, "one")
        await says(led, "two")
        speak(led, "show-00001")
        hear(led, voice(), final("what about me"))
        assert isinstance(led.sent["tts"][-2], Cancel)
        assert led.sent["tts"][-1] == Output(muted=False, held=False)
        led.conductor.receive("tts", Stopped(turn_id="show-00001", at_s=1.0, index=0, played=0.7))
        assert thinks(led)[-1] == ("show-00003", "what about me")
        assert led.sent["policy"][-1] == Think(
            turn_id="show-00003", user="Robin", text="what about me", lane="streamer"
        )
        await beat(led, 1)
        assert (first.result().outcome, first.result().reason) == (
            "cancelled",
            "barge_in: the streamer spoke",
        )
        led.conductor.control(events.Stop("skip"))
        assert thinks(led)[-1] == ("show-00002", "two")


async def test_a_line_that_was_put_back_is_answered_afterwards():
    """Under a new id, at its old place; whoever waits for it gets that answer and no other."""
    async with with_both() as led:
        led.join("asr")
        first = await says(led, "one")
        second = await says(led, "two")
        give_piece(led, "show-00001")
        hear(led, voice(), final("wait"))
        led.conductor.receive("tts", Stopped(turn_id="show-00001", at_s=1.0))
        assert thinks(led)[-1][1] == "wait"
        assert not first.done()
        speak(led, thinks(led)[-1][0])
        finish(led, thinks(led)[-1][0])
        again, text = thinks(led)[-1]
        assert text == "one"
        assert again != "show-00001"
        give_piece(led, "show-00001", text="An answer to nobody.")  # what was still on its way
        assert not any(
            isinstance(told, Speak) and told.approved.text.startswith("An") for told in led.sent["tts"]
        )
        speak(led, again)
        finish(led, again)
        await beat(led, 1)
        assert (first.result().outcome, first.result().turn_id) == ("spoken", again)
        assert thinks(led)[-1][1] == "two"
        assert not second.done()
        old = led.rows.turns["show-00001"]
        assert (old["outcome"], old["heard"]) == ("cancelled", "")
        assert str(old["reason"]).startswith("put_back:")
        assert led.rows.turns[again]["outcome"] == "spoken"


async def test_a_line_may_be_put_back_again_and_again():
    """Every time at its old place; its author waits for one answer."""
    async with with_both() as led:
        led.join("asr")
        line = await says(led, "one")
        for number in range(5):
            hear(led, voice(f"u{number}"), final(f"word {number}", f"u{number}"))
            led.conductor.control(events.Stop("skip"))
            assert thinks(led)[-1][1] == "one"
        speak(led, thinks(led)[-1][0])
        finish(led, thinks(led)[-1][0])
        await beat(led, 1)
        assert line.result().outcome == "spoken"


async def test_who_left_is_not_waited_for_after_a_put_back():
    """The caller of a line that waits again under another id goes away: nothing is kept of it."""
    async with with_both() as led:
        led.join("asr")
        line = await says(led, "one")
        hear(led, voice(), final("wait"))
        line.cancel()
        await beat(led, 1)
        assert not led.conductor._lines._waiters


async def test_a_line_that_was_put_back_is_dropped_with_the_others_at_the_end():
    """Whoever waits for it is told."""
    async with with_both() as led:
        led.join("asr")
        line = await says(led, "one")
        hear(led, voice(), final("wait"))
        led.conductor.close()
        await beat(led, 1)
        assert (line.result().outcome, line.result().reason) == ("dropped", SHOW_ENDED)


async def test_a_full_queue_has_room_for_what_is_put_back():
    """A line that was taken has its place already; newcomers are turned away as before."""
    async with with_both() as led:
        led.join("asr")
        first = await says(led, "one")
        others = [led.say(f"line {number}") for number in range(Inbox.LIMIT)]
        await beat(led, 1)
        hear(led, voice(), final("wait"))
        assert not first.done()
        assert not any(other.done() for other in others)
        assert len(led.conductor._lines) == Inbox.LIMIT + 1
        led.conductor.close()


async def test_two_utterances_in_a_row_have_one_answer():
    """What the streamer said while she could not answer yet is one line, in the order of saying."""
    async with with_both() as led:
        led.join("asr")
        hear(led, voice("u1"), voice("u2"), final("I saw a fox", "u1"), final("it was red", "u2"))
        assert thinks(led) == [("show-00002", "I saw a fox it was red")]
        told = [(told.turn_id, told.state) for told in led.shown if isinstance(told, TurnState)]
        assert told == [
            ("show-00001", "queued"),
            ("show-00001", "cancelled"),
            ("show-00002", "queued"),
            ("show-00002", "thinking"),
        ]
        assert "show-00001" not in led.rows.turns


async def test_words_that_wait_are_not_overtaken_by_a_head_start():
    """She does not answer the second sentence and then the first."""
    async with with_both() as led:
        led.join("asr")
        hear(led, voice("u1"), voice("u2"), final("one", "u1"), partial("two", "u2"))
        assert thinks(led) == []
        hear(led, final("two", "u2"))
        assert [text for _, text in thinks(led)] == ["one two"]


async def test_words_that_wait_for_too_long_are_stale():
    """Nobody is answered twenty seconds later; chat lines still are."""
    async with with_both() as led:
        led.join("asr")
        led.conductor.control(events.Pause())
        line = await says(led, "one")
        hear(led, voice(), final("hello", end_s=led.conductor._now_s()))
        await beat(led, 30, "policy", "tts", "asr")
        led.conductor.control(events.Resume())
        assert [text for _, text in thinks(led)] == ["one"]
        assert "dropped" in led.outcomes()
        assert not line.done()


async def test_signs_without_a_word_are_no_line():
    """Also of a partial; nothing is asked, nothing is written down."""
    async with with_both() as led:
        led.join("asr")
        hear(led, voice(), partial("\u200b..."), final("\u200b..."))
        assert thinks(led) == []
        assert led.rows.turns == {}


# --- the head start ---


async def test_a_guess_is_in_no_status_and_no_journal():
    """Before it is right: no turn for the panel, no row, no time; of the gate's decision no words."""
    async with with_both() as led:
        led.join("asr")
        hear(led, voice(), partial("how are you"))
        give_piece(led, "show-00001")
        assert led.conductor._show.turn is not None
        queue = led.conductor.status()["queue"]
        assert isinstance(queue, dict)
        assert queue["turn_id"] is None
        assert led.rows.turns == {}
        assert [type(told) for told in led.shown] == [Hearing, Hearing]
        hear(led, final("something else altogether"))
        led.conductor.receive("tts", Stopped(turn_id="show-00001", at_s=1.0))
        assert "show-00001" not in led.rows.turns
        assert [(row["turn_id"], row["kept"], row["saved_ms"]) for row in led.rows.head_starts] == [
            ("show-00001", 0, None)
        ]
        assert not any(isinstance(told, TurnState) and told.turn_id == "show-00001" for told in led.shown)
        assert "how are you" not in repr(led.rows.head_starts) + repr(led.rows.decisions)


async def test_a_right_guess_is_a_turn_with_all_that_belongs_to_one():
    """One Think, the panel sees it begin, the journal has its times and what the head start saved."""
    async with with_both() as led:
        led.join("asr")
        await beat(led, 1, "policy", "tts", "asr")
        begun_s = led.conductor._now_s()
        hear(led, voice(), partial("how are you", end_s=begun_s))
        give_piece(led, "show-00001")
        led.conductor.receive("tts", ready("show-00001", at_s=begun_s + 0.5))
        await beat(led, 1, "policy", "tts", "asr")
        hear(led, final("How are you?", end_s=begun_s, at_s=begun_s + 1))
        led.conductor.receive("tts", started("show-00001", at_s=begun_s + 1))
        finish(led, "show-00001")
        assert thinks(led) == [("show-00001", "how are you")]
        row = led.rows.turns["show-00001"]
        assert (row["outcome"], row["lane"], row["user"], row["text"]) == (
            "spoken",
            "streamer",
            "Robin",
            "How are you?",
        )
        assert (row["transcript_ms"], row["first_audio_ms"]) == (1000.0, 1000.0)
        assert [(row["kept"], row["saved_ms"]) for row in led.rows.head_starts] == [(1, 500.0)]
        latency = led.conductor.status()["latency"]
        assert isinstance(latency, dict)
        assert latency["microphone_first_audio_ms"] == {"p50": 1000.0, "p95": 1000.0, "turns": 1}
        assert latency["first_audio_ms"]["turns"] == 0
        states = [told.state for told in led.shown if isinstance(told, TurnState)]
        assert states == ["thinking", "speaking", "spoken"]
        assert led.sent["policy"][-1] == Heard(
            turn_id="show-00001", text="Hello there Mika.", line="How are you?"
        )


async def test_a_right_guess_that_is_skipped_was_still_right():
    """What became of the turn afterwards says nothing about the guess."""
    async with with_both() as led:
        led.join("asr")
        hear(led, voice(), partial("how are you"), final("how are you"))
        led.conductor.control(events.Stop("skip"))
        assert led.rows.turns["show-00001"]["outcome"] == "cancelled"
        assert [(row["kept"], row["reason"]) for row in led.rows.head_starts] == [(1, "")]


async def test_no_head_start_without_a_brain():
    """There is nobody who could begin."""
    async with leading() as led:
        led.join("tts")
        led.join("asr")
        hear(led, voice(), partial("how are you"))
        assert led.conductor._show.turn is None


async def test_the_brain_cannot_end_a_turn_before_the_voice():
    """Both answer a cancel; only the voice knows how much was heard, and when it is silent."""
    async with with_both() as led:
        await says(led, "one")
        speak(led, "show-00001")
        led.conductor.control(events.Stop("skip"))
        led.conductor.receive("policy", Stopped(turn_id="show-00001", at_s=1.0))
        assert led.rows.turns["show-00001"]["outcome"] is None
        led.conductor.receive("tts", Stopped(turn_id="show-00001", at_s=1.0, index=0, played=0.7))
        assert led.rows.turns["show-00001"]["heard"] == "Hello there"


# --- what is shown ---


async def test_the_panel_sees_what_she_hears():
    """Every step of an utterance, and the level; chat and overlays are told nothing else of it."""
    async with with_both() as led:
        led.join("asr")
        level = Level(at_s=1.0, rms_db=-30.0, peak_db=-12.0, voiced=True, clipped=False, lost_s=1.26)
        hear(led, level, voice("u1"), partial("hi", "u1", complete=False), cough("u1"))
        hear(led, voice("u2"), final("hello", "u2"))
        assert led.shown[:6] == [
            level,
            Hearing(utterance_id="u1", text="", state="speaking"),
            Hearing(utterance_id="u1", text="hi", state="partial"),
            Hearing(utterance_id="u1", text="", state="nothing"),
            Hearing(utterance_id="u2", text="", state="speaking"),
            Hearing(utterance_id="u2", text="hello", state="final"),
        ]
        assert led.conductor.status()["ears"] == {
            "mode": "open",
            "talking": False,
            "speaking": False,
            "transcripts": 1,
            "nothing": {"no_words": 1},
            "lost_s": 1.3,
        }


@pytest.mark.parametrize("how", ["left", "hung"])
async def test_ears_that_die_in_mid_sentence_leave_nobody_speaking(how):
    """Neither in the status nor on the panel; she goes on."""
    async with with_both() as led:
        led.join("asr")
        hear(led, voice())
        assert led.conductor.status()["ears"]["speaking"] is True
        if how == "left":
            led.conductor.left("asr", "its connection has ended")
        else:
            await beat(led, 5, "policy", "tts")
        assert led.conductor.status()["ears"]["speaking"] is False
        assert led.shown[-1] == Hearing(utterance_id="u1", text="", state="nothing")
        assert led.sent["tts"][-1] == Output(muted=False, held=False)


# --- what the ears are told ---


async def test_ears_that_join_are_told_how_to_listen_and_for_which_names():
    """Her own name as soon as policy has told it, the streamer's, and the jargon of the settings."""
    async with leading(hotwords="GG, pog champ,Robin") as led:
        led.join("asr")
        assert led.sent["asr"] == [Ears(on=True), Vocabulary(words=("Robin", "GG", "pog champ"))]
        led.join("policy")
        assert len(led.sent["asr"]) == 2
        led.conductor.receive("policy", KITSU)
        assert led.sent["asr"][2:] == [Vocabulary(words=("Kitsu", "Robin", "GG", "pog champ"))]
        led.conductor.receive("policy", KITSU)
        assert len(led.sent["asr"]) == 3


async def test_her_name_interrupts_once_it_is_known():
    """Policy tells it; until then nobody is called."""
    async with with_both(barge_in="streamer_only_when_addressed") as led:
        led.join("asr")
        await says(led, "one")
        speak(led, "show-00001")
        hear(led, voice(), partial("kitsu", complete=False))
        assert not led.conductor._show.output.hushed
        led.conductor.receive("policy", KITSU)
        hear(led, partial("kitsu wait", complete=False))
        assert led.sent["tts"][-1].hushed is True


@pytest.mark.parametrize("echo", [True, False], ids=["speakers", "headphones"])
async def test_her_voice_is_told_to_ears_that_hear_it(echo):
    """With headphones it never reaches the microphone, and nobody is told."""
    async with with_both(echo=echo) as led:
        led.join("asr")
        await says(led, "one")
        speak(led, "show-00001")
        finish(led, "show-00001")
        told = [message for message in led.sent["asr"] if isinstance(message, HerVoice)]
        if echo:
            assert [(message.sounding, message.text) for message in told] == [
                (True, "Hello there Mika."),
                (False, ""),
            ]
        else:
            assert told == []


async def test_ears_that_join_while_she_speaks_are_told_what():
    """Else they would take her for the streamer, and she would interrupt herself."""
    async with with_both(echo=True) as led:
        await says(led, "one")
        speak(led, "show-00001")
        led.join("asr")
        (told,) = [message for message in led.sent["asr"] if isinstance(message, HerVoice)]
        assert (told.sounding, told.text) == (True, "Hello there Mika.")
        finish(led, "show-00001")
        led.join("asr")
        assert not any(isinstance(message, HerVoice) for message in led.sent["asr"])


# --- the talk key ---


async def test_a_talk_key_that_is_never_released_is_let_go():
    """The browser was closed over it: after a minute the ears are told, once, and so is the panel."""
    async with leading(mode="push") as led:
        led.join("asr")
        assert led.sent["asr"][0] == Ears(on=True, push_to_talk=True)
        led.conductor.talk(pressed=True)
        assert led.sent["asr"][-1] == Ears(on=True, push_to_talk=True, talking=True)
        await beat(led, 59, "asr")
        assert led.sent["asr"][-1].talking is True
        count = len(led.sent["asr"])
        await beat(led, 3, "asr")
        assert led.sent["asr"][count:] == [Ears(on=True, push_to_talk=True)]
        assert led.conductor.status()["ears"]["talking"] is False


async def test_ears_that_come_back_know_that_the_key_is_held():
    """A restart in mid-sentence does not need a second press."""
    async with leading(mode="push") as led:
        led.join("asr")
        led.conductor.talk(pressed=True)
        led.join("asr")
        assert led.sent["asr"][0] == Ears(on=True, push_to_talk=True, talking=True)


async def test_the_talk_key_means_nothing_while_she_always_listens():
    """It is refused with what to do, and nothing is told to the ears."""
    async with leading() as led:
        led.join("asr")
        with pytest.raises(AivtError) as caught:
            led.conductor.talk(pressed=True)
        assert (caught.value.code, "ASR_MODE=push" in caught.value.fix) == ("not_push_to_talk", True)
        assert len(led.sent["asr"]) == 2


# --- recordings ---


async def test_a_recording_is_for_rehearsals():
    """In a live show it would put words into the streamer's mouth."""
    async with leading() as led:
        led.join("asr")
        with pytest.raises(SettingsError, match="rehearsals only") as caught:
            led.conductor.hear(PlayFile(path="a.wav"))
        assert "--rehearsal" in caught.value.fix
    async with leading(rehearsal=True) as led:
        with pytest.raises(AivtError, match="not there"):
            led.conductor.hear(PlayFile(path="a.wav"))
        led.join("asr")
        led.conductor.hear(PlayFile(path="a.wav", speed=2.0))
        assert led.sent["asr"][-1] == PlayFile(path="a.wav", speed=2.0)
