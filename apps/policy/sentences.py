"""Where a stream of tokens is cut into pieces to speak: pure, and at once wherever the text allows.

The text is read once, mark by mark. At each mark the question is: does the piece end here? `CUT` and `KEEP`
are final; `WAIT` asks for the next token, which costs 15 ms at 60 tokens/s, so an ordinary word with a full
stop never waits. (It may still turn out to be "fox.com", in tokens "fox", ".", "com"; but tokenisers have
".com" and ".py" as tokens of their own, and those are seen whole.)

How large a piece may be (`cut="clause"`): sound that is playing buys time for what comes next. She speaks
about 15 characters/s (67 ms each). Before a piece of n characters can follow, the model must write it
(4 ms each at 60 tokens/s) and the voice must make it (4 ms each and 50 ms): 8 ms x n + 50. Against 67 ms
for each character already given, a piece may be 8 times as long as all before it. `PACE` takes half of
that and leaves the rest for slower machines. So the first piece ends at the first clause that sounds like
one; 12 letters of it pay for 48, those 60 for 240, and from there on only whole sentences are given. A
sentence that would be longer than what is paid for is cut at its last clause before that, or else before the
next "and" or the like; one without either is waited for: a cut anywhere else is heard more than a silence.

What is guaranteed: everything fed comes out once and in order, except white
space between pieces, pieces with nothing to say in them, and closing marks (`!"`, `**` and the like) that
arrive after their sentence has been given. The pieces do not depend on how the stream is split into tokens,
unless it is split between a mark and what follows it without a space, or after a `**`.
"""

import re
import unicodedata
from enum import Enum, auto
from typing import Literal

from apps.shared.speakable import letters

PACE = 4  # a piece may be this many times as long as what was given before it
CLAUSE_LETTERS = 10  # a shorter opener ("Well,") sounds cut off, and pays for too little
LONG = 200  # characters without an end: cut at the next space
LONGEST = 300  # and here without any space
ASIDE = 60  # longer than this, "*" or "[" was not the start of an action or a tag

_CLOSERS = r"""["'”’»)\]}」』）]"""
_MARK = re.compile(r"[.!?…。！？\n,;:—–-]")
_STOP = re.compile(rf"[.!?…。！？]{{1,8}}{_CLOSERS}{{0,4}}(?:[*_~`]{{1,3}}(?=\s))?")
_PAUSE = re.compile(rf"(?:[,;:—]|[–-]{{1,3}}){_CLOSERS}{{0,2}}")
_JOINT = re.compile(r"\s(?=(?:and|but|or|so|because|while|until|unless|although)\s)")
_LATE = re.compile(rf"(?:[.!?…。！？,]|{_CLOSERS})*(?:[*_~`]{{1,3}}(?=\s))?")
_OPEN_ASIDE = re.compile(r"(?<![\w:;=*])(?:\[[^\]]*|\((?!\s)[^)]*|\*(?![\s*])[^*]*)$")
_ORDINARY = re.compile(r"""["'“‘(\[*_]*(?:[^\W\d_]{2,}|I)(?:['’-][^\W\d_]+)*["'”’)\]*_]*""")
_LIST_MARKER = re.compile(r"\s*(?:\d{1,3}|[a-z])")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# A capitalised word after these is the same sentence ("Dr. Who", "cats vs. dogs").
_GOES_ON = _set("Mr mr Mrs mrs Ms Dr dr Prof St Mt Sgt Capt Lt Gen Rev vs cf e.g i.e approx")
# After these it is a new one ("at 5 p.m. Then", "No. Never"), and anything else is the same ("No. 5").
_MAY_END = _set("no etc a.m p.m inc ltd co corp jr sr fig jan feb apr jun jul aug sep sept oct nov dec")
# Said in lower case, these are mostly the start of an address.
_SITES = _set("twitch youtube discord github google reddit twitter example wikipedia node")


class Verdict(Enum):
    """Whether a piece ends at a mark."""

    CUT = auto()
    KEEP = auto()
    WAIT = auto()  # for the next token


