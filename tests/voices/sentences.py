"""What the teacher says: made-up remarks of a streamer, and others that are kept from the pupil."""

import random
from collections.abc import Iterator


def _items(listed: str) -> list[str]:
    return " ".join(listed.split()).split("; ")


def _words(listed: str) -> list[str]:
    return listed.split()


OPENERS = _items("""
oh; well; okay; wait; sorry; alright; honestly; listen; look; wow; thanks; actually; no way; yes; by the
way; hold on; good question; oh dear; to be fair
""")

WHO = _items("""
I; you; we; they; the chat; my friend; this boss; a tiny dragon; the old wizard; our mechanic; everyone
here; nobody; some treasure hunter; the vampire; that huge robot; her majesty; your little brother; the
judge; a hungry fox; the shopkeeper; my future self; the champion; a lovely stranger; that ghost; the
youngest singer; this strange machine; our third viewer; the whole village; a nervous knight
""")

DOES = _items("""
can hear; would never believe; just found; should measure; might enjoy; really wants; has broken; will
choose; almost threw away; must watch; cannot catch; was hiding; keeps asking about; used to own; finally
reached; could paint; is making; forgot; already knew; shall join; bought; carefully moved; heard; jumped
over; may refuse; thinks about; did not mean; clearly loves; wrote down; burned; cheered for; sings about;
sold; visited; pushed
""")

WHAT = _items("""
the music; a yellow key; three more levels; the usual route; an awful joke; my keyboard; that beautiful
garden; five thousand points; the mysterious tower; hot chocolate; the fourth round; a voice from below;
eight oranges; your birthday; the wrong bridge; sharp teeth; fresh bread; the chat window; good advice; an
umbrella; the river; the secret garage; two brown horses; half the village; another chance; zero mistakes;
the best picture; a smooth landing; the green jewel; enough sugar; every single coin; the northern gate;
some peace; a quick nap; nothing at all; the loudest thunder; the blue sword; a shiny shell; our favourite
film; the scoreboard; a box of fish; his shadow; cheese; the ocean; boots
""")

HOW = _items("""
right now; before breakfast; without a map; with both hands; in the third world; after the show; under the
bridge; for pure joy; because of the lag; near the fire; every Thursday; as usual; on the moon; again; very
slowly; at the edge of the world; in a moment; behind the wall; together; with pleasure; from here; through
the fog; once more; all day long; with a yawn; this year
""")

# Made-up words are put together from these. A few hundred real ones hold too few of the ways in which sounds
# follow each other, and lengths depend on the neighbours: errors in new words were three times as large.
BEGINNINGS = _words("""
b bl br c ch cl cr d dr f fl fr g gl gr h j k l m n p pl pr qu r s sc sh sk sl sm sn sp spr st str sw t th tr
tw v w wh y z
""")
MIDDLES = _words("a e i o u a e i o u ee oo ai ay ea ou ow oi au ie igh ar er or ur a-e i-e o-e")
ENDS = _words("b ck d ff g l ll m n ng p r s sh ss st t th x nd nt mp nk lt rd rt ks ve ze ch ge")
SUFFIXES = _words("y er ing ed s le ly ness tion ous ish able ment a o")

# By hand, and never taught.
HELD_OUT = (
    "Hello there, nice to meet you.",
    "The quick brown fox jumps over the lazy dog.",
    "Could somebody explain these rules to me?",
    "My health is low, and the castle is still far away.",
    "Welcome back, that was a long week!",
    "She sells sea shells by the shore.",
    "That was the worst plan we ever had.",
    "Please drink some water and stretch your legs.",
    "Seven purple balloons float above the harbour.",
    "I promise, tomorrow we play something else.",
    "Does anyone know where the exit is?",
    "The queen asked for a cup of warm milk.",
    "Good night, sleep well, and do not forget your homework.",
    "A giant spider just crawled across my screen!",
    "If it rains again, the picnic moves inside.",
    "This puzzle is harder than it looks.",
)


def remarks(seed: int) -> Iterator[str]:
    """Yield sentences without end, the same ones for the same seed; none of them is in HELD_OUT."""
    chance = random.Random(seed)
    while True:
        text = _clause(chance)
        if chance.random() < 0.12:
            text += f", {chance.choice(('and', 'but', 'so', 'because'))} {_clause(chance)}"
        if chance.random() < 0.2:
            text = f"{chance.choice(OPENERS)}, {text}"
        yield text[0].upper() + text[1:] + chance.choice("...!?")


def _clause(chance: random.Random) -> str:
    parts = [chance.choice(WHO), chance.choice(DOES), chance.choice(WHAT)]
    if chance.random() < 0.3:
        parts.append(chance.choice(HOW))
    if chance.random() < 0.2:
        parts = [chance.choice(WHAT)]
    if chance.random() < 0.12:
        parts.append(str(chance.randrange(2_000)))
    words = " ".join(parts).split()
    return " ".join(_made_up(chance) if chance.random() < 0.5 else word for word in words)


def _made_up(chance: random.Random) -> str:
    """Return a word that does not exist but can be read out: "sprish", "mowlt", "tarketion"."""
    word = ""
    for _ in range(chance.choice((1, 1, 2))):
        if chance.random() < 0.85:
            word += chance.choice(BEGINNINGS)
        middle, _, silent_e = chance.choice(MIDDLES).partition("-")
        word += middle
        if chance.random() < 0.7:
            word += chance.choice(ENDS)
        word += silent_e
    return word + chance.choice(SUFFIXES) if chance.random() < 0.4 else word
