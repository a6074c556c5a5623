import logging
import struct
import sys

import av
import numpy as np
import pytest

from apps.asr_worker.sound import RATE_HZ
from apps.asr_worker.sources.recording import pieces, read
from apps.shared.errors import SettingsError

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
SUB_FORMAT = bytes.fromhex("000000001000800000aa00389b71")


def tone(rate_hz: int, length_s: float = 0.5):
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(rate_hz * length_s)) / rate_hz)


def encoded(sound, kind):
    if kind == "u8":
        return np.round(sound * 127 + 128).astype("u1").tobytes()
    if kind == "i24":
        whole = np.round(sound * 8388607).astype("<i4")
        return whole.view("u1").reshape(-1, 4)[:, :3].tobytes()
    if kind.startswith("f"):
        return sound.astype(f"<{kind[0]}{int(kind[1:]) // 8}").tobytes()
    return np.round(sound * (2 ** (int(kind[1:]) - 1) - 1)).astype(f"<i{int(kind[1:]) // 8}").tobytes()


def write(path, sound, kind="i16", rate_hz=RATE_HZ, channels=1, *, extensible=False):
    """Write a WAV: by hand, since the standard library writes neither floats nor the extensible kind."""
    data = encoded(np.repeat(sound, channels), kind)
    bits = int(kind[1:])
    tag = FLOAT if kind.startswith("f") else PCM
    block = channels * bits // 8
    form = struct.pack(
        "<HHIIHH", EXTENSIBLE if extensible else tag, channels, rate_hz, rate_hz * block, block, bits
    )
    if extensible:
        form += struct.pack("<HHIH", 22, bits, 0, tag) + SUB_FORMAT
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize("kind", ["u8", "i16", "i24", "i32", "f32", "f64"])
def test_every_kind_of_sample(tmp_path, kind, extensible):
    """8 to 64 bits, whole or floating, by the plain header or the extensible one: all give the same sound."""
    sound = read(write(tmp_path / "it.wav", tone(RATE_HZ), kind, extensible=extensible))
    assert sound.dtype == np.float32
    assert sound == pytest.approx(tone(RATE_HZ), abs=0.01 if kind == "u8" else 1e-3)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000])
def test_every_rate(tmp_path, rate_hz):
    """It is heard at 16 kHz, in full length."""
    sound = read(write(tmp_path / "it.wav", tone(rate_hz), rate_hz=rate_hz))
    assert len(sound) == pytest.approx(RATE_HZ / 2, abs=2)
    middle = slice(500, 7500)
    assert sound[middle] == pytest.approx(tone(RATE_HZ)[: len(sound)][middle], abs=0.01)


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8, 11, 32])
@pytest.mark.parametrize("extensible", [False, True])
def test_any_number_of_channels(tmp_path, channels, extensible):
    """They are mixed."""
    path = write(tmp_path / "it.wav", tone(RATE_HZ), channels=channels, extensible=extensible)
    assert read(path) == pytest.approx(tone(RATE_HZ), abs=1e-3)


def test_floats_beyond_the_scale(tmp_path):
    """They are bounded, and what is no number is silence."""
    sound = np.array([0.5, 3.0, -3.0, np.nan, np.inf, -np.inf, 0.25] * 100)
    found = read(write(tmp_path / "it.wav", sound, "f32"))
    assert found[:7].tolist() == [0.5, 1, -1, 0, 1, -1, 0.25]


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp3", "libmp3lame"), ("flac", "flac"), ("ogg", "libopus"), ("m4a", "aac")]
)
def test_other_files(tmp_path, suffix, codec):
    """What FFmpeg reads will do as well."""
    path = tmp_path / f"it.{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray((tone(48_000, 1) * 32767).astype("<i2")[None], "s16", "mono")
        frame.sample_rate = 48_000
        resampler = av.AudioResampler(stream.format, "mono", 48_000, stream.frame_size or None)
        for ready in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(ready))
        container.mux(stream.encode(None))
    sound = read(path)
    assert len(sound) == pytest.approx(RATE_HZ, abs=0.1 * RATE_HZ)
    assert float(np.sqrt(np.mean(sound[2000:14000] ** 2))) == pytest.approx(0.5 / 2**0.5, abs=0.03)


def test_long_recordings(tmp_path):
    """They come piece by piece, so that four hours need no more memory than a second."""
    path = write(tmp_path / "it.wav", np.zeros(60 * 48_000), rate_hz=48_000)
    sizes = [len(piece) for piece in pieces(path)]
    assert sum(sizes) == 60 * RATE_HZ
    assert max(sizes) < 2 * RATE_HZ


# --- files that cannot be used ---


def spoilt(path, kind: str) -> None:
    if kind == "a folder":
        path.mkdir()
    elif kind == "only a header":
        write(path, np.zeros(0))
    elif kind == "half a header":
        path.write_bytes(write(path, tone(RATE_HZ)).read_bytes()[:30])
    elif kind == "a rate of zero":
        write(path, tone(RATE_HZ), rate_hz=0)
    elif kind != "missing":
        texts = {"empty": b"", "text": b"hello, this is no sound\n" * 99, "zeros": bytes(9999)}
        path.write_bytes(texts[kind])


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("missing", "no_such_file"),
        ("a folder", "not_a_file"),
        ("empty", "empty_file"),
        ("only a header", "no_samples"),
        ("half a header", "not_sound"),
        ("text", "not_sound"),
        ("zeros", "not_sound"),
        ("a rate of zero", "not_sound"),
    ],
)
@pytest.mark.parametrize("suffix", [".wav", ".txt"])
def test_a_file_that_cannot_be_used(tmp_path, kind, code, suffix):
    """Each has its own error, which names the file and a way out, before any sound is given."""
    path = tmp_path / f"it{suffix}"
    spoilt(path, kind)
    with pytest.raises(SettingsError) as caught:
        next(pieces(path))
    assert (caught.value.code, bool(caught.value.fix)) == (code, True)
    assert str(path) in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="there a file's owner may always read it")
def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    """The system's own words tell why."""
    path = write(tmp_path / "it.wav", tone(RATE_HZ))

    def refuse(*_args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(SettingsError, match="Permission denied") as caught:
        read(path)
    assert caught.value.code == "unreadable_file"


def test_a_playlist(tmp_path):
    """It is no sound: what it names is not fetched."""
    path = tmp_path / "it.m3u8"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(SettingsError) as caught:
        read(path)
    assert caught.value.code == "not_sound"


def test_a_film_without_sound(tmp_path):
    """It has no sound in it."""
    path = tmp_path / "it.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 16
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), "u1"), "rgb24")))
        container.mux(stream.encode(None))
    with pytest.raises(SettingsError) as caught:
        read(path)
    assert caught.value.code == "no_samples"


def test_a_recording_that_is_cut_off(tmp_path, caplog):
    """What is there is used, and it is said that the end is missing."""
    path = write(tmp_path / "it.wav", tone(RATE_HZ))
    path.write_bytes(path.read_bytes()[:-8001])
    with caplog.at_level(logging.WARNING):
        sound = read(path)
    assert len(sound) == 3999
    assert sound == pytest.approx(tone(RATE_HZ)[:3999], abs=1e-3)
    assert [record.getMessage() for record in caplog.records] == [
        "it.wav is cut off: its end is missing, the rest is used"
    ]


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF])
def test_a_recording_of_unknown_length(tmp_path, caplog, length):
    """Programs that write as they go leave the length open; nothing is missing."""
    path = write(tmp_path / "it.wav", tone(RATE_HZ))
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", length)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert len(read(path)) == len(tone(RATE_HZ))
    assert caplog.records == []
