"""How a text ends: is its speaker done, or only taking a breath? Pure.

What recognisers write is a hint and not the truth: Whisper sets a full stop after whatever it is given ("I
want to go to the."), and small models set none at all. So a word that cannot be the last one outweighs a full
stop, and without punctuation the last words decide. The words are English; in other languages only the
punctuation speaks.
"""

import re
from typing import Literal

Completeness = Literal["finished", "open", "unfinished"]  # done; may be; certainly goes on


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Something has to follow, whatever stands after them.
NEVER_LAST = {
    "articles and owners": _set("a an the my your our their"),
    "conjunctions": _set("and but or because unless although whereas whether if than nor"),
    "fillers": _set("um umm uhm uh uhh er erm hm hmm"),
    "begun": _set(
        "i'm you're he's she's it's we're they're i'll you'll he'll she'll we'll they'll i've you've we've "
        "they've i'd you'd he'd she'd we'd they'd let's there's gonna wanna gotta very"
    ),
}
# Mostly something follows. A full stop, a question before them or one of WHOLE_ENDINGS leaves that open.
SELDOM_LAST = {
    "prepositions": _set(
        "to of from with at into onto for by about like between against without until on in"
    ),
    "auxiliaries": _set(
        "am are is was were be been will would can could should shall may might must have has had do does did"
    ),
    "subjects": _set("i he she we they"),
    "joints": _set("so while since as"),
}
# Complete although their last word stands above.
WHOLE_ENDINGS = (
    *("think so", "hope so", "guess so", "said so", "told you so", "is that so", "why so", "so so"),
    *("come on", "go on", "going on", "hold on", "move on", "carry on", "turn it on", "come in", "log in"),
    *("count me in", "what for", "of course i do", "of course i am", "i know i am", "here we are"),
    *("who am i", "where are we", "where was i", "how are we", "so do i", "so am i", "neither do i"),
)
# Whole when nothing else is said: nobody should have to wait for "stop".
ANSWERS = _set(
    "yes yeah yep yup no nope nah okay ok alright sure fine exactly correct really maybe "
    "stop quiet enough thanks again continue nevermind never always absolutely definitely whatever"
) | {"thank you", "thanks a lot", "never mind", "of course", "not really", "not yet", "shut up", "be quiet"}
_YES_I_DO = re.compile(
    r"(?:yes|yeah|yep|no|nope|sure|oh)? ?(?:i|you|he|she|it|we|they) "
    r"(?:am|are|is|was|were|will|would|can|could|should|have|has|had|do|does|did)"
)
# "so i think", "that was really": mostly something follows, although the last word ends many a sentence.
_BEGINS = re.compile(
    r"(?:(?:^|\b(?:and|but|so|because|now|well|um|uh|er|okay|ok|yeah|yes|no) )"
    r"i (?:think|mean|guess|feel|hope|wish|want|like|love)"
    r"|\b(?:am|are|is|was|were|i'm|you're|it's|that's|we're) (?:really|so|just|too))$"
)
_ASKING = _set("what who whom where what's who's where's")  # "what are you looking at"
_ONLY_OPENERS = _set("well so like and but or because")  # alone, they announce more

_CLOSERS = "\"'”’»)]}」』）*_ \t\n"
_GOES_ON = re.compile(r"(?:\.\.+|…|[,;:、，；：،–—-])$")
_ASKS = re.compile(r"[?!？！؟]$")
_STOPS = re.compile(r"[.。．।]$")
_SHORTENED = re.compile(r"\b(?:mr|mrs|ms|dr|prof|st|vs|e\.g|i\.e)\.$", re.IGNORECASE)
_WORD = re.compile(r"[\w']+")


def completeness(text: str, language: str = "en") -> Completeness:
    """Tell whether `text`, the words of an utterance up to now, reads as if its speaker were done.

    language: a code such as "en"; "auto" or "" for one that is not known, which is read as English.
    """
    said = text.rstrip(_CLOSERS)
    english = language.partition("-")[0].lower() in ("", "en", "auto")
    if not said:
        return "open"
    if _GOES_ON.search(said) or (english and _SHORTENED.search(said)):
        return "unfinished"
    if _ASKS.search(said):
        return "finished"
    stopped = bool(_STOPS.search(said))
    if english:
        return _english(_WORD.findall(said.lower().replace("’", "'")), stopped)
    return "finished" if stopped else "open"


def _english(words: list[str], stopped: bool) -> Completeness:
    if not words:
        return "open"
    plain = " ".join(words)
    if _in(NEVER_LAST, words[-1]) or plain in _ONLY_OPENERS:
        return "unfinished"
    if plain in ANSWERS:
        return "finished"
    if _leads_on(words, plain):
        return "open" if stopped else "unfinished"
    alone = len(words) == 1  # a name, "wait": recognisers set a full stop after any lone word
    return "finished" if stopped and not alone else "open"


def _leads_on(words: list[str], plain: str) -> bool:
    if _BEGINS.search(plain):
        return True
    if not _in(SELDOM_LAST, words[-1]) or _ends_whole(plain) or _YES_I_DO.fullmatch(plain):
        return False
    return not any(word in _ASKING for word in words[:-3])  # "where is" alone goes on


def _in(table: dict[str, frozenset[str]], word: str) -> bool:
    return any(word in words for words in table.values())


def _ends_whole(plain: str) -> bool:
    return any(plain == ending or plain.endswith(f" {ending}") for ending in WHOLE_ENDINGS)
