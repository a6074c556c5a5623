"""How chat writes words, and how they are said: abbreviations, shouting, stretched letters, signs."""

import re

from apps.shared.speakable.markup import EMOTES

_SAID = {
    "afk": "away from keyboard",
    "afaik": "as far as I know",
    "bc": "because",
    "brb": "be right back",
    "btw": "by the way",
    "ez": "easy",
    "gg": "good game",
    "gl": "good luck",
    "glhf": "good luck, have fun",
    "idc": "I don't care",
    "idk": "I don't know",
    "imho": "in my humble opinion",
    "imo": "in my opinion",
    "irl": "in real life",
    "jk": "just kidding",
    "lmao": "lmao",
    "lol": "lol",
    "ngl": "not gonna lie",
    "np": "no problem",
    "nvm": "never mind",
    "ofc": "of course",
    "omg": "oh my god",
    "omw": "on my way",
    "pls": "please",
    "plz": "please",
    "rn": "right now",
    "smh": "shaking my head",
    "tbh": "to be honest",
    "tho": "though",
    "thx": "thanks",
    "ty": "thank you",
    "tysm": "thank you so much",
    "u": "you",
    "ur": "your",
    "wp": "well played",
    "wtf": "what the heck",
}
# Hyphens make espeak-ng say each letter: "AM" alone is read like "am", "A M" like the article and "em".
_SPELLED = frozenset(
    [
        "AI",
        "AIVT",
        "AM",
        "API",
        "ASMR",
        "CEO",
        "CPU",
        "EU",
        "FAQ",
        "GPU",
        "ID",
        "IRL",
        "OBS",
        "PM",
        "UFO",
        "UI",
        "UK",
        "USA",
        "USB",
        "VIP",
        "VOD",
    ]
)
_LAUGH = re.compile(r"(?:ha){2}|(?:he){2}|(?:hi){2}|(?:ho){2}|(?:ja){2}|(?:ke){2}", re.IGNORECASE)
_NUMERAL = re.compile(r"[IVX]{2,5}")
_RUN = re.compile(r"([A-Za-z])\1{2,}")
_WORD = re.compile(r"\b[A-Za-z]+\b")
_OTHER_RUN = re.compile(r"([^\W\d_A-Za-z])\1{3,}")
_EXEMPLI = re.compile(r"\be\.g\.?(?!\w)", re.IGNORECASE)
_ID_EST = re.compile(r"\bi\.e\.?(?!\w)", re.IGNORECASE)
_INITIALS = re.compile(r"\b(?:[A-Za-z]\.){1,8}[A-Za-z]\b\.?")
_SIGNS = {"+": "plus", "=": "equals", "×": "times", "÷": "divided by", "&": "and"}
_SIGN = re.compile(r"(?<=\w) {0,3}([+=×÷&]) {0,3}(?=\w)")
_SPACED_SIGNS = {"<": "is less than", ">": "is greater than", "@": "at"}
_SPACED_SIGN = re.compile(r"(?<=\w) {1,3}([<>@]) {1,3}(?=\w)")


def plain_words(text: str) -> str:
    """Return `text` in words that a voice knows: "sooo" -> "so", "idk" -> "I don't know", "a + b"."""
    text = _ID_EST.sub("that is", _EXEMPLI.sub("for example", text))
    text = _INITIALS.sub(lambda found: found[0].replace(".", "-").rstrip("-").upper(), text)
    text = re.sub(r"\bC#(?!\w)", "C sharp", re.sub(r"\bC\+\+", "C plus plus", text))
    text = _SIGN.sub(lambda sign: f" {_SIGNS[sign[1]]} ", text)
    text = _SPACED_SIGN.sub(lambda sign: f" {_SPACED_SIGNS[sign[1]]} ", text)
    return _OTHER_RUN.sub(r"\1\1\1", _WORD.sub(_word, text))


def _word(found: re.Match[str]) -> str:
    word = found[0]
    if said := _SAID.get(_key(word)) or _SAID.get(_key(_RUN.sub(r"\1", word))):
        return said
    if _NUMERAL.fullmatch(word):
        return word
    laugh = _LAUGH.search(word)
    if laugh and len(word) > 6 and set(word.lower()) == set(laugh[0].lower()):
        return laugh[0][:2].lower() * 3
    if word.isupper() and len(word) > 1:
        word = _unshouted(word)
    plain = _RUN.sub(lambda run: _squeezed(word, run), word)
    if plain in EMOTES:  # those were replaced before; "Kappaaaa" was none then and shall not become one
        return word
    return _SAID.get(_key(plain), plain)


def _key(word: str) -> str:
    return word.lower() if len(word) > 1 else word  # "u" is "you", but "U" is a letter of "U-S"


def _unshouted(word: str) -> str:
    """Lower-case, unless it is made to be spelled: a known name, or short and without a vowel."""
    if word in _SPELLED:
        return "-".join(word)
    return word if len(word) <= 5 and set(word).isdisjoint("AEIOUY") else word.lower()


def _squeezed(word: str, run: re.Match[str]) -> str:
    """One letter or two: "sooo" is "so" ("soo" would be read like "sue"), "goood" good, "hmmm" hmm."""
    letter = run[1].lower()
    at_end = run.end() == len(word)
    if letter == "e" and at_end:
        single = any(vowel in word[: run.start()].lower() for vowel in "aeiouy")  # "niceee", but "freee"
    else:
        single = letter in "aiuy" or (letter == "o" and at_end)
    return run[1] if single else run[1] * 2
