"""Every race of a turn, as a table of events: the pure part decides all of them."""

import pytest

from apps.orchestrator import events
from apps.orchestrator import show as s
from apps.orchestrator import turn as t
from apps.shared.messages import (
    Approved,
    Cancel,
    Caption,
    Finish,
    FirstToken,
    Heard,
    Piece,
    PiecePlayed,
    PieceReady,
    PieceStarted,
    Speak,
    SpeechEnd,
    Stopped,
    Think,
    Thought,
    fingerprint,
)

LIMITS = s.Limits(thinking_s=20)
TAKE = events.Take("t1", "mika", "hi", "chat", received_s=100.0)


def approved(text: str) -> Approved:
    return Approved(text=text, spoken=text, decision_id="d", sha256=fingerprint(text, text))


def piece(index: int, text: str, at_s: float = 100.3, turn_id: str = "t1") -> Piece:
    return Piece(turn_id=turn_id, index=index, approved=approved(text), at_s=at_s)


def thought(pieces: int, outcome="whole", reason="") -> Thought:
    return Thought(turn_id="t1", pieces=pieces, outcome=outcome, at_s=100.5, reason=reason)


def started(index: int, at_s: float = 100.5, turn_id: str = "t1") -> PieceStarted:
    return PieceStarted(turn_id=turn_id, index=index, at_s=at_s)


def played(index: int, at_s: float = 101.5) -> PiecePlayed:
    return PiecePlayed(turn_id="t1", index=index, at_s=at_s, audio_ms=1000.0)


SPEECH_END = SpeechEnd(turn_id="t1", at_s=103.0)
SPEAKING: list[events.Event] = [TAKE, piece(0, "Hello there Mika."), piece(1, "How are you?"), started(0)]


def play(*happens: events.Event, now_s: float = 101.0) -> tuple[s.Show, list[s.Action]]:
    """Apply events one after the other; return the last state and the last event's actions."""
    show = s.Show(LIMITS)
    actions: list[s.Action] = []
    for event in happens:
        show, actions = t.step(show, event, now_s)
    return show, actions


def ended(actions: list[s.Action]) -> s.Ended:
    return next(action for action in actions if isinstance(action, s.Ended))


def messages(actions: list[s.Action]) -> list[object]:
    return [action.message for action in actions if isinstance(action, s.ToPolicy | s.ToVoice | s.ToStream)]


def test_a_line_is_taken_up_by_asking_policy():
    """A line that is taken up goes to policy at once, with its id."""
    show, actions = play(TAKE)
    assert messages(actions) == [Think(turn_id="t1", user="mika", text="hi", lane="chat")]
    assert not show.free


def test_a_piece_goes_to_the_voice_in_the_step_in_which_it_came():
    """An approved piece is on its way to the voice without waiting for anything else."""
    _, actions = play(TAKE, piece(0, "Hello."))
    assert messages(actions) == [Speak(turn_id="t1", index=0, approved=approved("Hello."))]


def test_a_whole_turn_ends_as_spoken_with_every_stage_timed():
    """A turn that is heard to its end is `spoken`, and its marks count from the reception of the text."""
    show, actions = play(
        TAKE,
        FirstToken(turn_id="t1", at_s=100.12),
        piece(0, "Hello.", at_s=100.2),
        PieceReady(turn_id="t1", index=0, at_s=100.25, cached=False),
        thought(1),
        started(0, at_s=100.3),
        played(0, at_s=101.3),
        SPEECH_END,
    )
    over = ended(actions)
    assert over.outcome == "spoken"
    assert over.turn.marks == pytest.approx(
        {
            "first_token": 120,
            "first_sentence": 200,
            "tts_first_chunk": 250,
            "first_audio": 300,
            "last_audio": 1300,
        }
    )
    assert over.turn.heard == "Hello."
    assert show.free


def test_the_end_of_thinking_tells_the_voice_that_no_more_comes():
    """The voice is told to finish when policy has sent its last piece."""
    _, actions = play(TAKE, piece(0, "Hello."), thought(1))
    assert messages(actions) == [Finish(turn_id="t1")]


def test_captions_follow_the_sound():
    """A caption is shown when its piece is heard, not when it was thought."""
    _, actions = play(TAKE, piece(0, "Hello."), started(0))
    assert Caption(turn_id="t1", index=0, approved=approved("Hello.")) in messages(actions)


