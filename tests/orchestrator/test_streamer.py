"""What the streamer's speech does to her, event by event: barge-in, put back, answered together."""

import pytest

from apps.orchestrator import events
from apps.orchestrator import show as s
from apps.orchestrator.inbox import TEXT_LIMIT
from apps.orchestrator.streamer import UTTERANCE_LIMIT_S, WORDLESS_S, addressed
from apps.orchestrator.turn import PLAYING_LIMIT_S, STOPPING_LIMIT_S
from apps.shared.messages import (
    Cancel,
    Finish,
    Heard,
    Hearing,
    HerVoice,
    Output,
    PieceHushed,
    PieceResumed,
    Speak,
)
from tests.orchestrator.scene import (
    SPEAKING,
    THINKING_S,
    Scene,
    cough,
    final,
    of,
    outputs,
    partial,
    piece,
    played,
    sent,
    speech_end,
    started,
    stopped,
    take,
    thought,
    voice,
)

HUSH, GO_ON = Output(muted=False, held=False, hushed=True), Output(muted=False, held=False)
WAIT = Output(muted=False, held=True)


# --- she stops, and goes on ---


def test_speech_hushes_her_in_the_step_in_which_it_is_certain():
    """Nothing else happens: the turn is as it was, neither policy nor the stream is told anything."""
    scene = Scene()
    scene.do(*SPEAKING)
    before = scene.turn
    assert scene.do(voice()) == [s.ToVoice(HUSH)]
    assert scene.turn == before


def test_a_cough_lets_her_go_on_where_she_stood():
    """The same turn, no word lost, nothing answered."""
    scene = Scene()
    scene.do(*SPEAKING)
    before = scene.turn
    assert scene.do(voice(), cough()) == [s.ToVoice(HUSH), s.ToVoice(GO_ON)]
    assert scene.turn == before
    assert scene.show.utterance is None


def test_a_transcript_without_a_letter_is_a_cough():
    """Recognisers write dots and dashes where nothing was said; nobody wants these answered."""
    scene = Scene()
    scene.do(*SPEAKING)
    assert scene.do(voice(), final(" ... -")) == [s.ToVoice(HUSH), s.ToVoice(GO_ON)]


def test_what_is_thought_while_she_is_hushed_goes_to_the_voice():
    """The model is not kept waiting by a cough; the voice begins nothing before it may."""
    scene = Scene()
    scene.do(take(), voice())
    assert [type(message) for message in sent(scene.do(piece(), thought()))] == [Speak, Finish]
    assert scene.hushed


def test_the_panel_and_the_ears_know_when_she_stands_still():
    """Her mouth stops with the sound and the ears stop expecting her; both go on with it."""
    scene = Scene()
    scene.do(*SPEAKING, voice())
    still = PieceHushed(turn_id="t1", index=0, at_s=101.0, played_s=0.4)
    again = PieceResumed(turn_id="t1", index=0, at_s=102.0, played_s=0.4)
    assert scene.do(still) == [s.ToStream(still), s.ToEars(HerVoice(sounding=False, at_s=101.0))]
    scene.do(cough())
    assert scene.do(again) == [
        s.ToStream(again),
        s.ToEars(HerVoice(sounding=True, text="Hello there Mika.", at_s=102.0)),
    ]


def test_a_turn_may_end_while_she_is_hushed():
    """Its last samples were out already: it was spoken, and the words are answered without a cancel."""
    scene = Scene()
    scene.do(*SPEAKING, thought(pieces=2), played(), started(index=1), voice())
    (over,) = of(s.Ended, scene.do(played(index=1), speech_end()))
    assert over.outcome == "spoken"
    assert not scene.show.free
    assert [type(action) for action in scene.do(final())] == [s.Answer, s.ToVoice]
    assert scene.show.free


# --- words ---


