"""The head start: she begins on what seems to be all, and nobody notices unless it was."""

import pytest
from msgspec.structs import replace

from apps.orchestrator import events
from apps.orchestrator import show as s
from apps.orchestrator.streamer import GUESSES, UTTERANCE_LIMIT_S, alike
from apps.orchestrator.turn import STOPPING_LIMIT_S
from apps.shared.messages import (
    Cancel,
    FirstToken,
    Heard,
    Mouth,
    Output,
    Speak,
    Think,
    Viseme,
)
from tests.orchestrator.scene import (
    THINKING_S,
    Scene,
    cough,
    final,
    guess,
    of,
    outputs,
    partial,
    piece,
    played,
    ready,
    sent,
    speech_end,
    started,
    stopped,
    take,
    thought,
    voice,
)

SHOWN = s.ToStream | s.Begun | s.ToEars
MOUTH = Mouth(turn_id="g1", index=0, visemes=(Viseme(0.0, "aa", 1.0, "a"),))
THOUGHT_OUT = (piece("g1", text="I am fine."), ready("g1"), MOUTH, thought("g1"))


def guessing(*before: events.Event, text: str = "how are you", **listening: object) -> Scene:
    """A show in which she has begun on these words."""
    scene = Scene(**listening)
    scene.do(*before, voice(), partial(text))
    (wanted,) = of(s.HeadStart, scene.all)
    assert (wanted.utterance_id, wanted.text, wanted.end_s) == ("u1", text, 100.0)
    scene.do(guess(text))
    return scene


# --- begun ---


def test_words_that_seem_complete_are_taken_up():
    """Policy is asked before the streamer's silence is long enough to be certain; she stays hushed."""
    scene = Scene()
    done = scene.do(voice(), partial("how are you", complete=False), partial())
    assert of(s.HeadStart, done) == [s.HeadStart("u1", "how are you", 100.0)]
    assert sent(scene.do(guess())) == [Think(turn_id="g1", user="Robin", text="how are you", lane="streamer")]
    assert scene.hushed


@pytest.mark.parametrize("barge_in", ["streamer_only_when_addressed", "never"])
def test_the_voice_is_hushed_before_it_gets_a_guess(barge_in):
    """Also where the streamer's voice alone does not silence her: a guess is never heard."""
    scene = Scene(barge_in=barge_in)
    scene.do(voice(), partial())
    done = scene.do(guess())
    assert outputs(done) == [Output(muted=False, held=False, hushed=True)]
    assert [type(message) for message in sent(scene.do(piece("g1")))] == [Speak]


@pytest.mark.parametrize(
    ("before", "listening"),
    [
        ((), {"head_start": False}),
        ((take(),), {}),
        ((take(), piece(), started()), {}),
        ((take(), piece(), started(), events.Stop("skip")), {}),
        ((events.Pause(),), {}),
        ((events.Panic(),), {}),
    ],
    ids=["switched off", "thinking", "speaking", "stopping", "paused", "panicked"],
)
def test_there_is_no_head_start(before, listening):
    """One turn at a time, none when there shall be none, and none without the setting."""
    scene = Scene(**listening)
    scene.do(*before)
    assert not of(s.HeadStart, scene.do(voice(), partial()))


def test_no_head_start_on_words_that_go_on():
    """A partial that is not complete is not taken up, however long it is."""
    scene = Scene()
    assert not of(s.HeadStart, scene.do(voice(), partial("how are you and", complete=False)))


def test_at_most_so_many_guesses_at_one_utterance():
    """Somebody who keeps adding words costs no more; the next utterance counts anew."""
    scene = Scene()
    scene.do(voice())
    text = "well"
    for number in range(GUESSES + 2):
        done = scene.do(partial(text))
        assert len(of(s.HeadStart, done)) == (number < GUESSES)
        if of(s.HeadStart, done):
            scene.do(guess(text, f"g{number}"))
            text += " and another thing"
            scene.do(partial(text, complete=False))
            assert scene.show.turn is None
    scene.do(final(text), voice("u2"))
    assert of(s.HeadStart, scene.do(partial("next", "u2")))


# --- kept ---


@pytest.mark.parametrize(
    ("guessed", "said"),
    [
        ("how are you", "how are you"),
        ("how are you", "How are you?"),
        ("how are you doing this evening my friend", "how are you doing this evening, my friends"),
    ],
    ids=["the same", "signs and capitals", "alike"],
)
def test_a_right_guess_becomes_the_turn(guessed, said):
    """Policy is not asked again; from here on it is a turn as any other, about the final words."""
    scene = guessing(text=guessed)
    done = scene.do(final(said))
    (begun,) = of(s.Begun, done)
    assert (begun.turn.id, begun.turn.text, begun.turn.phase) == ("g1", said, "thinking")
    assert not begun.turn.guess
    assert not of(s.Answer, done)
    assert sent(done) == [Output(muted=False, held=False)]
    assert scene.show.utterance is None