class Cutter:
    """One reply's text, token by token, to the pieces in which it is spoken."""

    def __init__(self, *, cut: Literal["clause", "sentence"] = "clause") -> None:
        self._pace = PACE if cut == "clause" else None
        self._text = ""  # what has been fed and not been given yet; in it,
        self._start = 0  # the piece being collected begins here,
        self._seen = 0  # has been judged up to here,
        self._pause = 0  # and could end at this clause
        self._given = 0  # letters in all pieces so far
        self._late = False  # the last piece ended at a mark: more of the kind may follow

    def feed(self, text: str) -> list[str]:
        """Take the next token (of any length) and return the pieces that are complete now, in order."""
        return self._cut(text)

    def close(self) -> list[str]:
        """Return what remains at the end of the stream; nothing may be fed afterwards."""
        return self._take(len(self._text))

    def _cut(self, text: str) -> list[str]:
        self._text += text
        pieces: list[str] = []
        while (end := self._next_end()) is not None:
            pieces += self._take(end)
        self._text = self._text[self._start :]
        self._seen, self._pause, self._start = self._seen - self._start, max(self._pause - self._start, 0), 0
        return pieces

    def _take(self, end: int) -> list[str]:
        piece = self._text[self._start : end]
        count = letters(piece)
        self._given += count
        self._late = count > 0 and not piece[-1].isspace()
        self._start = self._seen = self._pause = end
        return [piece.strip()] if count else []

    def _next_end(self) -> int | None:
        """Return where the piece being collected ends, or None when that is not known yet."""
        if self._late and not self._skip_late():
            return None
        while True:
            mark = _MARK.search(self._text, self._seen)
            reached = mark.start() if mark else len(self._text)
            if end := self._end_of_too_long(reached):
                return end
            if not mark:
                self._seen = reached
                return None
            verdict, end = self._judge(mark)
            if verdict is Verdict.WAIT:
                self._seen = mark.start()
                return None
            self._seen = end
            if verdict is Verdict.CUT:
                return end

    def _skip_late(self) -> bool:
        """Drop the marks that belong to the piece already given; False while there may be more of them."""
        late = _LATE.match(self._text, self._start)
        assert late is not None  # every part of it may be empty
        self._start = self._seen = self._pause = late.end()
        after = self._text[late.end() : late.end() + 4]
        self._late = len(after) < 4 and not after.strip("*_~`")  # "**" may close this or open the next
        return not self._late

    def _judge(self, mark: re.Match[str]) -> tuple[Verdict, int]:
        """Return the verdict on the mark and where reading goes on: after the whole run of marks."""
        text, start, at = self._text, self._start, mark.start()
        if mark[0] == "\n":
            return (Verdict.CUT if letters(text[start:at]) else Verdict.KEEP), at + 1
        stop = _STOP.match(text, at)
        run = stop or _PAUSE.match(text, at)
        assert run is not None  # the two cover every mark but the newline
        aside = _OPEN_ASIDE.search(text, max(start, at - ASIDE), at)
        if aside and (aside[0][0] != "(" or text[start : aside.start()].strip()):  # "(He ran.)" is a sentence
            return Verdict.KEEP, run.end()
        if not stop:
            verdict = ends_clause(text, start, run)
            if verdict is Verdict.CUT:
                self._pause = run.end()
            return (Verdict.WAIT if verdict is Verdict.WAIT else Verdict.KEEP), run.end()
        verdict = ends_sentence(text, start, stop)
        if verdict is Verdict.CUT and not letters(text[start:at]):
            verdict = Verdict.KEEP
        return verdict, run.end()

    def _end_of_too_long(self, reached: int) -> int | None:
        """Return where to cut a piece that is longer than may be waited for, or None."""
        length = reached - self._start
        limit = LONG if self._pace is None else min(LONG, self._pace * self._given)
        if length > limit and self._pause > self._start:
            if self._sounds_whole(self._pause):
                return self._pause
            self._pause = self._start
        if self._pace and self._given and (joint := _JOINT.search(self._text, self._start + limit, reached)):
            return joint.start()
        if length <= LONG:
            return None
        space = self._text.find(" ", self._start + LONG, min(reached, self._start + LONGEST))
        if space > 0:
            return space + 1
        return _before_grapheme(self._text, self._start, self._start + LONGEST) if length > LONGEST else None

    def _sounds_whole(self, end: int) -> bool:
        piece = self._text[self._start : end]
        return len(piece.split(None, 2)) > 1 and letters(piece) >= CLAUSE_LETTERS


