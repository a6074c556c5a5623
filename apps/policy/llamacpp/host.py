"""The process that runs llama.cpp: `python -m apps.policy.llamacpp.host`, spoken to over its pipes.

Why not inside the policy process: the constructor of xllamacpp's Server keeps Python's lock for as long as
it loads, 1 s for 140 MB, so that nothing else would run, no heartbeat and no cancel; and a fault in
llama.cpp, be it a full graphics card, ends the whole process it happens in.
"""

import os
import queue
import secrets
import sys
import threading
import traceback
from typing import Any, BinaryIO

import msgspec
import xllamacpp

from apps.policy.llamacpp import lines
from apps.policy.llamacpp.lines import (
    Asked,
    Chunk,
    Done,
    Failed,
    Generate,
    Hello,
    Load,
    Loaded,
    Refused,
    Stop,
)

# How many tokens of a prompt are evaluated between two looks at whether it is still wanted. A processor is as
# fast with 32 as with 512 (measured: 446 and 422 tokens/s), a graphics card is not.
PROCESSOR_BATCH_TOKENS = 32
GRAPHICS_BATCH_TOKENS = 512
# States that a model with a sliding window can be taken back to, when what was heard of a reply is less than
# what was made. llama.cpp's 32 may take gigabytes.
CHECKPOINTS = 4
ERRORS_ONLY = 1

KIND = xllamacpp.ggml_backend_dev_type
CARD, SHARING = KIND.GGML_BACKEND_DEVICE_TYPE_GPU, KIND.GGML_BACKEND_DEVICE_TYPE_IGPU


class Host:
    """Does what it is asked, one after the other, in one thread (`work`), and listens in another (`hear`)."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._asked: queue.SimpleQueue[Load | Generate] = (
            queue.SimpleQueue()
        )  # at most a few: all have one asker
        self._stopped_id = 0  # this reply and all before it are not wanted any more

    def hear(self, message: Asked) -> None:
        if isinstance(message, Stop):
            self._stopped_id = max(self._stopped_id, message.id)
        else:
            self._asked.put(message)

    def work(self) -> None:
        """Run until the process ends. Any failure that is not an answer ends it."""
        try:
            self._work()
        except BaseException:  # noqa: BLE001  (the thread's edge; without it the process would idle for ever)
            traceback.print_exc()
            os._exit(1)

    def _work(self) -> None:
        devices = xllamacpp.get_device_info()
        self._tell(Hello(version=xllamacpp.__version__, graphics_bytes=_graphics_bytes(devices)))
        load = self._asked.get()
        assert isinstance(load, Load)
        graphics = any(device["type"] in {CARD, SHARING} for device in devices)
        batch_tokens = GRAPHICS_BATCH_TOKENS if graphics else PROCESSOR_BATCH_TOKENS
        try:
            server = xllamacpp.Server(_parameters(load, batch_tokens))
        except RuntimeError:
            self._tell(Refused())
            os._exit(0)
        self._tell(Loaded())
        while True:
            generate = self._asked.get()
            assert isinstance(generate, Generate)
            self._generate(server, generate)

    def _generate(self, server: Any, asked: Generate) -> None:
        def take(data: bytes) -> bool:
            if stopped := asked.id <= self._stopped_id:
                return stopped
            self._tell(Chunk(asked.id, msgspec.Raw(data)))
            return False

        if asked.id > self._stopped_id:
            try:
                server.handle_chat_completions(bytes(asked.body), take)
            except (RuntimeError, ValueError) as error:
                self._tell(Failed(asked.id, str(error)))
                return
        self._tell(Done(asked.id))

    def _tell(self, message: lines.Told) -> None:
        self._output.write(lines.encoded(message))
        self._output.flush()


def _graphics_bytes(devices: list[dict[str, Any]]) -> int:
    if sys.platform == "darwin":  # one memory for all
        return 0
    return sum(device["memory_free"] for device in devices if device["type"] == CARD)


def _parameters(load: Load, batch_tokens: int) -> xllamacpp.CommonParams:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = load.path
    parameters.n_ctx = load.context_tokens
    parameters.cpuparams.n_threads = load.threads
    parameters.cpuparams_batch.n_threads = load.threads
    parameters.n_batch = parameters.n_ubatch = batch_tokens
    parameters.n_parallel = 1
    parameters.cache_ram_mib = 0  # 8 GiB by default, for prompts that come back; hers only grow
    parameters.cache_idle_slots = False
    parameters.n_ctx_checkpoints = CHECKPOINTS
    parameters.enable_reasoning = 0
    parameters.no_mmproj = True
    parameters.offline = True
    parameters.verbosity = ERRORS_ONLY
    # It listens on a port whether it is wanted or not. Nobody knows its paths and its key, not even we.
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_prefix = f"/{secrets.token_hex(16)}"
    parameters.api_keys = [secrets.token_hex(32)]
    parameters.n_threads_http = 1
    parameters.endpoint_slots = False
    parameters.ui = False
    return parameters


def main() -> None:
    """Serve until standard input ends, which it does however the policy process ends."""
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what llama.cpp prints is no line of ours
    os.putenv("GGML_NO_BACKTRACE", "1")  # or it starts a debugger on itself when it fails
    host = Host(output)
    threading.Thread(target=host.work, daemon=True).start()
    for line in sys.stdin.buffer:
        host.hear(lines.asked(line))
    os._exit(0)


if __name__ == "__main__":
    main()