def test_what_was_made_of_a_right_guess_is_heard_at_once():
    """The sound lies ready with the voice; it has but to be let go on."""
    scene = guessing()
    scene.do(*THOUGHT_OUT)
    assert outputs(scene.do(final())) == [Output(muted=False, held=False)]
    done = scene.do(started("g1", at_s=100.72), played("g1"), speech_end("g1"))
    (over,) = of(s.Ended, done)
    assert (over.outcome, over.turn.heard) == ("spoken", "I am fine.")


def test_a_right_guess_shows_her_mouth_once_it_is_released():
    """The mouth shapes were there before anybody might see them; they are shown before the sound begins."""
    scene = guessing()
    assert not of(s.ToStream, scene.do(*THOUGHT_OUT))
    done = scene.do(final())
    shown = [type(action) for action in done if isinstance(action, SHOWN)]
    assert shown == [s.Begun, s.ToStream]
    assert of(s.ToStream, done)[0].message == MOUTH
    later = replace(MOUTH, index=1)
    assert of(s.ToStream, scene.do(later))[0].message == later


def test_memory_keeps_the_final_words():
    """What she was asked is what was said in the end, not what it seemed to be."""
    scene = guessing()
    scene.do(*THOUGHT_OUT, final("How are you?"))
    done = scene.do(started("g1"), played("g1"), speech_end("g1"))
    assert Heard(turn_id="g1", text="I am fine.", line="How are you?") in sent(done)


def test_the_final_words_are_one_clean_line():
    """They come from outside, as any line does."""
    scene = guessing()
    (begun,) = of(s.Begun, scene.do(final(" How\nare\x00 you?\u202e")))
    assert begun.turn.text == "How are you?"


def test_times_count_from_the_end_of_speech():
    """As those of every line that was spoken do, whenever the guess had begun."""
    scene = Scene()
    scene.do(voice(), partial(end_s=99.8), guess(end_s=99.8))
    scene.do(FirstToken(turn_id="g1", at_s=100.2), piece("g1", at_s=100.3), ready("g1", at_s=100.4))
    scene.do(final(end_s=99.9, at_s=100.6))
    scene.do(started("g1", at_s=100.7), played("g1", at_s=101.7))
    assert scene.turn.received_s == 99.9
    assert scene.turn.marks == pytest.approx(
        {
            "endpoint": 550,
            "transcript": 700,
            "first_token": 300,
            "first_sentence": 400,
            "tts_first_chunk": 500,
            "first_audio": 800,
            "last_audio": 1800,
        }
    )


@pytest.mark.parametrize(
    ("ready_s", "saved_ms"),
    [(100.3, 300), (100.6, 600), (100.9, 600), (None, None)],
    ids=["sound before the words", "together", "sound after the words", "never any sound"],
)
def test_what_a_head_start_has_saved(ready_s, saved_ms):
    """What she was ahead of a turn that had begun with the final words, and no more than that."""
    scene = Scene()
    scene.do(voice(), partial(), guess())  # at 100.0
    early = ready_s is not None and ready_s <= 100.6
    if early:
        scene.do(piece("g1"), ready("g1", at_s=ready_s))
    scene.do(final(), after_s=0.6)
    if ready_s is not None and not early:
        scene.do(piece("g1"), ready("g1", at_s=ready_s))
    assert scene.turn.head_start_ms == (None if saved_ms is None else pytest.approx(saved_ms))


def test_a_turn_without_a_head_start_has_saved_nothing():
    """It is no head start of nought milliseconds."""
    scene = Scene()
    scene.do(take(), piece(), ready())
    assert scene.turn.head_start_ms is None


def test_more_is_said_after_a_right_guess():
    """Before she is heard the two parts are answered together, as without a head start."""
    scene = guessing()
    scene.do(*THOUGHT_OUT, final(), voice("u2"))
    assert scene.hushed
    done = scene.do(final("today", "u2"))
    assert [answer.text for answer in of(s.Answer, done)] == ["how are you today"]
    done = scene.do(stopped("g1", index=-1))
    assert of(s.Ended, done)[0].turn.reason.startswith("continued:")


def test_the_same_words_of_another_utterance_release_nothing():
    """They are answered as they are; what is being said now may go on otherwise."""
    scene = guessing()
    done = scene.do(final("how are you", "u0"))
    assert not of(s.Begun, done)
    assert [answer.utterance_id for answer in of(s.Answer, done)] == ["u0"]
    assert of(s.Ended, done)[0].turn.guess
    assert scene.hushed


# --- thrown away ---


def more(scene: Scene) -> list[s.Action]:
    return scene.do(partial("how are you doing over there in the forest", complete=False))


def other_words(scene: Scene) -> list[s.Action]:
    return scene.do(final("how are they doing in the forest"))


def not_for_her(scene: Scene) -> list[s.Action]:
    return scene.do(final("..."))


