"""Every message of the show, declared once: what the processes, the panel and the overlays agree on.

A verb asks (`Think`, `Speak`, `Cancel`), a noun answers (`Piece`, `SpeechEnd`, `Stopped`). `turn_id` rides
on all that belongs to a turn, so that stale work is dropped by comparing ids and never by timing. Urgent
messages overtake data in every queue, and those that only tell when something was wait for the next one to
travel with; both are properties of the type.

`at_s` always is `apps.shared.clock.now_s()` of the machine, at the moment that the message tells of.
"""

import hashlib
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

PROTOCOL = 1  # raised when a message changes so that an older peer would misread it

ModuleState = Literal["ok", "starting", "degraded", "down", "off"]
Lane = Literal["chat", "mention", "redeem", "operator", "streamer"]  # streamer: what the microphone heard
Outcome = Literal["spoken", "blocked", "dropped", "cancelled", "failed"]
MODULES = ("orchestrator", "asr", "policy", "tts", "twitch", "obs", "vts")


def fingerprint(text: str, spoken: str) -> str:
    """SHA-256, in hex, over both forms of an approved text."""
    return hashlib.sha256(f"{text}\0{spoken}".encode("utf-8", "surrogatepass")).hexdigest()


class Approved(Struct, frozen=True):
    """Text that may be spoken, shown, posted and remembered. Only policy's gate makes one."""

    text: str  # as written: captions, chat, memory
    spoken: str  # as said: numbers in words, no markup
    decision_id: str  # the gate's decision about it
    sha256: str  # fingerprint(text, spoken) at the time of the decision

    def intact(self) -> bool:
        """Whether both texts are still the ones that were decided on."""
        return self.sha256 == fingerprint(self.text, self.spoken)


class Message(Struct, frozen=True, kw_only=True, tag_field="type", tag=str.lower):
    """What travels in a text frame, tagged by its class name in lower case."""

    urgent: ClassVar[bool] = False  # overtakes the others
    patient: ClassVar[bool] = False  # leaves with the next one, at the latest with a heartbeat


# --- joining and health ------------------------------------------------------------------------------


class Hello(Message, frozen=True, kw_only=True):
    """A worker's first frame. The orchestrator answers `Welcome`, or `Error` and a close."""

    module: str  # one of MODULES, or "supervisor"
    protocol: int  # the sender's PROTOCOL
    pid: int


class Welcome(Message, frozen=True, kw_only=True):
    """The worker has joined."""

    show_id: str


class Error(Message, frozen=True, kw_only=True):
    """What was wrong with a frame; the connection lives on unless a close follows."""

    code: str
    reason: str = ""


class Health(Message, frozen=True, kw_only=True):
    """How a worker is: at every change, and once a second unless it has said something else."""

    urgent: ClassVar[bool] = True

    state: ModuleState
    ready: bool  # takes work; a voice without a sound card is down for the streamer, and ready
    engine: str = ""  # what runs: "espeak", "ollama"
    model: str = ""  # which model or voice of it: "en-us+f3", "qwen3:8b"
    reason: str = ""  # why it is not ok
    fix: str = ""  # what mends it


class Process(Message, frozen=True, kw_only=True):
    """The supervisor on one of its processes: restarting it, or given up."""

    urgent: ClassVar[bool] = True

    module: str
    state: ModuleState
    reason: str = ""
    fix: str = ""
    restarts: int = 0


class Ready(Message, frozen=True, kw_only=True):
    """To the supervisor: she can speak."""

    url: str


# --- thinking: Think -> FirstToken, (Decision, Piece)*, Thought --------------------------------------


class Think(Message, frozen=True, kw_only=True):
    """Answer this line."""

    turn_id: str
    user: str  # display name
    text: str
    lane: Lane


class FirstToken(Message, frozen=True, kw_only=True):
    """The model has begun."""

    patient: ClassVar[bool] = True

    turn_id: str
    at_s: float


class Decision(Message, frozen=True, kw_only=True):
    """The gate's word on one text; the orchestrator relays nothing that has no decision on record."""

    turn_id: str
    decision_id: str
    action: Literal["allow", "block", "rewrite"]
    sha256: str  # of the text that may pass; of the refused text when blocked
    category: str = ""
    rule: str = ""


class Piece(Message, frozen=True, kw_only=True):
    """The next piece of the reply: a sentence, or the first clause of one."""

    turn_id: str
    index: int  # counts from 0 within the turn
    approved: Approved
    at_s: float


class Thought(Message, frozen=True, kw_only=True):
    """The reply is complete, or there will be no more of it."""

    turn_id: str
    pieces: int  # how many were sent
    outcome: Literal["whole", "blocked", "failed"]
    at_s: float
    reason: str = ""  # "code: what happened", when something did
    fix: str = ""


class Heard(Message, frozen=True, kw_only=True):
    """To policy, at a turn's end: what the audience really heard of it (all, a part, nothing)."""

    turn_id: str
    text: str
    line: str = ""  # what she answered, as it was understood in the end; "": as it was in Think


