"""From phonemes to the mouth: which viseme, when, how strongly.

The fifteen visemes and the consonants of each are those of the Oculus (Meta) LipSync viseme reference, which
in turn follows the MPEG-4 face animation standard; VRM avatars use the same names. The weights, and the
sounds that the reference does not list, are ours, by place of articulation and openness in the IPA chart.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise

from apps.shared.messages import Viseme
from apps.tts_worker.voice import Phoneme

SILENT = "sil"
VISEMES = (SILENT, "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "ih", "oh", "ou")

# How long a stop keeps the mouth closed; what is left of it is breath through a mouth already opening.
STOP_S = 0.08
RELEASED = 0.3


Shape = tuple[str, float]  # viseme, weight

# per viseme: weight, and the IPA letters that have it
_CLASSES: tuple[tuple[str, float, str], ...] = (
    ("PP", 1.0, "p b m ɓ ʙ ʘ"),
    ("FF", 0.9, "f v ɱ ɸ β ʋ ⱱ"),
    ("TH", 0.8, "θ ð"),
    ("DD", 0.7, "t d ɾ ʈ ɖ ɗ ᶑ ǀ ǂ"),
    ("kk", 0.6, "k g ɡ ŋ x ɣ c ɟ ʝ q ɢ ɴ χ ʁ ɠ ʄ ʛ ɰ ǃ"),
    ("kk", 0.2, "ʔ ʡ h ɦ ħ ʕ ʜ ʢ"),  # made in the throat: the mouth hardly moves
    ("CH", 0.8, "tʃ dʒ ʃ ʒ tɕ dʑ ɕ ʑ tʂ dʐ ʂ ʐ ɧ ç ʧ ʤ"),
    ("SS", 0.7, "s z ʦ ʣ"),
    ("nn", 0.6, "n l ɲ ɳ ɫ ɭ ʎ ʟ ɬ ɮ ɺ ǁ"),
    ("RR", 0.6, "ɹ r ɻ ʀ ɽ ɚ ɝ"),
    ("aa", 1.0, "a ɑ ɶ"),
    ("aa", 0.8, "æ ɐ ʌ ɒ"),
    ("E", 0.7, "ɛ œ ɜ ɞ"),
    ("E", 0.5, "e ə ɘ ɵ ø"),
    ("ih", 0.5, "ɪ ᵻ ʏ ɨ"),
    ("ih", 0.4, "i j ɯ"),
    ("oh", 0.8, "ɔ"),
    ("oh", 0.6, "o ɤ"),
    ("ou", 0.6, "ʊ ᵿ ʉ y"),
    ("ou", 0.5, "u w ʍ ɥ"),
)
SHAPES: dict[str, Shape] = {
    letter: (viseme, weight) for viseme, weight, letters in _CLASSES for letter in letters.split()
}
NEUTRAL: Shape = ("E", 0.3)

_STOPS = frozenset("pbtdkgɡcɟqɢʈɖ")
_TIE_BARS = str.maketrans("", "", "\u035c\u0361")
_LETTERS = re.compile("|".join([*sorted(SHAPES, key=len, reverse=True), "."]), re.DOTALL)


def timeline(phonemes: Sequence[Phoneme], duration_s: float) -> list[Viseme]:
    """Return the mouth's movements over a sound of `duration_s` seconds.

    phonemes: in order of time. t increases from 0 to exactly `duration_s`, where the mouth is at rest.
    A sound of several letters (a diphthong) shares its time evenly among them; one without time is dropped.
    """
    bounds = [*(phoneme.start_s for phoneme in phonemes), duration_s]
    moves = [
        move
        for phoneme, (start_s, next_s) in zip(phonemes, pairwise(bounds), strict=True)
        for move in _moves(phoneme.ipa, start_s, min(next_s, duration_s))
    ]
    if duration_s > 0 and not (moves and moves[0].t == 0):
        moves.insert(0, Viseme(0.0, SILENT, 0.0, ""))
    return [*moves, Viseme(duration_s, SILENT, 0.0, "")]


def _moves(ipa: str, start_s: float, end_s: float) -> Iterator[Viseme]:
    if end_s <= start_s:
        return
    if not ipa:
        yield Viseme(start_s, SILENT, 0.0, "")
        return
    shapes = list(_shapes(ipa))
    for i, (letters, (viseme, weight)) in enumerate(shapes):
        t = start_s + (end_s - start_s) * i / len(shapes)
        yield Viseme(t, viseme, weight, letters)
        released = t + STOP_S
        if letters in _STOPS and released < start_s + (end_s - start_s) * (i + 1) / len(shapes):
            yield Viseme(released, viseme, weight * RELEASED, letters)


def _shapes(ipa: str) -> Iterator[tuple[str, Shape]]:
    """Each letter (or pair that is one sound) with its shape; stress, length, tones and accents have none."""
    for letters in _LETTERS.findall(unicodedata.normalize("NFC", ipa).translate(_TIE_BARS)):
        base = unicodedata.normalize("NFD", letters)[0]
        category = unicodedata.category(base)
        if category.startswith("L") and category != "Lm":
            yield letters, SHAPES.get(letters) or SHAPES.get(base, NEUTRAL)