WRONG = {
    "more was said": more,
    "other words": other_words,
    "no words": lambda scene: scene.do(cough()),
    "signs alone": not_for_her,
    "another utterance": lambda scene: scene.do(voice("u2")),
    "words of another utterance": lambda scene: scene.do(final("something else", "u0")),
    "ears gone": lambda scene: scene.do(events.Gone("asr", "asr_lost: killed")),
    "ears late": lambda scene: scene.late(),
    "panic": lambda scene: scene.do(events.Panic()),
    "skip": lambda scene: scene.do(events.Stop("skip")),
    "end of the show": lambda scene: scene.do(events.Close()),
    "policy gone": lambda scene: scene.do(events.Gone("policy", "policy_lost: killed")),
    "voice gone": lambda scene: scene.do(events.Gone("tts", "tts_lost: killed")),
}


@pytest.mark.parametrize("made", [(), THOUGHT_OUT], ids=["thinking", "made"])
@pytest.mark.parametrize("what", WRONG.values(), ids=WRONG.keys())
def test_a_guess_that_comes_to_nothing_leaves_no_trace(what, made):
    """Nobody has seen or heard anything of it; the model and the voice stop, and nothing follows."""
    scene = guessing()
    scene.do(*made)
    what(scene)
    if scene.show.turn is not None:
        if made and scene.turn.guess and scene.turn.phase == "thinking":  # policy had done its part
            scene.do(final("nothing of the kind"))
        scene.do(stopped("g1", index=-1))
    assert scene.show.turn is None
    (over,) = of(s.Ended, scene.all)
    assert over.turn.guess
    assert over.turn.reason
    assert [message for message in sent(scene.all) if isinstance(message, Heard)] == [
        Heard(turn_id="g1", text="", line="how are you")
    ]
    shown = [action for action in scene.all if isinstance(action, SHOWN)]
    assert [type(action.message).__name__ for action in shown if isinstance(action, s.ToStream)] in (
        [],
        ["Hearing"],  # that the ears will not tell how it ended
    )
    assert not of(s.Begun, scene.all)
    after = scene.do(*THOUGHT_OUT, started("g1"))
    assert after == []


@pytest.mark.parametrize("what", [more, other_words], ids=["more", "other"])
def test_the_model_is_stopped_at_once_when_it_guessed_wrong(what):
    """The turn that follows needs it."""
    scene = guessing()
    scene.do(piece("g1"))
    done = what(scene)
    assert [message for message in sent(done) if isinstance(message, Cancel)] == [Cancel(turn_id="g1")] * 2
    assert scene.show.deadline_s is not None
    assert scene.show.deadline_s <= scene.now_s + STOPPING_LIMIT_S


def test_other_words_are_answered_instead():
    """The guess costs nothing: the final words are answered as if there had been none."""
    scene = guessing()
    done = scene.do(final("how are they"))
    assert [answer.text for answer in of(s.Answer, done)] == ["how are they"]
    assert scene.show.free
    assert not scene.hushed


def test_words_that_grow_are_guessed_again():
    """The next pause has a guess of its own."""
    scene = guessing()
    scene.do(partial("how are you doing tonight", complete=False))
    assert of(s.HeadStart, scene.do(partial("how are you doing tonight")))


def test_a_guess_is_kept_while_partials_say_the_same():
    """Commas come and go; the model is not stopped for them."""
    scene = guessing()
    assert scene.do(partial("How are you?"), partial("how are you", complete=False)) == []
    assert scene.turn.id == "g1"


def test_a_guess_has_no_deadline_but_that_of_the_words():
    """Time stands still while she is hushed, and counts from the release on."""
    scene = guessing()
    assert scene.show.deadline_s == scene.now_s + UTTERANCE_LIMIT_S
    scene.do(final(), after_s=30.0)
    assert scene.show.deadline_s == scene.now_s + THINKING_S


def test_a_brain_that_fails_a_guess_is_asked_again():
    """A reply that came to nothing is no answer: the final words are taken up anew."""
    scene = guessing()
    failed = replace(thought("g1"), pieces=0, outcome="failed", reason="not_ready: the brain is being loaded")
    (over,) = of(s.Ended, scene.do(failed))
    assert over.turn.guess
    assert of(s.Answer, scene.do(final()))


def test_pausing_does_not_throw_a_guess_away():
    """What had begun before the pause is held like any turn, and said after it."""
    scene = guessing()
    scene.do(*THOUGHT_OUT, events.Pause())
    assert outputs(scene.do(final())) == [Output(muted=False, held=True)]
    assert outputs(scene.do(events.Resume())) == [Output(muted=False, held=False)]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("", "", True),
        ("yes", "", False),
        ("yes", "no", False),
        ("how are you", "HOW, ARE YOU?!", True),
        ("turn left at the tower", "turn right at the tower", False),
        ("do you like the fox", "you do not like the fox", False),
        ("a" * 95, "a" * 100, True),
        ("a" * 89, "a" * 100, False),
    ],
)
def test_how_alike_a_guess_must_be(one, other, same):
    """At least 0.95 of the letters, so that the reply fits both."""
    assert alike(one, other) is same