def test_words_cancel_what_is_heard_and_are_answered_next():
    """The voice and the model stop; what was heard of it is remembered, and the show is free."""
    scene = Scene()
    scene.do(*SPEAKING, voice())
    done = scene.do(final("wait, stop", at_s=100.8))
    assert done[0] == s.Answer("u1", "wait, stop", 100.0, {"endpoint": 550.0, "transcript": 800.0})
    assert [message for message in sent(done) if isinstance(message, Cancel)] == [Cancel(turn_id="t1")] * 2
    assert not scene.show.free
    over = scene.do(stopped(share=0.7))
    assert of(s.Ended, over)[0].outcome == "cancelled"
    assert of(s.Ended, over)[0].turn.reason.startswith("barge_in:")
    assert Heard(turn_id="t1", text="Hello there") in sent(over)
    assert scene.show.free
    assert not of(s.PutBack, scene.all)


def test_a_voice_that_hangs_does_not_keep_the_streamer_waiting():
    """The cancel of a barge-in has the deadline of any other."""
    scene = Scene()
    scene.do(*SPEAKING, voice(), final())
    assert scene.show.deadline_s == pytest.approx(scene.now_s + STOPPING_LIMIT_S)
    assert of(s.Ended, scene.late())[0].outcome == "cancelled"
    assert scene.show.free


@pytest.mark.parametrize("pieces", [(), (piece(),)], ids=["thinking", "thought, not yet heard"])
def test_a_line_of_which_nothing_was_heard_is_put_back(pieces):
    """Its author has lost nothing by the streamer's speaking first."""
    scene = Scene()
    scene.do(take(), *pieces, voice())
    before = scene.turn
    done = scene.do(final())
    assert [type(action) for action in done[:2]] == [s.PutBack, s.Answer]
    assert of(s.PutBack, done)[0].turn == before
    done += scene.do(stopped(index=-1))
    (over,) = of(s.Ended, done)
    assert over.turn.reason.startswith("put_back:")
    assert Heard(turn_id="t1", text="") in sent(done)
    assert scene.show.free


def test_what_the_streamer_says_before_she_has_answered_goes_together():
    """Somebody who pauses in mid-thought gets one answer to all of it."""
    scene = Scene()
    first = events.Take("t1", "Robin", "I was thinking", "streamer", 100.0, utterance_id="u1")
    scene.do(first, voice("u2"))
    done = scene.do(final("about the fox", "u2"))
    assert [answer.text for answer in of(s.Answer, done)] == ["I was thinking about the fox"]
    assert not of(s.PutBack, done)
    assert of(s.Ended, done)[0].turn.reason.startswith("continued:")


def test_of_very_much_that_goes_together_the_end_is_answered():
    """The line has its limit, and the last words are those that wait for an answer."""
    scene = Scene()
    long = "word " * 190 + "and"
    scene.do(events.Take("t1", "Robin", long, "streamer", 100.0, utterance_id="u1"), voice("u2"))
    (answer,) = of(s.Answer, scene.do(final("then I saw the most wonderful and very red fox of all", "u2")))
    assert len(answer.text) <= TEXT_LIMIT
    assert answer.text.startswith("word word")
    assert answer.text.endswith("and then I saw the most wonderful and very red fox of all")


def test_the_streamer_interrupts_her_answer_to_the_streamer():
    """Once she is heard it is a barge-in like any other: the new words alone are answered."""
    scene = Scene()
    first = events.Take("t1", "Robin", "tell me a story", "streamer", 100.0, utterance_id="u1")
    scene.do(first, piece(), started(), voice("u2"))
    (answer,) = of(s.Answer, scene.do(final("no, a short one", "u2")))
    assert answer.text == "no, a short one"
    assert scene.turn.reason.startswith("barge_in:")


def test_words_while_another_turn_is_being_stopped():
    """A skip and the streamer's words at once: the words are answered, the turn is ended but once."""
    scene = Scene()
    scene.do(*SPEAKING, voice(), events.Stop("skip"))
    done = scene.do(final())
    assert len(of(s.Answer, done)) == 1
    done += scene.do(stopped())
    (over,) = of(s.Ended, done)
    assert over.turn.reason == "skip"


