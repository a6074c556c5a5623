"""The floor with the real engines: the show's llama.cpp and its Piper, and as little else as can be.

It asks the model, cuts the stream at each full stop, has the sentences spoken one after the other while the
model goes on, and hands the sound to a sink in frames of 20 ms. As the show does, it remembers what was said,
and has the model read that while nobody says anything.

Run as `python -m scripts.bench.real_floor` with the show's settings: says `READY`, then takes a line of text
on standard input and prints one JSON object with the milliseconds since that line, for each.
"""

import asyncio
import json
import logging
import re
import sys
from contextlib import aclosing
from time import perf_counter

import msgspec
import structlog

from apps.policy import persona as personas
from apps.policy.engines.llamacpp import LlamaCpp
from apps.policy.prompt import Exchange, Line, Prompt, trimmed
from apps.policy.worker import SAMPLE_LINE, SETTLE_S
from apps.shared.messages import Delivery
from apps.shared.settings import Settings
from apps.tts_worker.engines.piper import Piper
from apps.tts_worker.voice import Chunk
from scripts.bench.floor import Sink

FRAME_S = 0.02
END = re.compile(r"[.!?](?=\s|$)")


class Turn:
    """One line of text, answered."""

    def __init__(self, brain: LlamaCpp, voice: Piper, delivery: Delivery) -> None:
        self._brain = brain
        self._voice = voice
        self._delivery = delivery
        self._frame_bytes = 2 * round(voice.sample_rate_hz * FRAME_S)
        self._sentences: asyncio.Queue[str] = asyncio.Queue()
        self._begun_s = perf_counter()
        self._sink = Sink()
        self.said: list[str] = []
        self.marks: dict[str, float] = {}

    async def run(self, prompt: Prompt) -> None:
        """Think and speak at the same time."""
        speaking = asyncio.create_task(self._speak())
        await self._think(prompt)
        await speaking
        self._mark("last_audio")

    async def _think(self, prompt: Prompt) -> None:
        sentence = ""
        async with aclosing(self._brain.reply(prompt)) as pieces:
            async for piece in pieces:
                self._mark("first_token")
                sentence += piece
                while end := END.search(sentence):  # a token may have it in its middle
                    self._say(sentence[: end.end()])
                    sentence = sentence[end.end() :]
                if len(self.said) >= prompt.persona.reply.sentences:
                    sentence = ""
                    break
        if sentence.strip():
            self._say(sentence)
        self._sentences.put_nowait("")

    def _say(self, sentence: str) -> None:
        self._mark("first_sentence")
        self.said.append(sentence.strip())
        self._sentences.put_nowait(sentence.strip())

    async def _speak(self) -> None:
        while sentence := await self._sentences.get():
            await asyncio.to_thread(self._voice.synthesize, sentence, self._delivery, self._play)

    def _play(self, chunk: Chunk) -> bool:
        self._mark("tts_first_chunk")
        sound = memoryview(chunk.pcm)
        for start in range(0, len(sound), self._frame_bytes):
            self._sink.write(sound[start : start + self._frame_bytes])
            self._mark("first_audio")
        return True

    def _mark(self, stage: str) -> None:
        if stage not in self.marks:
            self.marks[stage] = round((perf_counter() - self._begun_s) * 1000, 3)


async def serve(settings: Settings) -> None:
    """Answer line after line until there are no more."""
    persona = personas.load(settings.aivt_persona)
    delivery = msgspec.convert(persona.voice, Delivery, from_attributes=True)
    history: tuple[Exchange, ...] = ()
    voice, brain = Piper(settings), LlamaCpp(settings)
    await brain.start(Prompt(persona, history, SAMPLE_LINE))
    print("READY", flush=True)
    try:
        while text := await _next_line(brain, Prompt(persona, history, SAMPLE_LINE)):
            turn = Turn(brain, voice, delivery)
            line = Line("streamer", text.strip(), "operator")
            await turn.run(Prompt(persona, history, line))
            history = trimmed((*history, Exchange(line, " ".join(turn.said))))
            print(json.dumps(turn.marks), flush=True)
    finally:
        await brain.close()
        voice.close()


async def _next_line(brain: LlamaCpp, following: Prompt) -> str:
    reading = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
    _, waiting = await asyncio.wait({reading}, timeout=SETTLE_S)
    if waiting:
        await brain.warm(following)
    line: str = await reading
    return line


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    asyncio.run(serve(Settings.load()))
