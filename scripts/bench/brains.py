"""`aivt bench brains`: what AIVT adds to llama.cpp's first token, whether it stays so, and how soon it stops.

The model is the one that POLICY_GGUF names.
"""

import argparse
import asyncio
import json
import random
from collections.abc import MutableMapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from structlog.testing import capture_logs

from apps.policy import persona as personas
from apps.policy.engines.llamacpp import LlamaCpp, _body, _threads
from apps.policy.models import gguf_file
from apps.policy.models.gguf_file import GgufInfo
from apps.policy.persona import Persona, Reply
from apps.policy.prompt import CONTEXT_TOKENS, Exchange, Line, Prompt, trimmed
from apps.policy.worker import SAMPLE_LINE
from apps.shared.clock import now_s
from apps.shared.errors import AivtError
from apps.shared.settings import Settings
from scripts.bench.figures import Report, percentile, progress
from scripts.bench.latency import BLOCK
from scripts.bench.programs import Program

TURNS = 40
CONVERSATIONS = 3
READS = 5  # a prompt that is read anew takes long on a processor
LOAD_LIMIT_S = 180.0
ASK_LIMIT_S = 120.0
SEED = 1

# A reply that ends itself as soon as it has begun, one as in a show, and one without an end.
BEGUN, USUAL, ENDLESS = (Reply(tokens=tokens) for tokens in (2, 32, 1000))
LINES = (
    "hi Kitsu, how are you?",
    "did you see that jump?",
    "what is your favourite snack, and why is it cheese?",
    "no way",
    "I had a long day at work and just got home",
    "which game do we play next?",
    "lol the slime got him again",
    "can you say hi to my sister, please? She is new here.",
    "tell me something about the moon",
)
CONVERSATION = (*LINES, LINES[0])  # the last turn is the first one again, for its line takes as long to read


class Brain:
    """The real engine, with a watch."""

    def __init__(self, settings: Settings, logged: list[MutableMapping[str, Any]]) -> None:
        self._engine = LlamaCpp(settings)
        self._logged = logged
        self.start, self.warm, self.close = self._engine.start, self._engine.warm, self._engine.close

    async def first_ms(self, prompt: Prompt) -> float:
        """Read a whole reply; return when its first text came."""
        return (await self.reply(prompt))[0]

    async def reply(self, prompt: Prompt) -> tuple[float, str]:
        """Return when the first text of a reply came, in ms, and all of it. Raises AivtError without any."""
        first_ms, said = 0.0, ""
        began_s = now_s()
        async with aclosing(self._engine.reply(prompt)) as pieces:
            async for piece in pieces:
                first_ms = first_ms or 1000 * (now_s() - began_s)
                said += piece
        if not said:
            raise AivtError("bench_failed", "the model said nothing", fix="Choose another POLICY_GGUF.")
        return first_ms, said

    async def abandon(self, prompt: Prompt) -> float:
        """Close a reply after its first text; return when that was."""
        async with aclosing(self._engine.reply(prompt)) as pieces:
            async for _ in pieces:
                break
            return now_s()

    def counted(self) -> MutableMapping[str, Any]:
        """What llama.cpp counted in the last whole reply."""
        return next(row for row in reversed(self._logged) if "prompt_n" in row)


def main(options: argparse.Namespace) -> int:
    """Measure and print; 0 whether or not the bars are reached. Raises MissingError without a model."""
    settings = Settings.load()
    info = gguf_file.inspect(gguf_file.path_of(settings))
    report = Report("brains", notes={"model": info.path.name})
    turns = options.turns or TURNS
    with capture_logs() as logged:
        asyncio.run(_measure(settings, info, turns, report, logged))
    return report.show(as_json=options.json)


