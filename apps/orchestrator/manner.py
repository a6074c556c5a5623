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
    """What a worker told last, and a way to wait for what it tells next."""

    def __init__(self) -> None:
        self.last: T | None = None
        self._told = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()  # two wishes at once would take each other's answer

    def tell(self, message: T) -> None:
        self.last = message
        self._told.set()

    async def after(self, ask: Callable[[], None], module: str, limit_s: float) -> T:
        """Ask, and return what is told next. Raises AwayError."""
        try:
            async with asyncio.timeout(limit_s), self._one_at_a_time:
                self._told.clear()
                ask()
                await self._told.wait()
        except TimeoutError as error:
            raise AwayError(
                f"{module}_slow", f"{module} does not answer", fix="Look at its light."
            ) from error
        assert self.last is not None
        return self.last


class Manner:
    """send: delivers a message to a module; False when the module is not there."""

    def __init__(self, send: Callable[[str, Message], bool]) -> None:
        self._send = send
        self._persona = _News[Persona]()
        self._voices = _News[Voices]()
        self._chosen_voice = ""  # by hand; "": the persona's
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

    def _tell_voice(self) -> None:
        """Tell the voice how the persona speaks. A voice chosen by hand stays, whatever the persona wants."""
        if (persona := self._persona.last) is None:
            return
        self._send("tts", SetDelivery(delivery=persona.delivery))
        if (wanted := self._chosen_voice or persona.voice) != self._told_voice:
            self._told_voice = wanted
            self._send("tts", SetVoice(name=wanted))

    async def set_style(self, name: str) -> None:
        """Change her manner. Raises UnknownNameError, or AwayError when policy cannot do it now."""
        if (persona := self._persona.last) is None:
            raise _away("policy")
        names = {style.lower(): style for style in persona.styles}
        if (known := names.get(name.strip().lower())) is None:
            raise UnknownNameError("style", name, persona.styles)
        await self._persona.after(lambda: self._ask("policy", SetStyle(name=known)), "policy", STYLE_LIMIT_S)

    async def set_voice(self, name: str) -> None:
        """Let her speak with another voice; "" leaves the choice to the persona and the settings.

        Raises UnknownNameError, AwayError when the voice cannot do it now, AivtError when this one cannot be
        loaded: she goes on with the old one then.
        """
        persona = self._persona.last
        wanted = name.strip() or (persona.voice if persona else "")
        voices = await self._voices.after(
            lambda: self._ask("tts", SetVoice(name=wanted)), "tts", VOICE_LIMIT_S
        )
        if voices.code == "unknown_name":
            raise UnknownNameError("voice", name, voices.names)
        if voices.code:
            raise AivtError(voices.code, voices.reason, fix=voices.fix)
        self._chosen_voice = name.strip()
        self._told_voice = wanted

    def _ask(self, module: str, message: Message) -> None:
        if not self._send(module, message):
            raise _away(module)

    def status(self) -> MannerStatus:
        """For `GET /status`."""
        persona, voices = self._persona.last, self._voices.last
        return {
            "persona": {"id": persona.id, "style": persona.style} if persona else None,
            "voice": {"name": voices.name, "names": list(voices.names)} if voices else None,
        }


def _away(module: str) -> AwayError:
    return AwayError(f"{module}_down", f"{module} is not there", fix="Look at its light.", retryable=True)
