"""The bench's voice as the show sees it: `TTS_ENGINE=scripts.bench.voice:HttpVoice`."""

import http.client
from collections.abc import Callable
from urllib.parse import urlsplit

from apps.shared.errors import EngineError
from apps.shared.settings import Settings
from apps.tts_worker.voice import Chunk
from scripts.bench.engines import RATE_HZ

LIMIT_S = 30.0


class HttpVoice:
    """Speaks through the process of scripts.bench.engines, on one connection that is kept.

    That process is where OLLAMA_HOST points in a bench, for it serves the model too.
    """

    engine = "bench"
    voice = "fixed cost"
    settings = ""
    sample_rate_hz = RATE_HZ

    def __init__(self, settings: Settings) -> None:
        address = urlsplit(settings.ollama_host)
        self._connection = http.client.HTTPConnection(address.netloc, timeout=LIMIT_S)

    def synthesize(self, text: str, give: Callable[[Chunk], bool]) -> None:
        """See Voice. One chunk, as long as the engines' costs say; no phonemes."""
        try:
            self._connection.request("POST", "/tts", text.encode())
            pcm = self._connection.getresponse().read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise EngineError("bench_voice", f"the bench's voice is gone: {error!r}") from error
        give(Chunk(pcm, ()))

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()
