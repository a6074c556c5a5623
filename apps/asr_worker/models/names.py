"""The speech models that have a name: where they come from, how big they are, which suits a computer."""

from dataclasses import dataclass
from typing import Literal

GB_BYTES = 1024**3  # as the makers of graphics cards count
MB_BYTES = 1_000_000

Languages = Literal["English", "many"]

# Added to model.bin, which holds 16-bit numbers. Measured with models of these sizes in int8 (145 MB: 330 MB
# at most, 484 MB: 662 MB), the libraries included; the 16-bit numbers are in memory while they are converted.
PROCESSOR_MB = 200
# For large-v2 faster-whisper's own page measured 4525 MB in float16 and 2926 MB in int8, of which CUDA takes
# about 300 MB for itself; what comes on top of the weights grows with them.
CUDA_MB = 300
FLOAT16_FACTOR = 1.4
INT8_FACTOR = 0.86


@dataclass(frozen=True, slots=True)
class Known:
    """A model that `aivt setup ears` can get."""

    name: str  # as ASR_MODEL takes it
    repository: str  # below ASR_MODELS_URL
    size_mb: float  # of model.bin; the other files are 3 to 5 MB
    languages: Languages
    licence: str = "MIT"

    @property
    def processor_mb(self) -> int:
        """About how much memory it takes on the processor, as int8."""
        return round(self.size_mb + PROCESSOR_MB)

    @property
    def graphics_mb(self) -> int:
        """About how much graphics memory it takes as float16."""
        return graphics_mb(self.size_mb)


def _of(name: str, repository: str, size_mb: float, languages: Languages) -> Known:
    return Known(name, repository, size_mb, languages)


KNOWN = (
    _of("tiny.en", "Systran/faster-whisper-tiny.en", 75.5, "English"),
    _of("tiny", "Systran/faster-whisper-tiny", 75.5, "many"),
    _of("base.en", "Systran/faster-whisper-base.en", 145, "English"),
    _of("base", "Systran/faster-whisper-base", 145, "many"),
    _of("distil-small.en", "Systran/faster-distil-whisper-small.en", 332, "English"),
    _of("small.en", "Systran/faster-whisper-small.en", 484, "English"),
    _of("small", "Systran/faster-whisper-small", 484, "many"),
    _of("distil-medium.en", "Systran/faster-distil-whisper-medium.en", 789, "English"),
    _of("distil-large-v2", "Systran/faster-distil-whisper-large-v2", 1510, "English"),
    _of("distil-large-v3", "Systran/faster-distil-whisper-large-v3", 1510, "English"),
    _of("distil-large-v3.5", "distil-whisper/distil-large-v3.5-ct2", 1510, "English"),
    _of("medium.en", "Systran/faster-whisper-medium.en", 1530, "English"),
    _of("medium", "Systran/faster-whisper-medium", 1530, "many"),
    _of("large-v3-turbo", "mobiuslabsgmbh/faster-whisper-large-v3-turbo", 1620, "many"),
    _of("large-v1", "Systran/faster-whisper-large-v1", 3090, "many"),
    _of("large-v2", "Systran/faster-whisper-large-v2", 3090, "many"),
    _of("large-v3", "Systran/faster-whisper-large-v3", 3090, "many"),
)
ALIASES = {"large": "large-v3", "turbo": "large-v3-turbo"}


@dataclass(frozen=True, slots=True)
class Advice:
    """One row of the table of recommendations."""

    from_card_gb: int  # the smallest graphics card it is meant for; 0: also for none
    english: str
    many: str
    why: str  # for the streamer, after the model's name and a colon

    def name(self, language: str) -> str:
        """Return the model for a language, as in ASR_LANGUAGE."""
        return self.english if language == "en" else self.many


# A processor that a game uses as well is quick enough with base and no more: the whole utterance is decoded
# once more at its end, and small takes three times as long. On a card the ears stay small beside her
# language model, which may take half of it; only a big one has room for the best.
ADVICE = (
    Advice(0, "base.en", "base", "the largest that a processor decodes while you speak"),
    Advice(6, "small.en", "small", "accurate, and small beside the game and her language model"),
    Advice(20, "distil-large-v3", "large-v3-turbo", "the most accurate; a card of this size has room for it"),
)


def known(name: str) -> Known | None:
    """Return the model of this name, or of this repository."""
    plain = name.strip().lower()
    plain = ALIASES.get(plain, plain)
    return next((each for each in KNOWN if plain in {each.name, each.repository.lower()}), None)


def recommended(card_bytes: int, language: str) -> tuple[Known, str]:
    """Return the model for a card with this much memory (0: the processor), and why this one."""
    # An "8 GB" card reports 7.996: its driver keeps a few MiB.
    size_gb = round(card_bytes / GB_BYTES)
    advice = max(
        (row for row in ADVICE if row.from_card_gb <= size_gb), key=lambda advice: advice.from_card_gb
    )
    model = known(advice.name(language))
    assert model is not None  # tests/asr_worker/models/test_names.py
    return model, advice.why


def graphics_mb(size_mb: float, compute_type: str = "float16") -> int:
    """Estimate the graphics memory for a model.bin of 16-bit numbers."""
    factor = INT8_FACTOR if compute_type.startswith("int8") else FLOAT16_FACTOR
    return round(CUDA_MB + factor * size_mb)
