"""Transcripts of what nobody said, pure. Whisper makes them up over noise, music and silence.

The model's own numbers decide: how likely it found silence, how likely its words, how often they repeat, and
whether anybody can speak that fast. Only where these are mediocre does a short list of well-known phrases
count, so that a clear "thank you" is heard.
"""

import re
from collections.abc import Sequence

from apps.asr_worker.recogniser import Hypothesis

# A silence as probable as the first, unless the words are likelier than the second. OpenAI's own limits, and
# with a surer silence words that are surer by themselves.
SILENCES = ((0.6, -1.0), (0.75, -0.6))
COMPRESSED = 2.4  # OpenAI's too

UNBELIEVABLE = -1.4  # mean log probability of a token: one in four was right at best
FASTEST, SPARE_WORDS = (
    7.0,
    2.5,
)  # words a second; the spare ones as voice detection begins late and ends early
MEDIOCRE = -0.5
DOUBTFUL_SILENCE = 0.3
CALM = 4.0  # words a second: loops are faster than people
REPEATS = {1: 8, 2: 5}  # of one word, of two: "no no no no" and "let's go let's go" are said
REPEATS_OF_MORE = 4
LONGEST_LOOP = 12  # words
LITTLE_VOICE = 0.15  # of the time
WORD_S = 0.12  # nobody needs less for a word

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_SENTENCE = re.compile(r"[.!?…]+")
_PHRASES = frozenset(
    {
        "you",
        "bye",
        "bye bye",
        "thanks",
        "thank you",
        "thank you very much",
        "thank you so much",
        "thanks for watching",
        "thank you for watching",
        "thank you so much for watching",
        "thanks for watching everyone",
        "thanks for listening",
        "thank you for listening",
        "please subscribe",
        "please like and subscribe",
        "like and subscribe",
        "don't forget to subscribe",
        "subscribe to my channel",
        "please subscribe to my channel",
        "i'll see you in the next video",
        "see you in the next video",
        "see you next time",
    }
)
_CREDITS = re.compile(
    r"\b(subtitles|subtitled|captions|captioned|captioning|transcribed|transcription) by\b|amara org"
)


def refused(hypothesis: Hypothesis, duration_s: float, voiced_s: float) -> str:
    """Return why a transcript is not believed, or "": a code for the log.

    duration_s: of the sound that was transcribed; voiced_s: how much of it voice detection took for a voice.
    Codes: "silence", "improbable", "repeats", "too_fast", "loop", "phrase".
    """
    words = _words(hypothesis.text)
    if not words:
        return ""
    if any(
        hypothesis.no_speech_prob > silent and hypothesis.avg_logprob < likely for silent, likely in SILENCES
    ):
        return "silence"
    if hypothesis.avg_logprob < UNBELIEVABLE:
        return "improbable"
    if hypothesis.compression_ratio > COMPRESSED:
        return "repeats"
    if len(words) > FASTEST * voiced_s + SPARE_WORDS:
        return "too_fast"
    mediocre = hypothesis.avg_logprob < MEDIOCRE or hypothesis.no_speech_prob > DOUBTFUL_SILENCE
    if _loops(words) and (mediocre or len(words) > CALM * voiced_s):
        return "loop"
    hardly_voiced = voiced_s < max(LITTLE_VOICE * duration_s, WORD_S * len(words))
    if _is_phrase(hypothesis.text) and (mediocre or hardly_voiced):
        return "phrase"
    return ""


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.casefold().replace("’", "'")))


def _loops(words: Sequence[str]) -> bool:
    """Tell whether some words are said again and again, without others between."""
    for size in range(1, min(LONGEST_LOOP, len(words) // 2) + 1):
        wanted = REPEATS.get(size, REPEATS_OF_MORE)
        run = size  # words in a row that are what was said `size` words before, and the first of them
        for word, earlier in zip(words[size:], words, strict=False):
            run = run + 1 if word == earlier else size
            if run >= size * wanted:
                return True
    return False


def _is_phrase(text: str) -> bool:
    if _CREDITS.search(" ".join(_words(text))):
        return True
    sentences = [" ".join(_words(part)) for part in _SENTENCE.split(text)]
    return all(sentence in _PHRASES for sentence in sentences if sentence)