def test_a_skip_while_thinking_aborts_the_model_and_frees_the_show():
    """Nothing was sent to the voice, so the turn is over at once."""
    show, actions = play(TAKE, events.Stop("skip"))
    assert Cancel(turn_id="t1") in messages(actions)
    assert ended(actions).outcome == "cancelled"
    assert show.free


def test_a_skip_while_speaking_waits_for_the_voice_to_be_silent():
    """The next line is not taken up before the voice has said that it stopped."""
    show, actions = play(*SPEAKING, events.Stop("skip"))
    assert [type(action) for action in actions] == [s.ToVoice, s.ToPolicy]
    assert not show.free
    show, actions = t.step(show, Stopped(turn_id="t1", at_s=101.0, index=0, played=0.67), 101.0)
    assert ended(actions).outcome == "cancelled"
    assert show.free


def test_memory_keeps_only_what_was_heard():
    """Of a piece that was cut off, the words before the cut were heard; of later pieces nothing."""
    show, _ = play(*SPEAKING, events.Stop("skip"))
    _, actions = t.step(show, Stopped(turn_id="t1", at_s=101.0, index=0, played=0.67), 101.0)
    assert messages(actions) == [Heard(turn_id="t1", text="Hello there")]


def test_a_piece_that_ends_while_the_skip_travels_was_heard():
    """What the voice played before it read the cancel counts, and so does the part after it."""
    show, _ = play(*SPEAKING, events.Stop("skip"))
    show, _ = t.step(show, played(0), 101.0)
    _, actions = t.step(show, Stopped(turn_id="t1", at_s=101.0, index=1, played=0.5), 101.0)
    assert messages(actions) == [Heard(turn_id="t1", text="Hello there Mika. How")]


def test_a_hung_voice_does_not_hold_the_show_after_a_skip():
    """A voice that does not answer a cancel within its limit is not waited for."""
    show, _ = play(*SPEAKING, events.Stop("skip"), now_s=101.0)
    show, actions = t.step(show, events.Late(), 101.0 + t.STOPPING_LIMIT_S)
    assert ended(actions).outcome == "cancelled"
    assert show.free


@pytest.mark.parametrize(
    "stale",
    [
        piece(0, "old news", turn_id="t0"),
        started(0, turn_id="t0"),
        SpeechEnd(turn_id="t0", at_s=101.0),
        Thought(turn_id="t0", pieces=0, outcome="failed", at_s=101.0),
        Stopped(turn_id="t0", at_s=101.0),
    ],
    ids=lambda message: type(message).__name__,
)
def test_messages_of_another_turn_change_nothing(stale):
    """Stale work is dropped by comparing ids."""
    before, _ = play(*SPEAKING)
    after, actions = t.step(before, stale, 101.0)
    assert (after, actions) == (before, [])


def test_a_late_piece_of_a_cancelled_turn_is_not_spoken():
    """A token that was under way when the skip came never reaches the voice."""
    show, _ = play(*SPEAKING, events.Stop("skip"))
    after, actions = t.step(show, piece(2, "Too late."), 101.0)
    assert (after, actions) == (show, [])


@pytest.mark.parametrize(
    ("before", "module"),
    [
        ([TAKE], "policy"),
        ([TAKE], "tts"),
        (SPEAKING, "tts"),
        ([*SPEAKING, thought(2)], "tts"),
    ],
    ids=["policy thinking", "voice before it was needed", "voice speaking", "voice finishing"],
)
def test_a_worker_that_dies_in_its_part_of_a_turn_fails_it(before, module):
    """The turn ends as failed, with the reason, and the show is free again."""
    show, actions = play(*before, events.Gone(module, "killed"))
    assert ended(actions).outcome == "failed"
    assert ended(actions).turn.reason == "killed"
    assert show.free


def test_policy_dying_while_speaking_silences_the_rest():
    """With the reply incomplete, the voice is cancelled and the turn fails once it is silent."""
    show, actions = play(*SPEAKING, events.Gone("policy", "killed"))
    assert messages(actions) == [Cancel(turn_id="t1"), Cancel(turn_id="t1")]
    _, actions = t.step(show, Stopped(turn_id="t1", at_s=101.0), 101.0)
    assert ended(actions).outcome == "failed"


