"""Record the traces beside this file: made-up scenes through the real voice detectors.

    python -m tests.data.traces.record            # write them anew
    python -m tests.data.traces.record --table    # print how both detectors fare in twice as much speech

espeak-ng's oscillators run on from sentence to sentence: only a fresh process makes the same scenes again.
"""

import random
import sys
from collections.abc import Callable, Iterator

import numpy as np

from apps.asr_worker.sound import FRAME_SAMPLES
from apps.asr_worker.vads.silero import Silero
from apps.asr_worker.vads.webrtc import Webrtc
from tests.asr_worker.traces import Spans, Trace, follow, score
from tests.ears.noise import RATE_HZ, Samples, cough, keyboard, music, pink, white
from tests.ears.speech import HELD_OUT_VOICES, Speech, held_out_sentences, mixed, say

NOISES = {"white": white, "pink": pink, "music": music, "keyboard": keyboard}
SNRS_DB = (20, 10, 5)
SILENCE_DB = -99
HER_VOICE = "en-us+f3"
ANSWERS = ("yes", "no", "stop", "okay", "what?", "wait", "hi", "kitsu", "thanks", "why?")
HESITANT = (
    ("so i think", "we should go to the", "left"),
    ("what do you", "think about", "the new boss?"),
    ("my health is", "really low", "and i have no snack"),
    ("can you", "um", "tell chat about the game?"),
    ("i want to", "fight the boss", "again"),
    ("hey kitsu", "play my", "favorite song"),
)

Scene = tuple[Samples, Spans]


class Tape:
    """Speech and silence, one after the other."""

    def __init__(self) -> None:
        self._parts: list[Samples] = []
        self._speech: list[tuple[float, Speech]] = []
        self.spoken: Spans = []
        self.pause(1.0)

    @property
    def end_s(self) -> float:
        return sum(map(len, self._parts)) / RATE_HZ

    def pause(self, duration_s: float) -> None:
        self._parts.append(np.zeros(round(duration_s * RATE_HZ), np.float32))

    def say(self, *texts: str, number: int, pause_s: float = 0.0) -> None:
        """Say one line, in pieces with pauses between them, in a voice that goes by its number."""
        chance = random.Random(number)
        voice, rate, pitch = HELD_OUT_VOICES[number % 10], chance.randint(150, 205), chance.randint(35, 65)
        self.add(*(say(text, voice, rate, pitch, seed=number) for text in texts), pause_s=pause_s)

    def add(self, *line: Speech, pause_s: float = 0.0) -> None:
        start_s = self.end_s
        for place, speech in enumerate(line):
            if place:
                self.pause(pause_s)
            self._speech.append((self.end_s, speech))
            self._parts.append(speech.samples)
        self.spoken.append((start_s, self.end_s))

    def speech(self) -> Speech:
        words = [
            word._replace(start_s=word.start_s + at_s, end_s=word.end_s + at_s)
            for at_s, speech in self._speech
            for word in speech.words
        ]
        return Speech(np.concatenate(self._parts), words)


def lines(count: int, gap_s: tuple[float, float] = (0.8, 2.0)) -> Tape:
    tape, chance = Tape(), random.Random(count)
    for number, text in enumerate(held_out_sentences(count, seed=1)):
        tape.say(text, number=number)
        tape.pause(chance.uniform(*gap_s))
    return tape


def in_noise(tape: Tape) -> Iterator[tuple[str, Scene]]:
    """The same lines in every noise, the loudest last."""
    speech = tape.speech()
    yield "clean", (speech.samples, tape.spoken)
    for name, noise in NOISES.items():
        for snr_db in SNRS_DB:
            yield f"{name}-{snr_db}", (mixed(speech, noise(30.0, 3), snr_db).samples, tape.spoken)


def answers() -> Scene:
    tape = Tape()
    for number, text in enumerate(ANSWERS):
        tape.say(text, number=number)
        tape.pause(1.5)
    return tape.speech().samples, tape.spoken


