"""A loaded Whisper model: sound in, hypotheses out.

It takes faster-whisper's parts instead of its `transcribe`, which may decode the same window again and again,
without end in the worst case, and pads every window to 30 s. Here a window is encoded once and decoded once
(partial) or up to three times (final), to a length that follows from how long it is.
"""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ctranslate2 import StorageView
from faster_whisper import WhisperModel
from faster_whisper.audio import pad_or_trim
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_compression_ratio, get_suppressed_tokens

from apps.asr_worker.engines.whisper_prompt import echoes, prompt, sounds_alike
from apps.asr_worker.recogniser import HeardWord, Hypothesis
from apps.asr_worker.sound import RATE_HZ, Samples

FRAMES_PER_S = 100
LONGEST_FRAMES = 3_000  # 30 s, on which Whisper was trained
SHORTEST_SAMPLES = RATE_HZ // 50  # less holds no sound of speech
TOKENS_PER_S, MORE_TOKENS = 8, 10  # fast speech has five a second; more than this is a loop
MOST_TOKENS = 448  # of prompt and text together, at most half of them for the text
PROMPT_TOKENS = 100  # some 25 names; they take a small model a fifth longer
BEAMS = 5
SECOND_TEMPERATURE = 0.4
# OpenAI's limits for what is decoded once more
LEAST_LOGPROB, MOST_COMPRESSION, MOST_NO_SPEECH = -1.0, 2.4, 0.6
MARKS = ("<|endoftext|>", "<|startoftranscript|>", "<|startofprev|>", "<|notimestamps|>")
LISTS = ("alignment_heads", "suppress_ids", "suppress_ids_begin")  # of config.json
LANGUAGES = "lang_ids"  # another, of models that know several
SURE_LANGUAGE, LANGUAGE_S = 0.7, 1.0  # so probable in so much sound, that it is another one than before

# Marks that belong to the word after or before them; faster-whisper's own.
_BEFORE_WORD = "\"'“¿([{-"
_AFTER_WORD = "\"'.。,，!！?？:：”)]}、"


class Decoded(NamedTuple):
    """The text of one decode and how sure the model was."""

    tokens: list[int]  # of text alone
    text: str
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float

    @property
    def good(self) -> bool:
        """Neither a loop nor a guess; or silence, of which another try makes no more."""
        guessed = self.avg_logprob < LEAST_LOGPROB
        if guessed and self.no_speech_prob > MOST_NO_SPEECH:
            return True
        return not guessed and self.compression_ratio <= MOST_COMPRESSION


class Manner(NamedTuple):
    """What a decode in one language needs."""

    tokenizer: Tokenizer
    forbidden: list[int]  # tokens


