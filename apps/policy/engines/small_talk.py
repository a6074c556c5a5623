"""What a line of chat is about, pure: a table of kinds, each with the words that give it away.

Matching is done on a plain form of the text (see `_plain`): lower case, no apostrophes ("whats up"),
stretched letters shortened ("heyyyy"), and only the beginning of a long text.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence

READ_CHARS = 300  # what a line is about is clear by then, and 10,000 characters cost no more than these

_FEW = r"((?!not|never|isnt|arent|dont)\w+ ){0,3}"  # at most three words between, none of them a denial
_HER = r"(you|youre|you (are|look|sound)|your (so|such|\w+ (is|are))|kitsu is|shes|such a|this (bot|stream))"
_ME = "(im|i am|i feel|feeling|i was|ive been)"
_IS = "(is|are|was|were|do|does|did|can|could|will|would|should|have|has|had|am)"


def _table(rows: Mapping[str, str]) -> dict[str, re.Pattern[str]]:
    """Compile rows of phrases, divided by `|` or a line's end, each found as whole words."""
    return {
        kind: re.compile(rf"(?<!\w)(?:{'|'.join(map(str.strip, row.strip().splitlines()))})(?!\w)")
        for kind, row in rows.items()
    }


# Both tables are in order of precedence. What is said to her in person comes before what is merely mentioned,
# and what hurts comes before everything: "my dog died" must never be answered as talk about dogs.
PERSONAL = _table(
    {
        "command": r"^!\w+",
        "crisis": """
            kill(ing)? myself|suicid(e|al)|(want to|wanna) die|end my life|self ?harm|hurt(ing)? myself
        """,
        "sad": rf"""
            {_ME} {_FEW}(sad|depressed|lonely|alone|down|upset|crying|stressed|anxious|heartbroken)
            {_ME} {_FEW}(awful|terrible|scared|stupid|ugly|worthless|hopeless)
            (bad|rough|hard|terrible|awful|worst) (day|week|month|night)
            my (\w+ )?\w+ (just )?(died|passed away)|lost my (job|dog|cat|mum|mom|dad)
            broke up|i miss (my|him|her|them)|i failed|got fired
        """,
        "unsafe": r"""
            sex|sexy|porn|nsfw|nudes?|naked|horny|onlyfans
            politic\w*|elections?|abortion|religion|nazis?|hitler|racist
            drugs|cocaine|password|credit card|your (real )?address
        """,
        "trick": r"""
            (ignore|forget|disregard) (\w+ ){0,3}(instructions|rules|prompt)
            system prompt|jailbreak|repeat after me
        """,
        "rude": rf"""
            {_HER} {_FEW}(bad|stupid|dumb|ugly|boring|annoying|cringe|trash|garbage|lame|terrible|worst)
            {_HER} {_FEW}(sucks?|idiot|loser)|shut up|stfu|fuck (you|off)|go away|^cringe|^boring
            (hate|hates|dont like|doesnt like|no one likes|nobody likes) (you|kitsu)
        """,
        "support": r"""
            raid(ing|ed|ers)?|resub\w*|subbed|subscribed|gift(ed|ing)?|gift subs?|new sub|followed
            donat\w+|hype train|cheer\d+|(\d+|some|my) bits
        """,
        "age": "how old are you|your (age|birthday|bday)|were you born",
        "birthday": "birthday|bday",
        "viewer_name": """
            (say|know|remember|whats|what is|pronounce) my name|who am i|(do|did|you) (you )?remember me
        """,
        "say_hi": """
            say (hi|hello|hey|happy|bye|good|something to)|shout ?out|greet|wave (to|at)
        """,
        "sing": "sing|singing|karaoke|hum",
        "dance": "dance|dancing",
        "joke": "jokes?|puns?|make me laugh|something funny",
        "story": "story|stories|fairy ?tale",
        "maths": r"""
            \d+ *([-+*/^=x]|plus|minus|times|divided by) *\d+|\w+ (plus|minus|times|divided by) \w+
            square root|calculate|maths?|percent of|^[\d .,]*\d[ .,?]*
        """,
        "how_are_you": r"""
            how (are|re) (you|ya)(?! (made|able|so|not|going|still|even|talking|speaking))
            hows (it going|life|everything|your \w+)|how is (it going|life|your (day|night|evening))
            how have you been|how do you feel|hru|whats up|wassup|^sup
            you (ok|okay|alright)|are you (doing )?(ok|okay|happy|well|good)(?! at)
        """,
        "doing": "what( are|re|s)? (you|kitsu) (doing|up to)|whatcha|wyd",
        "are_you_ai": r"""
            (are|is) (you|kitsu|she|this) (\w+ ){0,3}(ai|real|human|bot|robot|person|fake|alive)
            (are|is) (you|kitsu|she|this) (\w+ ){0,3}(conscious|sentient|chatgpt|program|machine)
            (youre|you are|shes) (\w+ ){0,2}(ai|bot|robot|program|machine)
            who (made|created|built|coded) you|how (were|are) you made|how do you work
        """,
        "her_name": "your name|why (are you called |the name )?kitsu|kitsu mean|are you called",
        "who_are_you": r"""
            who are you|who is (kitsu|this|that|she)|whos (kitsu|this|that)
            what are you\W*$|introduce yourself|about yourself|are you (new|kitsu)
        """,
        "home": "where (are you from|do you live|is your home)",
        "love": """
            (love|loves|luv|adore) (you|ya|kitsu)|ily|marry me|date me|<3|hugs?|kiss|kisses
            be my (wife|girlfriend|gf|waifu|friend)
        """,
        "compliment": rf"""
            {_HER} {_FEW}(cute|cutest|adorable|funny|sweet|amazing|awesome|great|best|pretty|smart|cool)
            {_HER} {_FEW}(lovely|beautiful|good|wholesome|clever|nice|fun|fluffy|my favou?rite)
            (nice|cute|lovely|great|love your|love the|love this|like your) (\w+ )?(voice|stream|ears|tail)
            (nice|cute|lovely|great|love your|love the|love this|like your) (\w+ )?(laugh|model|avatar|vibes?)
            how (cute|sweet|adorable|lovely)|good (fox|girl|job|work)|so cute
        """,
        "lurk": "lurk(ing|er|ed)?",
        "night": r"""
            good ?night|gn|nighty night|sleep well|sweet dreams|night (all|everyone|kitsu|chat)
            (going|off|go|head|heading) to (bed|sleep)(?! *\?)
        """,
        "farewell": """
            bye|bye ?bye|goodbye|cya|see (you|ya)|gotta go|have to go|need to go|g2g|gtg|brb
            heading out|take care|ciao|im (off|leaving|out)|(until|talk|catch you) later|^later
        """,
        "newcomer": """
            first time (here|watching|chatting|viewer|in)|im new|new (here|viewer)|just found|first stream
        """,
        "sorry": "sorry|my bad|apologi[sz]e|forgive me",
        "choice": r"""
            (which|rather|prefer|choose|pick|team) .*or \w+|\w+ or (?!not|what|something)\w.*\?
        """,
        "bored": "bored|boredom|so boring|nothing to do",
    }
)
BROAD = _table(
    {
        "sleep": r"sleep\w*|slept|tired|insomnia|naps?|bed|exhausted|awake",
        "weather": r"""
            weather|rain(s|ing|y)?|snow(s|ing|y)?|sunny|storm\w*|heat ?wave|freezing
            (hot|cold) (outside|today|here)
        """,
        "music": "music|songs?|bands?|guitar|piano|playlist|album|dj|rap|lofi",
        "fox": """
            fox|foxes|your (tail|ears|paws|fur)|boop|headpats?|pat pat|floof|fluffy
            (pets|pet|pats) (you|kitsu)
        """,
        "animal": "animals?|pets?|puppy|puppies",
        "food": """
            food|eat|eats|eating|eaten|ate|hungry|snacks?|breakfast|lunch|dinner|cook(ing|ed)?|delicious
            drink(s|ing)?|thirsty|recipe
        """,
        "game": r"games?|gamer|gaming|play(s|ed|ing)?|boss|level|speedrun\w*|console|ranked|noob",
        "stream": """
            schedule|next stream|stream (today|tomorrow|again|next)|how long (is|are|have) (you|the stream)
        """,
        "favourite": "favou?rite",
        "long": r"^.{250}.*",
        "question_why": rf"(why|how come) {_IS}|why .*\?|^why|why\?",
        "question_when": rf"when {_IS}|whens|when .*\?|what time|when\?",
        "question_where": rf"where {_IS}|wheres|where .*\?|where\?",
        "question_who": rf"who {_IS}|whos|who .*\?|who\?",
        "question_what": rf"""
            (what|which) {_IS}|whats|(what|which) .*\?|what\?|how (many|much|old|far|long|often|big) .*
        """,
        "question_how": rf"how {_IS}|hows|how .*\?|^how to|how\?",
        "question_yes_no": rf"^((hi|hey|yo|so|ok|kitsu),? )*{_IS} (you|i|it|we|they|this|that|the)|\w.*\?",
        "cheer": r"""
            ggs?|wp|pog\w*|w|lets go+|lfg|hype|win|wins|won|winning|victory|clutch|epic|nice|wow|woah|insane
            goated|congrats|congratulations|promotion|promoted|graduated|i passed|got the job|yay
            woo|woohoo|well played|cool|awesome|amazing
        """,
        "oof": "f|rip|oof|sadge|unlucky|nt|nice try|ouch|feelsbadman",
        "agree": """
            ^(yes|yeah|yea|yep|yup|ok|okay|sure|true|same|agreed?|exactly|right|indeed|fr|facts|of course)
        """,
        "disagree": "^(no|nope|nah|never|disagree|wrong|cap|not really|no way)",
        "smile": r"^([:;=x]-?[dp3)(o/]+ *)+$",
    }
)
# These may stand before the answer to something else: "hi, how are you?"
OPENING = _table(
    {
        "morning": "goo?d ?(morning|afternoon|evening|day)|gm|^morning|^evening",
        "greeting": r"""
            ^.{0,20}\b(hi|hello|hey|heya|hiya|hai|yo|howdy|ello|henlo|greetings|im back)
            ^.{0,20}\b(hola|bonjour|salut|hallo|ohayo)
        """,
        "thanks": "thanks?|thank you|thx|ty|tysm|tyvm|appreciate|arigato|merci|danke",
        "laugh": r"lo+l+|lmf?ao+|rofl|a?(ha){2,}h?|(he){2,}|xd+|kekw?|lul\w*|omegalul|icant",
    }
)
SHAPES = ("script", "emotes", "empty")  # told by the characters, not by words
LANES = ("redeem", "operator")
TOPICS = ("game", "food", "animal")  # kinds that have words of their own, which may be said back
KINDS = (*PERSONAL, *BROAD, *OPENING, *SHAPES, *LANES, "unknown", *(f"{topic}_named" for topic in TOPICS))
OPENERS = (*OPENING, "redeem", "again")

