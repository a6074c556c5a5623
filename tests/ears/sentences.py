"""What the streamer says to Kitsu in a show: the few words that the model knows, and how they go together."""

import random
import re
from collections.abc import Iterator, Sequence
from zlib import crc32


def words_of(listed: str) -> tuple[str, ...]:
    """Return words that were written with spaces between them."""
    return tuple(listed.split())


# Each list holds alternatives; a name in capitals stands for one of that list. What ends without a mark is
# not over yet. Commas are pauses: they are said, but the model does not write them.
GRAMMAR = {
    "QUESTION": """
        what do you think about THING?; what do you think about THING?; what do you think?;
        what do you think kitsu?; how are you?; how are you today?; where is THING?; where are we?;
        who is that?; who are you?; who was that?; why was that so ADJECTIVE?; why do you like THING?;
        why are we here?; when do we start?; when do we DO?; what is your favorite KIND?;
        what is your name?; what is my name?; do you like THING?; do you love THING?; do you want to DO?;
        do you want a snack?; can you help me with THING?; can you sing a song?; can you tell me a joke?;
        should we DO?; should i DO?; should we go WAY?; are you okay?; are you ready?; are you a fox?;
        is THING ADJECTIVE?; how was THING?; was that fun?; was that ADJECTIVE?; what is that?; why not?;
        what now?; are we there?; how low is my health?; who is the boss?; is that your song?;
        do we go WAY?; did we win?; did you do that?
    """,
    "ORDER": """
        switch to the SCENE scene.; switch to the SCENE scene please.; please switch to the SCENE scene.;
        switch scene.; please be quiet.; be quiet.; quiet please.; stop.; stop it.; stop that.;
        please stop.; stop the music.; wait.; wait here.; wait NUMBER minutes.; go WAY.; go WAY.; run.;
        run WAY.; run away.; play a song.; play that song again.; play my favorite song.; play the music.;
        tell me a joke.; tell me about THING.; tell chat about THING.; help me with THING.; help me.;
        look at THING.; say hello to chat.; say hi to chat.; count to NUMBER.; play it again.;
        start the game.; please play NUMBER songs.; start THING.; tell me your name.; sing your song.;
        do it again.; go back.; never mind.; thanks chat.; thanks kitsu.; good game.;
        tell me NUMBER jokes.; look at chat.
    """,
    "CLAUSE": """
        my health is low; my health is really low; my health is NUMBER; THING is ADJECTIVE;
        THING is really ADJECTIVE; THING was ADJECTIVE; THING was so ADJECTIVE; i love THING;
        i like THING; i really love THING; i really like THING; i want THING; i want to DO; we want to DO;
        that was ADJECTIVE; that was really ADJECTIVE; that was so fun; that was fun; this is fun;
        i am okay; i am ready; we have NUMBER minutes; i have NUMBER songs; we go WAY; i go WAY;
        i think THING is ADJECTIVE; i think we should DO; i think we should go WAY;
        i think that was ADJECTIVE; we should DO; we should go WAY; this is my favorite KIND;
        that is my favorite KIND; we did it; i did it again; we can win this; i can help you with THING;
        you are really ADJECTIVE; you are my favorite fox; chat is really ADJECTIVE; chat is quiet today;
        the boss is on the WAY_NAME; i am on stream; we stream again today; kitsu is a fox;
        kitsu is really ADJECTIVE; i like gaming; gaming is fun; there is the boss;
        the boss has NUMBER health; it is not ADJECTIVE; i am low on health; we are live
    """,
    "THING": """
        the boss; the boss; the new boss; the game; this game; this map; the map; the next level;
        this level; the music; that song; this song; your song; my health; the stream; the scene; chat;
        it; this; that; the big fox; your name; a snack; gaming; the red sword; the blue dragon; my sword;
        the dragon; the camera
    """,
    "ADJECTIVE": """
        good; bad; nice; fun; big; new; low; okay; quiet; red; blue; ready; good; really good
    """,
    "KIND": "game; song; snack; boss; map; scene; level; color; sword; joke",
    "SCENE": "game; music; chat; gaming; camera; next; new; big; boss",
    "WAY": """
        left; right; back; left again; right now; to the boss; there; left; right; back to the map
    """,
    "WAY_NAME": "left; right; map",
    "DO": """
        stop; wait; run; play; play again; go back; fight the boss; play a song; switch the scene;
        look at the map; run left; run right; start again; fight again; help the fox;
        go to the next level; say hi; eat a snack
    """,
    "NUMBER": "one; two; three; four; five; six; seven; eight; nine; ten",
    "LINK": "and; but; so; because; and",
    "FILLER": "um; uh; okay; so; yes; no; wait; hey; but; and",
    "CALL": """
        kitsu; hey kitsu; hello kitsu; okay kitsu; hi kitsu; hi chat; hello chat; okay chat; um; uh; no;
        yes; so
    """,
    "ALONE": """
        kitsu.; kitsu?; stop.; yes.; no.; wait.; okay.; hello.; hi.; hey.; thanks.; nice.; really?; run.;
        quiet.; why?; what?; who?; where?; when?; again.; please.; left.; right.; good.; NUMBER.; um; uh;
        so; but; and
    """,
    "WHOLE": """
        QUESTION; QUESTION; QUESTION; ORDER; ORDER; CLAUSE.; CLAUSE.; CLAUSE LINK CLAUSE.;
        CLAUSE, LINK CLAUSE.; CLAUSE, LINK QUESTION; CALL, QUESTION; CALL, ORDER; CALL, CLAUSE.;
        hey kitsu, QUESTION; kitsu, ORDER; hello kitsu, QUESTION; ORDER; CALL, ORDER
    """,
    "PAIR": """
        CLAUSE. QUESTION; hello kitsu. QUESTION; ORDER QUESTION; CLAUSE. ORDER; thanks chat. CLAUSE.;
        CLAUSE. CLAUSE.; hi chat. CLAUSE.; stop. ORDER; wait. QUESTION; yes. CLAUSE.; no. CLAUSE.;
        ORDER ORDER
    """,
    "LOOSE_END": """
        LINK; LINK um; FILLER; um; and uh; but i; so i think; and i think the; because the; and we; so um;
        but um
    """,
}

