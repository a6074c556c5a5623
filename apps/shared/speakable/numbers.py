"""Numbers as words: `in_words("It's 3:30 pm, $4.99!")` -> "It's three thirty P-M, four dollars and ...".

A table of rules, tried in order over the whole text. A rule that gives words leaves no digits for the ones
after it; a rule may also only rewrite ("3-5" -> "3 to 5") and leave the numbers to them.
"""

import re
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_MONEY = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "", ""),
    "₩": ("won", "won", "", ""),
    "₹": ("rupee", "rupees", "", ""),
}
_SCALES = {"k": "thousand", "m": "million", "b": "billion", "bn": "billion"}
_UNITS = {
    **dict.fromkeys(["fps"], ("frame per second", "frames per second")),
    **dict.fromkeys(["ms"], ("millisecond", "milliseconds")),
    **dict.fromkeys(["s", "sec", "secs"], ("second", "seconds")),
    **dict.fromkeys(["min", "mins"], ("minute", "minutes")),
    **dict.fromkeys(["h", "hr", "hrs"], ("hour", "hours")),
    **dict.fromkeys(["km/h", "kph"], ("kilometre per hour", "kilometres per hour")),
    **dict.fromkeys(["lb", "lbs"], ("pound", "pounds")),
    "mph": ("mile per hour", "miles per hour"),
    "km": ("kilometre", "kilometres"),
    "cm": ("centimetre", "centimetres"),
    "mm": ("millimetre", "millimetres"),
    "kg": ("kilogram", "kilograms"),
    "kb": ("kilobyte", "kilobytes"),
    "mb": ("megabyte", "megabytes"),
    "gb": ("gigabyte", "gigabytes"),
    "tb": ("terabyte", "terabytes"),
    "hz": ("hertz", "hertz"),
    "khz": ("kilohertz", "kilohertz"),
    "mhz": ("megahertz", "megahertz"),
    "ghz": ("gigahertz", "gigahertz"),
    "px": ("pixel", "pixels"),
    "°c": ("degree Celsius", "degrees Celsius"),
    "°f": ("degree Fahrenheit", "degrees Fahrenheit"),
    "°": ("degree", "degrees"),
    "%": ("percent", "percent"),
}
_PARTS = {2: ("half", "halves"), 3: ("third", "thirds"), 4: ("quarter", "quarters"), 5: ("fifth", "fifths")}

_TOO_LONG = re.compile(r"(\d{16})\d+")  # nobody follows more, and it bounds the work of all rules
_NUMBER = r"(?<!\d)(?<!\d[.,])(\d+(?:,\d{3}){0,5}(?:\.\d+)?)"
_AM_PM = r"(?:\s?([AaPp])(?:\.[Mm]\.?|[Mm])(?!\w))"
_MONTH = "|".join(f"{name[:3]}(?:{name[3:]})?" if name[3:] else name for name in _MONTHS)
_SHORT_MONTHS = [name[:3] for name in _MONTHS]


def in_words(text: str) -> str:
    """Return `text` with every digit said in English words; words are set off by spaces."""
    if not any(map(str.isdecimal, text)):
        return text
    text = _TOO_LONG.sub(r"\1", text)
    for pattern, say in _RULES:
        text = pattern.sub(say, text)
    return text


@cache
def warm() -> Any:
    """Import `inflect` (0.2 to 2 s, once) and return its engine; a worker may call this in advance."""
    import inflect  # noqa: PLC0415  # the slow import is the reason for this function

    return inflect.engine()


@lru_cache(maxsize=1024)
def _words(number: str) -> str:
    return str(warm().number_to_words(number.replace(",", ""), andword="", comma=""))


def _digits(number: str) -> str:
    return " ".join(map(_words, number))


def _ordinal(number: int) -> str:
    return _words(warm().ordinal(number))


