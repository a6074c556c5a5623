"""Changing the voice of a real show in mid-turn, there and back, while replies are waiting.

Two Piper voices take turns whose noise is set to 0, so that a voice makes the same samples of a sentence
every time: the show's recordings are then read back, sample by sample, as a list of who said which piece.
"""

import json
import random
import shutil
import tempfile
import time
import wave
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.shared.access import read_port, read_token
from apps.shared.clock import now_s
from apps.shared.errors import AivtError
from apps.shared.messages import Delivery, PiecePlayed, PieceStarted
from apps.shared.settings import Settings
from apps.tts_worker import voices
from apps.tts_worker.engines import piper
from apps.tts_worker.engines.piper_model import config_of
from apps.tts_worker.resampled import Resampled
from apps.tts_worker.voice import Chunk, Voice
from scripts.bench import replies, rig
from scripts.bench.engines import MODEL, Costs
from scripts.bench.figures import Report, progress
from scripts.bench.stream import Watcher

# As many as one reply of the default persona may have.
SENTENCES = (
    "Look who is back with us.",
    "I kept your place warm.",
    "Nobody touched the snacks.",
    "So tell me how it went.",
)
# A slow model, so that pieces are still being written while the other voice is being loaded.
COSTS = Costs(token_s=0.12)
LINE = "tell me a story"
WAITING = 2  # lines said at a time: one is answered, one waits
PLAIN_EVERY = 4  # every fourth turn has no switch in it, to compare with
LATEST_S = 0.4  # into a turn, a switch is asked for
SLOWER = 1.2  # what makes a second voice of the only one
SILENCE_MS = 40.0
SEED = 1

Samples = npt.NDArray[np.int16]
Said = tuple[int, str]  # the piece's index, and which voice said it


@dataclass(frozen=True, slots=True)
class Switch:
    """One change of voice; times are of the machine's clock."""

    name: str
    asked_s: float
    done_s: float  # when the show said so


@dataclass(frozen=True, slots=True)
class Heard:
    """One turn, as the stream showed it and as it was recorded."""

    started_s: dict[int, float]  # piece -> when its first sample was out
    starts: int  # how many pieces were seen to start
    silence_ms: float  # the longest, between its pieces or within one
    said: list[Said]
    strange: int  # samples that are of no piece
    switched: bool  # a switch was asked for in it

    @property
    def lost(self) -> int:
        """Pieces that were not seen to start, or are not in the recording."""
        wanted = set(range(len(SENTENCES)))
        return len(wanted - self.started_s.keys()) + len(wanted - {index for index, _ in self.said})

    @property
    def twice(self) -> int:
        """Pieces that were seen to start more than once, or are in the recording more than once."""
        again = Counter(index for index, _ in self.said)
        return self.starts - len(self.started_s) + sum(again.values()) - len(again)


def measure(settings: Settings, switches: int, report: Report) -> None:
    """Switch so many times, and write down what it cost."""
    progress(f"voices: {switches} switches in a show")
    with tempfile.TemporaryDirectory(prefix="aivt-bench-") as name:
        steady = settings.model_copy(update={"aivt_data_dir": Path(name), "use_stub_tts": False})
        names = prepare(settings, steady)
        report.notes["switched between"] = " and ".join(names)
        asked, heard = _play(steady, names, switches)
    _write(report, asked, heard)


def prepare(settings: Settings, steady: Settings) -> tuple[str, str]:
    """Copy the two largest installed voices, without their noise; of one alone, make a second that is slower.

    Returns their names.
    """
    steady.voices_dir.mkdir(parents=True)
    there = [settings.voices_dir / f"{name}.onnx" for name in piper.installed(settings)]
    largest = sorted(there, key=lambda file: file.stat().st_size)[-2:]
    if len(largest) == 2:
        first, second = largest
        return _copied(first, steady, first.stem), _copied(second, steady, second.stem)
    [only] = largest
    return _copied(only, steady, only.stem), _copied(only, steady, f"{only.stem}-slower", SLOWER)