def test_a_line_that_was_skipped_is_not_put_back():
    """The streamer did not want it answered; words that come while it stops do not bring it back."""
    scene = Scene()
    scene.do(take(), piece(), voice(), events.Stop("skip"))
    done = scene.do(final())
    assert of(s.Answer, done)
    assert not of(s.PutBack, done)


def test_the_ears_know_when_she_is_cut_off():
    """Her voice is not expected any more once a turn has ended in mid-sentence."""
    scene = Scene()
    scene.do(*SPEAKING, voice(), final())
    assert s.ToEars(HerVoice(sounding=False, at_s=scene.now_s)) in scene.do(stopped(share=0.5))


def test_nothing_is_taken_up_while_the_streamer_speaks():
    """They may want an answer; when it was a cough the next line may be taken up at once."""
    scene = Scene()
    scene.do(voice())
    assert not scene.show.free
    scene.do(cough())
    assert scene.show.free


# --- ASR_BARGE_IN ---


@pytest.mark.parametrize(
    ("barge_in", "while_speaking", "after_words"),
    [
        ("always", HUSH, "barge_in"),
        ("streamer_only_when_addressed", WAIT, "goes on"),
        ("never", GO_ON, "goes on"),
    ],
)
def test_what_interrupts_her_is_a_setting(barge_in, while_speaking, after_words):
    """Voice alone, and words without her name: each mode has its own answer; all answer the words."""
    scene = Scene(barge_in=barge_in)
    scene.do(*SPEAKING, voice())
    assert scene.show.output == while_speaking
    done = scene.do(final("nice weather"))
    assert len(of(s.Answer, done)) == 1
    if after_words == "barge_in":
        assert scene.turn.phase == "stopping"
    else:
        assert scene.turn.phase == "speaking"
        assert not any(isinstance(message, Cancel) for message in sent(done))
    assert scene.show.output == GO_ON


def test_with_only_her_name_she_finishes_her_piece_and_waits():
    """She leaves off at the end of a sentence, and lets the streamer finish theirs."""
    scene = Scene(barge_in="streamer_only_when_addressed")
    scene.do(*SPEAKING)
    assert outputs(scene.do(voice())) == [WAIT]
    scene.do(partial("so I went", complete=False), played())
    assert outputs(scene.do(cough())) == [GO_ON]
    assert scene.turn.phase == "speaking"


@pytest.mark.parametrize("text", ["hey Kitsu", "kitsu,", "hey kit sue listen", "KITSUNE", "Kitsus turn"])
def test_her_name_in_a_partial_silences_her_in_mid_sentence(text):
    """Also as recognisers write it that have never heard of her."""
    scene = Scene(barge_in="streamer_only_when_addressed")
    scene.do(*SPEAKING, voice())
    assert outputs(scene.do(partial(text, complete=False))) == [HUSH]
    assert scene.do(partial(f"{text} listen", complete=False)) == []
    scene.do(final(f"{text} listen to me"))
    assert scene.turn.phase == "stopping"


def test_her_name_that_was_misheard_after_all_lets_her_go_on():
    """A partial had it, the final text has not: she is not cancelled, and answers afterwards."""
    scene = Scene(barge_in="streamer_only_when_addressed")
    scene.do(*SPEAKING, voice(), partial("kit sue", complete=False))
    done = scene.do(final("it's soup"))
    assert outputs(done) == [GO_ON]
    assert scene.turn.phase == "speaking"
    assert [answer.text for answer in of(s.Answer, done)] == ["it's soup"]


