"""How partial texts are made, chosen by figures: the window, how often, and what is called stable.

The decodes are real and their processor time is what they take; the rest is arithmetic. So every method is
fed the same sentences, and no other program's load is in the figures.

Run as `python -m scripts.bench.asr_methods SENTENCES`, with the settings in the environment: prints one JSON
object with its figures. `SPIN` in place of the number prints what a partial costs with what follows it.
"""

# ruff: noqa: SLF001 - the very parts of the engine that a partial is made of

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any, TypeVar

from apps.asr_worker.endpoint import Began, Ended, Endpointer, Patience
from apps.asr_worker.engines.whisper import Whisper
from apps.asr_worker.engines.whisper_model import FRAMES_PER_S, LONGEST_FRAMES, Decoded, Model, _most_tokens
from apps.asr_worker.sound import FRAME_S, FRAME_SAMPLES, RATE_HZ, Samples
from apps.asr_worker.stable import Agreement
from apps.asr_worker.utterance import TAIL_S
from apps.asr_worker.vads.silero import Silero
from apps.shared.settings import Settings
from scripts.bench.asr_hearing import NUMPY_THREADS
from scripts.bench.asr_speech import Recording, recording, said
from scripts.bench.asr_words import Seen, Shown, seen
from scripts.bench.figures import Report, progress
from scripts.bench.programs import Program

WINDOWS = ("short", "padded")
STEPS_MS = (240, 500)
POLICIES = ("newest", "agreement", "hold_back")
HOLD_BACK_S = 0.35
SPINS, SPIN_S = 10, 0.3
LIMIT_S = 600.0

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Utterance:
    """What voice detection finds in a recording."""

    keep_from_s: float
    began_s: float  # when it was certain
    end_s: float  # of the voice
    decided_s: float


def measure(env: dict[str, str], turns: int, report: Report) -> None:
    """Compare the methods on this many sentences."""
    progress(f"asr: {len(WINDOWS) * len(STEPS_MS)} ways to make partials, {turns} sentences each")
    for threads in dict.fromkeys((1, os.cpu_count() or 1)):
        told = _run({**env, NUMPY_THREADS: str(threads)}, "SPIN")
        name = "one_thread" if threads == 1 else "all_threads"
        report.spread(f"partial_and_after_cpu_ms_numpy_{name}", told["cpu_ms"])
    found = _run({**env, NUMPY_THREADS: "1"}, str(turns))
    for name, values in found["spreads"].items():
        report.spread(name, values)
    report.figures |= found["figures"]


def _run(env: dict[str, str], what: str) -> dict[str, Any]:
    with Program("scripts.bench.asr_methods", what, env=env) as program:
        told: dict[str, Any] = json.loads(program.wait_line("{", LIMIT_S)[1])
    return told


# --- in the process of its own ---


