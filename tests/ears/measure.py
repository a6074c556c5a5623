"""How much the ears get wrong: `python -m tests.ears.measure [FOLDER]` in the project's folder; no torch."""

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from ctranslate2 import StorageView
from faster_whisper import WhisperModel

from tests.ears.sentences import bare
from tests.ears.speech import (
    HELD_OUT_VOICES,
    RATE_HZ,
    Samples,
    Speech,
    cough,
    held_out_sentences,
    held_out_unfinished,
    keyboard,
    mixed,
    music,
    pink,
    say,
    white,
)

FOLDER = Path(__file__).parent / "tiny"
SENTENCES = 100
PADDING_FRAMES = 100
MOST_TOKENS = 60  # of 12 words, with ends and marks, and what it may add to them

Hear = Callable[[Samples], str]


@dataclass(frozen=True, slots=True)
class Take:
    """Somebody says a sentence."""

    text: str
    voice: str
    speech: Speech


def load(folder: Path = FOLDER) -> WhisperModel:
    """Return the model on one core."""
    return WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1)


def whole(
    model: WhisperModel, samples: Samples, beam_size: int = 5, *, without_timestamps: bool = False
) -> str:
    """Return what faster-whisper hears when it pads to 30 s."""
    segments, _ = model.transcribe(
        samples,
        beam_size=beam_size,
        temperature=0.0,
        without_timestamps=without_timestamps,
        max_new_tokens=MOST_TOKENS,
        condition_on_previous_text=False,
    )
    return "".join(segment.text for segment in segments).strip()


def short(model: WhisperModel, samples: Samples) -> str:
    """Return what is heard in the shortest window, as for a partial: the sound and a second of padding."""
    mels = model.feature_extractor(samples)
    window = np.pad(mels, ((0, 0), (0, PADDING_FRAMES)))[None].astype(np.float32)
    heard = model.model.encode(StorageView.from_array(np.ascontiguousarray(window)))
    prompt = [
        [model.hf_tokenizer.token_to_id(f"<|{name}|>") for name in ("startoftranscript", "notimestamps")]
    ]
    (found,) = model.model.generate(heard, prompt, beam_size=1, max_length=MOST_TOKENS)
    return str(model.hf_tokenizer.decode(found.sequences_ids[0])).strip()


def takes(texts: Sequence[str], seed: int = 1) -> list[Take]:
    """Return the sentences in the held-out voices in turn, at different speeds and pitches."""
    chance = random.Random(seed)
    found = []
    for number, text in enumerate(texts):
        voice = HELD_OUT_VOICES[number % len(HELD_OUT_VOICES)]
        speech = say(text, voice, rate=chance.randint(140, 210), pitch=chance.randint(30, 70), seed=number)
        found.append(Take(text, voice, speech.padded(chance.uniform(0.1, 0.5), chance.uniform(0.3, 0.6))))
    return found


def edits(told: Sequence[str], heard: Sequence[str]) -> int:
    """Return how many words were changed, missed or added: Levenshtein's distance."""
    row = list(range(len(heard) + 1))
    for line, word in enumerate(told, 1):
        before, row[0] = row[0], line
        for column, other in enumerate(heard, 1):
            before, row[column] = (
                row[column],
                min(before + (word != other), row[column] + 1, row[column - 1] + 1),
            )
    return row[-1]


def word_error_rate(pairs: Iterable[tuple[str, str]]) -> float:
    """Return wrong words by said words; pairs of what was said and what was heard."""
    listed = [(bare(told).split(), bare(heard).split()) for told, heard in pairs]
    return sum(edits(*pair) for pair in listed) / sum(len(told) for told, _ in listed)


def noisy(takes_: Sequence[Take], make: Callable[[float, int], Samples], snr_db: float) -> list[Take]:
    """Return the takes in noise."""
    return [
        Take(take.text, take.voice, mixed(take.speech, make(take.speech.duration_s, number), snr_db))
        for number, take in enumerate(takes_)
    ]


