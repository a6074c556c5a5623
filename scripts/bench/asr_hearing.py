"""The real ears beside the floor: both hear the same recordings in real time, in turn."""

import json
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from apps.asr_worker.models import choice, shelf
from apps.shared.settings import Settings
from scripts.bench.asr_speech import Recording, Sentence, recording, said
from scripts.bench.asr_words import Seen, Shown, seen
from scripts.bench.figures import Report, percentile, progress
from scripts.bench.programs import Program

BLOCK = 10  # sentences at a stretch
LOAD_LIMIT_S = 120.0
NUMPY_THREADS = "OPENBLAS_NUM_THREADS"
LAST_S = 30.0  # for what is decoded when a recording is over

PARTIAL_MS = 600
FINAL_MS = 100
WRONG_PERCENT = 20


@dataclass(frozen=True, slots=True)
class End:
    """How an utterance ended. All times are places in the recording."""

    from_s: float
    decided_s: float  # when it was certain that it was over
    at_s: float  # when its final text was there


@dataclass
class Party:
    """The ears or the floor, and what was measured of them."""

    words: Seen = field(default_factory=Seen)
    decide_s: list[float] = field(default_factory=list)  # from the last word's end to the endpoint's decision
    final_s: list[float] = field(default_factory=list)  # from there to the final text
    whole_s: list[float] = field(default_factory=list)  # both
    cpu_s: float = 0.0
    sound_s: float = 0.0
    speech_s: float = 0.0

    def take(self, heard: Recording, shown: list[Shown], ends: list[End], cpu_s: float) -> None:
        """Measure what was shown of a recording."""
        self.words.add(seen(heard, shown))
        self.cpu_s += cpu_s
        self.sound_s += heard.duration_s
        self.speech_s += heard.speech_s
        for sentence in heard.sentences:
            if (end := _last(sentence, ends)) is not None:
                self.decide_s.append(end.decided_s - sentence.end_s)
                self.final_s.append(end.at_s - end.decided_s)
                self.whole_s.append(end.at_s - sentence.end_s)


def measure(settings: Settings, env: dict[str, str], turns: int, report: Report) -> None:
    """Let both hear this many sentences. env: of the processes, with the settings in it."""
    progress(f"asr: {turns} sentences in real time, for the ears and for the floor")
    folder = shelf.find(settings)
    chosen = choice.choose(settings, folder)
    arguments = (str(folder), chosen.device, chosen.compute_type, str(chosen.cpu_threads))
    parties = {"ears": Party(), "floor": Party()}
    simple = {name: value for name, value in env.items() if name != NUMPY_THREADS}  # nobody thinks of it
    with ExitStack() as running:
        place = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="aivt-bench-")))
        programs = {
            "ears": running.enter_context(Program("scripts.bench.asr_ears", env=env)),
            "floor": running.enter_context(
                Program("scripts.bench.asr_floor", *arguments, str(settings.asr_pause_s), env=simple)
            ),
        }
        for program in programs.values():
            program.wait_line("READY", LOAD_LIMIT_S)
        spoken = said(turns)
        for start in range(0, turns, BLOCK):
            one = recording(spoken[start : start + BLOCK])
            path = one.write(place / f"{start}.wav")
            for name, party in parties.items():
                party.take(one, *_heard(programs[name], path, one.duration_s + LAST_S))
    for name, party in parties.items():
        _write(report, name, party)
    ears = parties["ears"]
    report.bar("word to partial p50", 1000 * percentile(ears.words.delay_s, 0.5), PARTIAL_MS, "ms")
    report.bar("decision to final text p95", 1000 * percentile(ears.final_s, 0.95), FINAL_MS, "ms")
    report.bar("word error rate", 100 * ears.words.word_error_rate, WRONG_PERCENT, "%")


def _last(sentence: Sentence, ends: list[End]) -> End | None:
    """The end of the sentence's last utterance."""
    of_it = [end for end in ends if end.from_s < sentence.end_s < end.decided_s]
    return of_it[-1] if of_it else None


def _heard(program: Program, path: Path, limit_s: float) -> tuple[list[Shown], list[End], float]:
    program.tell(str(path))
    told = json.loads(program.wait_line("{", limit_s)[1])
    return [Shown(**one) for one in told["shown"]], [End(**one) for one in told["ends"]], told["cpu_s"]


def _write(report: Report, name: str, party: Party) -> None:
    words = party.words
    for what, values_s in (
        ("word_to_partial", words.delay_s),
        ("word_to_stable", words.stable_s),
        ("endpoint_wait", party.decide_s),
        ("final_after_decision", party.final_s),
        ("speech_end_to_final", party.whole_s),
    ):
        report.spread(f"{name}_{what}_ms", [1000 * value for value in values_s])
    stable = words.taken_back_share
    report.figures |= {
        f"{name}_words_shown_before_final_percent": _percent(words.by_partials / words.words),
        f"{name}_words_stable_before_final_percent": _percent(words.stable_by_partials / words.words),
        f"{name}_stable_taken_back_percent": _percent(stable),
        f"{name}_word_error_rate_percent": _percent(words.word_error_rate),
        f"{name}_cpu_ms_per_second_of_speech": round(1000 * party.cpu_s / party.speech_s, 1),
        f"{name}_real_time_factor": round(party.cpu_s / party.sound_s, 3),
    }


def _percent(share: float) -> float | None:
    return None if share != share else round(100 * share, 1)  # noqa: PLR0124 - only NaN is not itself
