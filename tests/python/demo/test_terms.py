"""Which terms the demo finds in English and Japanese texts, and what it says they are."""

import re

import pytest
from glossary.documents import parse
from glossary.terms import Entry, TermFinder

ENGLISH = """
# Runs

A run is one background execution, named by an integer id. Every run has a run log. The run log is a bounded list of
events. A reader that falls behind is told what it missed. Readers hold a cursor on the run log.

An event loop waits for the events of many readers. The event loop is never blocked. A terminal event is the last event
of a run. The terminal event tells the outcome.

The stream uses SSE, and SSE frames are shared. RunManager owns the runs. The RunManager is made once.
A cursor that points at nothing is called a dangling cursor.

| retention | how long finished runs are kept |
"""

JAPANESE = """
# 用語

実行ログとは、一つの実行のイベントを順番に並べた記録である。購読者は実行ログの上の位置だけを持つ。
購読者は、ある実行を読む者を指す。イベントは、実行から送られるメッセージである。各イベントには番号が付く。番号は一から始まる。
読み手が遅れて、もう読めなくなったイベントの並びを「欠落」と呼ぶ。欠落は一度だけ知らされる。
利用者が求めると、取り消しイベントが立つ。実行中の処理は取り消しイベントを確かめ、止まる。
SSE接続が切れたときは、再開できる。SSE接続はブラウザーが張る。

- **保持期間**: 終わった実行を後から読めるように残しておく時間
"""


def find(text: str, limit: int = 100) -> dict[str, Entry]:
    finder = TermFinder()
    sentences = parse("a.md", text.encode()).sentences
    for sentence in sentences:
        finder.learn(sentence)
    for sentence in sentences:
        finder.define(sentence, "a.md")
    return {entry.term: entry for entry in finder.entries(limit)}


@pytest.mark.parametrize(
    ("term", "definition"),
    [
        ("run", "A run is one background execution, named by an integer id."),
        ("run log", "The run log is a bounded list of events."),
        ("event loop", "An event loop waits for the events of many readers."),
        ("terminal event", "A terminal event is the last event of a run."),
        ("SSE", "The stream uses SSE, and SSE frames are shared."),
        ("RunManager", "The RunManager is made once."),
        ("dangling cursor", "A cursor that points at nothing is called a dangling cursor."),
        ("retention", "retention: how long finished runs are kept"),
    ],
)
def test_english_terms_and_their_definitions(term: str, definition: str) -> None:
    entry = find(ENGLISH)[term]
    assert (entry.language, entry.definition, entry.source) == ("en", definition, "a.md")


@pytest.mark.parametrize(
    ("term", "definition"),
    [
        ("実行ログ", "実行ログとは、一つの実行のイベントを順番に並べた記録である。"),
        ("購読者", "購読者は、ある実行を読む者を指す。"),
        ("イベント", "イベントは、実行から送られるメッセージである。"),
        ("欠落", "読み手が遅れて、もう読めなくなったイベントの並びを「欠落」と呼ぶ。"),
        ("取り消しイベント", "実行中の処理は取り消しイベントを確かめ、止まる。"),
        ("保持期間", "保持期間: 終わった実行を後から読めるように残しておく時間"),
        ("SSE接続", "SSE接続はブラウザーが張る。"),
    ],
)
def test_japanese_terms_and_their_definitions(term: str, definition: str) -> None:
    entry = find(JAPANESE)[term]
    assert (entry.language, entry.definition) == ("ja", definition)


@pytest.mark.parametrize(
    ("term", "text"),
    [
        ("grace period", "The grace period: the days after the due date in which cover goes on."),
        ("reinsurance", "Reinsurance is insurance that insurers buy for themselves."),
        ("premium", "insurer: A premium is the amount that a customer pays."),
        ("データベース", "データベース: 実行の状態を保存する場所。"),
        ("データベース", "データベース（DB）とは、状態を保存する場所のことである。"),
        ("サーバー", "サーバーはデータを配る装置である。"),
    ],
)
def test_a_definition_is_preferred_to_a_sentence_that_holds_the_term(term: str, text: str) -> None:
    holds = f"The {term} was spoken of for a long time. {term}が何かは後で話す。\n\n"
    assert find(f"{holds}{text}\n\n{holds}")[term].definition == text


def test_a_label_before_the_definition_of_another_term_defines_nothing() -> None:
    text = "- insurer: A premium is the amount that a customer pays.\n\nAn insurer is who pays. The insurer has paid."
    assert find(text)["insurer"].definition == "An insurer is who pays."


@pytest.mark.parametrize("text", ["The log is full of events of today.", "The log is bounded by its many limits."])
def test_what_is_said_of_a_term_does_not_define_it(text: str) -> None:
    definition = "A log is called by its name; each of them is known as a log."
    assert find(f"{text} {definition}")["log"].definition == definition


def test_a_term_of_one_very_long_sentence_has_a_definition() -> None:
    text = "We moved all that we had into it, " * 140 + "and then came the PostgreSQL and the PostgreSQL server."
    definition = find(text)["PostgreSQL"].definition
    assert definition.startswith("…")
    assert definition.endswith("and then came the PostgreSQL and the PostgreSQL server.")
    assert len(definition) < 500
    definition = find("とても長い文が続いて" * 100 + "購読者を呼び、" + "購読者を待って" * 100)["購読者"].definition
    assert "購読者" in definition
    assert (definition[0], definition[-1]) == ("…", "…")
    assert len(definition) < 500


def test_what_is_no_term_is_not_listed() -> None:
    terms = find(ENGLISH + JAPANESE)
    assert not {
        "the",
        "every",
        "waits",
        "called",
        "falls",
        "tells",
        "one",
        "一つ",
        "一度",
        "実行中",
        "各イベント",
    } & set(terms)
    assert "SSE" in terms
    assert find(JAPANESE).get("SSE") is None


def test_plurals_count_for_the_singular() -> None:
    entry = find("A box is a thing. Two boxes make a pair. The boxes of a class, and the classes of a box, differ.")[
        "box"
    ]
    assert entry.count == 4


def test_a_word_that_is_only_used_in_the_plural_stays_so() -> None:
    assert "trousers" in find("The trousers are long. He wears the trousers.")


def test_occurrences_within_a_longer_term_are_not_counted() -> None:
    text = "The event loop waits. An event loop is a loop of one thread. The event loop ends."
    terms = find(text)
    assert terms["event loop"].count == 3
    assert "event" not in terms


def test_the_capital_that_a_sentence_gives_is_not_part_of_the_term() -> None:
    assert "cursor" in find("Cursor and log are apart. Cursors move. A cursor is a place in a log.")
    assert "Python" in find("Python is a language. We write it in Python. The core of Python is small.")


def test_the_limit_keeps_the_best() -> None:
    terms = find(ENGLISH, limit=2)
    assert list(terms) == ["run", "run log"]


def test_terms_are_ordered_by_language_and_letters() -> None:
    entries = find(JAPANESE + ENGLISH).values()
    keys = [(entry.language, entry.term.lower()) for entry in entries]
    assert keys == sorted(keys)
    assert {language for language, _ in keys} == {"en", "ja"}


@pytest.mark.parametrize("text", ["", "So it is.", "そうである。", "1 2 3", "🙂🙂", "ー"])
def test_a_text_may_have_no_terms(text: str) -> None:
    assert find(text) == {}


def test_every_definition_holds_its_term() -> None:
    for term, entry in find(ENGLISH + JAPANESE).items():
        assert re.search(re.escape(term.removesuffix("y")), entry.definition, re.IGNORECASE)
        assert entry.count >= 1
