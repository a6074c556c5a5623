"""llama.cpp alone, in a process of its own: what a reply costs before any of our layers has touched it.

Run as `python -m scripts.bench.brain_floor MODEL.gguf CONTEXT_TOKENS THREADS`: says `READY` and how many
tokens of a prompt it evaluates at once; then takes requests to /v1/chat/completions, one a line, and prints
one JSON object with the milliseconds to the first text, for each.
"""

import json
import sys
from time import perf_counter

import xllamacpp

from apps.policy.llamacpp import host
from apps.policy.llamacpp.lines import Load


def main(path: str, context_tokens: str, threads: str) -> None:
    """Load the model just as the live show does, and answer until standard input ends."""
    graphics = any(device["type"] in {host.CARD, host.SHARING} for device in xllamacpp.get_device_info())
    batch_tokens = host.GRAPHICS_BATCH_TOKENS if graphics else host.PROCESSOR_BATCH_TOKENS
    load = Load(path, int(context_tokens), int(threads))
    server = xllamacpp.Server(host._parameters(load, batch_tokens))  # noqa: SLF001 - the very same ones
    print(f"READY {batch_tokens}", flush=True)
    for line in sys.stdin:
        print(json.dumps({"first_token_ms": _first_token_ms(server, line.encode())}), flush=True)


def _first_token_ms(server: xllamacpp.Server, request: bytes) -> float | None:
    found: list[float] = []

    def take(data: bytes) -> bool:
        if not found and any(
            choice["delta"].get("content") for choice in json.loads(data).get("choices", ())
        ):
            found.append(round(1000 * (perf_counter() - began_s), 3))
        return False

    began_s = perf_counter()
    server.handle_chat_completions(request, take)
    return found[0] if found else None


if __name__ == "__main__":
    main(*sys.argv[1:])