def ends_sentence(text: str, start: int, stop: re.Match[str]) -> Verdict:
    """Whether the piece of `text` from `start` ends at `stop`, a run of .!?… with its closing marks."""
    word = _last_word(text, start, stop.start())
    after = text[stop.end() : stop.end() + 2]
    if stop[0][0] in "。！？":
        return Verdict.CUT
    if stop[0][0] == "…" or stop[0].startswith(".."):
        return _ends_before_new_sentence(after)
    if stop[0][0] in "!?":
        if not word or "/" in word or word.startswith("www."):  # "!drop", "Quoi ?", a link's query
            return _ends_word(after)
        return Verdict.CUT
    if word in _GOES_ON or (word[-1:].isupper() and word != "I" and word[-2:-1] in {"", "."}):
        return Verdict.KEEP  # titles; initials ("J. R. R. Tolkien", "the U.S. Army")
    if word.lower() in _MAY_END:
        return _ends_before_new_sentence(after)
    if _LIST_MARKER.fullmatch(text, start, stop.start()):
        return Verdict.KEEP
    if _ORDINARY.fullmatch(word) and (after[:1].isupper() or (not after and word not in _SITES)):
        return Verdict.CUT  # at once; also "the end.Next", where a space was forgotten
    return _ends_word(after)


def ends_clause(text: str, start: int, pause: re.Match[str]) -> Verdict:
    """Whether a clause ends at `pause`, a comma, colon or dash, so that speech may pause there."""
    before = text[pause.start() - 1] if pause.start() > start else " "
    after = text[pause.end() : pause.end() + 1]
    if pause[0][0] in "–-":  # "well-known" and "3-5", but "now - or never"
        return _ends_word(after) if before == " " else Verdict.KEEP
    if pause[0][0] == "—":
        return Verdict.CUT
    if before == " " or (after and not after.isspace()):  # a smiley, "1,000", "12:30"
        return Verdict.KEEP
    word = _last_word(text, start, pause.start())
    if after or (_ORDINARY.fullmatch(word) and word.lower() not in {"http", "https"}):
        return Verdict.CUT
    return Verdict.WAIT


def _ends_word(after: str) -> Verdict:
    if not after:
        return Verdict.WAIT
    return Verdict.KEEP if after[0].isalnum() or after[0] in "/\\@_:-+=&%#~" else Verdict.CUT


def _ends_before_new_sentence(after: str) -> Verdict:
    if after in {"", " "}:
        return Verdict.WAIT
    follows = after.strip()[:1]
    same = after[0].isalnum() or follows.islower() or follows.isdigit()
    return Verdict.KEEP if same else Verdict.CUT


def _last_word(text: str, start: int, end: int) -> str:
    """Return what stands right before `end`, "" after a space."""
    words = text[start:end].rsplit(None, 1)
    return words[-1] if words and not text[end - 1].isspace() else ""


def _before_grapheme(text: str, start: int, end: int) -> int:
    """Return the last place at or before `end` where no accent, emoji or surrogate pair is torn apart."""
    for place in range(end, start, -1):
        if not _joins(text[place - 1], text[place]):
            return place
    return end


def _joins(left: str, right: str) -> bool:
    return (
        unicodedata.category(right)[0] == "M"
        or "\u200d" in {left, right}
        or "\U0001f3fb" <= right <= "\U0001f3ff"  # skin tones
        or ("\U0001f1e6" <= left <= "\U0001f1ff" and "\U0001f1e6" <= right <= "\U0001f1ff")  # flags
        or ("\ud800" <= left <= "\udbff" and "\udc00" <= right <= "\udfff")
    )
