"""What is written but never said: thoughts, code, tags, actions, addresses, emotes and smileys.

Every repetition below is bounded or cannot overlap with what follows it, so that no text, however hostile,
takes more than time in proportion to its length.
"""

import re

# Twitch emotes by how they are said; "" is silent. The lower-case spelling of the same letters is a word.
EMOTES = {
    **dict.fromkeys(
        ["LUL", "LULW", "OMEGALUL", "KEKW", "Kappa", "Keepo", "ICANT", "PepeLaugh", "BibleThump"], ""
    ),
    **dict.fromkeys(
        ["monkaS", "monkaW", "PepeHands", "WutFace", "catJAM", "peepoClap", "DansGame", "SeemsGood"], ""
    ),
    **dict.fromkeys(["widepeepoHappy", "peepoHappy", "VoHiYo", "TwitchUnity", "GlitchCat", "BloodTrail"], ""),
    "PogChamp": "Pog",
    "PogU": "Pog",
    "FeelsBadMan": "feels bad man",
    "FeelsGoodMan": "feels good man",
    "FeelsStrongMan": "feels strong man",
    "NotLikeThis": "not like this",
    "HeyGuys": "hey guys",
    "ResidentSleeper": "so sleepy",
    "HypeTrain": "hype train",
    "Sadge": "sad",
}

_THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.IGNORECASE | re.ASCII | re.DOTALL)
_CODE_BLOCK = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_LINK = re.compile(r"!?\[([^\[\]\n]{0,200})\]\([^()\n]{0,400}\)")
_TAG = re.compile(r"</?[A-Za-z][\w:-]{0,30}(?:\s[^<>]{0,100}=[^<>]{0,100})?\s?/?>")
_LINE_START = re.compile(r"^[ \t]{0,3}(?:#{1,6}[ \t]|>[ \t]?|[-*+•][ \t])", re.MULTILINE)
_EMPHASIS = re.compile(r"\*{2,}|~~+|`+")
_ACTION = re.compile(r"(?<![\w*])\*(?=[^\s*])[^*\n]{1,120}(?<!\s)\*(?!\w)")
_STAGE_TAG = re.compile(r"\[/?[a-z]{1,24}(?:[ _-][a-z]{1,24})?\]")

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+", re.ASCII)
_URL = re.compile(r"\b(?:[a-z][a-z0-9+.-]{1,10}://|www\.)[^\s<>\"]+", re.IGNORECASE | re.ASCII)
_HOST = re.compile(
    r"(?:\w+://)?(?:[^/@]*@)?(?:www\.)?([a-z0-9-]{1,40}(?:\.[a-z0-9-]{1,40}){1,3})(?![\w.-])",
    re.IGNORECASE | re.ASCII,
)
_SITES = "com net org io tv gg dev app ai co uk us de fr jp xyz info edu gov live"
_FILES = "py js ts exe txt json png jpg gif wav mp3 mp4 zip html pdf md toml"
_DOTTED = re.compile(
    rf"(?<![\w.@-])((?:[\w-]{{1,40}}\.){{1,4}}(?:{'|'.join((_SITES + ' ' + _FILES).split())}))"
    r"(?![\w-]|\.\w)(?:/[^\s,!?;]*)?",
    re.IGNORECASE | re.ASCII,
)
_MENTION = re.compile(r"(?<![\w@])@(\w+)")
_HASHTAG = re.compile(r"(?<![\w#])#(\w+)")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")

_EMOTE = re.compile(rf"(?<![^\W\d_])(?:{'|'.join(EMOTES)})(?![^\W\d_])")
_FACE = re.compile(r"¯?\\?_+\(ツ\)_+/?¯?|\([^()\w]{0,4}°[^()]{0,6}°[^()]{0,2}\)")
_SMILEY = re.compile(
    r"""[:;=]['^-]?[()]+(?!\w)                             # :) ;-( =)) also right after a word
    | (?<![\w:;=])(?:
          [:;=]['^-]?([DPpOoSsXxCc/\\|*$>])\1{0,5} | :-?3  # :D :PP :/ :3
        | [xX][dD]+ | <3+ | </3+                           # xD <3
        | [oO0]_+[oO0] | T_+T | ;_+; | >[_.]+< | \^[_.]*\^ | -_+-
      )(?!\w)""",
    re.VERBOSE,
)
_SPECIAL = re.compile(r"[^A-Za-z\s,!?'.-]|\.\w|[xX][dD]|T_|www")


def audible(text: str) -> str:
    """Return `text` without what is never said; numbers, abbreviations and punctuation stay as written.

    A link's address is shortened to its site, a name loses its @ and a topic its #.
    """
    if _SPECIAL.search(text):  # most sentences have nothing of all this
        text = _without_markup(text)
        text = _with_short_addresses(text)
        text = _SMILEY.sub(" ", text).replace("_", " ")
    return _EMOTE.sub(lambda emote: EMOTES[emote[0]], text)


def without_faces(text: str) -> str:
    """Return `text` without faces drawn in letters of other scripts, which are no words there."""
    return _FACE.sub(" ", text)


def _without_markup(text: str) -> str:
    text = _CODE_BLOCK.sub(" ", _THOUGHT.sub(" ", text))
    text = _TAG.sub(" ", _LINK.sub(r"\1", text))
    text = _EMPHASIS.sub("", _LINE_START.sub("", text))
    return _STAGE_TAG.sub(" ", _ACTION.sub(" ", text))


def _with_short_addresses(text: str) -> str:
    text = _EMAIL.sub("an email address", text)  # whose it is, is nobody's business on a stream
    text = _URL.sub(_link, text)
    text = _DOTTED.sub(lambda name: name[1].replace(".", " dot "), text)
    text = _MENTION.sub(_name, text)
    return _HASHTAG.sub(lambda topic: _topic(topic[1]), text)


def _link(url: re.Match[str]) -> str:
    address = url[0].rstrip(".,!?;:)'*]")
    host = _HOST.match(address)
    site = f"a link to {host[1].replace('.', ' dot ')}" if host else "a link"
    return site + url[0][len(address) :]


def _name(mention: re.Match[str]) -> str:
    name = mention[1].replace("_", " ").strip()
    return name.rstrip("0123456789").rstrip() or name


def _topic(tag: str) -> str:
    return f"number {tag}" if tag.isdigit() else _HUMP.sub(" ", tag.replace("_", " "))
