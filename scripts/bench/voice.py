"""A voice that costs the same everywhere: the one of scripts.bench.engines."""

import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from apps.shared.errors import AivtError, EngineError
from apps.shared.messages import Delivery
from apps.shared.settings import Settings
from apps.tts_worker.voice import Chunk
from scripts.bench.engines import RATE_HZ

LIMIT_S = 30.0


class HttpVoice:
    """Speaks through the process of scripts.bench.engines, on one connection that is kept.

    That process is where OLLAMA_HOST points in a bench, for it serves the model too. The HTTP is spelled out,
    because http.client's reading of headers would cost more than all else that a voice worker does.
    """

    engine = "bench"
    voice = "fixed cost"
    settings = ""
    sample_rate_hz = RATE_HZ
    speakers: tuple[str, ...] = ()
    trouble: AivtError | None = None

    def __init__(self, settings: Settings) -> None:
        address = urlsplit(settings.ollama_host)
        self._host = address.netloc
        self._socket = socket.create_connection((address.hostname, address.port), LIMIT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._socket.makefile("rb")

    def synthesize(self, text: str, _delivery: Delivery, give: Callable[[Chunk], bool]) -> None:
        """See Voice. One chunk, as long as the engines' costs say; no phonemes, whatever the delivery."""
        body = text.encode()
        head = f"POST /tts HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {len(body)}\r\n\r\n"
        try:
            self._socket.sendall(head.encode() + body)
            pcm = self._answers.read(self._length())
        except OSError as error:
            raise EngineError("bench_voice", f"the bench's voice is gone: {error!r}") from error
        give(Chunk(pcm, ()))

    def close(self) -> None:
        """Let go of the connection."""
        self._answers.close()
        self._socket.close()

    def _length(self) -> int:
        """Read the answer's head; return its Content-Length in bytes."""
        length = 0
        while line := self._answers.readline().strip().lower():
            name, _, value = line.partition(b":")
            if name == b"content-length":
                length = int(value)
        return length
