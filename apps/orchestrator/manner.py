"""Who she is and how she sounds: what policy and the voice tell of it, and what the streamer wants."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypedDict, TypeVar

from apps.shared.errors import AivtError
from apps.shared.messages import Message, Persona, SetDelivery, SetStyle, SetVoice, Voices

STYLE_LIMIT_S = 2.0
VOICE_LIMIT_S = 30.0  # a large voice from a slow disk
NAMES_LIMIT = 20  # how many names a refusal lists

T = TypeVar("T", bound=Message)


class UnknownNameError(AivtError):
    """A name that is not in the loaded list."""

    def __init__(self, what: str, name: str, names: tuple[str, ...]) -> None:
        self.names = names[:NAMES_LIMIT]
        super().__init__(
            "unknown_name", f"there is no {what} {name!r}", fix=f"Use one of: {', '.join(self.names)}"
        )


class AwayError(AivtError):
    """The program or worker that would do it is not there."""


class MannerStatus(TypedDict):
    """Its part of `GET /status`."""

    persona: dict[str, str] | None
    voice: dict[str, object] | None


class _News(Generic[T]):
    """What a worker told last, and a way to wait for its answer to a wish."""

    def __init__(self, module: str) -> None:
        self.last: T | None = None
        self.one_at_a_time = asyncio.Lock()  # hold it for a wish
        self._module = module
        self._answer: asyncio.Future[T | None] | None = None
        self._is_answer: Callable[[T], bool]

    def tell(self, message: T) -> None:
        self.last = message
        if self._answer and not self._answer.done() and self._is_answer(message):
            self._answer.set_result(message)

    def left(self) -> None:
        """The worker is gone, and with it what it was asked."""
        if self._answer and not self._answer.done():
            self._answer.set_result(None)

    async def answer(self, ask: Callable[[], None], is_answer: Callable[[T], bool], limit_s: float) -> T:
        """Ask, and return the answer. Raises AwayError.

        is_answer: tells it from what the worker tells by itself, and from late answers to older wishes.
        """
        self._answer, self._is_answer = asyncio.get_running_loop().create_future(), is_answer
        try:
            async with asyncio.timeout(limit_s):
                ask()
                if (answer := await self._answer) is None:
                    raise _away(self._module)
                return answer
        except TimeoutError as error:
            raise AwayError(
                f"{self._module}_slow", f"{self._module} does not answer", fix="Look at its light."
            ) from error
        finally:
            self._answer = None


class Manner:
    """send: delivers a message to a module; False when the module is not there."""

    def __init__(self, send: Callable[[str, Message], bool]) -> None:
        self._send = send
        self._persona = _News[Persona]("policy")
        self._voices = _News[Voices]("tts")
        self._chosen_voice = ""  # by hand; "": the persona's
        self._choosing = False  # a voice was asked for by hand, and is not answered yet
        self._told_voice = ""  # the last that the voice process was asked for

    def take(self, message: Persona | Voices) -> None:
        """Take what a worker tells."""
        if isinstance(message, Persona):
            self._persona.tell(message)
            self._tell_voice()
        else:
            self._voices.tell(message)

    def voice_joined(self) -> None:
        """The voice process is there, and knows of nothing but its settings."""
        self._told_voice = ""
        self._tell_voice()

    def left(self, module: str) -> None:
        """A worker is gone."""
        if module == "policy":
            self._persona.left()
        elif module == "tts":
            self._voices.left()

    def _tell_voice(self) -> None:
        """Tell the voice how the persona speaks, and with which voice."""
        if persona := self._persona.last:
            self._send("tts", SetDelivery(delivery=persona.delivery))
        self._tell_which()

    def _tell_which(self) -> None:
        """A voice chosen by hand stays, whatever the persona wants, and so does one that is being chosen."""
        wanted = self._chosen_voice or self._personas_voice
        if not self._choosing and wanted != self._told_voice:
            self._told_voice = wanted
            self._send("tts", SetVoice(name=wanted))

    @property
    def _personas_voice(self) -> str:
        return self._persona.last.voice if self._persona.last else ""

    async def set_style(self, name: str) -> None:
        """Change her manner.

        Raises UnknownNameError, AwayError when policy cannot do it now, AivtError when the preset is broken:
        she stays as she is then.
        """
        if (persona := self._persona.last) is None:
            raise _away("policy")
        names = {style.lower(): style for style in persona.styles}
        if (known := names.get(name.strip().lower())) is None:
            raise UnknownNameError("style", name, persona.styles)
        async with self._persona.one_at_a_time:
            now = await self._persona.answer(
                lambda: self._ask("policy", SetStyle(name=known)),
                lambda told: told.style == known or bool(told.code),
                STYLE_LIMIT_S,
            )
        if now.code == "unknown_persona":  # its file was removed since the names were told
            raise UnknownNameError("style", known, now.styles)
        if now.code:
            raise AivtError(now.code, now.reason, fix=now.fix)

    async def set_voice(self, name: str) -> None:
        """Let her speak with another voice; "" leaves the choice to the persona and the settings.

        Raises UnknownNameError, AwayError when the voice cannot do it now, AivtError when this one cannot be
        loaded: she goes on with the old one then.
        """
        name = name.strip()
        async with self._voices.one_at_a_time:
            wanted = name or self._personas_voice
            before, self._told_voice = self._told_voice, wanted
            self._choosing = True
            try:
                now = await self._voices.answer(
                    lambda: self._ask("tts", SetVoice(name=wanted)),
                    lambda told: bool(told.code) or (told.name == wanted if wanted else told.name != ""),
                    VOICE_LIMIT_S,
                )
                if now.code:
                    self._told_voice = before
                else:
                    self._chosen_voice = name
            finally:
                self._choosing = False
                self._tell_which()  # the persona's may have changed; a wish that was given up is taken back
        if now.code == "unknown_name":
            raise UnknownNameError("voice", wanted, now.names)
        if now.code:
            raise AivtError(now.code, now.reason, fix=now.fix)

    def _ask(self, module: str, message: Message) -> None:
        if not self._send(module, message):
            raise _away(module)

    def status(self) -> MannerStatus:
        """For `GET /status`."""
        persona, voices = self._persona.last, self._voices.last
        return {
            "persona": {"id": persona.id, "style": persona.style} if persona else None,
            "voice": {
                "name": voices.name,
                "names": list(voices.names),
                "reason": voices.reason,  # why the last wish for another one was not met
                "fix": voices.fix,
            }
            if voices
            else None,
        }


def _away(module: str) -> AwayError:
    return AwayError(f"{module}_down", f"{module} is not there", fix="Look at its light.", retryable=True)
