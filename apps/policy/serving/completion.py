"""One reply in OpenAI's protocol, pure: the bytes of a stream in, what the model said out."""

from collections.abc import Iterator

import msgspec

from apps.policy.serving import refusals
from apps.policy.serving.refusals import Asked
from apps.policy.serving.sse import Event, Events
from apps.shared.errors import EngineError


class Delta(msgspec.Struct):
    """What has come since the last one: words, thoughts, or neither."""

    content: str | None = None
    # Thoughts, which are never spoken. vLLM has renamed the one to the other; some servers fill both.
    reasoning_content: object = None
    reasoning: object = None

    @property
    def is_thought(self) -> bool:
        return not self.content and bool(self.reasoning_content or self.reasoning)


class _Choice(msgspec.Struct):
    delta: Delta | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    """One event's data, which may be an error instead; vLLM's of old is one without the key `error`."""

    choices: list[_Choice] | None = None
    error: object = None
    object: str | None = None


class Completion:
    """Reads one stream."""

    def __init__(self, asked: Asked) -> None:
        self.ended = False  # the server has said so
        self._asked = asked
        self._events = Events()
        self._begun = False

    def feed(self, data: bytes) -> Iterator[Delta]:
        """Give what is complete now. Raises EngineError for an error in mid-stream, and for garbage."""
        try:
            events = self._events.feed(data)
        except ValueError as error:
            raise self._asked.server.garbage() from error
        for event in events:
            # What follows a finish_reason are numbers and a [DONE], which some servers forget.
            self.ended = self.ended or event.data == b"[DONE]"
            if self.ended:
                return
            chunk = self._decoded(event)
            self._begun = self._begun or chunk.choices is not None
            for choice in chunk.choices or ():
                if choice.delta is not None:
                    yield choice.delta
                self.ended = self.ended or choice.finish_reason is not None

    def close(self, *, framed: bool) -> Iterator[Delta]:
        """Give what is left when the stream is over.

        framed: HTTP itself would have told a broken connection from the end. Raises EngineError when this was
        not the end, or no stream at all.
        """
        yield from self.feed(b"\n\n")
        if not self._begun and not self.ended:
            raise self._asked.server.garbage()
        if not self.ended and not framed:
            raise self._asked.server.failure("the stream broke off")

    def _decoded(self, event: Event) -> _Chunk:
        try:
            chunk = msgspec.json.decode(event.data, type=_Chunk)
        except msgspec.MsgspecError as error:
            if event.name == "error":
                raise self._failure(refusals.Told(event.data.decode(errors="replace"), "")) from error
            raise self._asked.server.garbage() from error
        if chunk.error or chunk.object == "error" or event.name == "error":
            raise self._failure(refusals.told(event.data))
        return chunk

    def _failure(self, said: refusals.Told) -> EngineError:
        return refusals.failure(said, self._asked)