def test_with_never_her_turns_are_not_stopped():
    """Words are answered afterwards; but she begins nothing new over the streamer."""
    scene = Scene(barge_in="never")
    scene.do(voice())
    assert not scene.show.free
    scene.do(*SPEAKING, partial("Kitsu stop", complete=False))
    assert scene.show.output == GO_ON
    assert of(s.Answer, scene.do(final("Kitsu stop")))
    assert scene.turn.phase == "speaking"


# --- ASR_ANSWER ---


def test_words_for_somebody_else_are_not_answered():
    """With ASR_ANSWER=addressed the streamer may talk to chat; whom she was answering was talked over."""
    scene = Scene(answer="addressed")
    scene.do(*SPEAKING)
    assert not of(s.Answer, scene.do(voice(), final("thanks for the raid everybody")))
    assert scene.turn.reason.startswith("barge_in")


def test_words_for_somebody_else_while_she_thinks():
    """Nothing of her answer was heard, so nothing was talked over: she gives it afterwards."""
    scene = Scene(answer="addressed")
    scene.do(take())
    assert scene.do(voice(), final("thanks for the raid everybody")) == [s.ToVoice(HUSH), s.ToVoice(GO_ON)]
    assert scene.turn.phase == "thinking"


def test_words_for_her_are_answered():
    """Her name anywhere in them is enough, and they end her turn."""
    scene = Scene(answer="addressed")
    scene.do(*SPEAKING, voice())
    assert of(s.Answer, scene.do(final("thanks for the raid, what do you say Kitsu")))
    assert scene.turn.phase == "stopping"


def test_no_head_start_on_words_for_somebody_else():
    """What will not be answered is not thought about."""
    scene = Scene(answer="addressed")
    assert scene.do(voice(), partial("thanks for the raid")) == [s.ToVoice(HUSH)]
    assert of(s.HeadStart, scene.do(partial("thanks for the raid kitsu")))


@pytest.mark.parametrize(
    ("name", "text", "called"),
    [
        ("Kitsu", "hello kitsu", True),
        ("Kitsu", "hello, Kit Sue!", True),
        ("Kitsu", "that kit suits you", False),
        ("Kitsu", "what a nice day", False),
        ("Kitsu", "", False),
        ("Kit", "it is late", False),
        ("Kit", "hey Kit!", True),
        ("Al", "all of you", False),
        ("Lady Fox", "well lady fox", True),
        ("Lady Fox", "well ladyfox", True),
        ("Lady Fox", "well la dy fox", True),
        ("Lady Fox of Kyoto", "dear lady fox of kyoto", True),
        ("K-9", "come here K9", True),
        ("किट्सु", "नमस्ते किट्सु", True),
        ("किट्सु", "नमस्ते दोस्तों", False),
        ("✨", "hello", False),
    ],
)
def test_who_is_called(name, text, called):
    """By the whole name, however it was cut into words; a short one is not found in every other word."""
    assert addressed(Scene(names=(name,)).show, text) is called


def test_nobody_is_called_who_has_no_name():
    """Until policy has told who she is."""
    assert not addressed(Scene(names=()).show, "kitsu")


def test_she_listens_to_the_name_that_she_has_now():
    """Another persona, another name; what is under way is left alone."""
    scene = Scene(barge_in="streamer_only_when_addressed")
    scene.do(*SPEAKING)
    assert scene.do(events.Called(("Momo",))) == []
    scene.do(voice(), partial("kitsu", complete=False))
    assert not scene.hushed
    scene.do(partial("kitsu and momo", complete=False))
    assert scene.hushed


# --- ears that fail ---


def test_speech_without_an_end_does_not_silence_her_for_ever():
    """Ears that hang are believed for so long; the panel is told that nothing came of it."""
    scene = Scene()
    scene.do(*SPEAKING, voice(), partial("so", complete=False))
    assert scene.show.deadline_s == scene.now_s + UTTERANCE_LIMIT_S
    nothing = s.ToStream(Hearing(utterance_id="u1", text="", state="nothing"))
    assert scene.late() == [nothing, s.ToVoice(GO_ON)]
    assert scene.turn.phase == "speaking"


