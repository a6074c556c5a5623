"""The audio cache: what it keeps, what it forgets, and that nothing on the disk can stop her speaking."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from apps.shared.messages import Delivery
from apps.tts_worker.cache import AudioCache, Clip, key_of
from apps.tts_worker.voice import Phoneme

NEUTRAL = Delivery()
CLIP = Clip(bytes(range(256)) * 40, (Phoneme("h", 0.0), Phoneme("aɪ", 0.06), Phoneme("", 0.3)))
FILE_BYTES = 10_400  # a little over one CLIP's file
A, B, C = (letter * 64 for letter in "abc")


def voice(**changes) -> Any:
    known = {"engine": "espeak", "voice": "en-us+f3", "settings": "rate=175", "sample_rate_hz": 22_050}
    return SimpleNamespace(**{**known, **changes})


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_gives_back_what_was_put(tmp_path):
    """A clip comes back with its samples and phonemes exactly."""
    cache = AudioCache(tmp_path / "new", 100_000)
    assert cache.get(A) is None
    cache.put(A, CLIP)
    assert cache.get(A) == CLIP


def test_empty_clip(tmp_path):
    """A clip of nothing is a clip, not a miss."""
    cache = AudioCache(tmp_path, 100_000)
    cache.put(A, Clip(b"", ()))
    assert cache.get(A) == Clip(b"", ())


def test_outlives_the_process(tmp_path):
    """A cache opened later on the same folder knows the clips of the first."""
    AudioCache(tmp_path, 100_000).put(A, CLIP)
    assert AudioCache(tmp_path, 100_000).get(A) == CLIP


@pytest.mark.parametrize(
    "other",
    [
        voice(engine="piper"),
        voice(voice="en-us+f5"),
        voice(settings="rate=180"),
        voice(sample_rate_hz=16_000),
        voice(engine="espeaken", voice="-us+f3"),
    ],
)
def test_key_tells_voices_apart(other):
    """Whatever changes the sound changes the key."""
    assert key_of(voice(), NEUTRAL, "hi") != key_of(other, NEUTRAL, "hi")


def test_key_is_of_the_text():
    """The same text has the same key, another text (even a broken one) another."""
    assert key_of(voice(), NEUTRAL, "hi") == key_of(voice(), Delivery(), "hi")
    assert len({key_of(voice(), NEUTRAL, text) for text in ("hi", "hi ", "Hi", "", "\ud800")}) == 5


@pytest.mark.parametrize("field", Delivery.__struct_fields__)
def test_key_is_of_the_delivery(field):
    """Whatever changes in how it is said changes the key."""
    other = replace(NEUTRAL, **{field: "0" if field == "speaker" else 0.5})
    assert key_of(voice(), NEUTRAL, "hi") != key_of(voice(), other, "hi")


def test_least_recently_used_goes_first(tmp_path):
    """When the limit is reached, the clip that was not heard for longest is deleted."""
    cache = AudioCache(tmp_path, 2 * FILE_BYTES)
    cache.put(A, CLIP)
    cache.put(B, CLIP)
    cache.get(A)
    cache.put(C, CLIP)
    assert cache.get(B) is None
    assert cache.get(A) == cache.get(C) == CLIP


def test_order_of_use_outlives_the_process(tmp_path):
    """A later process deletes in the order in which the earlier one used the clips."""
    for age, key in enumerate((C, A, B)):
        AudioCache(tmp_path, 100_000).put(key, CLIP)
        os.utime(tmp_path / f"{key}.clip", (1_000_000 + age,) * 2)
    AudioCache(tmp_path, 100_000).get(C)
    assert AudioCache(tmp_path, 2 * FILE_BYTES).get(A) is None
    assert files(tmp_path) == [f"{B}.clip", f"{C}.clip"]


def test_never_over_the_limit(tmp_path):
    """The files, headers included, stay within the limit after every put."""
    limit_bytes = 3 * FILE_BYTES
    cache = AudioCache(tmp_path, limit_bytes)
    for i in range(30):
        cache.put(f"{i % 7:064x}", Clip(CLIP.pcm[: 1_000 * (i % 11)], CLIP.phonemes))
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= limit_bytes


def test_too_large_for_the_limit(tmp_path):
    """A clip over the whole limit is not kept, and drives nothing else out."""
    cache = AudioCache(tmp_path, FILE_BYTES)
    cache.put(A, CLIP)
    cache.put(B, Clip(CLIP.pcm * 2, ()))
    assert cache.get(A) == CLIP
    assert cache.get(B) is None


def test_off(tmp_path):
    """With limit 0 nothing is read or written."""
    AudioCache(tmp_path, 100_000).put(A, CLIP)
    cache = AudioCache(tmp_path, 0)
    cache.put(B, CLIP)
    assert cache.get(A) is None
    assert cache.get(B) is None
    assert files(tmp_path) == [f"{A}.clip"]


def damage_cut(data: bytes) -> bytes:
    return data[:-100]


def damage_flip(data: bytes) -> bytes:
    return data[:5_000] + bytes([data[5_000] ^ 1]) + data[5_001:]


@pytest.mark.parametrize("damage", [damage_cut, damage_flip, lambda _: b"", lambda _: b"x" * 20])
def test_damaged_clip_is_a_miss(tmp_path, damage):
    """A truncated or changed file is deleted, counts as a miss, and can be written anew."""
    cache = AudioCache(tmp_path, 100_000)
    cache.put(A, CLIP)
    path = tmp_path / f"{A}.clip"
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get(A) is None
    assert files(tmp_path) == []
    cache.put(A, CLIP)
    assert cache.get(A) == CLIP


def test_files_deleted_under_it(tmp_path):
    """A user who empties the folder while she runs causes misses, nothing more."""
    cache = AudioCache(tmp_path / "cache", 2 * FILE_BYTES)
    cache.put(A, CLIP)
    cache.put(B, CLIP)
    for path in (tmp_path / "cache").iterdir():
        path.unlink()
    (tmp_path / "cache").rmdir()
    with capture_logs() as logs:
        assert cache.get(A) is None
        cache.put(C, CLIP)
        assert cache.get(C) == CLIP
    assert logs == []


def test_foreign_files_are_left_alone(tmp_path):
    """Files that are not the cache's own are neither counted nor deleted; its own unfinished ones are."""
    names = ["notes.txt", "short.clip", f"{A}.wav", f"{A.upper()}.clip"]
    for name in names:
        (tmp_path / name).write_bytes(b"x" * 50_000)
    (tmp_path / f"{B}.part").write_bytes(b"half")
    cache = AudioCache(tmp_path, 2 * FILE_BYTES)
    for key in (A, B, C):
        cache.put(key, CLIP)
    assert files(tmp_path) == sorted([*names, f"{B}.clip", f"{C}.clip"])


def test_folder_that_cannot_be_written(tmp_path):
    """Where no folder can be made she speaks uncached, and the log says so once."""
    (tmp_path / "file").write_text("in the way")
    with capture_logs() as logs:
        cache = AudioCache(tmp_path / "file" / "cache", 100_000)
        for _ in range(3):
            cache.put(A, CLIP)
            assert cache.get(A) is None
    assert len(logs) == 1


def test_full_disk(tmp_path, monkeypatch):
    """A full disk leaves no half file behind, and once there is room again clips are kept again."""
    cache = AudioCache(tmp_path, 100_000)

    def full(path: Path, data: bytes) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(Path, "write_bytes", full)
        cache.put(A, CLIP)
        cache.put(B, CLIP)
    assert len(logs) == 1
    assert files(tmp_path) == []
    cache.put(A, CLIP)
    assert cache.get(A) == CLIP


def test_locked_file_is_a_miss(tmp_path, monkeypatch):
    """A clip that a virus scanner holds is a miss now and a hit later."""
    cache = AudioCache(tmp_path, 100_000)
    cache.put(A, CLIP)

    def locked(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "in use", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", locked)
        assert cache.get(A) is None
    assert cache.get(A) == CLIP
