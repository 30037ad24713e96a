"""Find the terms of texts and the sentence that defines each best, in English and Japanese, by frequency and form.

There is no dictionary and no model. These are terms:

- English: one to three words without a stop word, the last of them used as a noun ("the run log is …"), and names in
  capitals or code style (SSE, RunManager). A plural counts as its singular.
- Japanese: unbroken kanji and katakana (実行ログ), also after Latin letters (SSE接続), and with okurigana between two
  kanji (取り消し).

A term occurs at least twice, or a sentence defines it. Where "event loop" is a term, its occurrences do not count for
"event".
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from glossary.stop_words import AFTER_NOUNS, BEFORE_NOUNS, ENGLISH_STOP_WORDS, JAPANESE_STOP_WORDS

Language = Literal["en", "ja"]
_Key = tuple[str, ...]  # the words of a term in lower case, the last in the singular


@dataclass(frozen=True)
class Entry:
    """A term of the glossary."""

    term: str
    language: Language
    count: int
    """The number of occurrences, singular and plural."""
    definition: str
    """The sentence that defines it best, or at least contains it; of a very long one, the part around the term."""
    source: str
    """The name of the document that has this sentence."""
    is_defined: bool = True
    """True if the sentence says what the term is, False if it only contains it."""


@dataclass
class _Found:
    quality: float = -1.0
    definition: str = ""
    source: str = ""
    spellings: Counter[str] = field(default_factory=Counter)


class _Phrase(NamedTuple):
    """Consecutive words without a stop word or punctuation between them."""

    previous: str
    """The word before them, in lower case; empty at the start and after punctuation."""
    words: list[re.Match[str]]
    following: str
    """The word after them, in the same way."""


class TermFinder:
    """Takes all sentences twice: `learn` each, then `define` each; then `entries` has the result."""

    def __init__(self) -> None:
        self._phrases: Counter[_Key] = Counter()
        self._nouns: Counter[str] = Counter()
        self._words: Counter[str] = Counter()
        self._defined: set[_Key] = set()
        self._terms: set[_Key] = set()
        self._found: dict[_Key, _Found] = {}

    def learn(self, sentence: str) -> None:
        """Count everything that could be a term."""
        for phrase in _english_phrases(sentence):
            key = tuple(word["word"].lower() for word in phrase.words)
            self._phrases[key] += 1
            self._words.update(key)
            self._nouns.update(word["word"].lower() for word in phrase.words if _is_name(word["word"]))
            start, end = phrase.words[0].start(), phrase.words[-1].end("word")
            if _definition_quality(sentence, start, end) >= _DEFINES:
                self._defined.add(key)
                self._nouns[key[-1]] += 1
            elif phrase.previous in BEFORE_NOUNS and (len(key) == 1 or phrase.following in AFTER_NOUNS):
                self._nouns[key[-1]] += 1

    def define(self, sentence: str, source: str) -> None:
        """Judge how well a sentence that was learned defines the terms in it."""
        if not self._terms:
            self._terms = self._choose_terms()
        for key, start, end in self._occurrences(sentence):
            quality = _definition_quality(sentence, start, end)
            found = self._found.setdefault(key, _Found())
            found.spellings[_spelling(sentence, start, end)] += 1
            if quality > found.quality:
                found.quality, found.definition, found.source = quality, _excerpt(sentence, start, end), source

    def entries(self, limit: int) -> list[Entry]:
        """The best terms, at most `limit`: English before Japanese, each sorted alphabetically."""
        found = [(key, it) for key, it in self._found.items() if it.spellings.total() > 1 or it.quality >= _DEFINES]
        found.sort(key=lambda pair: _weight(*pair), reverse=True)
        entries = [_entry(key, it) for key, it in found[:limit]]
        return sorted(entries, key=lambda entry: (entry.language, entry.term.lower()))

    def _choose_terms(self) -> set[_Key]:
        counts: Counter[_Key] = Counter()
        for words, count in self._phrases.items():
            for start in range(len(words)):
                for end in range(start + 1, min(start + _LONGEST_TERM, len(words)) + 1):
                    counts[self._key(words[start:end])] += count
        # Single words are kept, because a definition may follow.
        frequent = {key for key, count in counts.items() if count > 1 or len(key) == 1}
        defined = {self._key(words) for words in self._defined if len(words) <= _LONGEST_TERM}
        return {key for key in frequent | defined if self._is_term(key)}

    def _is_term(self, key: _Key) -> bool:
        *modifiers, noun = key
        # A plural rarely stands before a noun; a word that looks like one is a verb ("wakes readers").
        verbs = (word for word in modifiers if re.search("[^sui]s$", word) and not self._is_noun(word))
        return not any(verbs) and not any(word.endswith("ly") for word in key) and self._is_noun(noun)

    def _is_noun(self, word: str) -> bool:
        used_as_noun = self._nouns[word] + self._nouns[word + "s"]
        return used_as_noun > 0 and used_as_noun >= 0.05 * self._words[word]

    def _key(self, words: _Key) -> _Key:
        return (*words[:-1], self._singular(words[-1]))

    def _singular(self, word: str) -> str:
        """The singular, if the texts use it too."""
        if not word.endswith("s") or word.endswith("ss"):
            return word
        stems = (word[:-1], word.removesuffix("es"), word.removesuffix("ies") + "y")
        return next((stem for stem in stems if stem in self._words), word)

    def _occurrences(self, sentence: str) -> Iterator[tuple[_Key, int, int]]:
        for phrase in _english_phrases(sentence):
            words = phrase.words
            start = 0
            while start < len(words):
                # The longest term that begins here.
                for end in range(min(start + _LONGEST_TERM, len(words)), start, -1):
                    key = self._key(tuple(word["word"].lower() for word in words[start:end]))
                    if key in self._terms:
                        yield key, words[start].start(), words[end - 1].end("word")
                        break
                start = end
        for term, start, end in _japanese_terms(sentence):
            yield (term,), start, end


def _entry(key: _Key, found: _Found) -> Entry:
    # The singular if it occurs; then the most frequent spelling.
    term = max(found.spellings, key=lambda text: (text.lower() == " ".join(key), found.spellings[text]))
    language: Language = "ja" if _JAPANESE_LETTER.search(term) else "en"
    is_defined = found.quality >= _DEFINES
    return Entry(term, language, found.spellings.total(), found.definition, found.source, is_defined)


def _weight(key: _Key, found: _Found) -> float:
    form = 1.5 if len(key) > 1 else 1.0 if found.quality >= _DEFINES or any(map(_is_name, found.spellings)) else 0.5
    defined = 4.0 if found.quality >= _DEFINES else 1.0
    return math.log2(1 + found.spellings.total()) * (1 + found.quality) * form * defined


# English

_LONGEST_TERM = 3
_LATIN = "A-Za-zÀ-ÖØ-öø-ÿ"
_TOKEN = re.compile(rf"(?P<word>[{_LATIN}][{_LATIN}0-9]*(?:[-_][{_LATIN}0-9]+)*)(?P<genitive>['’]s\b)?|[^\s]")


def _english_phrases(sentence: str) -> Iterator[_Phrase]:
    words: list[re.Match[str]] = []
    before = previous = ""
    for token in _TOKEN.finditer(sentence):
        word = (token["word"] or "").lower()
        long_enough = len(word) > (1 if token[0].isupper() else 2)
        starts_japanese_term = word and _JAPANESE_RUN.match(sentence, token.end())
        if long_enough and not starts_japanese_term and word not in ENGLISH_STOP_WORDS:
            previous = previous if words else before
            words.append(token)
            word, before = "", word
        else:
            before = word
        if words and (token["genitive"] or token is not words[-1]):
            yield _Phrase(previous, words, word)
            words = []
        if token["genitive"]:
            before = "of"  # "the run's log" is the log of the run
    if words:
        yield _Phrase(previous, words, "")


def _is_name(word: str) -> bool:
    """True for SSE, RunManager or run_id, whose capitals do not come from the start of a sentence."""
    return "_" in word or bool(re.search(r"[A-ZÀ-Þ]", word[1:]))


def _spelling(sentence: str, start: int, end: int) -> str:
    text = sentence[start:end]
    given_by_sentence = start == 0 and re.fullmatch(r"[A-ZÀ-Þ][^A-ZÀ-Þ]*", text)
    return text.lower() if given_by_sentence else text


# Japanese

_KANJI = "一-鿿々〆"
_KATAKANA = "ァ-ヴー"
_OKURIGANA = rf"(?<![{_KANJI}])[{_KANJI}][りきぎみびちけげれ][{_KANJI}][りきぎしみびちいえけげせてれ]"
_JAPANESE_LETTER = re.compile(rf"[{_KANJI}ぁ-ん{_KATAKANA}]")
_JAPANESE_RUN = re.compile(
    rf"(?:{_OKURIGANA}|[{_KANJI}{_KATAKANA}]|(?<![{_LATIN}0-9_])[{_LATIN}]{{2,}}(?=[{_KANJI}{_KATAKANA}]))+"
)
# "Each", "during", "within" and "the side of", as they are written around a term.
_JAPANESE_CORE = re.compile(r"(?:各(?![種自地国]))?(?P<term>..+?)[中内側]?")
_JAPANESE_NUMBER = re.compile("[一二三四五六七八九十百千万数何]+[一-鿿]?")


def _japanese_terms(sentence: str) -> Iterator[tuple[str, int, int]]:
    for run in _JAPANESE_RUN.finditer(sentence):
        core = _JAPANESE_CORE.fullmatch(run[0])
        if core and core["term"] not in JAPANESE_STOP_WORDS and not _JAPANESE_NUMBER.fullmatch(core["term"]):
            yield core["term"], run.start() + core.start("term"), run.start() + core.end("term")


# Definitions

_DEFINES = 3.0
"""The least quality of a sentence that says what the term is."""

# What precedes and follows the term, best form first. A label may precede all of it: "insurer: A premium is …" says
# what a premium is, and nothing about an insurer.
_LABEL = r"(?:[^:：]{1,60}[:：]\s*)?"
_SUBJECT = rf"{_LABEL}(?:\W{{0,3}}(?:(?i:the|an?)\s+)?|[「『“\"']?)"
_BRACKETS = r"[」』”\"']?\s?(?:[(（][^)）]{1,60}[)）])?"
_OTHER_SUBJECT = r"(?:(?i:the|an?)\s+)?(?:[\w-]+\s+){1,3}(?:is|are|means?)\s|[^はを、]{1,20}(?:とは|は、)"
_FORMS = [
    (quality, re.compile(before + r"\Z"), re.compile(after))
    for quality, before, after in [
        (5.0, _SUBJECT, rf"{_BRACKETS}\s*(?:is|are|was|were)\s+(?:an?|the|one|what|any|how|where)\b.{{10}}"),
        (5.0, _SUBJECT, rf"{_BRACKETS}(?:とは|というのは)"),
        (
            4.5,
            _SUBJECT,
            rf"{_BRACKETS}は.{{4,}}(?:である|です|をいう|を指す|を指します|のこと|ことだ|を表す|を意味する)。?\Z",
        ),
        (4.0, _SUBJECT, rf"{_BRACKETS}\s*(?:means|denotes|refers to|stands for|describes|represents)\b"),
        # Japanese needs fewer letters.
        (
            4.0,
            r"\W{0,3}(?:(?i:the|an?)\s+)?",
            rf"{_BRACKETS}\s*(?::\s|：|\s[-–]\s|\s?—)\s*(?!{_OTHER_SUBJECT})"
            r"\S(?:.{14}|.{0,10}[ぁ-んァ-ヴ一-鿿].{3})",
        ),
        (3.5, r".*\b(?:called|known as)(?:\s+(?:an?|the))?\s*[\"'“]?", r""),
        (3.5, r".*", rf"{_BRACKETS}(?:と呼ぶ|と呼び|と呼ばれ|という。)"),
        # "Reinsurance is insurance that …", but not "The log is bounded by …".
        (
            3.5,
            _LABEL,
            rf"{_BRACKETS}\s+(?:is|are)\s+(?!not\b|\w+(?:ed|ing|ble|ly)\b)[\w-]+\s+"
            r"(?:that|which|who|whose|where|[\w-]+\s+(?:that|which|who|whose|where|of|for))\s.{10}",
        ),
        # Not "A log of the past", which is not a sentence.
        (
            2.5,
            r"(?:An?|Each|Every)\s+",
            r"\s(?!(?:that|which|whose|who|as|at|of|for|from|by|with|in|on|to|is|are)\b)[a-z]",
        ),
        (2.0, _SUBJECT, rf"{_BRACKETS}(?:\s(?:is|are|has|have|holds|owns|makes|gives|can|does)\b|は)"),
        (1.0, _SUBJECT, r""),
    ]
]


def _definition_quality(sentence: str, start: int, end: int) -> float:
    """How well the sentence defines the term at this position; 0 if it only contains it."""
    before, after = sentence[:start], sentence[end:]
    quality = next((quality for quality, left, right in _FORMS if left.match(before) and right.match(after)), 0.0)
    is_japanese = _JAPANESE_LETTER.search(sentence)
    if sentence.endswith(("?", "？", ":", "：")) or len(after) > 400 or (len(sentence.split()) < 5 and not is_japanese):
        return 0.0
    # A full sentence of ordinary length reads best.
    return max(0.0, quality + (0.3 if sentence.endswith((".", "。")) else 0.0) - abs(len(sentence) - 120) / 1000)


_LONGEST_DEFINITION = 400


def _excerpt(sentence: str, start: int, end: int) -> str:
    """The sentence, or of a very long one the part around the term, in whole words if possible."""
    if len(sentence) <= _LONGEST_DEFINITION:
        return sentence
    room = _LONGEST_DEFINITION // 2
    left = re.sub(r"^\S{0,40}\s", "", sentence[start - room : start]) if start > room else sentence[:start]
    right = sentence[end:] if len(sentence) - end <= room else re.sub(r"\s\S{0,40}$", "", sentence[end : end + room])
    return (
        ("…" if start > room else "") + left + sentence[start:end] + right + ("…" if len(sentence) - end > room else "")
    )