def _pairs(number: int) -> str:
    """A year, or a number said like one: nineteen ninety-nine, twenty oh five is two thousand five."""
    hundreds, rest = divmod(number, 100)
    if hundreds % 10 == 0 and rest < 10:
        return _words(str(number))
    if rest == 0:
        return f"{_words(str(hundreds))} hundred"
    return f"{_words(str(hundreds))} {'oh ' if rest < 10 else ''}{_words(str(rest))}"


def _number(number: str) -> str:
    whole = number.isdecimal()
    if whole and len(number) == 4 and 1900 <= int(number) <= 2099:
        return _pairs(int(number))
    long = len(number) >= 7 and not number.endswith("000")
    if whole and len(number) > 1 and (long or number[0] == "0"):
        return _digits(number)
    return _words(number)


def _count(number: str, one: str, many: str) -> str:
    return f"{_words(number)} {one if number == '1' else many}"


def _date(year: str | None, month: int, day: int, written: str) -> str:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return written
    tail = f", {_pairs(int(year) + (2000 if len(year) == 2 else 0))}" if year else ""
    return f"{_MONTHS[month - 1]} {_ordinal(day)}{tail}"


def _us_date(found: re.Match[str]) -> str:
    first, second = int(found[1]), int(found[2])
    month, day = (second, first) if first > 12 else (first, second)
    return _date(found[3], month, day, found[0])


def _month_date(found: re.Match[str]) -> str:
    return _date(found[3], _SHORT_MONTHS.index(found[1][:3]) + 1, int(found[2]), found[0])


def _time(found: re.Match[str]) -> str:
    hour, minute, second, half = int(found[1]), int(found[2]), found[3], found[4]
    if hour > 23:
        return found[0]
    said = [_words(str(hour))]
    if minute:
        said.append(f"{'oh ' if minute < 10 else ''}{_words(str(minute))}")
    elif not half:
        said.append("o'clock" if hour <= 12 else "hundred")
    if second:
        said.append(f"and {_count(str(int(second)), 'second', 'seconds')}")
    return " ".join(said + ([f"{half.upper()}-M"] if half else []))


def _money(sign: str, amount: str, scale: str | None) -> str:
    one, many, cent, cents = _MONEY[sign]
    if scale:
        return f"{_words(amount)} {_SCALES.get(scale.lower(), scale)} {many}"
    whole, _, fraction = amount.partition(".")
    if not fraction.strip("0"):
        return _count(whole, one, many)
    if not cent or len(fraction) != 2:
        return f"{_words(amount)} {many}"
    small = _count(str(int(fraction)), cent, cents)
    return small if whole == "0" else f"{_count(whole, one, many)} and {small}"


def _fraction(found: re.Match[str]) -> str:
    whole, top, bottom = found[1], int(found[2]), int(found[3])
    if found[0] == "24/7":
        return "twenty-four seven"
    if top < bottom and bottom in _PARTS:
        part = f"{'a' if whole and top == 1 else _words(str(top))} {_PARTS[bottom][top > 1]}"
    else:
        part = f"{_words(str(top))} {'out of' if top <= bottom else 'over'} {_words(str(bottom))}"
    return f"{_words(whole)} and {part}" if whole else part


def _unit(found: re.Match[str]) -> str:
    unit = found[2]
    names = _UNITS.get(unit) or (_UNITS.get(unit.lower()) if len(unit) > 1 else None)
    return _count(found[1], *names) if names else found[0]  # "5G" is no weight


_Say = Callable[[re.Match[str]], str]
_SCALE = r"(?:\s?(k|m|b|bn|thousand|million|billion)(?!\w))?"
_UNIT = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))


def _plain(number: str) -> int:
    return int(number.replace(",", ""))


def _plural(number: str) -> str:
    return f"{number[:-1]}ies" if number.endswith("y") else f"{number}s"


def _spaced(say: _Say) -> _Say:
    return lambda found: f" {say(found)} "