# --- speaking: Speak*, Finish -> (PieceReady, Mouth, PieceStarted, PiecePlayed)*, SpeechEnd ----------
# (PieceHushed, PieceResumed)* may come between the start and the end of a piece.


class Speak(Message, frozen=True, kw_only=True):
    """Say this after what was said before in the same turn."""

    turn_id: str
    index: int
    approved: Approved


class Finish(Message, frozen=True, kw_only=True):
    """No more pieces come in this turn: answer `SpeechEnd` when all is played."""

    turn_id: str


class PieceReady(Message, frozen=True, kw_only=True):
    """The first sound of a piece has been synthesised."""

    patient: ClassVar[bool] = True

    turn_id: str
    index: int
    at_s: float
    cached: bool


class Viseme(Struct, frozen=True):
    """One mouth shape and when it begins."""

    t: float  # seconds from the first sample
    viseme: str  # one of the 15 of Oculus and VRM: sil PP FF TH DD kk CH SS nn RR aa E ih oh ou
    weight: float  # 0..1
    phoneme: str  # the IPA that it comes from


class Mouth(Message, frozen=True, kw_only=True):
    """The mouth shapes of a piece, sent once it is wholly synthesised."""

    turn_id: str
    index: int
    visemes: tuple[Viseme, ...]


class PieceStarted(Message, frozen=True, kw_only=True):
    """The first sample of a piece leaves the output, by the output's own clock."""

    turn_id: str
    index: int
    at_s: float


class PiecePlayed(Message, frozen=True, kw_only=True):
    """The last sample of a piece has left the output."""

    turn_id: str
    index: int
    at_s: float
    audio_ms: float


class PieceHushed(Message, frozen=True, kw_only=True):
    """The piece that was being played stands still: `Output.hushed`."""

    turn_id: str
    index: int
    at_s: float  # when the last sample before the stop leaves the output
    played_s: float  # how much of the piece has been heard


class PieceResumed(Message, frozen=True, kw_only=True):
    """It goes on from where it stood still."""

    turn_id: str
    index: int
    at_s: float
    played_s: float


class SpeechEnd(Message, frozen=True, kw_only=True):
    """Everything of the turn has been played, or can no longer be."""

    turn_id: str
    at_s: float
    reason: str = ""  # "code: what happened" when the voice failed
    fix: str = ""


class Delivery(Struct, frozen=True):
    """How she speaks, whichever voice she has; None: as that voice does. What an engine cannot it omits."""

    speed: Annotated[float, Meta(ge=0.5, le=2)] = 1.0  # 2: twice as fast as the voice by itself
    pitch: Annotated[float, Meta(ge=-12, le=12)] = 0.0  # semitones above the voice's own
    volume: Annotated[float, Meta(ge=0, le=2)] = 1.0  # times the voice's own
    noise: Annotated[float, Meta(ge=0, le=1.5)] | None = None  # Piper: how much the sound varies
    rhythm: Annotated[float, Meta(ge=0, le=1.5)] | None = None  # Piper: how much lengths vary ("noise_w")
    speaker: str = ""  # name or number of a speaker, in a voice that has several


class SetDelivery(Message, frozen=True, kw_only=True):
    """Speak like this, from the next piece on. On joining and at every change."""

    delivery: Delivery


class SetVoice(Message, frozen=True, kw_only=True):
    """Speak with another voice once it is loaded; what is queued until then is said with the old one.

    Answered by `Voices`.
    """

    name: str  # one of Voices.names; "": the one that the settings want


class Voices(Message, frozen=True, kw_only=True):
    """Which voice speaks, and which there are: on joining, and as the answer to `SetVoice`."""

    name: str  # "en_US-ljspeech-medium", "espeak"; "" while the first is being loaded
    names: tuple[str, ...]
    code: str = ""  # why the wish was not met: "unknown_name", "voice_broken"
    reason: str = ""
    fix: str = ""


# --- hearing: UtteranceStarted, Partial*, Transcript | NoWords ----------------------------------------


class Word(Struct, frozen=True):
    """One word of a transcript and when it was said."""

    text: str
    start_s: float  # by the shared clock, as `at_s`
    end_s: float
    probability: float  # 0..1


class UtteranceStarted(Message, frozen=True, kw_only=True):
    """The streamer speaks: enough voice for it to be neither a cough nor a key."""

    urgent: ClassVar[bool] = True

    utterance_id: str
    start_s: float  # when the voice began
    at_s: float  # when that was certain


class Partial(Message, frozen=True, kw_only=True):
    """What the utterance says so far."""

    utterance_id: str
    text: str  # the whole utterance up to now
    stable: int  # how many of its characters have been the same twice, and will hardly change
    complete: bool  # all of it is stable, the voice has paused, and it reads as if nothing more will come
    start_s: float
    end_s: float  # up to where the sound was looked at
    at_s: float


class Transcript(Message, frozen=True, kw_only=True):
    """What the utterance said: final."""

    utterance_id: str
    text: str
    words: tuple[Word, ...]
    start_s: float
    end_s: float  # when the voice ended
    ended_s: float  # when that was certain: end_s and the endpoint's wait
    at_s: float  # when the text was there
    avg_logprob: float
    no_speech_prob: float