async def _measure(
    settings: Settings, info: GgufInfo, turns: int, report: Report, logged: list[MutableMapping[str, Any]]
) -> None:
    persona = personas.load(settings.aivt_persona)
    brain = Brain(settings, logged)
    try:
        batch_tokens = await _beside_the_floor(brain, persona, info, turns, report)
        conversations = min(CONVERSATIONS, max(1, turns // 2))
        warm = await _conversations(brain, persona, conversations, report, warm=True)
        await _conversations(brain, persona, conversations, report, warm=False)
        report.bar("first turn of a conversation (1.2 x the tenth)", warm[0], 1.2 * warm[-1], "ms")
        await _aborts(brain, persona, max(1, turns // 2), batch_tokens, report)
    finally:
        await brain.close()


# --- beside llama.cpp alone ---


async def _beside_the_floor(
    brain: Brain, persona: Persona, info: GgufInfo, turns: int, report: Report
) -> int:
    """Let both answer the same lines, in blocks; return how many tokens llama.cpp reads at once."""
    progress(f"brains: {turns} turns of each: llama.cpp alone, and ours")
    short = replace(persona, reply=BEGUN)
    context_tokens = min(CONTEXT_TOKENS, info.context_tokens or CONTEXT_TOKENS)
    arguments = (str(info.path), str(context_tokens), str(_threads()))
    with Program("scripts.bench.brain_floor", *arguments) as floor:
        _, ready = await asyncio.to_thread(floor.wait_line, "READY ", LOAD_LIMIT_S)
        await brain.start(Prompt(short, (), SAMPLE_LINE))
        alone_ms: list[float] = []
        ours_ms: list[float] = []
        prompts = [_asked(short, turn) for turn in range(-1, turns)]
        await _floor_ms(floor, prompts[0])  # connections, and what is loaded at first use
        await brain.first_ms(prompts.pop(0))
        for start in range(0, turns, BLOCK):
            block = prompts[start : start + BLOCK]
            alone_ms += [await _floor_ms(floor, prompt) for prompt in block]
            ours_ms += [await brain.first_ms(prompt) for prompt in block]
    report.spread("alone_first_token_ms", alone_ms)
    report.spread("ours_first_token_ms", ours_ms)
    added_ms = [ours - alone for ours, alone in zip(ours_ms, alone_ms, strict=True)]
    report.spread("added_to_first_token_ms", added_ms)
    report.bar(
        "first token p50 (llama.cpp alone + 3 ms)",
        percentile(ours_ms, 0.5),
        percentile(alone_ms, 0.5) + 3,
        "ms",
    )
    return int(ready.split()[1])


def _asked(persona: Persona, turn: int) -> Prompt:
    """A line that has not been asked before."""
    return Prompt(persona, (), Line("streamer", f"{LINES[turn % len(LINES)]} ({turn})", "chat"))


async def _floor_ms(floor: Program, prompt: Prompt) -> float:
    request = _body(prompt, prompt.persona.reply.tokens)
    del request["return_progress"]  # serves to stop it early, which the floor cannot do
    floor.tell(json.dumps(request))
    _, line = await asyncio.to_thread(floor.wait_line, "{", ASK_LIMIT_S)
    if (first_ms := json.loads(line)["first_token_ms"]) is None:
        raise AivtError("bench_failed", "the model said nothing", fix="Choose another POLICY_GGUF.")
    return float(first_ms)


# --- through a conversation ---


async def _conversations(
    brain: Brain, persona: Persona, count: int, report: Report, *, warm: bool
) -> list[float]:
    """Hold conversations, each from a fresh start; return the p50 of each turn's first token, in ms."""
    kind = "warm" if warm else "unwarmed"
    progress(f"brains: {count} conversations of {len(CONVERSATION)} turns, {kind}")
    held = [await _conversation(brain, replace(persona, reply=USUAL), warm=warm) for _ in range(count)]
    turns = list(zip(*held, strict=True))  # of each place in a conversation
    for name, some in (("turn_1", turns[:1]), ("turns_2_to_9", turns[1:-1]), ("turn_10", turns[-1:])):
        report.spread(f"{kind}_{name}_first_token_ms", [first_ms for turn in some for first_ms, _ in turn])
        report.spread(f"{kind}_{name}_read_tokens", [tokens for turn in some for _, tokens in turn])
    return [percentile([first_ms for first_ms, _ in turn], 0.5) for turn in turns]


async def _conversation(brain: Brain, persona: Persona, *, warm: bool) -> list[tuple[float, int]]:
    """Return each turn's time to the first token, in ms, and how many tokens of the prompt it had to read."""
    history: tuple[Exchange, ...] = ()
    found = []
    await brain.start(Prompt(persona, history, SAMPLE_LINE))
    for text in CONVERSATION:
        line = Line("streamer", text, "chat")
        first_ms, said = await brain.reply(Prompt(persona, history, line))
        found.append((first_ms, int(brain.counted()["prompt_n"])))
        history = trimmed((*history, Exchange(line, said)))
        if warm:
            await brain.warm(Prompt(persona, history, SAMPLE_LINE))
    return found


# --- aborting ---


async def _aborts(brain: Brain, persona: Persona, count: int, batch_tokens: int, report: Report) -> None:
    """Leave replies while they are written, and prompts while they are read; see how soon the model is free.

    That is how much later than usual it begins the reply that is asked for next.
    """
    reads = min(count, READS)
    progress(f"brains: {count} replies left while she writes, {reads} while she reads")
    await brain.reply(Prompt(replace(persona, reply=USUAL), (), SAMPLE_LINE))
    token_ms = brain.counted()["predicted_ms"] / brain.counted()["predicted_n"]
    written_ms = await _while_writing(brain, persona, count)
    read_ms = await _while_reading(brain, persona, reads)
    batch_ms = batch_tokens * brain.counted()["prompt_ms"] / brain.counted()["prompt_n"]
    report.figures |= {"a_token_ms": round(token_ms, 3), "a_batch_ms": round(batch_ms, 3)}
    report.spread("free_while_writing_ms", written_ms)
    report.spread("free_while_reading_ms", read_ms)
    bars = (("writing", "a token", written_ms, token_ms), ("reading", "a batch", read_ms, batch_ms))
    for doing, step, values_ms, step_ms in bars:
        name = f"left while {doing}, free p95 ({step} + 10 ms)"
        report.bar(name, percentile(values_ms, 0.95), step_ms + 10, "ms")


async def _while_writing(brain: Brain, persona: Persona, count: int) -> list[float]:
    following = Prompt(replace(persona, reply=BEGUN), (), SAMPLE_LINE)
    endless = replace(following, persona=replace(persona, reply=ENDLESS))
    await brain.first_ms(following)
    usual_ms = percentile([await brain.first_ms(following) for _ in range(count)], 0.5)
    return [await _late_ms(brain, await brain.abandon(endless), following, usual_ms) for _ in range(count)]


async def _while_reading(brain: Brain, persona: Persona, count: int) -> list[float]:
    """The last reply that is whole afterwards is one to a prompt of which nothing was known."""
    other, following = (
        Prompt(replace(persona, system=system, reply=BEGUN), (), SAMPLE_LINE)
        for system in ("Say something.", "Be brief.")
    )
    whole_ms = await brain.first_ms(_unknown(persona, 0))
    usual = []
    for _ in range(count):
        await brain.first_ms(other)
        usual.append(await brain.first_ms(following))
    usual_ms = percentile(usual, 0.5)
    choose = random.Random(SEED)  # noqa: S311 - no secret: the same moments in every run
    found = []
    for number in range(count):
        reading = asyncio.create_task(brain.first_ms(_unknown(persona, 1 + number)))
        await asyncio.wait({reading}, timeout=choose.uniform(0.2, 0.8) * whole_ms / 1000)
        left_s = now_s()
        if not reading.cancel():
            await reading  # it was quicker than that
            continue
        await asyncio.wait({reading})
        found.append(await _late_ms(brain, left_s, following, usual_ms))
    await brain.first_ms(_unknown(persona, 1 + count))
    return found


def _unknown(persona: Persona, number: int) -> Prompt:
    """A prompt that differs from all others from its beginning on."""
    system = f"{number}. {persona.system}"
    return Prompt(replace(persona, system=system, reply=BEGUN), (), SAMPLE_LINE)


async def _late_ms(brain: Brain, left_s: float, following: Prompt, usual_ms: float) -> float:
    """Return how much later than usual the first text of `following` comes, from when a reply was left."""
    before_ms = 1000 * (now_s() - left_s)
    return max(0.0, before_ms + await brain.first_ms(following) - usual_ms)