def test_noise_that_is_taken_for_a_voice_silences_her_for_seconds_only():
    """Music, a fan, a crowd: no word comes of it, so she goes on and takes up what waits."""
    scene = Scene()
    scene.do(*SPEAKING, voice())
    assert scene.show.deadline_s == scene.now_s + WORDLESS_S
    assert scene.late() == [s.ToVoice(GO_ON)]
    scene.do(played(), thought(), speech_end())
    assert scene.show.free


def test_a_word_after_long_noise_silences_her():
    """The streamer speaks into the music: her voice stops at the first word of it."""
    scene = Scene()
    scene.do(*SPEAKING, voice())
    scene.late()
    assert outputs(scene.do(partial("wait", complete=False))) == [HUSH]
    assert of(s.Answer, scene.do(final("wait a moment")))


@pytest.mark.parametrize("reason", ["asr_lost: killed", "asr_hung: no heartbeat"])
def test_ears_that_die_let_her_go_on(reason):
    """The streamer's words are lost with them, her turn is not."""
    scene = Scene()
    scene.do(*SPEAKING, voice())
    nothing = s.ToStream(Hearing(utterance_id="u1", text="", state="nothing"))
    assert scene.do(events.Gone("asr", reason)) == [nothing, s.ToVoice(GO_ON)]
    assert scene.do(events.Gone("asr", reason)) == []


def test_words_that_come_after_they_were_given_up_are_answered():
    """A slow transcript of a long speech is late, not wrong."""
    scene = Scene()
    scene.do(*SPEAKING, voice())
    scene.late()
    assert of(s.Answer, scene.do(final()))
    assert scene.turn.phase == "stopping"


def test_words_whose_beginning_was_lost_are_answered():
    """Ears that rejoin in mid-sentence tell only its end."""
    scene = Scene()
    scene.do(*SPEAKING)
    assert of(s.Answer, scene.do(final("where were we", "u9")))
    assert scene.turn.phase == "stopping"


@pytest.mark.parametrize(
    "stale", [partial("kitsu", "u0"), cough("u0")], ids=lambda message: type(message).__name__
)
def test_what_is_told_of_another_utterance_changes_nothing(stale):
    """Partials and ends count for the utterance that is being said."""
    scene = Scene(barge_in="streamer_only_when_addressed")
    scene.do(*SPEAKING, voice("u1"))
    before = scene.show
    assert scene.do(stale) == []
    assert scene.show == before


def test_partials_of_nobody_change_nothing():
    """Without a beginning there is nothing that could be ended."""
    scene = Scene()
    assert scene.do(partial()) == []
    assert scene.show.utterance is None


# --- two at once ---


def test_two_utterances_in_a_row_are_both_answered():
    """The first one's words come while the second is being said: she stays silent until that is over, too."""
    scene = Scene()
    scene.do(*SPEAKING, voice("u1"), voice("u2"))
    assert [answer.text for answer in of(s.Answer, scene.do(final("one", "u1")))] == ["one"]
    scene.do(stopped())
    assert scene.hushed
    assert not scene.show.free
    assert [answer.text for answer in of(s.Answer, scene.do(final("two", "u2")))] == ["two"]
    assert scene.show.free


def test_the_end_of_the_first_does_not_end_the_second():
    """A cough before a sentence: the sentence is still being said."""
    scene = Scene()
    scene.do(voice("u1"), voice("u2"))
    assert scene.do(cough("u1")) == []
    assert scene.hushed


def test_each_utterance_has_its_own_deadline():
    """A second one is believed from its own beginning on."""
    scene = Scene()
    scene.do(voice("u1"))
    scene.do(voice("u2"), after_s=30.0)
    assert scene.show.utterance is not None
    assert scene.show.utterance.until_s == scene.now_s + UTTERANCE_LIMIT_S


# --- panic, pause, mute ---


