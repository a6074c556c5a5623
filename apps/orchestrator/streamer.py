"""What the streamer's speech does to the show, pure.

She stops as soon as it is certain that somebody speaks, and goes on where she stopped if it was nothing but a
cough; words end her turn and are answered next. Before the words are final she may begin on what they seem to
be: a guess, which nobody hears or sees before it has turned out to be right.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from rapidfuzz import fuzz

from apps.orchestrator import events
from apps.orchestrator.inbox import cleaned, joined
from apps.orchestrator.show import Action, Answer, Begun, HeadStart, PutBack, Show, ToStream, Turn, Utterance
from apps.shared.messages import Hearing, NoWords, Partial, Transcript, UtteranceStarted

UTTERANCE_LIMIT_S = 40.0  # the ears cut at 25 s and need seconds for the words; then they are hung
WORDLESS_S = 4.0  # the first word of somebody who speaks is known in half a second
GUESSES = 3  # of one utterance; somebody who keeps adding words is not helped by more
ALIKE = 0.95  # so alike must guess and final text be for the reply to fit both
NAME_ALIKE = 78  # of 100: recognisers write "kit sue" for "Kitsu"
SHORT_NAME = 3  # characters; one of so few is too like other words ("Kit", "it") for anything but itself
WRONG_GUESS = "guessed_wrong: more or something else was said"

Decided = tuple[Show, list[Action], list[events.Event]]


def hears(show: Show, event: events.EarsMessage, now_s: float) -> Decided:
    """Return the next state, what is to be done, and what happens to the turn under way because of it."""
    match event:
        case UtteranceStarted(utterance_id=utterance_id):
            hushes = show.listening.barge_in == "always"
            utterance = Utterance(utterance_id, now_s + UTTERANCE_LIMIT_S, now_s + WORDLESS_S, hushes)
            return replace(show, utterance=utterance), [], _no_guess(show)
        case Partial():
            return _partial(show, event)
        case Transcript() if _plain(event.text):
            return _transcript(show, event, now_s)
        case Transcript() | NoWords() if _is(show, event.utterance_id):
            return forgotten(show)
        case _:
            return show, [], []


def forgotten(show: Show) -> Decided:
    """Go on as if nothing had been said."""
    return replace(show, utterance=None), [], _no_guess(show)


def lost(show: Show) -> Decided:
    """Go on without the end of what was being said: the ears will not tell it any more."""
    if show.utterance is None:
        return show, [], []
    nothing = Hearing(utterance_id=show.utterance.id, text="", state="nothing")
    show, actions, follows = forgotten(show)
    return show, [ToStream(nothing), *actions], follows


def late(show: Show, now_s: float) -> Decided:
    """Do not wait for ever, neither for the end of what is being said nor for the first word of it."""
    utterance = show.utterance
    if utterance is None:
        return show, [], []
    if now_s >= utterance.until_s:
        return lost(show)
    if utterance.words_until_s is not None and now_s >= utterance.words_until_s:
        return replace(show, utterance=replace(utterance, words_until_s=None, believed=False)), [], []
    return show, [], []


def _is(show: Show, utterance_id: str) -> bool:
    return show.utterance is not None and show.utterance.id == utterance_id


def _guess(show: Show) -> Turn | None:
    """The head start under way."""
    turn = show.turn
    return turn if turn is not None and turn.guess and turn.phase != "stopping" else None


def _no_guess(show: Show) -> list[events.Event]:
    return [events.Stop(WRONG_GUESS)] if _guess(show) else []


def _partial(show: Show, partial: Partial) -> Decided:
    """Her name silences her where only her name does; words that seem complete give her a head start."""
    utterance = show.utterance
    if utterance is None or utterance.id != partial.utterance_id:
        return show, [], []
    if _plain(partial.text):
        utterance = replace(utterance, words_until_s=None, believed=True)
    named = show.listening.barge_in == "streamer_only_when_addressed" and addressed(show, partial.text)
    if named and not utterance.hushes:
        utterance = replace(utterance, hushes=True)
    guess = _guess(show)
    if guess is not None and not alike(guess.text, partial.text):
        return replace(show, utterance=utterance), [], [events.Stop(WRONG_GUESS)]
    actions: list[Action] = []
    if partial.complete and show.idle and _may_guess(show, utterance, partial.text):
        utterance = replace(utterance, guesses=utterance.guesses + 1)
        actions = [HeadStart(utterance.id, partial.text, partial.end_s)]
    return replace(show, utterance=utterance), actions, []


def _may_guess(show: Show, utterance: Utterance, text: str) -> bool:
    return show.listening.head_start and utterance.guesses < GUESSES and _wanted(show, text)


def _transcript(show: Show, final: Transcript, now_s: float) -> Decided:
    if _is(show, final.utterance_id):
        show = replace(show, utterance=None)
    marks = {
        "endpoint": round((final.ended_s - final.end_s) * 1000, 3),
        "transcript": round((final.at_s - final.end_s) * 1000, 3),
    }
    guess = _guess(show)
    if guess is not None and guess.utterance_id == final.utterance_id and alike(guess.text, final.text):
        turn = _released(guess, final, marks, now_s)
        return replace(show, turn=turn), [Begun(turn), *map(ToStream, guess.mouths)], []
    if guess is not None:
        return show, _answers(show, final, marks), _no_guess(show)
    return _interrupted(show, _answers(show, final, marks), final.text)


def _answers(show: Show, final: Transcript, marks: dict[str, float]) -> list[Action]:
    """What was said is answered next, unless it was for others or nobody may speak."""
    if show.panicked or not _wanted(show, final.text):
        return []
    return [Answer(final.utterance_id, final.text, final.end_s, marks)]


def _interrupted(show: Show, answers: list[Action], text: str) -> Decided:
    """What these words do to the turn under way."""
    turn = show.turn
    if turn is None or turn.guess or turn.phase == "stopping" or not _interrupts(show, text):
        return show, answers, []
    if turn.audible:  # also when they were not for her: she has been talked over
        return show, answers, [events.Stop("barge_in: the streamer spoke")]
    if not answers:
        return show, [], []
    if turn.lane == "streamer":  # the end was seen too early: what was said goes together
        (answer,) = answers
        assert isinstance(answer, Answer)
        whole = replace(answer, text=joined(turn.text, answer.text))
        return show, [whole], [events.Stop("continued: the streamer had not finished")]
    stop = events.Stop("put_back: the streamer spoke first; this line is answered afterwards")
    return show, [PutBack(turn), *answers], [stop]


def _released(guess: Turn, final: Transcript, marks: dict[str, float], now_s: float) -> Turn:
    """The guess has become a turn; its times count from the end of the words, as those of the others do."""
    earlier_ms = (guess.received_s - final.end_s) * 1000
    moved = {stage: round(ms + earlier_ms, 3) for stage, ms in guess.marks.items()}
    return replace(
        guess,
        guess=False,
        text=cleaned(final.text),
        received_s=final.end_s,
        released_s=now_s,
        marks={**marks, **moved},
        mouths=(),
    )


def _wanted(show: Show, text: str) -> bool:
    """Whether she answers this at all; never dots and dashes, which recognisers write for silence."""
    return _plain(text) != "" and (show.listening.answer == "always" or addressed(show, text))


def _interrupts(show: Show, text: str) -> bool:
    match show.listening.barge_in:
        case "always":
            return True
        case "never":
            return False
        case _:
            return addressed(show, text)


def _plain(text: str) -> str:
    """Words alone: recognisers are not of one mind about commas and capitals."""
    return " ".join("".join(char if _of_a_word(char) else " " for char in text.casefold()).split())


def _of_a_word(char: str) -> bool:
    return char.isalnum() or unicodedata.category(char).startswith("M")  # vowels of Hindi, of Thai


def alike(one: str, other: str) -> bool:
    """Whether a reply to the one fits the other: in a long line a missing "not" is hardly a letter."""
    one, other = _plain(one), _plain(other)
    return one.count(" ") == other.count(" ") and fuzz.ratio(one, other) >= 100 * ALIKE


def addressed(show: Show, text: str) -> bool:
    """Whether she is called by her name, also one that was heard as a word more than it has."""
    words = _plain(text).split()
    return any(_called(_plain(name).split(), words) for name in show.listening.names)


def _called(name: Sequence[str], words: Sequence[str]) -> bool:
    whole = "".join(name)
    enough = NAME_ALIKE if len(whole) > SHORT_NAME else 100
    sizes = range(1, len(name) + 2)
    heard = ("".join(words[at : at + size]) for size in sizes for at in range(len(words) - size + 1))
    return any(fuzz.ratio(whole, part) >= enough for part in heard)
