"""Quotes to characters and tokens."""

import unicodedata

import pytest
import spacy
from spacy.tokens import Doc

from spacy_distill.tasks.alignment import Mentions, Quote, Tokens, align_quotes, align_spans, without_overlaps
from spacy_distill.types import Span


@pytest.fixture(scope="module")
def nlp():
    return spacy.blank("en")


def found(text, quote):
    return [text[start:end] for start, end in Mentions(text).find(quote)]


@pytest.mark.parametrize(
    ("text", "quote", "expected"),
    [
        ("salt, pepper and Salt", "salt", ["salt", "Salt"]),
        ("SALT and salty salts", "salt", ["SALT"]),
        ("They told us that the US is us.", "US", ["US"]),
        ("Sea Salt, sea salt", "Sea Salt", ["Sea Salt", "sea salt"]),
        ("Stra\u00dfe", "STRASSE", ["Stra\u00dfe"]),
        ("\u0130stanbul", "i\u0307stanbul", ["\u0130stanbul"]),
        ("white   rice\nand white\u00a0rice", "white rice", ["white   rice", "white\u00a0rice"]),
        ("Frank\u2019s \u201cRed\u201d sauce", 'Frank\'s "Red" sauce', ["Frank\u2019s \u201cRed\u201d sauce"]),
        ("the 2010\u20132020 plan", "2010-2020 plan", ["2010\u20132020 plan"]),
        ("Mac &amp; cheese &lt;3", "Mac & cheese", ["Mac &amp; cheese"]),
        ("ca\u0301fe\u0301", "c\u00e1f\u00e9", ["ca\u0301fe\u0301"]),
        ("c\u00e1f\u00e9", "ca\u0301fe\u0301", ["c\u00e1f\u00e9"]),
        ("jalape\u00f1o", "jalapeno", ["jalape\u00f1o"]),
        ("jalapen\u0303o soup", "jalapeno", ["jalapen\u0303o"]),
        ("re\u00adsume\u0301", "r\u00e9sum\u00e9", ["re\u00adsume\u0301"]),
        ("\ufb01sh \u00bd cup", "fish 1/2 cup", ["\ufb01sh \u00bd cup"]),
        (
            "a \U0001f355 and \U0001f468\u200d\U0001f373 here",
            "\U0001f468\u200d\U0001f373",
            ["\U0001f468\u200d\U0001f373"],
        ),
        ("\U0001f355\U0001f355 pizza", "pizza", ["pizza"]),
        ("thumbs \U0001f44d\U0001f3fd up", "\U0001f44d", []),
        ("I \u2764\ufe0f it", "\u2764", ["\u2764\ufe0f"]),
        ("\u6211\u7231\u5317\u4eac\u3002", "\u5317\u4eac", ["\u5317\u4eac"]),
        ("\ud55c\uad6d", unicodedata.normalize("NFD", "\ud55c\uad6d"), ["\ud55c\uad6d"]),
        ("the 'Oslo' office", '"Oslo".', ["Oslo"]),
        ("cashews", "cashew", ["cashew"]),
        ("banana", "ana", ["ana"]),
        ("nothing here", "Oslo", []),
        ("nothing here", "", []),
        ("nothing here", "  ", []),
        ("nothing here", "...", []),
        ("", "Oslo", []),
    ],
)
def test_mentions(text, quote, expected):
    assert found(text, quote) == expected


def test_mentions_inside_words_count_only_if_there_is_no_other():
    assert Mentions("hamster, ham").find("ham") == [(9, 12)]
    assert Mentions("hamster").find("ham") == [(0, 3)]


def test_offsets_are_code_points_after_emoji():
    text = "\U0001f600\U0001f468\u200d\U0001f373 caf\u0065\u0301 Oslo"
    ((start, end),) = Mentions(text).find("Oslo")
    assert (start, end) == (text.index("Oslo"), len(text))
    ((start, end),) = Mentions(text).find("cafe")
    assert text[start:end] == "cafe\u0301"


def spans_of(doc, *quotes):
    spans, unaligned = align_quotes(Tokens(doc), [Quote(*quote) for quote in quotes])
    text = doc.text
    return [(text[span.start : span.end], span.label) for span in spans], [(u.quote, u.reason) for u in unaligned]


def test_every_mention_is_marked(nlp):
    doc = nlp.make_doc("Salt the water, then add salt. No salty salt!")
    spans, unaligned = spans_of(doc, ("salt", "FOOD"))
    assert spans == [("Salt", "FOOD"), ("salt", "FOOD"), ("salt", "FOOD")]
    assert unaligned == []


