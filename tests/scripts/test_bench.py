"""The benches: their arithmetic, and short runs of each. What they find is no test's business."""

import argparse
import http.client
import json
import math
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest

from apps.policy.sentences import Cutter
from apps.shared.errors import AivtError
from scripts.bench import interrupt, latency, replies, resources, rig
from scripts.bench.engines import RATE_HZ, Costs
from scripts.bench.figures import Report, percentile
from scripts.bench.interrupt import Interrupted

real = pytest.mark.real


def run(bench, capsys, turns):
    """The figures of a short run, as `--json` prints them, with the bars by name."""
    assert bench.main(argparse.Namespace(turns=turns, json=True)) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["bars"]
    assert all(bar["figure"] is not None for bar in report["bars"])
    return report["figures"]


def interrupted(heard, started_s):
    return Interrupted("t1", "speaking", 0.0, 2.0, 2.1, 2.2, started_s, np.array(heard, np.int16))


# --- arithmetic ---


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([3, 1, 2], 0.5, 2), ([4, 1, 2, 3], 0.5, 2), (range(1, 101), 0.95, 95), ([7], 0.95, 7)],
)
def test_percentiles_are_values_that_were_measured(values, share, expected):
    """Percentiles are by nearest rank: nothing is interpolated."""
    assert percentile(list(values), share) == expected


def test_no_figure_is_no_pass(capsys):
    """A figure that could not be taken does not reach its bar, and the command still succeeds."""
    report = Report("x")
    report.bar("nothing measured", percentile([], 0.5), 1, "ms")
    report.bar("measured", 0.5, 1, "ms")
    assert math.isnan(report.bars[0].figure)
    assert report.show(as_json=False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].endswith("FAIL")
    assert lines[-1].endswith("PASS")


def test_the_fixed_reply_is_the_one_of_the_floors_arithmetic():
    """64 tokens; a first sentence of 47 characters, whole 12 tokens after the first: 558 ms to its sound."""
    first = "".join(replies.FIXED).split(".")[0] + "."
    ready_s = 0.120 + 12 / 60
    assert (len(replies.FIXED), len(first), len(replies.tokens(first))) == (64, 47, 13)
    assert ready_s + 0.050 + 0.004 * len(first) == pytest.approx(0.558)
    assert len(replies.LONG) == 200


def test_the_first_clause_is_the_one_that_is_named():
    """Cut by clause, the fixed reply begins with the clause that the bench prints."""
    cutter = Cutter(cut="clause")
    assert next(piece for token in replies.FIXED for piece in cutter.feed(token)) == replies.FIRST_CLAUSE


def test_the_corpus_has_replies_without_a_comma():
    """Twenty replies, with and without a place for an early cut, all different."""
    texts = {"".join(reply) for reply in replies.CORPUS}
    assert len(texts) == 20
    assert 3 <= sum("," not in text for text in texts) <= 17


def test_the_last_sample_is_found_by_the_piece_that_was_heard_last():
    """Its time is the start of its piece and its place there; silence before and after does not count."""
    second = [0] * 10 + [6] * 5 + [0] * 3
    cut_off = interrupted([5] * 20 + second, {0: 1.0, 1: 9.0})
    assert cut_off.silent_s == pytest.approx(9.0 + 5 / RATE_HZ)
    assert interrupted([5] * 20 + second, {0: 1.0}).silent_s == pytest.approx(1.0 + 35 / RATE_HZ)
    assert interrupted([], {}).silent_s is None


# --- the rig ---


@real
@pytest.mark.timeout(60)
def test_a_show_that_cannot_start_is_reported_and_leaves_nothing():
    """The error carries what the show printed, and no process is left."""
    with pytest.raises(AivtError, match="TTS_ENGINE='bogus'"), rig.show(TTS_ENGINE="bogus"):
        pass
    assert not psutil.Process().children(recursive=True)


@real
@pytest.mark.timeout(60)
def test_the_engines_tell_an_aborted_request():
    """A stream that is closed by its reader is recorded as aborted, one that is read to its end is not."""
    with rig.engines() as engines:
        engines.set_up(Costs(first_token_s=0), [["One", " two", "."]])
        for reads_to_the_end in (True, False):
            connection = http.client.HTTPConnection(urlsplit(engines.url).netloc, timeout=10)
            connection.request("POST", "/api/chat", "{}")
            response = connection.getresponse()
            lines = response.readlines() if reads_to_the_end else [response.readline()]
            assert json.loads(lines[0])["message"]["content"] == "One"
            response.close()
            connection.close()
        while not (asked := engines.requests())[1].ended_s:
            pass
        assert [one.aborted for one in asked] == [False, True]
        assert [one.number for one in asked] == [1, 2]


# --- short runs ---


@real
@pytest.mark.timeout(180)
def test_latency(capsys):
    """Floor and show go through all stages in order, and she is heard earlier by clause than by sentence."""
    figures = run(latency, capsys, turns=2)
    for party in ("floor", "sentence", "clause", "free_floor", "free_sentence"):
        times_ms = [figures[f"{party}_{stage}_ms_p50"] for stage in latency.STAGES]
        assert times_ms == sorted(times_ms)
        assert figures[f"{party}_first_audio_ms_count"] == 2
        assert figures[f"{party}_cpu_ms"] >= 0
    assert figures["clause_first_audio_ms_p50"] < figures["sentence_first_audio_ms_p50"]
    assert figures["silence_between_pieces_ms_count"] >= 1


@real
@pytest.mark.timeout(120)
def test_interrupt(capsys):
    """Turns are cut off in all three moments, and nothing stale is heard or asked for."""
    figures = run(interrupt, capsys, turns=6)
    assert [figures[f"interrupted_{moment}"] for moment in interrupt.MOMENTS] == [2, 2, 2]
    assert figures["last_sample_out_ms_count"] == 4
    assert figures["model_aborted_ms_count"] >= 4  # thinking may end before the model is asked
    assert [figures[name] for name in interrupt.STALE] == [0, 0, 0, 0]


@real
@pytest.mark.timeout(120)
def test_resources(capsys):
    """Every process is weighed, and the parts make the whole."""
    figures = run(resources, capsys, turns=1)
    names = ("supervisor", "orchestrator", "asr", "policy", "tts")
    assert figures["all_rss_mb"] == pytest.approx(sum(figures[f"{name}_rss_mb"] for name in names), abs=0.3)
    assert figures["ready_s_count"] == 1
    assert 1 <= figures["espeak_utterance_s"] <= 2
