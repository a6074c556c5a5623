"""Whether she listens, and what her ears have told: the orchestrator's side of them."""

from collections import Counter
from collections.abc import Callable
from typing import Literal, TypedDict

from apps.orchestrator.manner import AwayError
from apps.shared.errors import AivtError
from apps.shared.messages import (
    Ears,
    Hearing,
    HerVoice,
    Level,
    Message,
    NoWords,
    Partial,
    PlayFile,
    Transcript,
    UtteranceStarted,
    Vocabulary,
)

TALK_LIMIT_S = 60.0  # a talk key whose release never came: the browser was closed
Mode = Literal["open", "push", "off"]


class EarsStatus(TypedDict):
    """Their part of `GET /status`."""

    mode: Mode
    talking: bool
    speaking: bool  # the streamer is heard now, as far as is known
    transcripts: int
    nothing: dict[str, int]  # utterances without words to answer, by their code
    lost_s: float


class EarsControl:
    """send: delivers a message to a module; False when the module is not there.

    echo: her voice reaches the microphone, so the ears have to know what she says.
    """

    def __init__(self, send: Callable[[str, Message], bool], mode: Mode, *, echo: bool) -> None:
        self._send = send
        self._echo = echo
        self._mode: Mode = mode
        self._on_mode: Mode = "open" if mode == "off" else mode  # to return to
        self._talking_since_s: float | None = None
        self._vocabulary: tuple[str, ...] = ()
        self._her: HerVoice | None = None  # the last word of it
        self._transcripts = 0
        self._nothing: Counter[str] = Counter()
        self._lost_s = 0.0

    def joined(self) -> None:
        """The ears are there, and know of nothing but their settings."""
        self._tell()
        self._send("asr", Vocabulary(words=self._vocabulary))
        if self._echo and self._her is not None and self._her.sounding:
            self._send("asr", self._her)

    def expect(self, words: tuple[str, ...]) -> None:
        """Names and jargon that are likely to be heard."""
        if words != self._vocabulary:
            self._vocabulary = words
            self._send("asr", Vocabulary(words=words))

    def set_mode(self, mode: Literal["on", "open", "push", "off"]) -> None:
        """Listen always, while the talk key is held, or not at all; on: as it was before it was off."""
        self._mode = self._on_mode if mode == "on" else mode
        if self._mode != "off":
            self._on_mode = self._mode
        self._talking_since_s = None
        self._tell()

    def talk(self, pressed: bool, now_s: float) -> None:
        """The talk key. Raises AivtError when it means nothing now."""
        if self._mode != "push":
            raise AivtError(
                "not_push_to_talk",
                f"the talk key does nothing while the ears are {self._mode}",
                fix="Set ASR_MODE=push, or switch to push to talk.",
            )
        self._talking_since_s = now_s if pressed else None
        self._tell()

    def let_go(self, now_s: float) -> bool:
        """Release a talk key that is held for too long; True when it was."""
        if self._talking_since_s is None or now_s - self._talking_since_s < TALK_LIMIT_S:
            return False
        self._talking_since_s = None
        self._tell()
        return True

    def her_voice(self, message: HerVoice) -> None:
        """What she says, for ears that hear it."""
        self._her = message
        if self._echo:
            self._send("asr", message)

    def play(self, file: PlayFile) -> None:
        """Let them hear a recording. Raises AwayError."""
        if not self._send("asr", file):
            raise AwayError("asr_down", "the ears are not there", fix="Look at their light.", retryable=True)

    def take(self, message: UtteranceStarted | Partial | Transcript | NoWords) -> Hearing:
        """Count what they tell; return what the panel shows of it."""
        utterance_id = message.utterance_id
        match message:
            case UtteranceStarted():
                return Hearing(utterance_id=utterance_id, text="", state="speaking")
            case Partial(text=text):
                return Hearing(utterance_id=utterance_id, text=text, state="partial")
            case Transcript(text=text):
                self._transcripts += 1
                return Hearing(utterance_id=utterance_id, text=text, state="final")
            case NoWords(code=code):
                self._nothing[code] += 1
                return Hearing(utterance_id=utterance_id, text="", state="nothing")

    def level(self, level: Level) -> None:
        """Note what was lost."""
        self._lost_s = level.lost_s

    def _tell(self) -> None:
        talking = self._talking_since_s is not None
        self._send("asr", Ears(on=self._mode != "off", push_to_talk=self._mode == "push", talking=talking))

    def status(self, *, speaking: bool) -> EarsStatus:
        """For `GET /status`."""
        return {
            "mode": self._mode,
            "talking": self._talking_since_s is not None,
            "speaking": speaking,
            "transcripts": self._transcripts,
            "nothing": dict(self._nothing),
            "lost_s": round(self._lost_s, 1),
        }


def vocabulary(hotwords: str, *names: str) -> tuple[str, ...]:
    """Return the names, then the words of ASR_HOTWORDS, each once."""
    words = [*names, *hotwords.split(",")]
    return tuple(dict.fromkeys(word.strip() for word in words if word.strip()))
