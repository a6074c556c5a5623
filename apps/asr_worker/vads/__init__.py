"""Which voice detector decides. Silero, unless something is missing."""

from typing import Literal

from apps.asr_worker.vads.silero import Silero
from apps.asr_worker.vads.webrtc import Webrtc
from apps.shared.errors import MissingError


def open_vad(setting: Literal["auto", "webrtc", "silero"]) -> Silero | Webrtc:
    """Return what ASR_VAD asks for, or else the other one, with the reason in its `trouble`.

    "auto" is Silero alone. WebRTC's detector was tried as a gate that lets it sleep: that saves 0.15 % of a
    core in silence and nothing while music plays, in its laxest mode a soft voice is noticed 10 to 25 ms
    later, and in its strictest a voice 40 dB below full scale is not noticed at all.

    Raises MissingError when neither is there.
    """
    first, second = (Webrtc, Silero) if setting == "webrtc" else (Silero, Webrtc)
    try:
        return first()
    except MissingError as error:
        missing = error
    try:
        vad = second()
    except MissingError:
        raise missing from None
    vad.trouble = MissingError(missing.code, f"{missing}; {vad.name} listens instead", fix=missing.fix)
    return vad
