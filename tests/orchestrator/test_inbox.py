"""What waits to be answered."""

import pytest

from apps.orchestrator.inbox import TEXT_LIMIT, Inbox, Item, cleaned, joined


def item(number: int, received_s: float = 0.0) -> Item:
    return Item(f"t{number}", "mika", "hi", "chat", received_s)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("  hello \t there  ", "hello there"),
        ("two\r\nlines\u2028three", "two lines three"),
        ("bell\x07 escape\x1b[31m nul\x00", "bell escape [31m nul"),
        ("🦊🦊", "🦊🦊"),
        ("family 👨‍👩‍👧", "family 👨‍👩‍👧"),
        ("שלום עולם", "שלום עולם"),
        ("\u200fשלום\u200e", "\u200fשלום\u200e"),
        ("می‌خواهم", "می‌خواهم"),
        ("swap\u202edrawkcab\u2066", "swap drawkcab"),
        ("half an emoji \ud83e", "half an emoji"),
        ("zero\u200bwidth\ufeff", "zero width"),
        ("", ""),
        (" \n\t\x00\u200b\u3000", ""),
        ("\u200d\u200e", ""),
    ],
)
def test_a_line_is_one_printable_line(text, line):
    """Controls and broken characters go, every script and emoji stays; "" when nothing can be seen."""
    assert cleaned(text) == line


def test_a_very_long_text_is_cut():
    """Ten thousand characters, or a megabyte, become a line of the limit."""
    assert cleaned("a" * 10_000) == "a" * TEXT_LIMIT
    assert cleaned("word " * 200_000) == ("word " * 200).strip()
    assert cleaned("abcdef", 3) == "abc"


def test_first_come_first_served():
    """Lines are taken in the order in which they came."""
    inbox = Inbox()
    assert all(inbox.add(item(number)) for number in range(3))
    assert len(inbox) == 3
    assert [inbox.take() for _ in range(4)] == [item(0), item(1), item(2), None]


def test_a_full_inbox_takes_no_more():
    """Who has waited longest has been promised most: the newcomer is turned away."""
    inbox = Inbox()
    assert all(inbox.add(item(number)) for number in range(Inbox.LIMIT))
    assert not inbox.add(item(99))
    assert inbox.take() == item(0)
    assert inbox.add(item(99))


def test_nothing_stale_is_answered():
    """A line that has waited too long is given back; one that has waited just long enough is not."""
    inbox = Inbox()
    for number in range(3):
        inbox.add(item(number, received_s=100.0 * number))
    assert inbox.expire(Inbox.EXPIRY_S) == []
    assert inbox.expire(Inbox.EXPIRY_S + 1) == [item(0)]
    assert inbox.expire(201.0, limit_s=0.0) == [item(1, 100.0), item(2, 200.0)]
    assert len(inbox) == 0


@pytest.mark.parametrize(
    ("earlier", "later", "line"),
    [
        ("I saw", "a fox", "I saw a fox"),
        ("a" * 600, "b" * 600, "b" * 600),
        ("one two", "c" * (TEXT_LIMIT - 4), "two " + "c" * (TEXT_LIMIT - 4)),
        ("狐" * 600, "狸" * 600, "狸" * 600),
        ("", "狸" * 1200, "狸" * TEXT_LIMIT),
    ],
    ids=["short", "the first does not fit", "a part of the first", "no spaces", "one long word"],
)
def test_two_lines_become_one(earlier, later, line):
    """Within the limit of a line; of too much the end is kept, from the beginning of a word on."""
    assert joined(earlier, later) == line
