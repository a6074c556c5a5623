"""`aivt voices bench`: what is timed, and what is said of it."""

import argparse
import json

import numpy as np
import pytest

from apps.shared.edge import exit_code
from apps.shared.errors import AivtError, EngineError
from apps.tts_worker import measure, voices
from apps.tts_worker.measure import FAST_MS, OPENER, SENTENCES, Speed
from apps.tts_worker.voice import Chunk


class Steady:
    """A voice as long as its text; it notes what it is asked for."""

    engine = voice = "steady"
    settings = ""
    sample_rate_hz = 1000
    speakers: tuple[str, ...] = ()
    trouble: AivtError | None = None

    def __init__(self, character_s: float) -> None:
        self._character_s = character_s
        self.said: list[str] = []
        self.closed = False

    def synthesize(self, text, _delivery, give):
        self.said.append(text)
        samples = round(len(text) * self._character_s * self.sample_rate_hz)
        for part in np.array_split(np.ones(samples, "<i2"), 2):
            if len(part):
                give(Chunk(part.tobytes(), ()))

    def close(self):
        self.closed = True


@pytest.fixture
def bench(monkeypatch, capsys, tmp_path):
    """Run the command; return its exit code and what it printed."""
    monkeypatch.setenv("AIVT_DATA_DIR", str(tmp_path))

    def run(*, as_json=False):
        code = exit_code(lambda: measure.bench(argparse.Namespace(json=as_json)))
        return code, capsys.readouterr().out

    return run


# --- what is timed ---


@pytest.mark.parametrize("character_s", [0.05, 0.07, 0.1])
def test_what_is_timed_takes_one_to_two_seconds_to_say(character_s):
    """A quick voice gets longer sentences than a slow one, for the bar is about a length of sound."""
    voice = Steady(character_s)
    speed = measure.measure("steady", lambda: voice, pieces=9)
    timed = voice.said[-9:]
    assert all(1 <= len(text) * character_s <= 2 for text in timed)
    assert len(set(timed)) > 1
    assert 1 <= speed.piece_audio_s <= 2
    assert speed.pieces == 9


@pytest.mark.parametrize(("character_s", "nearest"), [(0.001, max), (1.0, min)])
def test_a_voice_that_says_nothing_in_that_time_is_timed_all_the_same(character_s, nearest):
    """With the sentence that comes nearest to it; the table shows its length."""
    voice = Steady(character_s)
    measure.measure("steady", lambda: voice, pieces=2)
    assert voice.said[-2:] == [nearest(SENTENCES, key=len)] * 2


def test_the_first_sound_is_that_of_a_first_clause():
    """Whole sentences are timed for themselves, after each was said once to learn its length."""
    voice = Steady(0.07)
    speed = measure.measure("steady", lambda: voice, pieces=4)
    assert voice.said[: len(SENTENCES) + 4] == [*SENTENCES, *[OPENER] * 4]
    assert voice.closed
    assert 0 < speed.first_sound_ms_p50 <= speed.first_sound_ms_p95
    assert 0 < speed.piece_ms_p50 <= speed.piece_ms_p95


def test_what_a_take_is_made_of():
    """Its length is that of the sound, and the first sound comes before the last."""
    take = measure.take_of(Steady(0.1), "Hello.")
    assert take.audio_s == pytest.approx(0.6)
    assert 0 < take.first_s <= take.whole_s
    assert take.cpu_s >= 0


def test_a_slow_voice_ends_the_wait(monkeypatch):
    """However many pieces are wanted: there is a limit to the time."""
    monkeypatch.setattr(measure, "LIMIT_S", 0.0)
    assert measure.measure("steady", lambda: Steady(0.07), pieces=1000).pieces == 1


def test_a_voice_without_sound_is_no_fast_voice():
    """It is an error with a fix, and the voice is closed."""
    voice = Steady(0.0)
    with pytest.raises(EngineError, match="no sound") as caught:
        measure.measure("steady", lambda: voice)
    assert caught.value.code == "voice_silent"
    assert caught.value.fix
    assert voice.closed


@pytest.mark.parametrize(
    ("speed", "fast"),
    [
        (Speed("a", piece_ms_p95=FAST_MS), True),
        (Speed("a", piece_ms_p50=10, piece_ms_p95=FAST_MS + 1), False),
        (Speed("a", reason="broken"), False),
    ],
)
def test_fast_is_what_is_nearly_always_fast(speed, fast):
    """The bar is about the 95th percentile, and a voice that does not speak does not reach it."""
    assert speed.fast == fast


# --- what is printed ---


def test_every_installed_voice_is_compared_with_espeak(bench, piper_voice):
    """One row each, the quickest first."""
    piper_voice("one")
    piper_voice("two", rate_hz=22_050)
    code, out = bench(as_json=True)
    rows = json.loads(out)
    assert code == 0
    assert {row["name"] for row in rows} == {"one", "two", "espeak"}
    times_ms = [row["piece_ms_p50"] for row in rows]
    assert times_ms == sorted(times_ms)
    assert all(row["load_s"] >= 0 and row["real_time_factor"] > 0 and row["pieces"] for row in rows)


def test_the_table_ends_with_what_it_means(bench, piper_voice):
    """A streamer reads which voices are fast enough, without knowing what a percentile is."""
    piper_voice("one")
    code, out = bench()
    head, *rows = out.split("\n\n")[0].splitlines()
    assert code == 0
    assert head.startswith("VOICE")
    assert {row.split()[0] for row in rows} == {"one", "espeak"}
    meaning = out.split("\n\n")[1]
    assert meaning.startswith("Fast enough is a voice that makes 1 to 2 s of speech within 250 ms: ")
    assert "espeak" in meaning


def test_too_slow_a_voice_is_named_with_a_way_out():
    """And it is not among those that are fast enough."""
    quick, slow = Speed("quick", real_time_factor=0.1), Speed("slow", piece_ms_p95=400, real_time_factor=0.3)
    lines = list(measure._lines([quick, slow]))
    assert lines[-2].endswith("250 ms: quick.")
    assert lines[-1].startswith("Too slow here: slow. ")


def test_a_broken_voice_is_told_and_the_others_are_measured(bench, piper_voice):
    """Its row is empty and stands last; why, and what mends it, is below the table."""
    piper_voice("one")
    piper_voice("broken").write_bytes(b"no model")
    code, out = bench()
    assert code == 0
    assert out.split("\n\n")[0].splitlines()[-1].split() == ["broken", *["-"] * 6]
    assert "broken does not speak: " in out
    assert "fix: Get broken.onnx" in out


def test_without_a_piper_voice_it_says_how_to_get_one(bench):
    """espeak alone is no comparison."""
    code, out = bench()
    assert code == 0
    assert out.splitlines()[-1] == "There is no Piper voice yet. To see which there are: aivt voices"


def test_the_stub_is_not_what_is_measured(bench, monkeypatch, piper_voice):
    """Even in a show that is rolled back to it, the question is how fast the real voices are."""
    monkeypatch.setenv("USE_STUB_TTS", "1")
    piper_voice("one")
    assert {row["name"] for row in json.loads(bench(as_json=True)[1])} == {"one", "espeak"}
    assert voices.STUB not in bench()[1]