class Methods:
    """Every method on the same recordings."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._seen = {key: Seen() for key in product(WINDOWS, STEPS_MS, POLICIES)}
        self._last = {key: Seen() for key in product(WINDOWS, STEPS_MS)}
        self._cpu_s = dict.fromkeys(product(WINDOWS, STEPS_MS), 0.0)
        self._speech_s = 0.0
        self._finals = {window: Seen() for window in WINDOWS}
        self.spreads: dict[str, list[float]] = {}

    def hear(self, one: Recording) -> None:
        """Let all of them hear it."""
        self._speech_s += one.speech_s
        utterances = list(_utterances(one.samples))
        finals = {window: [self._final(one, heard, window) for heard in utterances] for window in WINDOWS}
        for window in WINDOWS:
            self._finals[window].add(seen(one, (shown for shown, _ in finals[window])))
        for window, step_ms in self._cpu_s:
            shown: dict[str, list[Shown]] = {policy: [] for policy in POLICIES}
            last: list[Shown] = []
            for heard, (final, final_s) in zip(utterances, finals["padded"], strict=True):
                partials = self._partials(one.samples, heard, window, step_ms)
                for policy in POLICIES:
                    shown[policy] += [*partials[policy], final]
                last += [replace(shown_last, final=True) for shown_last in partials["newest"][-1:]]
                self._cpu_s[window, step_ms] += final_s
            for policy in POLICIES:
                self._seen[window, step_ms, policy].add(seen(one, shown[policy]))
            self._last[window, step_ms].add(seen(one, last))

    def figures(self) -> dict[str, float]:
        """All but the spreads."""
        found: dict[str, float] = {}
        for (window, step_ms), cpu_s in self._cpu_s.items():
            name = f"{window}_{step_ms}"
            found[f"{name}_cpu_ms_per_second_of_speech"] = 1000 * cpu_s / self._speech_s
            found[f"{name}_real_time_factor"] = cpu_s / self._speech_s
            found[f"{name}_last_partial_wrong_percent"] = 100 * self._last[window, step_ms].word_error_rate
            self.spreads[f"{name}_word_to_partial_ms"] = _ms(self._seen[window, step_ms, "newest"].delay_s)
        for (window, step_ms, policy), words in self._seen.items():
            name = f"{window}_{step_ms}_{policy}"
            self.spreads[f"{name}_word_to_stable_ms"] = _ms(words.stable_s)
            found[f"{name}_stable_before_final_percent"] = 100 * words.stable_by_partials / words.words
            found[f"{name}_taken_back_percent"] = 100 * words.taken_back / max(1, words.stable)
        for window, words in self._finals.items():
            found[f"final_{window}_wrong_percent"] = 100 * words.word_error_rate
        return {name: round(figure, 3) for name, figure in found.items()}

    def _partials(
        self, samples: Samples, heard: Utterance, window: str, step_ms: int
    ) -> dict[str, list[Shown]]:
        """Decode the growing window every step, or as often as the decodes allow; return what is shown."""
        agreement = Agreement()
        shown: dict[str, list[Shown]] = {policy: [] for policy in POLICIES}
        due_s = heard.began_s
        while due_s <= heard.end_s + step_ms / 1000:
            sound = _between(samples, heard.keep_from_s, due_s)
            (found, held), cpu_s = _timed(partial(self._decode, sound, window))
            self._cpu_s[window, step_ms] += cpu_s
            self.spreads.setdefault(f"{window}_partial_cpu_ms", []).append(1000 * cpu_s)
            at_s = due_s + cpu_s
            if found.text:
                agreed = agreement.feed(found.text)
                texts = {
                    "newest": (found.text, len(found.text)),
                    "agreement": (agreed.text, agreed.stable),
                    "hold_back": (found.text, held),
                }
                for policy, (text, stable) in texts.items():
                    key = str(heard.keep_from_s)
                    shown[policy].append(Shown(text, stable, heard.keep_from_s, due_s, at_s, key))
            due_s = max(due_s + step_ms / 1000, at_s)
        return shown

    def _decode(self, sound: Samples, window: str) -> tuple[Decoded, int]:
        """Decode once; return it, and how much of its text is older than what is held back."""
        model, duration_s = self._model, len(sound) / RATE_HZ
        encoded = model._encoded(sound, _frames(duration_s, window))
        manner = model._manner(encoded, 0)
        found = model._decoded(encoded, manner, [], _most_tokens(duration_s))
        held = 0
        if found.text:
            for word in model._words(encoded, manner, found.tokens, round(duration_s * FRAMES_PER_S)):
                if word.end_s > duration_s - HOLD_BACK_S:
                    break
                held = max(held, found.text.find(word.text, held) + len(word.text))
        return found, held

    def _final(self, one: Recording, heard: Utterance, window: str) -> tuple[Shown, float]:
        """Decode the whole; return it, and what it cost."""
        model = self._model
        sound = _between(one.samples, heard.keep_from_s, heard.end_s + TAIL_S)
        duration_s = len(sound) / RATE_HZ

        def decode() -> Decoded:
            encoded = model._encoded(sound, _frames(duration_s, window))
            manner = model._manner(encoded, duration_s)
            found = model._best(encoded, manner, (), _most_tokens(duration_s))
            list(model._words(encoded, manner, found.tokens, round(duration_s * FRAMES_PER_S)))
            return found

        found, cpu_s = _timed(decode)
        self.spreads.setdefault(f"final_{window}_cpu_ms", []).append(1000 * cpu_s)
        at_s, key = heard.decided_s + cpu_s, str(heard.keep_from_s)
        text = found.text
        return Shown(text, len(text), heard.keep_from_s, heard.decided_s, at_s, key, final=True), cpu_s


def _frames(duration_s: float, window: str) -> int:
    """As long as the sound and a second, as Model.partial has it, or 30 s."""
    return LONGEST_FRAMES if window == "padded" else FRAMES_PER_S * (int(duration_s) + 2)


def _utterances(samples: Samples) -> Iterator[Utterance]:
    """By Silero and our endpointer, which is told no words: it waits its middle wait."""
    vad, endpointer = Silero(), Endpointer(Patience())
    began: tuple[float, float] | None = None
    for start in range(0, len(samples) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
        probability = vad.probability(samples[start : start + FRAME_SAMPLES])
        for event in endpointer.feed(probability, start / RATE_HZ):
            match event:
                case Began(at_s=at_s):
                    began = endpointer.keep_from_s, at_s
                case Ended(end_s=end_s, at_s=at_s) if began is not None:
                    yield Utterance(*began, end_s, at_s)
                    began = None


def _between(samples: Samples, from_s: float, to_s: float) -> Samples:
    return samples[round(from_s * RATE_HZ) : round(to_s / FRAME_S) * FRAME_SAMPLES]


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    began_s = time.process_time()
    result = work()
    return result, time.process_time() - began_s


def _ms(values_s: list[float]) -> list[float]:
    return [1000 * value for value in values_s]


def _spin(recogniser: Whisper, sound: Samples) -> dict[str, Any]:
    """What a partial costs with what its threads do after it: NumPy's spin for a tenth of a second."""
    costs_ms = []
    for _ in range(SPINS):
        began_s = time.process_time()
        recogniser.partial(sound, ())
        time.sleep(SPIN_S)
        costs_ms.append(1000 * (time.process_time() - began_s))
    return {"cpu_ms": costs_ms}


def main(what: str) -> None:
    """Print the figures."""
    recogniser = Whisper(Settings.load())
    if what == "SPIN":
        print(json.dumps(_spin(recogniser, recording(said(1)).samples[: 2 * RATE_HZ])), flush=True)
        return
    assert recogniser._loaded is not None
    methods = Methods(recogniser._loaded)
    for take in said(int(what)):
        methods.hear(recording([take]))
    print(json.dumps({"figures": methods.figures(), "spreads": methods.spreads}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