def test_panic_while_the_streamer_speaks():
    """Silence at once; words said then are for nobody, and she is not hushed when she is wanted again."""
    scene = Scene()
    scene.do(*SPEAKING, voice(), events.Panic(), stopped())
    assert not of(s.Answer, scene.do(final()))
    assert not scene.show.free
    scene.do(events.Resume())
    assert scene.show.free
    assert scene.show.output == GO_ON


def test_a_pause_and_speech_are_independent():
    """A cough ends the hush and not the pause, and the end of the pause not the hush."""
    scene = Scene()
    scene.do(*SPEAKING, events.Pause(), voice())
    assert scene.show.output == Output(muted=False, held=True, hushed=True)
    scene.do(cough())
    assert scene.show.output == WAIT
    scene.do(voice("u2"), events.Resume())
    assert scene.show.output == HUSH


def test_words_while_she_is_paused_wait_with_the_others():
    """They are answered when she may speak again, if that is soon enough."""
    scene = Scene()
    scene.do(events.Pause(), voice())
    assert of(s.Answer, scene.do(final()))
    assert not scene.show.free
    scene.do(events.Resume())
    assert scene.show.free


def test_muting_and_speech_are_independent():
    """She is hushed unheard as well, and stays muted."""
    scene = Scene()
    scene.do(*SPEAKING, events.Mute(muted=True), voice())
    assert scene.show.output == Output(muted=True, held=False, hushed=True)
    scene.do(cough())
    assert scene.show.output == Output(muted=True, held=False)


# --- workers that fail meanwhile ---


@pytest.mark.parametrize("module", ["policy", "tts"])
def test_a_worker_that_dies_while_she_is_hushed_fails_her_turn(module):
    """She does not wait for it when the cough is over."""
    scene = Scene()
    scene.do(*SPEAKING, voice())
    done = scene.do(events.Gone(module, "killed"))
    if module == "policy":
        done += scene.do(stopped())
    assert of(s.Ended, done)[0].outcome == "failed"
    scene.do(cough())
    assert scene.show.free


def test_a_policy_that_dies_after_its_last_piece_does_not_end_a_hushed_turn():
    """All is with the voice; the rest is spoken after the cough."""
    scene = Scene()
    scene.do(*SPEAKING, thought(pieces=2), voice())
    assert scene.do(events.Gone("policy", "killed")) == []
    assert scene.do(cough()) == [s.ToVoice(GO_ON)]


# --- deadlines ---


@pytest.mark.parametrize(
    ("before", "limit_s"),
    [((take(),), THINKING_S), (SPEAKING, PLAYING_LIMIT_S)],
    ids=["thinking", "speaking"],
)
def test_deadlines_stand_still_while_she_is_hushed(before, limit_s):
    """However long the streamer speaks nobody is late for it, and afterwards all have their time anew."""
    scene = Scene()
    scene.do(*before)
    scene.do(voice(), partial("so", complete=False), after_s=limit_s - 1)
    assert scene.do(events.Late(), after_s=5) == []
    scene.do(cough(), after_s=5)
    assert scene.show.deadline_s == scene.now_s + limit_s


def test_a_skip_while_she_is_hushed_has_its_deadline():
    """Time stands still for what goes on, not for what is being stopped."""
    scene = Scene()
    scene.do(*SPEAKING, voice(), events.Stop("skip"))
    assert of(s.Ended, scene.late())[0].turn.reason == "skip"
    assert scene.hushed
    assert not scene.show.free


def test_two_deadlines_that_pass_together_are_both_kept():
    """An utterance and a stopping turn are over at the same time: one `Late` each."""
    scene = Scene()
    scene.do(*SPEAKING, voice())
    scene.do(events.Stop("skip"), after_s=UTTERANCE_LIMIT_S - STOPPING_LIMIT_S)
    scene.late()
    scene.late()
    assert scene.show.turn is None
    assert scene.show.free