class Model:
    """A model in memory. Any call may raise CTranslate2's RuntimeError, ValueError or MemoryError."""

    def __init__(self, folder: Path, device: str, compute_type: str, cpu_threads: int) -> None:
        self._whisper = WhisperModel(
            str(folder),
            device=device,
            compute_type=compute_type,
            cpu_threads=cpu_threads,
            local_files_only=True,  # a folder that has just been deleted is not looked for on the internet
        )
        _check_vocabulary(folder, self._whisper.hf_tokenizer)
        self.languages = _languages(self._whisper)
        # Names are nonsense to a model that was never taught with text before the transcript: our own small
        # one gets 9 % of the words wrong with one name, 59 % with four. Its maker has to say so.
        config = _config(folder, (*LISTS, LANGUAGES) if len(self.languages) > 1 else LISTS)
        self._takes_names = bool(config.get("takes_prompts", True))
        self._manners: dict[str, Manner] = {}
        self._reminder: tuple[tuple[str, ...], list[int]] = ((), [])  # the last names, and their tokens
        self._language = self.languages[0] if len(self.languages) == 1 else ""
        self._listens_for_language = not self._language

    def speak(self, language: str) -> None:
        """Take one of `languages` for what is spoken; without it the model finds out."""
        self._language, self._listens_for_language = language, False

    def warm_up(self) -> None:
        """Run every part once on a second of nothing: what is missing shows now and not in mid-show."""
        encoded = self._encoded(np.zeros(RATE_HZ, np.float32), FRAMES_PER_S)
        manner = self._manner(encoded, 0)
        self._decoded(encoded, manner, [], 2, beams=BEAMS)
        list(self._words(encoded, manner, manner.tokenizer.encode(" one"), FRAMES_PER_S))

    def partial(self, samples: Samples, vocabulary: Sequence[str]) -> Hypothesis:
        """See Recogniser. The window is as long as the sound: a short one costs a fraction of 30 s."""
        if len(samples) < SHORTEST_SAMPLES:
            return Hypothesis("")
        duration_s = len(samples) / RATE_HZ
        encoded = self._encoded(samples, FRAMES_PER_S * (math.ceil(duration_s) + 1))
        manner = self._manner(encoded, 0)
        names = self._names(manner, vocabulary)
        found = self._decoded(encoded, manner, names, _most_tokens(duration_s))
        if names and echoes(found.text, vocabulary):
            found = _heard(found, self._decoded(encoded, manner, [], _most_tokens(duration_s)))
        return _hypothesis(found)

    def final(self, samples: Samples, vocabulary: Sequence[str]) -> Hypothesis:
        """See Recogniser. The window is 30 s long, as in training."""
        if len(samples) < SHORTEST_SAMPLES:
            return Hypothesis("")
        duration_s = len(samples) / RATE_HZ
        encoded = self._encoded(samples, LONGEST_FRAMES)
        manner = self._manner(encoded, duration_s)
        found = self._best(encoded, manner, vocabulary, _most_tokens(duration_s))
        frames = min(LONGEST_FRAMES, math.ceil(duration_s * FRAMES_PER_S))
        words = self._words(encoded, manner, found.tokens, frames) if found.text else ()
        return _hypothesis(found, tuple(words))

    def _best(
        self, encoded: StorageView, manner: Manner, vocabulary: Sequence[str], most_tokens: int
    ) -> Decoded:
        """Decode up to three times: with the names, without them, and at random."""
        names = self._names(manner, vocabulary)
        found = self._decoded(encoded, manner, names, most_tokens, beams=BEAMS)
        echo = bool(names) and echoes(found.text, vocabulary)
        if names and (echo or not found.good):
            plain = self._decoded(encoded, manner, [], most_tokens, beams=BEAMS)
            found = _heard(found, plain) if echo else _better(found, plain)
        if not found.good:
            tried = self._decoded(encoded, manner, [], most_tokens, temperature=SECOND_TEMPERATURE)
            found = _better(found, tried)
        return found

    def _encoded(self, samples: Samples, frames: int) -> StorageView:
        # zeros after the sound, as in faster-whisper; the last frame is of its padding
        features = self._whisper.feature_extractor(samples)[:, :-1]
        return self._whisper.encode(pad_or_trim(features, min(frames, LONGEST_FRAMES)))

    def _decoded(
        self,
        encoded: StorageView,
        manner: Manner,
        names: list[int],
        most_tokens: int,
        *,
        beams: int = 1,
        temperature: float = 0.0,
    ) -> Decoded:
        tokenizer = manner.tokenizer
        before = [tokenizer.sot_prev, *names] if names else []
        before += [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        sampled = {"sampling_topk": 0, "sampling_temperature": temperature, "num_hypotheses": BEAMS}
        result = self._whisper.model.generate(
            encoded,
            [before],
            beam_size=beams,
            # CTranslate2 leaves the text half of this, or if that is less what the prompt but for its last
            # token leaves
            max_length=max(2 * most_tokens, len(before) - 1 + most_tokens),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=manner.forbidden,
            **(sampled if temperature else {}),
        )[0]
        count = len(result.sequences_ids[0])
        tokens = [token for token in result.sequences_ids[0] if token < tokenizer.eot]
        text = _with_words(tokenizer.decode(tokens).strip())
        return Decoded(
            tokens,
            text,
            avg_logprob=result.scores[0] * count / (count + 1) if count else 0.0,  # the score is NaN then
            no_speech_prob=result.no_speech_prob,
            compression_ratio=get_compression_ratio(text) if text else 1.0,
        )

    def _words(
        self, encoded: StorageView, manner: Manner, tokens: list[int], frames: int
    ) -> Iterator[HeardWord]:
        duration_s = frames / FRAMES_PER_S
        segment: dict[str, Any] = {"seek": 0, "start": 0.0, "end": duration_s, "tokens": tokens, "words": []}
        self._whisper.add_word_timestamps(
            [[segment]],
            manner.tokenizer,
            encoded,
            frames,
            _BEFORE_WORD,
            _AFTER_WORD,
            last_speech_timestamp=0.0,
        )
        at_s = 0.0
        for word in segment["words"]:
            if text := word["word"].strip():
                start_s = min(max(at_s, float(word["start"])), duration_s)
                end_s = at_s = min(max(start_s, float(word["end"])), duration_s)
                yield HeardWord(text, start_s, end_s, float(word["probability"]))

    def _manner(self, encoded: StorageView, duration_s: float) -> Manner:
        """Return how to decode, in the language that is spoken.

        Once found it stays, until enough sound is surely in another.
        """
        language = self._language
        if self._listens_for_language and (not language or duration_s >= LANGUAGE_S):
            mark, probability = self._whisper.model.detect_language(encoded)[0][0]
            if not language or probability >= SURE_LANGUAGE:
                language = mark[2:-2]
            if probability >= SURE_LANGUAGE:
                self._language = language
        if language not in self._manners:
            self._manners[language] = self._new_manner(language)
        return self._manners[language]

    def _new_manner(self, language: str) -> Manner:
        tokenizer = Tokenizer(
            self._whisper.hf_tokenizer, self._whisper.model.is_multilingual, "transcribe", language
        )
        return Manner(tokenizer, list(get_suppressed_tokens(tokenizer, [-1])))

    def _names(self, manner: Manner, vocabulary: Sequence[str]) -> list[int]:
        tokenizer = manner.tokenizer
        if not self._takes_names:
            return []
        if tuple(vocabulary) != self._reminder[0]:
            tokens = prompt(vocabulary, tokenizer.encode, PROMPT_TOKENS)
            text = [token for token in tokens if token < tokenizer.eot]  # "<|nospeech|>" is no name
            self._reminder = tuple(vocabulary), text
        return self._reminder[1]


def _check_vocabulary(folder: Path, tokenizer: Any) -> None:
    """Raise ValueError for a vocabulary that is not the tokenizer's: with it CTranslate2 would crash."""
    file = folder / "vocabulary.json"
    if file.is_file():
        vocabulary = json.loads(file.read_text("utf-8"))
    else:
        vocabulary = (folder / "vocabulary.txt").read_text("utf-8").split("\n")
    for mark in MARKS:
        number = tokenizer.token_to_id(mark)
        if number is None or vocabulary[number : number + 1] != [mark]:
            raise ValueError(f"the vocabulary and tokenizer.json are not of the same model, by {mark}")


def _config(folder: Path, lists: Sequence[str]) -> dict[str, Any]:
    """Return config.json. Raises ValueError where it lacks a list, without which CTranslate2 would crash."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    lacks = [name for name in lists if not isinstance(config.get(name), list)]
    if lacks:
        raise ValueError(f"config.json lacks {', '.join(lacks)}")
    return dict(config)


def _languages(whisper: WhisperModel) -> tuple[str, ...]:
    known = whisper.supported_languages
    return tuple(name for name in known if whisper.hf_tokenizer.token_to_id(f"<|{name}|>") is not None) or (
        "en",
    )


def _most_tokens(duration_s: float) -> int:
    return min(MOST_TOKENS // 2, math.ceil(TOKENS_PER_S * duration_s) + MORE_TOKENS)


def _with_words(text: str) -> str:
    """Return "" for a text of marks alone: over noise Whisper writes "..." or "♪"."""
    return text if any(letter.isalnum() for letter in text) else ""


def _better(found: Decoded, other: Decoded) -> Decoded:
    def rank(decoded: Decoded) -> tuple[bool, bool, float]:
        return decoded.good, decoded.compression_ratio <= MOST_COMPRESSION, decoded.avg_logprob

    return max(found, other, key=rank)


def _heard(named: Decoded, plain: Decoded) -> Decoded:
    """Of a text made of names alone, and what there is without them, return what was heard."""
    return named if sounds_alike(named.text, plain.text) else plain


def _hypothesis(found: Decoded, words: tuple[HeardWord, ...] = ()) -> Hypothesis:
    return Hypothesis(found.text, words, found.avg_logprob, found.no_speech_prob, found.compression_ratio)
