"""Whether she listens, and what of it is counted."""

import pytest

from apps.orchestrator.ears import TALK_LIMIT_S, EarsControl, vocabulary
from apps.orchestrator.manner import AwayError
from apps.shared.errors import AivtError
from apps.shared.messages import (
    Ears,
    HerVoice,
    Level,
    Message,
    NoWords,
    PlayFile,
    UtteranceStarted,
    Vocabulary,
)
from tests.orchestrator.scene import cough, final, partial, voice

SPEAKS = HerVoice(sounding=True, text="Hello.", at_s=1.0)
SILENT = HerVoice(sounding=False, at_s=2.0)


class Told:
    """Ears that are there, or not, and what they were told."""

    def __init__(self, mode="open", *, echo: bool = False, there: bool = True) -> None:
        self.sent: list[Message] = []
        self.there = there
        self.control = EarsControl(self._send, mode, echo=echo)

    def _send(self, module: str, message: Message) -> bool:
        assert module == "asr"
        if self.there:
            self.sent.append(message)
        return self.there


# --- modes ---


@pytest.mark.parametrize(
    ("mode", "ears"),
    [("open", Ears(on=True)), ("push", Ears(on=True, push_to_talk=True)), ("off", Ears(on=False))],
)
def test_the_ears_are_told_how_to_listen(mode, ears):
    """When they join, and at every change."""
    told = Told(mode)
    told.control.joined()
    assert told.sent == [ears, Vocabulary(words=())]
    told.control.set_mode(mode)
    assert told.sent[2:] == [ears]
    assert told.control.status(speaking=False)["mode"] == mode


@pytest.mark.parametrize(("before", "after"), [("open", "open"), ("push", "push"), ("off", "open")])
def test_switching_her_ears_on_again_listens_as_before(before, after):
    """Who talks with a key does not have an open microphone after a break."""
    told = Told(before)
    told.control.set_mode("off")
    told.control.set_mode("on")
    assert told.control.status(speaking=False)["mode"] == after


def test_switching_on_what_is_on_changes_nothing():
    """The button pressed twice."""
    told = Told("push")
    told.control.set_mode("on")
    assert told.sent == [Ears(on=True, push_to_talk=True)]


# --- the talk key ---


def test_the_talk_key_is_held_and_released():
    """The ears listen from the press to the release."""
    told = Told("push")
    told.control.talk(pressed=True, now_s=10.0)
    assert told.control.status(speaking=False)["talking"] is True
    told.control.talk(pressed=False, now_s=12.0)
    assert told.control.status(speaking=False)["talking"] is False
    assert told.sent == [
        Ears(on=True, push_to_talk=True, talking=True),
        Ears(on=True, push_to_talk=True),
    ]


@pytest.mark.parametrize("mode", ["open", "off"])
@pytest.mark.parametrize("pressed", [True, False])
def test_the_talk_key_is_refused_where_it_means_nothing(mode, pressed):
    """With the mode that is on, and what to do about it."""
    told = Told(mode)
    with pytest.raises(AivtError, match=mode) as caught:
        told.control.talk(pressed=pressed, now_s=10.0)
    assert caught.value.code == "not_push_to_talk"
    assert caught.value.fix
    assert told.sent == []


def test_a_key_whose_release_never_came_is_let_go():
    """After its limit, once; a press anew counts anew."""
    told = Told("push")
    assert told.control.let_go(0.0) is False
    told.control.talk(pressed=True, now_s=10.0)
    assert told.control.let_go(10.0 + TALK_LIMIT_S - 0.1) is False
    told.control.talk(pressed=True, now_s=50.0)
    assert told.control.let_go(10.0 + TALK_LIMIT_S) is False
    assert told.control.let_go(50.0 + TALK_LIMIT_S) is True
    assert told.sent[-1] == Ears(on=True, push_to_talk=True)
    assert told.control.let_go(1000.0) is False