def test_policy_dying_after_its_last_piece_does_not_disturb_the_voice():
    """What has been thought to the end is spoken to the end."""
    before, _ = play(*SPEAKING, thought(2))
    after, actions = t.step(before, events.Gone("policy", "killed"), 101.0)
    assert (after, actions) == (before, [])


def test_a_reply_without_anything_sayable_fails():
    """There is no turn without sound that counts as spoken."""
    _, actions = play(TAKE, thought(0, reason="nothing_sayable"))
    assert ended(actions).outcome == "failed"


def test_a_blocked_reply_is_blocked_whether_or_not_a_friendly_line_replaced_it():
    """What the gate refused is reported as blocked."""
    _, silent = play(TAKE, thought(0, outcome="blocked"))
    _, spoken = play(
        TAKE, piece(0, "Let's not."), thought(1, outcome="blocked"), started(0), played(0), SPEECH_END
    )
    assert (ended(silent).outcome, ended(spoken).outcome) == ("blocked", "blocked")


def test_a_voice_that_fails_fails_the_turn_with_its_reason():
    """A voice's error ends the turn and is told."""
    end = SpeechEnd(turn_id="t1", at_s=101.0, reason="voice_broken: crash", fix="Choose another.")
    _, actions = play(*SPEAKING, thought(2), end)
    assert (ended(actions).outcome, ended(actions).turn.fix) == ("failed", "Choose another.")


def test_policy_that_falls_silent_fails_the_turn_at_its_deadline():
    """Every wait has a deadline: a brain that says nothing does not hold the show for ever."""
    show, _ = play(TAKE, now_s=100.0)
    assert show.deadline_s == 120.0
    early, actions = t.step(show, events.Late(), 119.0)
    assert (early, actions) == (show, [])
    _, actions = t.step(show, events.Late(), 120.0)
    assert ended(actions).outcome == "failed"
    assert "policy_silent" in ended(actions).turn.reason


def test_each_sign_of_life_gives_the_workers_their_time_anew():
    """The deadline counts from the last message, and a long sentence may be played out."""
    show, _ = play(*SPEAKING, thought(2), now_s=101.0)
    assert show.deadline_s == 101.0 + t.PLAYING_LIMIT_S


def test_panic_silences_and_freezes_until_resume():
    """After a panic nothing is taken up, not even when the turn has ended."""
    show, _ = play(*SPEAKING, events.Panic())
    show, _ = t.step(show, Stopped(turn_id="t1", at_s=101.0), 101.0)
    assert show.turn is None
    assert not show.free
    show, _ = t.step(show, events.Resume(), 102.0)
    assert show.free


def test_a_pause_holds_the_voice_and_stops_the_clock():
    """She finishes the piece under way; the turn does not time out while it is held."""
    show, actions = play(*SPEAKING, events.Pause())
    assert messages(actions) == [show.output]
    assert show.output.held
    assert show.deadline_s is None
    show, _ = t.step(show, played(0), 200.0)
    assert show.deadline_s is None
    show, actions = t.step(show, events.Resume(), 201.0)
    assert not show.output.held
    assert show.deadline_s is not None


def test_a_pause_does_not_keep_a_hung_voice_waited_for():
    """What is being stopped has its deadline, paused or not."""
    show, _ = play(*SPEAKING, events.Stop("skip"), events.Pause())
    show, actions = t.step(show, events.Late(), 101.0 + t.STOPPING_LIMIT_S)
    assert ended(actions).outcome == "cancelled"
    assert show.turn is None


def test_muting_leaves_the_turn_alone():
    """Mute is about sound only: the turn, its captions and its clock go on."""
    before, _ = play(*SPEAKING)
    after, actions = t.step(before, events.Mute(muted=True), 101.0)
    assert after.turn == before.turn
    assert messages(actions) == [after.output]
    assert after.output.muted


def test_a_skip_with_nothing_under_way_does_nothing():
    """A button pressed too late is harmless."""
    assert play(events.Stop("skip")) == (s.Show(LIMITS), [])


def test_step_is_pure():
    """The same state, event and time give the same result, and the state passed in is unchanged."""
    show, _ = play(*SPEAKING)
    twice = [t.step(show, played(0), 101.0) for _ in range(2)]
    assert twice[0] == twice[1]
    assert show.turn is not None
    assert show.turn.played == 0
