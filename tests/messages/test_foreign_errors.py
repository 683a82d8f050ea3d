"""Messages of other libraries become one line without escape sequences."""

from __future__ import annotations

from looped import looped

from hashkit.messages.foreign_errors import foreign_message, root_message


@looped(
    ("text", "expected"),
    [
        ("one line", "one line"),
        ("  two\n\n lines\tand more  ", "two lines and more"),
        ("", "ValueError"),
        ("\n \x1b[0m", "ValueError"),
        ("\x1b[96mThis is step 3/3\x1b[0m of it", "This is step 3/3 of it"),
        ("a \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\ b", "a link b"),
        ("title \x1b]0;owned\x07end", "title end"),
        ("bell\x07 null\0 back\bspace", "bell null back space"),
        ("right\u202eto left, \x9b31mred", "right to left, 31mred"),
        ("Ä 猫 stay", "Ä 猫 stay"),
    ],
)
def test_a_message_is_one_plain_line(text: str, expected: str) -> None:
    assert foreign_message(ValueError(text)) == expected


def test_a_long_message_ends_after_a_sentence_or_a_word() -> None:
    sentences = "A sentence of some words. " * 30
    shortened = foreign_message(ValueError(sentences))
    assert len(shortened) <= 300
    assert shortened.endswith("of some words ...")
    words = foreign_message(ValueError("word " * 100), max_length=43)
    assert words == "word word word word word word word ..."
    assert len(foreign_message(ValueError("x" * 1000))) <= 300


def test_the_root_of_a_chain_is_its_first_cause() -> None:
    error = RuntimeError("Failed to export. Next steps:\n- file an issue")
    error.__cause__ = TypeError("no operator of that name\n(line two)\n\nFor more, set LOGS=1")
    assert root_message(error) == "no operator of that name (line two)"
    error.__cause__.__cause__ = ValueError("")  # says less than its effect
    assert root_message(error).startswith("no operator")
    error.__cause__.__cause__ = error  # a circle ends
    assert root_message(error)