def _copied(file: Path, steady: Settings, name: str, times: float = 1.0) -> str:
    shutil.copyfile(file, steady.voices_dir / f"{name}.onnx")
    config = json.loads(config_of(file).read_text("utf-8"))
    manner = config.setdefault("inference", {})
    manner |= {"noise_scale": 0, "noise_w": 0, "length_scale": times * manner.get("length_scale", 1)}
    (steady.voices_dir / f"{name}.onnx.json").write_text(json.dumps(config), "utf-8")
    return name


def _play(steady: Settings, names: tuple[str, str], switches: int) -> tuple[list[Switch], list[Heard]]:
    with (
        rig.engines() as engines,
        rig.show(
            POLICY_ENGINE="ollama",
            POLICY_MODEL=MODEL,
            OLLAMA_HOST=engines.url,
            TTS_ENGINE="espeak",
            TTS_CACHE_MB="0",
            TTS_CUT="sentence",
            TTS_OUTPUT=rig.RECORDED,
        ) as show,
    ):
        engines.set_up(COSTS, [replies.tokens(" ".join(SENTENCES))])
        shutil.copytree(steady.voices_dir, show.folder / "voices")
        use_voice(show, names[0])
        with show.watch() as stream:
            turns = _turns(show, stream, names, switches)
            made = made_by(steady, names, _rate_hz(show.recording(next(iter(turns)))))
            heard = [_heard(show, stream, turn_id, made, switch) for turn_id, switch in turns.items()]
    return [switch for switch in turns.values() if switch], heard


def use_voice(show: rig.Show, name: str) -> Switch:
    """Change the voice, as the panel does. Raises AivtError."""
    settings = Settings(aivt_data_dir=show.folder, aivt_port=0)
    url = f"http://127.0.0.1:{read_port(settings)}"
    asked_s, state = rig.ask(url, "POST", "/control/voice", {"name": name}, read_token(settings))
    done_s = now_s()
    if (now := state["voice"]["name"]) != name:
        raise AivtError("bench_failed", f"{name} was asked for, and {now} speaks")
    return Switch(name, asked_s, done_s)