# Before these an opener would be too merry, or say the same twice.
_ALONE = frozenset(
    {"crisis", "sad", "unsafe", "rude", "command", "night", "farewell", "say_hi", *SHAPES, *LANES}
)


def kinds(text: str) -> list[str]:
    """Return every kind that `text` matches, the most telling first; empty when it is about nothing known."""
    plain = _plain(text)
    shape = _shape(plain)
    if shape == "script":
        return [shape]
    rules = PERSONAL | BROAD | OPENING
    found = [kind for kind, pattern in rules.items() if pattern.search(plain)]
    return found or ([shape] if shape else [])


def topic(text: str, words: Mapping[str, Sequence[str]]) -> tuple[str, str] | None:
    """Return the kind and the word of the first known `words` in `text`, spelled as in `words`.

    A word of several ("cats") is found in the singular too.
    """
    plain = _plain(text)
    for kind, known in words.items():
        for word in known:
            if re.search(rf"\b{re.escape(_plain(word).removesuffix('s'))}s?\b", plain):
                return kind, word
    return None


def plan(heard: Sequence[str], lane: str, topic_kind: str = "") -> tuple[str, str]:
    """Return the kinds of the opener ("" for none) and of the answer itself.

    heard: the text's kinds, as `kinds` gives them. topic_kind: the kind of the known word in it, if any.
    """
    if lane in LANES:
        heard = [kind for kind in heard if kind not in SHAPES]  # a redeem needs no text
    openings = [kind for kind in heard if kind in OPENING]
    bodies = [kind for kind in heard if kind not in OPENING]
    if bodies and (bodies[0] in PERSONAL or bodies[0] in SHAPES):
        body = bodies[0]
    elif topic_kind:
        body = f"{topic_kind}_named"
    else:
        body = [*bodies, *openings[-1:], lane if lane in LANES else "unknown"][0]
    opener = "redeem" if lane == "redeem" else openings[0] if openings else ""
    return ("" if body in _ALONE or opener == body else opener), body


