"""What the bench's model says."""

import re

_TOKEN = re.compile(r" ?[\w']+|[^\w\s]")


def tokens(text: str) -> list[str]:
    """Split a text about as a language model's tokeniser does: words with their space, marks alone."""
    return _TOKEN.findall(text)


# The reply that the floor's arithmetic (558 ms to the first audio) is about: its first sentence has 47
# characters and is complete 12 tokens after the first token; the whole has 64 tokens.
FIRST_CLAUSE = "Oh hello there,"
FIXED = tokens(
    f"{FIRST_CLAUSE} it is so good to see you again."
    " I was only pretending to nap behind that old blue sofa."
    " Chat has been plotting something sneaky with me all evening."
    " Somebody promised me snacks if we win this one tonight, and I do not forget."
    " So grab a blanket and tell me all about it."
)

# 200 tokens in as many sentences as a persona may say: a longer reply would be ended by us, not by the floor.
LONG = tokens(
    f"{FIRST_CLAUSE} it is so good to see you again."
    + 4
    * (
        " I was only pretending to nap behind that old blue sofa, somebody promised me snacks if we win"
        " tonight, and chat has been plotting something sneaky, so I do not forget."
    )
    + " So grab a blanket and tell me all about it, friend, because that, my chat, is more or less, as far as"
    " I know, the whole story, again, of the fox, the sofa, and the snacks."
)

# What she might say in a chat: short and long openers, lists, dashes, and some without any comma.
CORPUS = [
    tokens(text)
    for text in (
        "Hi mika, I missed you! Did the dragon finally drop that shield?",
        "No way. You beat the water temple in under ten minutes and did not even save once?",
        "I would never steal a sandwich from the streamer while everybody is watching.",
        "Okay so here is the plan: we sneak past the guards, grab the lantern, and run like foxes do.",
        "Honestly, that jump looked impossible. I closed both eyes and hoped for the best.",
        "My tail got caught in the loading screen again and nobody in this chat came to help me.",
        "Well, well, well. Look who finally remembered that I exist.",
        "That is a lovely question! I think the moon is mostly cheese, a little bit of dust, and one rabbit.",
        "Please stop feeding the slimes because they follow me home every single time.",
        "Yes! Do it again.",
        "If we win this round, I get to pick the next game, and you cannot complain about it. Deal?",
        "The secret ingredient is patience. The other secret ingredient is a truly silly amount of butter.",
        "Hmm, let me think about that one - no, I still believe the penguin did it.",
        "I counted every mushroom on this map and there are exactly none.",
        "Careful, there is a mimic behind that door. I can smell old wood and very bad intentions.",
        "You know what they say about foxes, right? We are clever, we are quick, and we nap where we like.",
        "Good night to everybody who has to leave, and thank you for all of the kind words tonight!",
        "Three hearts left and no potions and a boss with two swords. This is fine.",
        "Somebody in chat told me that sharks are older than trees, and now I cannot stop thinking about it.",
        "We should build a tiny house for the frog. It has had a difficult week and it deserves a window.",
    )
]
