"""The floor: about as little as a talking program can do, in one process. What AIVT adds is measured by it.

It asks the model, cuts the stream at each full stop, has the sentences spoken one after the other while the
model goes on, and hands the sound to a sink in frames of 20 ms. No gate, no journal, no panel, no interrupt.

Run as `python -m scripts.bench.floor URL`: takes a line of text on standard input, prints one JSON object
with the milliseconds since that line, for each.
"""

import asyncio
import json
import sys
from time import perf_counter

import aiohttp

FRAME_BYTES = 882  # 20 ms of 16-bit mono at 22,050 Hz
ENDS = (".", "!", "?")


class Sink:
    """Takes frames as fast as they come."""

    def __init__(self) -> None:
        self.frames = 0

    def write(self, _frame: memoryview) -> None:
        """Forget the frame."""
        self.frames += 1


class Turn:
    """One line of text, answered."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self._sentences: asyncio.Queue[str] = asyncio.Queue()
        self._begun_s = perf_counter()
        self._sink = Sink()
        self.marks: dict[str, float] = {}

    async def run(self, text: str) -> None:
        """Think and speak at the same time."""
        speaking = asyncio.create_task(self._speak())
        await self._think(text)
        await speaking
        self._mark("last_audio")

    async def _think(self, text: str) -> None:
        body = {"model": "bench", "stream": True, "messages": [{"role": "user", "content": text}]}
        sentence = ""
        async with self._session.post(f"{self._url}/api/chat", json=body) as response:
            async for line in response.content:
                token = json.loads(line)["message"]["content"]
                self._mark("first_token")
                sentence += token
                if token.endswith(ENDS):
                    self._mark("first_sentence")
                    self._sentences.put_nowait(sentence.strip())
                    sentence = ""
        if sentence.strip():
            self._sentences.put_nowait(sentence.strip())
        self._sentences.put_nowait("")

    async def _speak(self) -> None:
        while sentence := await self._sentences.get():
            async with self._session.post(f"{self._url}/tts", data=sentence.encode()) as response:
                sound = memoryview(await response.read())
            self._mark("tts_first_chunk")
            for start in range(0, len(sound), FRAME_BYTES):
                self._sink.write(sound[start : start + FRAME_BYTES])
                self._mark("first_audio")

    def _mark(self, stage: str) -> None:
        if stage not in self.marks:
            self.marks[stage] = round((perf_counter() - self._begun_s) * 1000, 3)


async def serve(url: str) -> None:
    """Answer line after line until there are no more."""
    async with aiohttp.ClientSession() as session:
        while line := await asyncio.to_thread(sys.stdin.readline):
            turn = Turn(session, url)
            await turn.run(line.strip())
            print(json.dumps(turn.marks), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