def hesitation() -> Scene:
    tape = Tape()
    for number, texts in enumerate(HESITANT):
        tape.say(*texts, number=number, pause_s=0.4)
        tape.pause(1.5)
    return tape.speech().samples, tape.spoken


def monologue() -> Scene:
    """Forty seconds with nothing but a breath between the sentences."""
    tape, texts = Tape(), iter(held_out_sentences(60, seed=2))
    start_s = tape.end_s
    while tape.end_s < start_s + 40:
        tape.say(next(texts), number=3)
        tape.pause(0.2)
    return tape.speech().samples, tape.spoken


def coughs() -> Scene:
    return np.concatenate([cough(1.5, seed) for seed in range(12)]), []


def coughing_fit() -> Scene:
    """One and a half seconds without a break between the coughs."""
    bursts = [cough(1.5, seed)[round(0.3 * RATE_HZ) :][: round(0.25 * RATE_HZ)] for seed in range(6)]
    around = np.zeros(RATE_HZ, np.float32)
    return np.concatenate([around, *bursts, around]), []


def bumps() -> Scene:
    """Knocks against the desk: low, loud, a fifth of a second each."""
    seconds = np.arange(round(0.2 * RATE_HZ)) / RATE_HZ
    tape = np.zeros(20 * RATE_HZ, np.float32)
    for number in range(16):
        begin = round((1.0 + 1.13 * number) * RATE_HZ)
        knock = 0.6 * np.sin(2 * np.pi * (50 + 6 * number) * seconds) * np.exp(-seconds / 0.06)
        tape[begin : begin + len(knock)] = knock
    return tape, []


def her_echo() -> Scene:
    """Her own voice out of the speakers: dull, in a room, 25 dB below somebody at the microphone."""
    tape = Tape()
    for number, text in enumerate(held_out_sentences(6, seed=4)):
        tape.add(say(text, HER_VOICE, seed=number))
        tape.pause(1.5)
    chance = np.random.default_rng(0)
    room_s = np.arange(round(0.25 * RATE_HZ)) / RATE_HZ
    room = chance.standard_normal(len(room_s)) * np.exp(-room_s / 0.05)
    room[0] = 12.0
    dull = np.convolve(np.convolve(tape.speech().samples, room), np.ones(4) / 4)
    sound = (dull * (0.5 * 10 ** (-25 / 20) / np.abs(dull).max())).astype(np.float32)
    return sound, tape.spoken


ALONE: dict[str, Callable[[], Scene]] = {
    "answers": answers,
    "hesitation": hesitation,
    "monologue": monologue,
    "coughs": coughs,
    "coughing-fit": coughing_fit,
    "bumps": bumps,
    "keyboard": lambda: (keyboard(20.0, 5), []),
    "music": lambda: (music(20.0, 5), []),
    "her-echo": her_echo,
}


def trace(scene: Scene) -> Trace:
    samples, spoken = scene
    frames = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    loud = np.sqrt(np.mean(np.square(frames, dtype=np.float64), axis=1))
    silero, webrtc = Silero(), Webrtc()
    return Trace(
        spoken=spoken,
        silero=[silero.probability(frame) for frame in frames],
        webrtc=[webrtc.probability(frame) for frame in frames],
        level_db=[round(20 * np.log10(max(value, 10 ** (SILENCE_DB / 20)))) for value in loud],
    )


def table() -> None:
    print("scene        detector  found false merged split   median ms late: start, told; end, told")
    for name, scene in in_noise(lines(40)):
        recorded = trace(scene)
        for detector in ("silero", "webrtc"):
            events = follow(getattr(recorded, detector))
            print(f"{name:12} {detector:8} {score(events, recorded.spoken)}", flush=True)


def main() -> None:
    if "--table" in sys.argv[1:]:
        table()
        return
    for name, scene in in_noise(lines(20)):
        trace(scene).save(name)
    for name, make in ALONE.items():
        trace(make()).save(name)


if __name__ == "__main__":
    main()
