"""`aivt bench latency`: how long after a line she is heard, beside the floor, in one run."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise

from apps.shared.clock import now_s
from apps.shared.messages import PiecePlayed, PieceStarted, TurnState
from scripts.bench import replies, rig
from scripts.bench.engines import FREE, Costs
from scripts.bench.figures import Report, percentile, progress
from scripts.bench.programs import Program
from scripts.bench.stream import Watcher

TURNS = 30
BLOCK = 5  # turns of one party at a stretch: the system counts processor time in steps of 10 ms
LINE = "hi Kitsu, how are you?"
STAGES = ("first_token", "first_sentence", "tts_first_chunk", "first_audio", "last_audio")


@dataclass
class Party:
    """The floor or a show, and what was measured of it."""

    program: Program
    say: Callable[[str], dict[str, float]]
    marks: list[dict[str, float]] = field(default_factory=list)
    cpu_s: float = 0.0
    seconds: float = 0.0  # that the turns took, with what the party did between them

    def take(self, turns: int) -> None:
        """Play this many turns."""
        began_s, cpu_s = now_s(), self.program.cpu_s()
        self.marks += [self.say(LINE) for _ in range(turns)]
        self.cpu_s += self.program.cpu_s() - cpu_s
        self.seconds += now_s() - began_s

    def times_ms(self, stage: str = "first_audio") -> list[float]:
        """One stage's time in each turn."""
        return [marks[stage] for marks in self.marks]

    @property
    def cpu_ms(self) -> float:
        """Processor time of all its processes, per turn."""
        return 1000 * self.cpu_s / len(self.marks)


def main(options: argparse.Namespace) -> int:
    """Measure and print; 0 whether or not the bars are reached."""
    turns = options.turns or TURNS
    report = Report("latency", notes={"first clause": replies.FIRST_CLAUSE})
    with rig.engines() as engines:
        _beside_the_floor(engines, turns, report)
        _silences(engines, options.turns or len(replies.CORPUS), report)
    return report.show(as_json=options.json)


def _beside_the_floor(engines: rig.Engines, turns: int, report: Report) -> None:
    with ExitStack() as running:
        floor = running.enter_context(rig.floor(engines))
        shows = {
            cut: running.enter_context(rig.on(engines, "discard", TTS_CUT=cut))
            for cut in ("sentence", "clause")
        }

        def measured(costs: Costs, reply: list[str], turns: int, *cuts: str) -> dict[str, Party]:
            engines.set_up(costs, [reply])
            names = {"floor": Party(floor.program, floor.say)}
            names |= {cut: Party(shows[cut].program, shows[cut].say) for cut in cuts}
            in_turns(names, turns)
            return names

        progress(f"latency: {turns} turns of each: floor, by sentence, by clause")
        fixed = measured(Costs(), replies.FIXED, turns, "sentence", "clause")
        progress(f"latency: {turns} turns of each, with engines that cost nothing")
        free = measured(FREE, replies.LONG, turns, "sentence")
    _write(report, fixed, free)


def in_turns(parties: dict[str, Party], turns: int) -> None:
    """Let them take turns block by block, so that a busy spell of the machine meets all of them."""
    for party in parties.values():
        party.say(LINE)  # connections, and what is loaded at first use
    done = 0
    while done < turns:
        block = min(BLOCK, turns - done)
        for party in parties.values():
            party.take(block)
        done += block


def _write(report: Report, fixed: dict[str, Party], free: dict[str, Party]) -> None:
    for kind, parties in (("", fixed), ("free_", free)):
        for name, party in parties.items():
            for stage in STAGES:
                report.spread(f"{kind}{name}_{stage}_ms", party.times_ms(stage))
            report.figures[f"{kind}{name}_cpu_ms"] = round(party.cpu_ms, 2)
            report.figures[f"{kind}{name}_turn_ms"] = round(1000 * party.seconds / len(party.marks), 1)
    floor, sentence, clause = (fixed[name].times_ms() for name in ("floor", "sentence", "clause"))
    for share, added_ms in ((0.5, 5), (0.95, 10)):
        report.bar(
            f"by sentence, first audio p{share * 100:.0f} (floor + {added_ms} ms)",
            percentile(sentence, share),
            percentile(floor, share) + added_ms,
            "ms",
        )
    report.bar(
        "by clause, first audio p50 (0.52 x floor)",
        percentile(clause, 0.5),
        0.52 * percentile(floor, 0.5),
        "ms",
    )
    report.bar(
        "by sentence, CPU a turn (2 x floor)", fixed["sentence"].cpu_ms, 2 * fixed["floor"].cpu_ms, "ms"
    )
    quick, slow = (percentile(free[name].times_ms(), 0.5) for name in ("floor", "sentence"))
    report.bar("free engines, first audio p50 (2 x floor)", slow, 2 * quick, "ms")
    report.bar(
        "free engines, CPU a turn (2 x floor)", free["sentence"].cpu_ms, 2 * free["floor"].cpu_ms, "ms"
    )


def _silences(engines: rig.Engines, turns: int, report: Report) -> None:
    """Play the corpus in real time, and find the silence between the pieces of each reply."""
    progress(f"latency: {turns} replies in real time")
    with rig.on(engines, "none", TTS_CUT="clause") as show, show.watch() as stream:
        engines.set_up(Costs(), replies.CORPUS)
        before = stream.mark()
        turn_ids = [show.answer(LINE)["turn_id"] for _ in range(turns)]
        stream.wait(TurnState, lambda state: (state.turn_id, state.state) == (turn_ids[-1], "spoken"), before)
        gaps_ms = [gap_ms for turn_id in turn_ids for gap_ms in _gaps_ms(stream, turn_id)]
    report.spread("silence_between_pieces_ms", gaps_ms)
    report.figures["silence_between_pieces_ms_max"] = round(max(gaps_ms, default=0.0), 3)
    report.bar("by clause, silence between pieces p95", percentile(gaps_ms, 0.95), 40, "ms")


def _gaps_ms(stream: Watcher, turn_id: str) -> Iterator[float]:
    """From the end of each piece to the start of the next, by the output's clock."""
    started_s = {seen.index: seen.at_s for _, seen in stream.all(PieceStarted) if seen.turn_id == turn_id}
    played_s = {seen.index: seen.at_s for _, seen in stream.all(PiecePlayed) if seen.turn_id == turn_id}
    for index, following in pairwise(sorted(started_s)):
        yield 1000 * max(0.0, started_s[following] - played_s[index])