class NoWords(Message, frozen=True, kw_only=True):
    """The utterance was nothing to answer: a cough, music, her own echo."""

    utterance_id: str
    code: Literal["no_words", "hallucination", "echo", "forgotten", "failed"]
    start_s: float
    end_s: float
    at_s: float
    reason: str = ""


class Level(Message, frozen=True, kw_only=True):
    """How loud the microphone is, some times a second, for the meter."""

    patient: ClassVar[bool] = True

    at_s: float
    rms_db: float  # of full scale, in the time since the last one; -120: digital silence
    peak_db: float
    voiced: bool  # somebody speaks
    clipped: bool  # samples at full scale
    lost_s: float  # seconds of sound dropped since the start, as nobody fetched them in time


class Ears(Message, frozen=True, kw_only=True):
    """Whether and when to listen. Sent on joining and at every change."""

    urgent: ClassVar[bool] = True

    on: bool  # False: what is being said is forgotten, nothing is transcribed
    push_to_talk: bool = False  # True: only while `talking`
    talking: bool = False  # the key is held down


class HerVoice(Message, frozen=True, kw_only=True):
    """What comes out of her mouth, so that the ears know it from the streamer's voice."""

    urgent: ClassVar[bool] = True

    sounding: bool  # False: silence from `at_s` on
    text: str = ""  # of the piece that begins, as it is said
    at_s: float


class Vocabulary(Message, frozen=True, kw_only=True):
    """Names and jargon that are likely to be heard. Sent on joining and at every change."""

    words: tuple[str, ...]


class PlayFile(Message, frozen=True, kw_only=True):
    """Hear this recording instead of the microphone, once; for rehearsals."""

    path: str
    speed: Annotated[float, Meta(gt=0, le=10)] = 1.0


# --- control -----------------------------------------------------------------------------------------


class Cancel(Message, frozen=True, kw_only=True):
    """Stop this turn now: abort the model, silence the voice. Answered by `Stopped`."""

    urgent: ClassVar[bool] = True

    turn_id: str


class Stopped(Message, frozen=True, kw_only=True):
    """The turn has stopped in this worker; nothing of it will follow.

    Not urgent: it must not overtake the `PiecePlayed` of what was heard before.
    """

    turn_id: str
    at_s: float  # model aborted, or last sample of the turn out
    index: int = -1  # the piece that was being played; -1: none
    played: float = 0.0  # 0..1 of that piece


class Output(Message, frozen=True, kw_only=True):
    """How the voice comes out. Sent on joining and at every change."""

    urgent: ClassVar[bool] = True

    muted: bool  # plays on, silently
    held: bool  # finishes the piece that is playing, then waits
    hushed: bool = False  # stops within one audio frame, and goes on from there; nothing new begins


class SetStyle(Message, frozen=True, kw_only=True):
    """Speak in the manner of another preset. Answered by `Persona`."""

    name: str


class Persona(Message, frozen=True, kw_only=True):
    """Who she is now, and which manners there are."""

    id: str
    style: str
    styles: tuple[str, ...]
    name: str = ""  # what people call her
    voice: str = ""  # the voice that this style wants; "": any
    delivery: Delivery = Delivery()
    code: str = ""  # why the wish was not met: "unknown_persona", "broken_persona"
    reason: str = ""
    fix: str = ""


# --- for the panel and the overlays ------------------------------------------------------------------


class TurnState(Message, frozen=True, kw_only=True):
    """Where a turn stands: queued -> thinking -> speaking -> an outcome."""

    turn_id: str
    state: Literal["queued", "thinking", "speaking", "spoken", "blocked", "dropped", "cancelled", "failed"]
    lane: Lane
    user: str
    reason: str = ""


class Caption(Message, frozen=True, kw_only=True):
    """A piece that is being heard now."""

    turn_id: str
    index: int
    approved: Approved


class Hearing(Message, frozen=True, kw_only=True):
    """What the streamer is saying, for the panel alone: it has passed no gate."""

    utterance_id: str
    text: str
    state: Literal["speaking", "partial", "final", "nothing"]


class Snapshot(Message, frozen=True, kw_only=True):
    """The whole state, as `GET /status` gives it: on connecting and at every change."""

    status: dict[str, object]


BusMessage = (
    Hello
    | Welcome
    | Error
    | Health
    | Process
    | Ready
    | Think
    | FirstToken
    | Decision
    | Piece
    | Thought
    | Heard
    | Speak
    | Finish
    | PieceReady
    | Mouth
    | PieceStarted
    | PiecePlayed
    | PieceHushed
    | PieceResumed
    | SpeechEnd
    | UtteranceStarted
    | Partial
    | Transcript
    | NoWords
    | Level
    | Ears
    | HerVoice
    | Vocabulary
    | PlayFile
    | Cancel
    | Stopped
    | Output
    | SetDelivery
    | SetVoice
    | Voices
    | SetStyle
    | Persona
)
StreamMessage = (
    Snapshot
    | TurnState
    | Caption
    | Mouth
    | PieceStarted
    | PieceHushed
    | PieceResumed
    | PiecePlayed
    | Hearing
    | Level
    | Error
)
