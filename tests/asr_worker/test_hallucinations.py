import zlib

import pytest

from apps.asr_worker.hallucinations import refused
from apps.asr_worker.recogniser import Hypothesis


def heard(text: str, avg_logprob: float = -0.25, no_speech_prob: float = 0.02) -> Hypothesis:
    data = text.encode()
    ratio = len(data) / len(zlib.compress(data))
    return Hypothesis(text, (), avg_logprob, no_speech_prob, ratio)


@pytest.mark.parametrize(
    ("text", "avg_logprob", "no_speech_prob", "duration_s", "voiced_s"),
    [
        ("Hey Kitsu, what do you think about the new boss?", -0.25, 0.01, 3.2, 2.4),
        # shouted from afar, over the game
        ("Hey Kitsu, what do you think about the new boss?", -0.95, 0.35, 3.2, 2.4),
        # an unknown name is improbable, but somebody spoke
        ("Xandrovar the Unkempt.", -1.3, 0.2, 2.0, 1.3),
        # no_speech_prob is often high by mistake at the beginning of a stream
        ("Are you there?", -0.3, 0.85, 1.4, 0.8),
        ("Thank you.", -0.2, 0.03, 1.3, 0.55),
        ("Thank you so much for watching.", -0.22, 0.02, 2.4, 1.6),
        ("Bye!", -0.3, 0.05, 1.1, 0.35),
        ("Thank you for that.", -0.7, 0.1, 1.5, 0.8),
        ("you too", -0.6, 0.1, 1.0, 0.5),
        ("no no no no no", -0.3, 0.02, 2.1, 1.5),
        ("Let's go, let's go, let's go!", -0.3, 0.05, 2.0, 1.5),
        ("ha ha ha ha ha ha", -0.45, 0.1, 2.4, 1.6),
        # six words a second, as excited people speak
        ("oh my god oh my god did you see that he just jumped over it", -0.35, 0.02, 3.1, 2.3),
        # voice detection begins late and ends early
        ("what was that", -0.4, 0.05, 1.0, 0.22),
        ("今日はいい天気ですね", -0.3, 0.02, 2.0, 1.4),
        ("", -0.3, 0.9, 1.0, 0.1),
        ("...", -0.3, 0.2, 1.0, 0.1),
    ],
)
def test_what_was_said_passes(text, avg_logprob, no_speech_prob, duration_s, voiced_s):
    """Clear speech passes whatever it says, unclear speech unless it is a well-known hallucination."""
    assert refused(heard(text, avg_logprob, no_speech_prob), duration_s, voiced_s) == ""


@pytest.mark.parametrize(
    ("text", "avg_logprob", "no_speech_prob", "duration_s", "voiced_s", "code"),
    [
        ("I'm going to go to the bathroom.", -1.1, 0.75, 2.0, 0.9, "silence"),
        # our own small model, after a cough and over a fan
        ("uh", -0.63, 0.79, 2.0, 0.5, "silence"),
        ("i think that was okay.", -0.87, 0.85, 2.0, 0.4, "silence"),
        ("Mmm, the sea of the hid.", -1.6, 0.2, 2.5, 1.5, "improbable"),
        (" ".join(["and the"] * 40), -0.1, 0.02, 20.0, 18.0, "repeats"),
        ("la " * 30, -0.15, 0.1, 12.0, 11.0, "repeats"),
        ("I want to thank you all for coming here today", -0.4, 0.1, 1.4, 0.4, "too_fast"),
        ("one two three four five six seven eight nine", -0.2, 0.02, 1.0, 0.3, "too_fast"),
        ("no no no no no no no no", -0.8, 0.1, 4.0, 3.0, "loop"),
        ("so it is so it is so it is so it is good", -0.65, 0.1, 5.0, 4.0, "loop"),
        ("go now go now go now go now go now", -0.2, 0.02, 2.5, 1.6, "loop"),
        ("Thanks for watching!", -0.7, 0.1, 2.0, 1.0, "phrase"),
        ("Thanks for watching!", -0.2, 0.5, 2.0, 1.0, "phrase"),
        ("Thanks for watching!", -0.2, 0.02, 2.0, 0.25, "phrase"),
        ("Thank you.", -0.25, 0.1, 6.0, 0.4, "phrase"),
        ("Thank you. Thank you. Bye.", -0.6, 0.2, 3.0, 1.5, "phrase"),
        ("you", -0.55, 0.2, 1.5, 0.5, "phrase"),
        ("Bye. Bye.", -0.8, 0.1, 1.5, 0.8, "phrase"),
        ("Please don’t forget to subscribe. Bye", -0.8, 0.1, 3.0, 2.0, ""),
        ("Don’t forget to subscribe. Bye!", -0.8, 0.1, 3.0, 2.0, "phrase"),
        ("Subtitles by the Amara.org community", -0.55, 0.1, 3.0, 2.0, "phrase"),
        ("Captioned by James", -0.4, 0.45, 3.0, 2.0, "phrase"),
    ],
)
def test_what_nobody_said_is_refused(text, avg_logprob, no_speech_prob, duration_s, voiced_s, code):
    """The code tells the log which rule it was."""
    assert refused(heard(text, avg_logprob, no_speech_prob), duration_s, voiced_s) == code


def test_the_model_is_asked_before_the_list():
    """The same words pass or not by how sure the model was of them."""
    found = [refused(heard("Thank you.", avg_logprob), 1.3, 0.55) for avg_logprob in (-0.1, -0.6, -1.5)]
    assert found == ["", "phrase", "improbable"]
