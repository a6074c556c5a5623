"""Random walks: whatever happens in whatever order, she neither hangs, nor is rude, nor loses a line."""

import itertools
import logging
import random
from collections import Counter, deque
from concurrent.futures import Future
from typing import Any, cast

import pytest
import structlog
from msgspec.structs import replace

from apps.orchestrator import events
from apps.orchestrator import show as s
from apps.orchestrator.conductor import Conductor
from apps.orchestrator.journal import Journal
from apps.orchestrator.lights import Lights
from apps.orchestrator.lines import Result
from apps.shared.messages import (
    Cancel,
    Decision,
    Finish,
    FirstToken,
    Heard,
    Message,
    Mouth,
    Output,
    Piece,
    PieceHushed,
    PiecePlayed,
    PieceReady,
    PieceResumed,
    PieceStarted,
    Speak,
    SpeechEnd,
    Stopped,
    Think,
    Thought,
    TurnState,
)
from tests.orchestrator.led import Rows
from tests.orchestrator.scene import approved, cough, final, partial, voice
from tests.orchestrator.served import HEALTHY, PERSONA

LINES = 40  # of a walk
STEPS = 600


@pytest.fixture(autouse=True)
def _quiet():
    """Thousands of steps would write a line each."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


WORDS = ("how are you", "Kitsu", "and then some more was said", "what a day")


class Brain:
    """Policy as the show sees it: it answers every question, also those that nobody waits for any more."""

    def __init__(self) -> None:
        self.asked: dict[str, int] = {}  # turn id -> pieces sent; -1: has thought
        self.cancelled: set[str] = set()

    def take(self, message: Message) -> None:
        if isinstance(message, Think):
            assert message.turn_id not in self.asked, "asked twice"
            self.asked[message.turn_id] = 0
        elif isinstance(message, Cancel):
            self.cancelled.add(message.turn_id)


class Mouthpiece:
    """The voice as the show sees it: hushed and held within a frame, one turn at a time."""

    def __init__(self, is_secret: Any) -> None:
        self.out: deque[Message] = deque()  # on its way to the show
        self.output = Output(muted=False, held=False)
        self._is_secret = is_secret
        self._reset("")

    def _reset(self, turn_id: str) -> None:
        self.turn_id = turn_id
        self.waiting: deque[int] = deque()
        self.playing: int | None = None
        self.still = False
        self.finished = False

    def take(self, message: Message) -> None:
        match message:
            case Output():
                self.output = message
            case Speak(turn_id=turn_id, index=index):
                if turn_id != self.turn_id:
                    self._reset(turn_id)
                self.waiting.append(index)
                self.out.append(PieceReady(turn_id=turn_id, index=index, at_s=0.0, cached=False))
                self.out.append(Mouth(turn_id=turn_id, index=index, visemes=()))
            case Finish(turn_id=turn_id):
                self.finished = True
                self._end_if_over(turn_id)
            case Cancel(turn_id=turn_id):
                index = -1 if self.playing is None or turn_id != self.turn_id else self.playing
                if turn_id == self.turn_id:
                    self._reset("")
                self.out.append(Stopped(turn_id=turn_id, at_s=0.0, index=index, played=0.5))

    def _end_if_over(self, turn_id: str) -> None:
        if self.finished and not self.waiting and self.playing is None:
            self.out.append(SpeechEnd(turn_id=turn_id, at_s=0.0))
            self._reset("")

    def play(self) -> None:
        """One moment of sound."""
        turn_id, at_s = self.turn_id, 0.0
        if self.playing is not None:
            if self.output.hushed and not self.still:
                self.still = True
                self.out.append(PieceHushed(turn_id=turn_id, index=self.playing, at_s=at_s, played_s=0.1))
            elif not self.output.hushed and self.still:
                self.still = False
                self.out.append(PieceResumed(turn_id=turn_id, index=self.playing, at_s=at_s, played_s=0.1))
            elif not self.output.hushed:
                index, self.playing = self.playing, None
                self.out.append(PiecePlayed(turn_id=turn_id, index=index, at_s=at_s, audio_ms=1.0))
                self._end_if_over(turn_id)
        elif self.waiting and not (self.output.hushed or self.output.held):
            assert not self._is_secret(turn_id), "a guess is heard"
            self.playing = self.waiting.popleft()
            self.out.append(PieceStarted(turn_id=turn_id, index=self.playing, at_s=at_s))


class Watched(Conductor):
    """The conductor, its deadlines kept by hand, all that it does looked at."""

    look: Any

    def _set_timer(self) -> None:
        """Nothing: the walk calls `Late`."""

    def _do(self, action: s.Action) -> None:
        self.look(action)
        super()._do(action)


class Walk:
    """A show in which anything may happen next. The seed decides what does."""

    def __init__(self, seed: int, **listening: Any) -> None:
        self.random = random.Random(seed)
        self.now_s = 1000.0
        self.rows = Rows()
        self.conductor = Watched(
            "show",
            cast(Journal, self.rows),
            s.Limits(thinking_s=20),
            Lights(),
            lambda: self.now_s,
            listening=s.Listening(**listening, echo=True),
        )
        self.conductor.look = self.look
        self.conductor.stream.send = self.look_at_stream  # type: ignore[method-assign]
        self.waiters: list[Future[Result]] = []
        self.numbers = itertools.count(1)
        self.open: deque[str] = deque()  # utterances that the ears have yet to end
        self.asked: set[str] = set()  # turns that policy was to think about, were it there
        self.guesses: set[str] = set()
        self.released: set[str] = set()
        self.heard: Counter[str] = Counter()  # turn id -> how often policy was told its end
        self.ended: dict[str, s.Ended] = {}
        self.told: dict[str, list[str]] = {}  # turn id -> what the panel was told of it
        self.written: list[str] = []  # lines of chat
        self.due: list[str] = []  # words that she has to answer
        self.brain = Brain()
        self.voice = Mouthpiece(self.is_secret)
        self.here: set[str] = set()
        for module in ("policy", "tts", "asr"):
            self.join(module)

    def walk(self) -> None:
        """So many steps, then rest; what holds always is looked at after each."""
        happens = {
            self.somebody_writes: 5,
            self.streamer_speaks: 5,
            self.streamer_goes_on: 10,
            self.streamer_is_heard: 7,
            self.policy_works: 30,
            self.voice_plays: 40,
            self.voice_is_late: 3,
            self.button: 3,
            self.time_passes: 4,
            self.deadline: 1,
            self.dies: 1,
        }
        steps = self.random.choices(list(happens), list(happens.values()), k=STEPS)
        for step in steps:
            step()
            self.hushed_only_for_a_reason()
            self.a_guess_belongs_to_what_is_being_said()
            self.nothing_waits_for_nothing()
            self.a_silent_worker_has_a_deadline()
        self.come_to_rest()
        self.close()

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    # --- looking on ---

    def is_secret(self, turn_id: str) -> bool:
        turn = self.conductor._show.turn
        return turn_id in self.guesses and not (turn is not None and turn.id == turn_id and not turn.guess)

    def look(self, action: s.Action) -> None:
        match action:
            case s.Begun(turn):
                if turn.released_s is not None:
                    self.released.add(turn.id)
                assert not turn.guess, "a guess is shown"
            case s.Ended(turn):
                assert turn.id not in self.ended, "ended twice"
                self.ended[turn.id] = action
                assert turn.guess == (turn.id in self.guesses and turn.id not in self.released)
            case s.ToVoice(Speak() | Finish() | Cancel() as message):
                assert message.turn_id not in self.ended, "sent to the voice after the turn's end"
            case s.ToPolicy(Think(turn_id=turn_id)):
                taken = self.conductor._show.turn
                assert taken is not None
                assert taken.id == turn_id
                if taken.guess:
                    self.guesses.add(turn_id)
                assert self.asked == set(self.heard), "two turns at a time"
                self.asked.add(turn_id)
            case s.ToPolicy(Heard(turn_id=turn_id)):
                assert turn_id in self.asked
                self.heard[turn_id] += 1
            case s.Answer(text=text):
                self.due.append(text)

    def look_at_stream(self, message: Message) -> None:
        turn_id = getattr(message, "turn_id", None)
        assert turn_id is None or turn_id not in self.guesses or turn_id in self.released, "a guess is shown"
        if isinstance(message, TurnState):
            self.told.setdefault(message.turn_id, []).append(message.state)

    # --- what happens ---

    def somebody_writes(self) -> None:
        if len(self.waiters) == LINES:
            return
        text = f"line {next(self.numbers)}"
        self.written.append(text)
        item = self.conductor._lines.new(text, "mika", "chat", self.now_s)
        waiter: Future[Result] = Future()  # of no loop: nobody awaits it
        self.conductor._lines._waiters[item.id] = cast(Any, waiter)
        self.waiters.append(waiter)
        self.conductor._queue(item)

    def streamer_speaks(self) -> None:
        if "asr" not in self.here or len(self.open) > 2:
            return
        utterance_id = f"u{next(self.numbers)}"
        self.open.append(utterance_id)
        if self.chance(0.95):  # else that message was lost
            self.conductor.receive("asr", voice(utterance_id))

    def streamer_goes_on(self) -> None:
        if "asr" not in self.here or not self.open:
            return
        utterance_id = self.open[-1 if self.chance(0.9) else 0]
        turn = self.conductor._show.turn
        text = f"{self.random.choice(WORDS)} {utterance_id}"
        if turn is not None and turn.guess and self.chance(0.8):
            text = turn.text
        told = partial(text, utterance_id, complete=self.chance(0.6), end_s=self.now_s)
        self.conductor.receive("asr", told)

    def streamer_is_heard(self) -> None:
        if "asr" not in self.here or not self.open:
            return
        utterance_id = self.open.popleft()
        turn = self.conductor._show.turn
        text = f"{self.random.choice(WORDS)} {utterance_id}"
        if turn is not None and turn.guess and turn.utterance_id == utterance_id and self.chance(0.7):
            text = turn.text
        told = final(text, utterance_id, end_s=self.now_s, at_s=self.now_s)
        self.conductor.receive("asr", told if self.chance(0.7) else cough(utterance_id))

    def policy_works(self) -> None:
        busy = [turn_id for turn_id, pieces in self.brain.asked.items() if pieces >= 0]
        if "policy" not in self.here or not busy:
            return
        turn_id = busy[-1 if self.chance(0.8) else 0]
        pieces, how = self.brain.asked[turn_id], self.random.random()
        if turn_id in self.brain.cancelled and how < 0.3:
            self.brain.asked[turn_id] = -1
            self.conductor.receive("policy", Stopped(turn_id=turn_id, at_s=self.now_s))
        elif how < 0.2:
            self.conductor.receive("policy", FirstToken(turn_id=turn_id, at_s=self.now_s))
        elif (how < 0.7 and pieces < 3) or (pieces == 0 and how < 0.95):
            self.brain.asked[turn_id] += 1
            text = replace(approved(f"Piece number {pieces}."), decision_id=f"{turn_id}.{pieces}")
            decision = Decision(
                turn_id=turn_id, decision_id=text.decision_id, action="allow", sha256=text.sha256
            )
            self.conductor.receive("policy", decision)
            piece = Piece(turn_id=turn_id, index=pieces, approved=text, at_s=self.now_s)
            self.conductor.receive("policy", piece)
        else:
            self.brain.asked[turn_id] = -1
            outcome: Any = "whole" if pieces else self.random.choice(["blocked", "failed"])
            over = Thought(turn_id=turn_id, pieces=pieces, outcome=outcome, at_s=self.now_s)
            self.conductor.receive("policy", over)

    def voice_plays(self) -> None:
        if "tts" in self.here:
            self.voice.play()
            self.deliver(2)

    def voice_is_late(self) -> None:
        """It plays on, and what it tells is still on its way."""
        if "tts" in self.here:
            self.voice.play()

    def deliver(self, count: int) -> None:
        while count and self.voice.out:
            count -= 1
            self.conductor.receive("tts", self.voice.out.popleft())

    def button(self) -> None:
        buttons: dict[Any, int] = {
            events.Resume(): 10,
            events.Stop("skip"): 4,
            events.Pause(): 2,
            events.Panic(): 1,
            events.Mute(muted=True): 1,
            events.Mute(muted=False): 1,
        }
        (pressed,) = self.random.choices(list(buttons), list(buttons.values()))
        self.conductor.control(pressed)

    def time_passes(self) -> None:
        self.now_s += self.random.choice([0.1, 0.5, 3.0])
        self.conductor._expire()

    def deadline(self) -> None:
        if (deadline_s := self.conductor._show.deadline_s) is not None:
            self.now_s = max(self.now_s, deadline_s)
            self.conductor.apply(events.Late())

    def dies(self) -> None:
        module = self.random.choice(["policy", "tts", "asr"])
        if module in self.here:
            self.here.remove(module)
            self.conductor.left(module, "killed")
            if module == "asr":
                self.open.clear()
        if self.chance(0.8):
            self.join(module)

    def join(self, module: str) -> None:
        if module in self.here:
            return
        self.here.add(module)
        if module == "tts":
            self.voice = Mouthpiece(self.is_secret)
            send = self.voice.take
        elif module == "policy":
            for turn_id in self.brain.asked:
                self.brain.asked[turn_id] = -1
            send = self.brain.take
        else:
            send = self.nothing
        self.conductor.joined(module, 1, send)
        self.conductor.receive(module, HEALTHY)
        if module == "policy":
            self.conductor.receive(module, replace(PERSONA, name="Kitsu"))

    def nothing(self, message: Message) -> None:
        pass

    # --- what holds always ---

    def hushed_only_for_a_reason(self) -> None:
        show = self.conductor._show
        speaks = show.utterance
        reasons = (speaks is not None and speaks.believed and speaks.hushes) or (
            show.turn is not None and show.turn.guess
        )
        assert show.output.hushed == reasons
        if "tts" in self.here:
            assert self.voice.output == show.output

    def a_guess_belongs_to_what_is_being_said(self) -> None:
        show = self.conductor._show
        if show.turn is not None and show.turn.guess and show.turn.phase != "stopping":
            assert show.utterance is not None
            assert show.turn.utterance_id == show.utterance.id
            assert show.utterance.guesses <= 3
            assert not show.turn.audible

    def nothing_waits_for_nothing(self) -> None:
        """When she is free and can speak, whoever waits has been taken up."""
        if self.conductor._show.free and not self.conductor.lights.missing():
            assert len(self.conductor._lines) == 0

    def a_silent_worker_has_a_deadline(self) -> None:
        show = self.conductor._show
        if show.turn is not None and not (show.output.held or show.output.hushed):
            assert show.turn_until_s is not None
        if show.turn is not None and show.turn.phase == "stopping":
            assert show.turn_until_s is not None

    # --- the end ---

    def come_to_rest(self) -> None:
        """The ears have said all, nobody answers any more: deadlines alone bring the show to rest."""
        for utterance_id in list(self.open):
            self.conductor.receive("asr", cough(utterance_id))
        self.open.clear()
        self.conductor.control(events.Resume())
        for module in ("policy", "tts"):
            self.join(module)
        for _ in range(4 * LINES + 40):
            if (deadline_s := self.conductor._show.deadline_s) is None:
                break
            self.now_s = max(self.now_s, deadline_s)
            self.conductor.apply(events.Late())
            self.now_s += 0.001
        show = self.conductor._show
        assert not show.output.hushed
        assert show.free
        assert len(self.conductor._lines) == 0
        assert all(waiter.done() for waiter in self.waiters), "somebody waits for ever"

    def close(self) -> None:
        """Every turn has exactly one end, for policy, for the panel and for the journal."""
        self.conductor.close()
        assert self.asked == set(self.heard) == set(self.ended)
        assert all(count == 1 for count in self.heard.values()), "policy was told an end twice"
        for turn_id, told in self.told.items():
            ends = [state for state in told if state not in {"queued", "thinking", "speaking"}]
            assert len(ends) == 1, (turn_id, told)
            assert told[-1] == ends[0]
        assert all(row["outcome"] for row in self.rows.turns.values()), "a row was left open"
        assert not (self.guesses - self.released) & set(self.rows.turns)
        self.count_words()

    def count_words(self) -> None:
        """Each line of chat and all that the streamer said to her is in one turn with an end, and in no other
        but those that went on in another.
        """
        final_texts = [
            str(row["text"])
            for row in self.rows.turns.values()
            if not str(row.get("reason", "")).startswith(("continued:", "put_back:"))
        ]
        for text in self.written:
            assert final_texts.count(text) == 1, text
        for text in self.due:
            utterances = [word for word in text.split() if word.startswith("u") and word[1:].isdigit()]
            for word in utterances:
                assert sum(word in final_text.split() for final_text in final_texts) == 1, word


ALWAYS = {"spoken", "failed", "dropped", "skip", "panic", "guessed_wrong", "released"}
INTERRUPTED = {"cancelled", "barge_in", "put_back", "continued"}
WALKS = 12


@pytest.mark.parametrize(
    ("barge_in", "reached"),
    [
        ("always", ALWAYS | INTERRUPTED),
        ("streamer_only_when_addressed", ALWAYS | INTERRUPTED),
        ("never", ALWAYS),
    ],
)
def test_whatever_happens(barge_in, reached):
    """At most one turn, one end for each, no guess seen or heard, no hush without a reason, no line lost."""
    seen: Counter[str] = Counter()
    for answer, head_start, seed in itertools.product(["always", "addressed"], [True, False], range(WALKS)):
        walk = Walk(seed, barge_in=barge_in, answer=answer, head_start=head_start)
        try:
            walk.walk()
        except AssertionError as error:
            error.add_note(f"in Walk({seed}, {barge_in=}, {answer=}, {head_start=})")
            raise
        assert head_start or not walk.guesses
        seen["released"] += len(walk.released)
        seen.update(str(row["outcome"]) for row in walk.rows.turns.values())
        seen.update(over.turn.reason.partition(":")[0] for over in walk.ended.values())
    assert reached - set(seen) == set(), f"the walks are too tame to mean anything: {seen}"
    if barge_in == "never":
        assert not {"barge_in", "put_back", "continued"} & set(seen)
