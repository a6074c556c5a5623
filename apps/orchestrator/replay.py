"""`aivt replay`: recorded chat and a recording of the streamer, played into a running rehearsal."""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from apps.orchestrator.console import ask
from apps.shared.errors import AivtError, MissingError, SettingsError

EARS_LIMIT_S = 5.0  # until they begin, unless they say that they are loading
LOOK_S = 0.05


class ChatLine(msgspec.Struct, frozen=True):
    """One line of recorded chat."""

    t: float  # seconds from the beginning
    user: str
    text: str


def replay(options: argparse.Namespace) -> int:
    """Play until the chat is over.

    Raises SettingsError for files or a speed that cannot be used, MissingError when her ears do not hear.
    """
    if not 0 < options.speed <= 10:
        raise SettingsError("bad_speed", f"--speed {options.speed} cannot be used", fix="Give 0.1 to 10.")
    if not (options.chat or options.wav):
        raise SettingsError("nothing_to_play", "there is nothing to play", fix="Give --chat, --wav or both.")
    lines = sorted(chat_lines(Path(options.chat)), key=lambda line: line.t) if options.chat else []
    recording = _recording(options.wav) if options.wav else None
    if not ask("GET", "/status")["show"]["rehearsal"]:
        reason = "recordings are played into rehearsals only"
        raise SettingsError("not_a_rehearsal", reason, fix="Start the show with: up --rehearsal")
    if recording:
        _let_hear(recording, options.speed)
    began_s = time.monotonic()
    for line in lines:
        time.sleep(max(0.0, began_s + line.t / options.speed - time.monotonic()))
        _say(line)
    if options.chat:
        print(f"{len(lines)} lines of chat played")
    if recording:
        _heard(recording)
        print(f"she hears {recording.name}, to its end")
    return 0


def chat_lines(path: Path) -> Iterator[ChatLine]:
    """Read recorded chat, a JSON object per line; blank lines are passed over.

    Raises SettingsError that names the first line that cannot be used.
    """
    decoder = msgspec.json.Decoder(ChatLine)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _decoded(decoder, line, f"{path}, line {number}")
    except OSError as error:
        raise SettingsError(
            "no_chat_file", f"{path} cannot be read: {error.strerror}", fix="Correct --chat."
        ) from error


def _decoded(decoder: "msgspec.json.Decoder[ChatLine]", line: bytes, where: str) -> ChatLine:
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeError) as error:
        fix = 'Each line is like {"t": 1.5, "user": "mika", "text": "hi"}.'
        raise SettingsError("bad_chat_line", f"{where}: {error}", fix=fix) from error


def _recording(name: str) -> Path:
    """Return the file as the show finds it, whose working folder may be another."""
    path = Path(name).expanduser().resolve()
    if not path.is_file():
        raise SettingsError("no_such_file", f"there is no file {name}", fix="Correct --wav.")
    return path


def _let_hear(recording: Path, speed: float) -> None:
    """Have it heard; return when that begins, so that the chat keeps pace with it."""
    ask("POST", "/control/hear", {"path": str(recording), "speed": speed})
    until_s = time.monotonic() + EARS_LIMIT_S
    while True:
        light = _heard(recording)
        if light["state"] in {"ok", "degraded"}:
            return
        if light["state"] == "starting":  # a big model takes its time
            until_s = time.monotonic() + EARS_LIMIT_S
        elif time.monotonic() > until_s:
            raise MissingError("not_heard", f"she does not hear it: {light['reason']}", fix=light["fix"])
        time.sleep(LOOK_S)


def _heard(recording: Path) -> Any:
    """Return the ears' light. Raises SettingsError when it tells of this recording."""
    light = ask("GET", "/status")["modules"]["asr"]
    if str(recording) in light["reason"]:
        raise SettingsError("not_heard", light["reason"], fix=light["fix"])
    return light


def _say(line: ChatLine) -> None:
    """Put a line of chat into the show; what she would not take from a viewer is passed over here too."""
    what = f"{line.t:8.1f}  {line.user}: {line.text}"
    try:
        ask("POST", "/control/say", {"text": line.text, "user": line.user, "as": "chat", "wait": False})
    except AivtError as error:
        if error.code != "empty_text":
            raise
        what += f"  (left out: {error})"
    print(what, flush=True)
