"""`aivt replay`: recorded chat and a recording of the streamer, played into a running rehearsal."""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from apps.orchestrator.console import ask
from apps.shared.errors import SettingsError


class ChatLine(msgspec.Struct, frozen=True):
    """One line of recorded chat."""

    t: float  # seconds from the beginning
    user: str
    text: str


def replay(options: argparse.Namespace) -> int:
    """Play until both are over. Raises SettingsError for files or a speed that cannot be used."""
    if not 0 < options.speed <= 10:
        raise SettingsError("bad_speed", f"--speed {options.speed} cannot be used", fix="Give 0.1 to 10.")
    if not (options.chat or options.wav):
        raise SettingsError("nothing_to_play", "there is nothing to play", fix="Give --chat, --wav or both.")
    lines = sorted(chat_lines(Path(options.chat)), key=lambda line: line.t) if options.chat else []
    if not ask("GET", "/status")["show"]["rehearsal"]:
        reason = "recordings are played into rehearsals only"
        raise SettingsError("not_a_rehearsal", reason, fix="Start the show with: up --rehearsal")
    began_s = time.monotonic()
    if options.wav:
        path = Path(options.wav).resolve()
        if not path.is_file():
            raise SettingsError("no_such_file", f"there is no file {options.wav}", fix="Correct --wav.")
        ask("POST", "/control/hear", {"path": str(path), "speed": options.speed})
    for line in lines:
        time.sleep(max(0.0, began_s + line.t / options.speed - time.monotonic()))
        ask("POST", "/control/say", {"text": line.text, "user": line.user, "as": "chat", "wait": False})
        print(f"{line.t:8.1f}  {line.user}: {line.text}", flush=True)
    print(f"{len(lines)} lines of chat played" + (", the recording goes on by itself" if options.wav else ""))
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
            "no_chat_file", f"{path} cannot be read: {error}", fix="Correct --chat."
        ) from error


def _decoded(decoder: "msgspec.json.Decoder[ChatLine]", line: bytes, where: str) -> ChatLine:
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeError) as error:
        fix = 'Each line is like {"t": 1.5, "user": "mika", "text": "hi"}.'
        raise SettingsError("bad_chat_line", f"{where}: {error}", fix=fix) from error
