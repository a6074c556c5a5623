import pytest

from apps.asr_worker.engines.whisper_prompt import echoes, prompt, sounds_alike

NAMES = ("Kitsu", "Hollow Knight", "the red sword", "Kappa")


def letters(text: str) -> list[int]:
    """A token for every letter."""
    return [ord(letter) for letter in text]


@pytest.mark.parametrize(
    ("names", "most_tokens", "text"),
    [
        (NAMES, 100, " Kitsu, Hollow Knight, the red sword, Kappa."),
        (NAMES, 22, " Kitsu, Hollow Knight."),
        # one that is too long leaves its place to the next
        (NAMES, 15, " Kitsu, Kappa."),
        (("Kitsu", " Kitsu ", "Hollow  \n Knight", "", " "), 100, " Kitsu, Hollow Knight."),
        (("x" * 200,), 100, ""),
        ((), 100, ""),
    ],
)
def test_as_many_names_as_fit(names, most_tokens, text):
    """The first names are the most important; they are written like a sentence, each once."""
    assert prompt(names, letters, most_tokens) == letters(text)


@pytest.mark.parametrize(
    ("text", "echo"),
    [
        ("Kitsu, Hollow Knight.", True),
        ("Kappa Kappa Kappa", True),
        ("hollow knight, the RED sword", True),
        ("Kitsu!", False),
        ("Hollow Knight", False),
        ("Hey Kitsu, Hollow Knight.", False),
        ("Kitsu, Hollow", False),
        ("...", False),
        ("", False),
    ],
)
def test_an_echo_is_names_and_nothing_else(text, echo):
    """Two or more of the names, and no word beside them; one name alone may well be called."""
    assert echoes(text, NAMES) is echo


def test_no_names_no_echo():
    """What consists of punctuation names nothing."""
    assert not echoes("well well", ("", "?!"))


@pytest.mark.parametrize(
    ("text", "other", "alike"),
    [
        ("Kitsu, Kappa", "Kit soup cap up", True),
        ("Kitsu, Hollow Knight", "Kids who hollow night", True),
        ("Kitsu, Kappa", "Thanks for watching!", False),
        ("Kitsu, Kappa", "you", False),
        ("Kitsu, Kappa", "", False),
    ],
)
def test_the_same_sound_written_differently(text, other, alike):
    """A name that was said is spelled otherwise without the list, but much alike."""
    assert sounds_alike(text, other) is alike