VOCABULARY = words_of("""
a about again am and are at away back bad be because big blue boss but camera can chat color count did
do dragon eat eight favorite fight five four fox fun game gaming go good has have health hello help here
hey hi how i is it joke jokes kitsu left level like live look love low map me mind minutes music my name
never new next nice nine no not now okay on one play please quiet ready really red right run say scene
seven should sing six snack so song songs start stop stream switch sword tell ten thanks that the there
think this three to today two uh um wait want was we what when where who why win with yes you your
""")

# Nothing that can be said ends with one of these.
OPEN_WORDS = frozenset(
    words_of(
        "a about and at because but has i is like love my on really should so the think to um uh we with your"
    )
)

# The others' tests lean on these; never taught, whatever the grammar makes.
HELD_OUT = (
    "hey kitsu, what do you think about the boss?",
    "what do you think about the game?",
    "my health is low, and the boss is really big.",
    "please switch to the game scene.",
    "switch to the chat scene please.",
    "kitsu, tell me a joke.",
    "what is your favorite snack?",
    "please be quiet.",
    "i think we should go to the next level.",
    "that was really fun.",
    "how are you today?",
    "hello kitsu, how are you?",
    "where is the blue dragon?",
    "can you help me with this map?",
    "i really love this song.",
    "count to seven.",
    "okay kitsu, play that song again.",
    "we should go back, because my health is low.",
    "thanks chat. that was so fun.",
    "should we go left?",
)

_ALTERNATIVES = {name: " ".join(listed.split()).split("; ") for name, listed in GRAMMAR.items()}
_NAME = re.compile(r"[A-Z_]+")
_MARKS = str.maketrans("", "", ",.?")
_HELD_OUT_OF = 8
_SHORTEST_HELD_OUT = 3  # words: of shorter ones there are too few to do without an eighth


def written(said: str) -> str:
    """Return a sentence as the model is to write it: without its pauses."""
    return said.replace(",", "")


def bare(said: str) -> str:
    """Return only the words."""
    return said.translate(_MARKS)


def is_held_out(said: str) -> bool:
    """Tell whether the model never learns this sentence, whatever its marks: one in eight."""
    words = bare(said)
    if len(words.split()) < _SHORTEST_HELD_OUT:
        return words in _HELD_OUT_WORDS
    return words in _HELD_OUT_WORDS or crc32(words.encode()) % _HELD_OUT_OF == 0


def taught_sentences(seed: int) -> Iterator[str]:
    """Yield what the model learns from, without end, the same for the same seed."""
    chance = random.Random(seed)
    while True:
        said = _any(chance)
        if not is_held_out(said):
            yield said


def held_out_sentences(count: int, seed: int) -> list[str]:
    """Return different finished sentences of 3 to 12 words that the model never learnt."""
    return _held_out(count, seed, ("WHOLE",))


def held_out_unfinished(count: int, seed: int) -> list[str]:
    """Return different beginnings of sentences ("so i think we should go to the"), never learnt."""
    return _held_out(count, seed, ())


def _held_out(count: int, seed: int, starts: Sequence[str]) -> list[str]:
    chance = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        said = _expand(chance, chance.choice(starts)) if starts else _unfinished(chance)
        if is_held_out(said) and _SHORTEST_HELD_OUT <= len(said.split()) <= 12:
            found[said] = None
    return list(found)


def _any(chance: random.Random) -> str:
    kind = chance.random()
    if kind < 0.12:
        return _expand(chance, "ALONE")
    if kind < 0.24:
        return _unfinished(chance)
    if kind > 0.93:  # so that it listens, and does not only guess what usually comes next
        return " ".join(chance.choices(VOCABULARY, k=chance.randint(2, 6)))
    return _expand(chance, "PAIR" if kind < 0.36 else "WHOLE")


def _unfinished(chance: random.Random) -> str:
    """Break a sentence off after a word that none ends with, or add the beginning of more."""
    words = _expand(chance, "WHOLE").rstrip(".?").split()
    ends = [place for place, word in enumerate(words[:-1], 1) if word in OPEN_WORDS]
    if ends and chance.random() < 0.6:
        return " ".join(words[: chance.choice(ends)])
    words = _expand(chance, "CLAUSE").split()
    pause = chance.choice(("", ","))
    return f"{' '.join(words)}{pause} {_expand(chance, 'LOOSE_END')}"


def _expand(chance: random.Random, name: str) -> str:
    return _NAME.sub(lambda found: _expand(chance, found.group()), chance.choice(_ALTERNATIVES[name]))


_HELD_OUT_WORDS = frozenset(map(bare, HELD_OUT))