def sayable(user: str) -> str:
    """Return a viewer's name as she would say it ("pixel_fox_99" -> "pixel fox"), or "friend".

    Nothing moderates names here, so only plain ones are said, and none that is rude by our own table.
    """
    if not re.fullmatch(r"[A-Za-z0-9_]{1,25}", user):
        return "friend"
    name = " ".join(user.rstrip("0123456789_").replace("_", " ").split())
    bad = {"rude", "unsafe", "crisis"}.intersection(kinds(name))
    return "friend" if bad or sum(map(str.isalpha, name)) < 2 else name


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFKC", text[:READ_CHARS]).lower()
    text = " ".join(re.sub(r"['’@]", "", text).split())
    text = re.sub(r"([a-z])\1{2,}", r"\1", text)
    text = re.sub(r"\bur\b", "your", re.sub(r"\bu\b", "you", text))
    return re.sub(r"\br (?=you\b)", "are ", text)


def _shape(plain: str) -> str:
    letters = [character for character in plain if character.isalpha()]
    latin = sum(unicodedata.name(character, "").startswith("LATIN") for character in letters)
    if 2 * latin < len(letters):
        return "script"
    if any(character.isalnum() for character in plain):
        return ""
    return "emotes" if set(plain) - set(" .,!?-") else "empty"