_TABLE: list[tuple[str, int, _Say]] = [
    (r"(?<![\w)])-(?=[$€£¥₩₹]?\d)", 0, lambda _: "minus"),
    (r"(?<![\w)])\+(?=\d)", 0, lambda _: "plus"),
    (r"(?<!\w)~(?=[$€£¥₩₹]?\d)", 0, lambda _: "about"),
    (
        r"(?<![\d-])(\d{4})-(\d{1,2})-(\d{1,2})(?![\d-])",
        0,
        lambda found: _date(found[1], int(found[2]), int(found[3]), found[0]),
    ),
    (r"(?<![\d/])(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})(?![\d/])", 0, _us_date),
    (rf"\b({_MONTH})\.? (\d{{1,2}})(?:st|nd|rd|th)?(?!\w|[:.,/]\d)(?:,? (\d{{4}})(?!\w))?", 0, _month_date),
    (rf"(?<![\d:.])(\d{{1,2}}):([0-5]\d)(?::([0-5]\d))?(?![\d:]){_AM_PM}?", 0, _time),
    (
        rf"(?<![\d:.])(\d{{1,2}}){_AM_PM}",
        0,
        lambda found: f"{_words(found[1])} {found[2].upper()}-M",
    ),
    (
        r"(?<![\d-])(?:\d{3}-)?\d{3}-\d{4}(?![\d-])",
        0,
        lambda found: ", ".join(map(_digits, found[0].split("-"))),
    ),
    (rf"([$€£¥₩₹])\s?{_NUMBER}{_SCALE}", re.IGNORECASE, lambda found: _money(found[1], found[2], found[3])),
    (rf"{_NUMBER}{_SCALE}\s?([$€£¥₩₹])", re.IGNORECASE, lambda found: _money(found[3], found[1], found[2])),
    (
        r"\b(v?)(\d+(?:\.\d+){2,5}|(?<=v)\d+(?:\.\d+)?)(?![\w])",
        re.IGNORECASE,
        lambda found: ("version " if found[1] else "") + " point ".join(map(_words, found[2].split("."))),
    ),
    (r"(?<![\w.-])(\d{1,4}(?:\.\d+)?)-(\d{1,4})(?![\d-])", 0, lambda found: f"{found[1]} to {found[2]}"),
    (r"(?<=\d)\s-\s(?=\d)", 0, lambda _: "minus"),
    (r"(?<=\d)\s?[×*]\s?(?=\d)", 0, lambda _: "times"),
    (r"(?<=\d)\s?x\s?(?=\d)", 0, lambda _: "by"),
    (r"(?<![\d/.])(?:(\d{1,3}) )?(\d{1,3})/(\d{1,3})(?![\d/])", 0, _fraction),
    (
        r"(?<!\d)(?<!\d,)(\d+(?:,\d{3}){0,5})(?:st|nd|rd|th)(?!\w)",
        re.IGNORECASE,
        lambda found: _ordinal(_plain(found[1])),
    ),
    (rf"{_NUMBER}([kKMB]|bn)(?!\w)", 0, lambda found: f"{_words(found[1])} {_SCALES[found[2].lower()]}"),
    (r"(?<!\d)(\d\d[1-9]0|\d000|\d\d00)s(?!\w)", 0, lambda found: _plural(_pairs(int(found[1])))),
    (r"(?<=\bthe )([2-9]0)s(?!\w)", 0, lambda found: _plural(_words(found[1]))),
    (rf"{_NUMBER}\s?({_UNIT})(?!\w)", re.IGNORECASE, _unit),
    (r"(?<!\d)(\d{4})p(?!\w)", 0, lambda found: f"{_pairs(int(found[1]))} p"),
    (
        r"\b(in|since|year) (1[1-8]\d\d)(?!\w|[.,]\d)",
        re.IGNORECASE,
        lambda found: f"{found[1]} {_pairs(int(found[2]))}",
    ),
    (_NUMBER, 0, lambda found: _number(found[1])),
    (r"\d+", 0, lambda found: _number(found[0])),
]
_RULES: list[tuple[re.Pattern[str], _Say]] = [
    (re.compile(pattern, flags), _spaced(say)) for pattern, flags, say in _TABLE
]
