"""Sound files, as 16 kHz mono: WAV of every kind, and what else FFmpeg reads."""

import logging
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from apps.asr_worker.sound import RATE_HZ, Samples
from apps.shared.errors import SettingsError

# Playlists are not among them: FFmpeg would fetch what they name.
FORMATS = "wav,w64,rf64,aiff,au,caf,flac,mp3,ogg,mov,aac,matroska,asf"
SUFFIXES = {".wav", ".w64", ".aiff", ".au", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".wma", ".mp4"}
ENDLESS = {0, 0xFFFFFFFF}  # what programs write as a WAV's length that do not know it yet

log = logging.getLogger(__name__)  # which prints to stderr where nobody has set logs up, as in a command


def read(path: Path) -> Samples:
    """Return all of a file. Raises SettingsError."""
    return np.concatenate(list(pieces(path)))


def pieces(path: Path) -> Generator[Samples]:
    """Yield a file's sound in pieces of any length. Raises SettingsError, and that before the first piece.

    Of a file that was cut off, or is damaged, what is there is given.
    """
    import av  # noqa: PLC0415 - the ears do without it while they listen to a microphone

    if path.is_dir():  # Windows would speak of permissions
        raise _unusable("not_a_file", path, "is a folder", fix="Name a file in it.")
    try:
        # An open file, not a name: FFmpeg would take some names for addresses.
        with path.open("rb") as file, av.open(file, options={"format_whitelist": FORMATS}) as container:
            _warn_if_cut_off(path)
            streams = container.streams.audio
            yield from _some(path, _resampled(container, streams[0]) if streams else iter(()))
    except FileNotFoundError as error:
        raise _unusable("no_such_file", path, "is not there", fix="Correct its name.") from error
    except av.FFmpegError as error:
        empty = path.stat().st_size == 0
        what = "is empty" if empty else "is not a sound file that can be read, or a damaged one"
        raise _unusable("empty_file" if empty else "not_sound", path, what) from error
    except OSError as error:
        raise _unusable("unreadable_file", path, f"cannot be read: {error.strerror}") from error


def _some(path: Path, found: Iterator[Samples]) -> Iterator[Samples]:
    """`found`, unless that is nothing."""
    empty = True
    for piece in found:
        if len(piece):
            empty = False
            yield piece
    if empty:
        raise _unusable("no_samples", path, "has no sound in it")


def _resampled(container: Any, stream: Any) -> Iterator[Samples]:
    resampler: soxr.ResampleStream | None = None
    for frame in _frames(container, stream):
        if resampler is None:
            resampler = soxr.ResampleStream(frame.sample_rate, RATE_HZ, 1)
        yield np.clip(resampler.resample_chunk(_mono(frame)), -1, 1)
    if resampler is not None:
        yield np.clip(resampler.resample_chunk(np.zeros(0, np.float32), last=True), -1, 1)


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    import av  # noqa: PLC0415 - see above

    damaged = 0
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.InvalidDataError:
            damaged += 1
    if damaged:
        log.warning("%d pieces of the recording are damaged and were left out", damaged)


def _mono(frame: Any) -> Samples:
    """The mean of all channels; PyAV 18.1's AudioResampler crashes where there are eleven."""
    sound = frame.to_ndarray()  # (channels, samples), or (1, samples * channels)
    if not frame.format.is_planar:
        sound = sound.reshape(-1, frame.layout.nb_channels).T
    if sound.dtype == np.uint8:
        sound = sound.astype(np.float32) / 128 - 1
    elif sound.dtype.kind == "i":
        sound = sound.astype(np.float32) / float(-np.iinfo(sound.dtype).min)
    mono: Samples = sound.mean(axis=0).astype(np.float32)
    return np.nan_to_num(mono, nan=0.0, posinf=1.0, neginf=-1.0)


def _warn_if_cut_off(path: Path) -> None:
    """FFmpeg itself takes a WAV's real length for the one that was meant."""
    with path.open("rb") as file:
        head = file.read(12)
    meant = int.from_bytes(head[4:8], "little")
    if head[:4] + head[8:] == b"RIFFWAVE" and meant not in ENDLESS and meant + 8 > path.stat().st_size + 1:
        log.warning("%s is cut off: its end is missing, the rest is used", path.name)


def _unusable(code: str, path: Path, what: str, fix: str = "Choose another recording.") -> SettingsError:
    return SettingsError(code, f"the recording {path} {what}", fix=fix)