def _turns(
    show: rig.Show, stream: Watcher, names: tuple[str, str], switches: int
) -> dict[str, Switch | None]:
    """Play turns, one behind the other; return their ids with the switch in each, if there was one."""
    choose = random.Random(SEED)  # noqa: S311 - no secret: the same moments in every run
    turns: dict[str, Switch | None] = {}
    count = switches + max(1, switches // (PLAIN_EVERY - 1))
    done = 0
    pool = ThreadPoolExecutor(WAITING)
    try:
        answers: list[Future[dict[str, Any]]] = [pool.submit(show.answer, LINE) for _ in range(count)]
        for turn in range(count):
            _, began = stream.wait(PieceStarted, lambda seen: seen.index == 0 and seen.turn_id not in turns)
            turns[began.turn_id] = None
            if turn % PLAIN_EVERY and done < switches:
                time.sleep(choose.uniform(0.0, LATEST_S))
                done += 1
                turns[began.turn_id] = use_voice(show, names[done % 2])
        for answer in answers:
            if (result := answer.result())["outcome"] != "spoken":
                raise AivtError("bench_failed", f"a line was {result['outcome']}: {result['reason']}")
    finally:
        pool.shutdown(cancel_futures=True)
    return turns


def made_by(steady: Settings, names: tuple[str, str], rate_hz: int) -> dict[Said, Samples]:
    """Return what each voice alone makes of each sentence, without samples that are 0."""
    made: dict[Said, Samples] = {}
    for name in names:
        voice: Voice = voices.load(voices.chosen(steady, name))
        if voice.sample_rate_hz != rate_hz:
            voice = Resampled(voice, rate_hz)
        made |= {(index, name): _sounding(_spoken(voice, text)) for index, text in enumerate(SENTENCES)}
        voice.close()
    return made


def _spoken(voice: Voice, text: str) -> Samples:
    pcm = bytearray()

    def give(chunk: Chunk) -> bool:
        pcm.extend(chunk.pcm)
        return True

    voice.synthesize(text, Delivery(), give)
    return np.frombuffer(bytes(pcm), "<i2")


def _sounding(samples: Samples) -> Samples:
    """Leave out what is 0: a recording has as much of it between two pieces as there was time."""
    sounding: Samples = samples[samples != 0]
    return sounding


def recognised(recording: Samples, made: Mapping[Said, Samples]) -> tuple[list[Said], int]:
    """Return which pieces a recording consists of, in order, and how many samples follow that are none's."""
    rest = _sounding(recording)
    said: list[Said] = []
    while len(rest):
        known = (
            one for one, sound in made.items() if len(sound) and np.array_equal(rest[: len(sound)], sound)
        )
        if (one := next(known, None)) is None:
            break
        said.append(one)
        rest = rest[len(made[one]) :]
    return said, len(rest)


def _rate_hz(recording: Path) -> int:
    with wave.open(str(recording)) as file:
        return int(file.getframerate())


def _heard(
    show: rig.Show, stream: Watcher, turn_id: str, made: Mapping[Said, Samples], switch: Switch | None
) -> Heard:
    started = [seen for _, seen in stream.all(PieceStarted) if seen.turn_id == turn_id]
    played = [seen for _, seen in stream.all(PiecePlayed) if seen.turn_id == turn_id]
    with wave.open(str(show.recording(turn_id))) as file:
        recording = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    said, strange = recognised(recording, made)
    return Heard(
        started_s={seen.index: seen.at_s for seen in started},
        starts=len(started),
        silence_ms=max(_silences_ms(started, played), default=0.0),
        said=said,
        strange=strange,
        switched=switch is not None,
    )


def _silences_ms(started: list[PieceStarted], played: list[PiecePlayed]) -> Iterator[float]:
    """Between each piece and the next, and within each, by the output's clock."""
    begun_s = {seen.index: seen.at_s for seen in started}
    ended = {seen.index: seen for seen in played}
    for index in begun_s.keys() & ended.keys():
        yield 1000 * (ended[index].at_s - begun_s[index]) - ended[index].audio_ms
        if index + 1 in begun_s:
            yield 1000 * (begun_s[index + 1] - ended[index].at_s)


def _write(report: Report, asked: list[Switch], heard: list[Heard]) -> None:
    report.spread("switch_ms", [1000 * (switch.done_s - switch.asked_s) for switch in asked])
    report.spread("switch_heard_ms", _until_heard_ms(asked, heard))
    with_ms = [turn.silence_ms for turn in heard if turn.switched]
    without_ms = [turn.silence_ms for turn in heard if not turn.switched]
    for name, values in (("with", with_ms), ("without", without_ms)):
        report.spread(f"silence_{name}_switch_ms", values)
        report.figures[f"silence_{name}_switch_ms_max"] = round(max(values), 3)
    report.figures |= {
        "pieces": sum(len(turn.said) for turn in heard),
        "switched_inside_a_turn": sum(len({name for _, name in turn.said}) > 1 for turn in heard),
    }
    report.bar("switching, pieces lost", sum(turn.lost for turn in heard), 0, "")
    report.bar("switching, pieces spoken twice", sum(turn.twice for turn in heard), 0, "")
    report.bar("switching, samples that are of no piece", sum(turn.strange for turn in heard), 0, "")
    name = f"switching, longest silence (without + {SILENCE_MS:g} ms)"
    report.bar(name, max(with_ms), max(without_ms) + SILENCE_MS, "ms")


def _until_heard_ms(asked: list[Switch], heard: list[Heard]) -> list[float]:
    """From asking for a voice to the first sample of the first piece that it says."""
    starts = sorted(
        (turn.started_s[index], name)
        for turn in heard
        for index, name in turn.said
        if index in turn.started_s
    )
    found = []
    for switch in asked:
        said = (at_s for at_s, name in starts if at_s > switch.asked_s and name == switch.name)
        if (at_s := next(said, None)) is not None:
            found.append(1000 * (at_s - switch.asked_s))
    return found