@pytest.mark.parametrize("mode", ["open", "off", "push"])
def test_a_change_of_mode_releases_the_key(mode):
    """A key that was held under another mode is not held any more."""
    told = Told("push")
    told.control.talk(pressed=True, now_s=10.0)
    told.control.set_mode(mode)
    assert told.sent[-1].talking is False  # type: ignore[attr-defined]
    assert told.control.let_go(1000.0) is False


# --- her own voice ---


def test_ears_with_headphones_are_not_told_of_her_voice():
    """It does not reach the microphone."""
    told = Told(echo=False)
    told.control.her_voice(SPEAKS)
    told.control.joined()
    assert not any(isinstance(message, HerVoice) for message in told.sent)


def test_ears_at_speakers_are_told_of_her_voice_also_when_they_come_later():
    """What sounds now is what they have to know; a silence they expect by themselves."""
    told = Told(echo=True, there=False)
    told.control.her_voice(SPEAKS)
    told.there = True
    told.control.joined()
    assert told.sent[-1] == SPEAKS
    told.control.her_voice(SILENT)
    assert told.sent[-1] == SILENT
    told.control.joined()
    assert [message for message in told.sent if isinstance(message, HerVoice)] == [SPEAKS, SILENT]


# --- names ---


def test_names_are_told_when_they_change():
    """Once, and to ears that join later."""
    told = Told()
    for _ in range(2):
        told.control.expect(("Kitsu",))
    assert told.sent == [Vocabulary(words=("Kitsu",))]
    told.control.joined()
    assert told.sent[-1] == Vocabulary(words=("Kitsu",))


@pytest.mark.parametrize(
    ("hotwords", "names", "words"),
    [
        ("", (), ()),
        ("", ("Kitsu", "Robin"), ("Kitsu", "Robin")),
        ("GG, pog champ ,,GG", ("Kitsu", "", "Robin"), ("Kitsu", "Robin", "GG", "pog champ")),
        (" , ", ("Kitsu", "Kitsu"), ("Kitsu",)),
    ],
)
def test_words_that_are_likely_to_be_heard(hotwords, names, words):
    """Names first, each word once, nothing empty."""
    assert vocabulary(hotwords, *names) == words


# --- what they tell ---


def test_what_came_of_each_utterance_is_counted():
    """Transcripts, and utterances with nothing to answer by their reason."""
    told = Told()
    echo = NoWords(utterance_id="u3", code="echo", start_s=0.0, end_s=1.0, at_s=1.0)
    for message in (voice("u1"), partial(), final(), cough("u2"), echo, cough("u4")):
        told.control.take(message)
    told.control.level(
        Level(at_s=1.0, rms_db=-30.0, peak_db=-20.0, voiced=False, clipped=False, lost_s=2.345)
    )
    assert told.control.status(speaking=True) == {
        "mode": "open",
        "talking": False,
        "speaking": True,
        "transcripts": 1,
        "nothing": {"no_words": 2, "echo": 1},
        "lost_s": 2.3,
    }


def test_the_panel_sees_each_step_of_an_utterance():
    """Its text so far, its text in the end, or that it was nothing."""
    told = Told()
    shown = [told.control.take(message) for message in (voice(), partial("hi"), final("hi you"), cough())]
    assert [(hearing.state, hearing.text) for hearing in shown] == [
        ("speaking", ""),
        ("partial", "hi"),
        ("final", "hi you"),
        ("nothing", ""),
    ]
    assert {hearing.utterance_id for hearing in shown} == {"u1"}


def test_a_recording_needs_ears():
    """The caller is told where to look."""
    with pytest.raises(AwayError) as caught:
        Told(there=False).control.play(PlayFile(path="a.wav"))
    assert (caught.value.code, caught.value.retryable) == ("asr_down", True)
    told = Told()
    told.control.play(PlayFile(path="a.wav"))
    assert told.sent == [PlayFile(path="a.wav")]


def test_a_beginning_that_is_told_twice_is_no_second_one():
    """Counting happens at the end of an utterance."""
    told = Told()
    for _ in range(2):
        told.control.take(UtteranceStarted(utterance_id="u1", start_s=0.0, at_s=0.0))
    status = told.control.status(speaking=True)
    assert (status["transcripts"], status["nothing"]) == (0, {})
