"""What model cards say: their lines as they stand in Piper's repository, and as others might write them."""

import pytest

from apps.tts_worker.catalogue.model_card import Terms, licence, terms
from tests.fakes.catalogue import CARD

FREE, CREDIT, NO, OPEN = Terms.FREE, Terms.ATTRIBUTION, Terms.NON_COMMERCIAL, Terms.UNKNOWN
LESSAC = "https://www.cstr.ed.ac.uk/projects/blizzard/2013/lessac_blizzard2013/license.html"
SCRATCH = "Trained from scratch for 1000 epochs on medium quality settings."
FROM_LESSAC = "Finetuned from U.S. English lessac voice (medium quality)."


def card(words: str, training: str = SCRATCH) -> str:
    return CARD.format(name="one", quality="medium", code="en_US", licence=words, training=training)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("public domain", FREE),
        ("Public Domain", FREE),
        ("Public domain (LibriVox)", FREE),
        ("LibriVox", FREE),
        ("CC0", FREE),
        ("CC0 1.0", FREE),
        ("cc0-1.0", FREE),
        ("Creative Commons Zero v1.0 Universal", FREE),
        ("https://creativecommons.org/publicdomain/zero/1.0/", FREE),
        ("Unlicense", FREE),
        ("MIT", FREE),
        ("mit", FREE),
        ("MIT License", FREE),
        ("Apache-2.0", FREE),
        ("apache-2.0 (https://www.apache.org/licenses/LICENSE-2.0)", FREE),
        ("BSD-3-Clause", FREE),
        ("CC BY 4.0", CREDIT),
        ("CC-BY-4.0", CREDIT),
        ("CC BY 3.0", CREDIT),
        ("Creative Commons Attribution 4.0", CREDIT),
        ("Attribution 3.0 Unported (CC BY 3.0)", CREDIT),
        ("https://creativecommons.org/licenses/by/4.0/", CREDIT),
        ("CC BY-SA 4.0", CREDIT),
        ("CC-BY-SA-4.0", CREDIT),
        ("http://creativecommons.org/licenses/by-sa/4.0/", CREDIT),
        ("Attribution-ShareAlike 4.0 International", CREDIT),
        ("CC BY-NC 4.0", NO),
        ("CC-BY-NC-4.0", NO),
        ("CC BY-NC-SA 4.0", NO),
        ("CC BY-NC-ND 4.0", NO),
        ("cc_by_nc_sa", NO),
        ("http://creativecommons.org/licenses/by-nc-sa/4.0/", NO),
        ("Attribution-NonCommercial-ShareAlike 4.0 International", NO),
        ("Creative Commons Attribution-Noncommercial", NO),
        ("free for non-commercial use", NO),
        ("Not for commercial use", NO),
        ("No commercial use", NO),
        ("research only", NO),
        ("For research use only", NO),
        ("only for research", NO),
        ("Research licence", NO),
        ("academic use only", NO),
        ("personal use only", NO),
        ("Blizzard 2013", NO),
        (LESSAC, NO),
        ("public domain, research only", NO),
        ("CC0 NC", NO),
        ("CC BY-ND 4.0", OPEN),
        ("See URL", OPEN),
        ("See LICENSE file", OPEN),
        ("Unknown", OPEN),
        ("", OPEN),
        ("Creative Commons", OPEN),
        ("not public domain", OPEN),
        ("public domain, except in the EU", OPEN),
        ("AGPLv3", OPEN),
        ("GPL-3.0", OPEN),
        ("All rights reserved", OPEN),
        ("mit Namensnennung", OPEN),
        ("M-AILABS", OPEN),
        ("permitted", OPEN),
        ("https://github.com/MycroftAI/mimic3-voices", OPEN),
    ],
)
def test_what_a_licence_means(words, expected):
    """Words that are known mean what they mean, and all others nothing."""
    assert terms(words) is expected
    assert licence(card(words)).terms is expected


@pytest.mark.parametrize(
    ("words", "training", "expected"),
    [
        ("public domain", SCRATCH, FREE),
        ("public domain", "Finetuned from the kristin voice.", FREE),
        ("CC0", FROM_LESSAC, OPEN),
        ("CC0", "Fine-tuned from English lessac medium", OPEN),
        ("CC BY 4.0", "Finetuned from Ryan (low quality).", OPEN),
        ("public domain", "Fine tuned for 1000 epochs from an unreleased voice.", OPEN),
        ("CC BY-NC-SA 4.0", FROM_LESSAC, NO),
        ("See URL", FROM_LESSAC, OPEN),
    ],
)
def test_what_a_voice_was_trained_further_from_counts(words, training, expected):
    """Free recordings do not make up for a base that nobody can promise to be free."""
    assert licence(card(words, training)).terms is expected


def test_the_base_is_named():
    """The streamer is told which voice is the reason."""
    assert "lessac" in licence(card("CC0", FROM_LESSAC)).why
    assert "ryan" in licence(card("CC0", "Finetuned from Ryan (low).")).why


@pytest.mark.parametrize(
    "text",
    [
        "* License: CC0\n* License: CC BY-NC 4.0\n",
        "* License: CC0\n\n## Dataset\n\n* URL: https://example.org/blizzard/2013/\n",
        "* License: public domain\n\nFor research use only.\n",
    ],
)
def test_the_strictest_word_counts(text):
    """Neither a second line nor a condition further down is hidden by the first."""
    assert licence(text).terms is NO


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# Model card\n\nnothing",
        "this voice is public domain",
        "* License:\n* URL: public domain",
        "\x00\xff",
    ],
)
def test_a_card_without_a_licence(text):
    """Has none, whatever else it says."""
    found = licence(text)
    assert (found.words, found.terms) == ("unknown", OPEN)
    assert found.why


@pytest.mark.parametrize(
    "line", ["* License: CC0", "- Licence : CC0", "license: CC0", "**License:** CC0", "  * LICENSE:CC0\r"]
)
def test_ways_to_write_the_line(line):
    """With either spelling and any of Markdown's marks."""
    found = licence(f"# Card\n\n{line}\nmore\n")
    assert (found.words, found.terms) == ("CC0", FREE)


def test_words_are_safe_to_print():
    """Commands to the terminal and endless lines do not come through."""
    words = licence("* License: CC0 \x1b[2J\x07" + "very " * 100).words
    assert words.isprintable()
    assert len(words) == 60
    assert words.startswith("CC0")