def _rates(hear: Hear, found: Sequence[Take]) -> tuple[float, str]:
    pairs = [(take.text, hear(take.speech.samples)) for take in found]
    rate = word_error_rate(pairs)
    exact = sum(bare(told) == bare(heard) for told, heard in pairs) / len(pairs)
    return rate, f"word error rate {rate:6.1%}, without any error {exact:.0%}"


def _by_voice(hear: Hear, found: Sequence[Take]) -> None:
    for voice in HELD_OUT_VOICES:
        print(f"  {voice}: {_rates(hear, [take for take in found if take.voice == voice])[0]:.1%}")


def _marks(hear: Hear, found: Sequence[Take]) -> str:
    last = Counter(hear(take.speech.samples)[-1:] for take in found)
    counts = {mark or "nothing": count for mark, count in last.items() if mark in "?."}
    return f"full stop {counts.get('.', 0)}, question mark {counts.get('?', 0)}, of {len(found)}"


def onsets_s(model: WhisperModel, found: Sequence[Take]) -> list[float]:
    """Return how far words' starts are off, in sentences that were heard without an error."""
    off: list[float] = []
    for take in found:
        segments, _ = model.transcribe(take.speech.samples, temperature=0.0, word_timestamps=True)
        words = [word for segment in segments for word in segment.words or []]
        if [bare(word.word).strip() for word in words] == [word.text for word in take.speech.words]:
            pairs = zip(words, take.speech.words, strict=True)
            off += [abs(float(word.start) - said.start_s) for word, said in pairs]
    return off


def _nothing(hear: Hear) -> None:
    for make in (white, pink, music, keyboard, cough):
        heard = [hear(make(1 + seed % 4, seed) * np.float32(0.02 + 0.2 * (seed % 5))) for seed in range(20)]
        print(
            f"  {make.__name__}: something heard in {sum(map(bool, heard))} of {len(heard)}",
            *filter(None, heard),
        )
    print(f"  silence: {hear(np.zeros(3 * RATE_HZ, np.float32))!r}")


def main() -> None:
    """Print the figures of README.md."""
    model = load(Path(sys.argv[1]) if sys.argv[1:] else FOLDER)
    hears: dict[str, Hear] = {
        "30 s, beam 5": partial(whole, model),
        "30 s, beam 5, no timestamps": partial(whole, model, without_timestamps=True),
        "short, beam 1": partial(short, model),
    }
    clean = takes(held_out_sentences(SENTENCES, seed=1))
    unfinished = takes(held_out_unfinished(50, seed=1))
    for name, hear in hears.items():
        print(f"{name}\n  clean: {_rates(hear, clean)[1]}")
        for make, snr_db in ((white, 20), (white, 10), (white, 5), (pink, 10), (music, 10), (keyboard, 10)):
            print(f"  {make.__name__} {snr_db} dB: {_rates(hear, noisy(clean, make, snr_db))[1]}")
        print(f"  unfinished: {_rates(hear, unfinished)[1]}")
    for name, hear in (("30 s", hears["30 s, beam 5"]), ("short", hears["short, beam 1"])):
        print(f"{name}, by voice, in white noise of 20 dB")
        _by_voice(hear, noisy(clean, white, 20))
        print(f"{name}, marks at the end: statements and orders:")
        print("  ", _marks(hear, [take for take in clean if take.text.endswith(".")]))
        print("   questions:", _marks(hear, [take for take in clean if take.text.endswith("?")]))
        print("   unfinished:", _marks(hear, unfinished))
        print(f"{name}, nobody speaks")
        _nothing(hear)
    off_s = onsets_s(model, clean) or [float("nan")]
    print(f"words begin {np.median(off_s):.3f} s (median) and {np.quantile(off_s, 0.9):.3f} s (p90) off")


if __name__ == "__main__":
    main()