def test_a_quote_listed_twice_with_one_label_marks_every_mention_once(nlp):
    spans, _ = spans_of(nlp.make_doc("egg, egg, egg"), ("egg", "FOOD"), ("egg", "FOOD"))
    assert spans == [("egg", "FOOD")] * 3


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("Paris met Paris", ["PERSON", "PLACE"]),
        ("Paris met Paris in Paris", ["PERSON", "PLACE", "PLACE"]),
        ("Paris", ["PERSON", "PLACE"]),
    ],
)
def test_a_quote_listed_with_different_labels_is_dealt_out_in_order(nlp, text, labels):
    spans, unaligned = spans_of(nlp.make_doc(text), ("Paris", "PERSON"), ("Paris", "PLACE"))
    assert [label for _, label in spans] == labels
    assert unaligned == []


def test_hallucinated_quotes_are_kept_with_their_reason(nlp):
    spans, unaligned = spans_of(nlp.make_doc("Ada was here."), ("Ada", "PERSON"), ("Bob", "PERSON"), ("", "PERSON"))
    assert spans == [("Ada", "PERSON")]
    assert unaligned == [("Bob", "not_found"), ("", "not_found")]


def test_a_quote_on_an_empty_doc(nlp):
    assert spans_of(nlp.make_doc(""), ("Ada", "PERSON")) == ([], [("Ada", "not_found")])


@pytest.mark.parametrize(
    ("words", "quote", "expected"),
    [
        (["add", "-salt", "now"], "salt", "-salt"),
        (["add", "salt-", "now"], "salt", "salt-"),
        (["add", "'salt'", "now"], "salt", "'salt'"),
        (["add", "salt", "!", "now"], "salt!", "salt"),
        (["add", "sea", "salt"], "sea salt", "sea salt"),
        (["add", "salts"], "salt", None),
        (["add", "seasalt"], "salt", None),
        (["burgers(on", "buns"], "burgers", None),
        (["add", "salt", "-now"], "salt -", "salt"),
        (["caf", "e\u0301"], "caf e", "caf e\u0301"),
    ],
)
def test_quotes_that_straddle_tokens_move_past_punctuation_only(nlp, words, quote, expected):
    doc = Doc(nlp.vocab, words=words)
    spans, unaligned = spans_of(doc, (quote, "FOOD"))
    assert [text for text, _ in spans] == ([] if expected is None else [expected])
    assert [reason for _, reason in unaligned] == (["boundary"] if expected is None else [])


def test_fit_never_yields_space(nlp):
    doc = nlp.make_doc("a  b \n c")
    tokens = Tokens(doc)
    assert tokens.fit(1, 3) is None
    assert tokens.fit(0, 3) == (0, 1)
    assert tokens.fit(2, 2) is None
    assert Tokens(nlp.make_doc("")).fit(0, 0) is None


def test_exact_offsets_are_checked_and_fitted(nlp):
    doc = nlp.make_doc("Ada (of Oslo) sang.")
    given = [
        Span(0, 3, "A", 0.9),
        Span(7, 13, "B"),
        Span(1, 3, "A"),
        Span(5, 99, "B"),
        Span(4, 4, "B"),
    ]
    spans, unaligned = align_spans(Tokens(doc), given)
    assert spans == [Span(0, 3, "A", 0.9), Span(8, 13, "B")]
    assert [(each.quote, each.reason) for each in unaligned] == [
        ("da", "boundary"),
        ("5-99", "outside"),
        ("4-4", "outside"),
    ]


def test_longer_spans_win_then_surer_ones_then_earlier_ones():
    spans = [Span(0, 4, "A"), Span(0, 8, "B"), Span(6, 10, "C"), Span(10, 12, "D", 0.1), Span(10, 12, "E", 0.9)]
    assert without_overlaps(spans) == (Span(0, 8, "B"), Span(10, 12, "E", 0.9))
    assert without_overlaps([Span(0, 1, "A"), Span(0, 1, "B")]) == (Span(0, 1, "A"),)
    assert without_overlaps([]) == ()


def test_a_very_long_text(nlp):
    doc = nlp.make_doc("salt and caf\u00e9 " * 5000)
    spans, unaligned = spans_of(doc, ("salt", "FOOD"), ("CAFE", "PLACE"), ("Oslo", "PLACE"))
    assert len(spans) == 10_000
    assert unaligned == [("Oslo", "not_found")]
