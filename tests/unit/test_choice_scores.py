"""Probabilities of labels from token streams that were made up, so that the right answer is known."""

from __future__ import annotations

import json
import math

import pytest

from spacy_distill.teacher.choice_scores import choice_scores
from spacy_distill.teacher.tokens import Token

HEAD = '{"label": "'


def token(said: str, probability: float, **others: float) -> Token:
    """RETURNS (Token): With itself among what is listed; `_` in an alternative is a space."""
    listed = {said: probability, **{other.replace("_", " "): value for other, value in others.items()}}
    return Token(
        said.encode(), math.log(probability), {other.encode(): math.log(value) for other, value in listed.items()}
    )


def certain(text: str) -> Token:
    return token(text, 1.0)


def in_json(*labels: str) -> dict[str, str]:
    return {label: " " + json.dumps({"label": label}, ensure_ascii=False) for label in labels}


def scores(labels: dict[str, str], *tokens: Token, reply: str | None = None) -> dict[str, float] | None:
    spelled = b"".join(each.said for each in tokens).decode()
    found = choice_scores(spelled if reply is None else reply, tokens, labels)
    assert found is None or sum(found.values()) == pytest.approx(1.0)
    return found


def test_what_no_label_begins_with_counts_for_nothing() -> None:
    """Before a schema applies, nearly all of the probability may be elsewhere."""
    said = token("praise", 0.06, The=0.5, I=0.3, complaint=0.02)
    found = scores(in_json("praise", "complaint"), certain(HEAD), said, certain('"}'))
    assert found == pytest.approx({"praise": 0.75, "complaint": 0.25})


def test_after_a_mask_the_same_computation_changes_nothing() -> None:
    """The listed ones are all that can be said; what cannot be is at -9999, as vLLM and OpenAI write it."""
    said = token("pra", 0.6, p=0.1, complaint=0.2, c=0.1)
    said = said._replace(listed={**said.listed, b"The": -9999.0})
    found = scores(in_json("praise", "complaint"), certain(HEAD), said, certain("ise"), certain('"}'))
    assert found == pytest.approx({"praise": 0.7, "complaint": 0.3})


def test_labels_that_begin_alike_are_followed_to_where_they_part() -> None:
    labels = in_json("card_arrival", "card_linking", "top_up", "top_up_failed")
    first = token("card", 0.6, top=0.2, junk=0.2)
    second = token("_arr", 0.4)._replace(listed={b"_arr": math.log(0.4), b"_l": math.log(0.1), b"x": math.log(0.5)})
    found = scores(labels, certain(HEAD), first, second, certain('ival"}'))
    # What went to `top` could have become either; of `card`, four fifths are the stated one's.
    expected = {"card_arrival": 0.6, "card_linking": 0.15, "top_up": 0.125, "top_up_failed": 0.125}
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("tokens", "stated"),
    [
        ((token("spam", 0.8, ham=0.2), token('"}', 0.75, my=0.25)), "spam"),
        (
            (token("spam", 0.8, ham=0.2), token("my", 0.25)._replace(listed={b"my": -1.386294, b'"': -0.287682})),
            "spammy",
        ),
    ],
)
def test_a_label_that_begins_another(tokens: tuple[Token, Token], stated: str) -> None:
    found = scores(
        in_json("spam", "spammy", "ham"), certain(HEAD), *tokens, *([] if stated == "spam" else [certain('"}')])
    )
    assert found == pytest.approx({"spam": 0.6, "spammy": 0.2, "ham": 0.2})


def test_quotes_and_spaces_may_be_in_a_token_with_the_label() -> None:
    labels = in_json("praise", "complaint")
    before = Token(b' "', math.log(0.5), {b' "': math.log(0.5), b' "comp': math.log(0.25), b' "The': math.log(0.25)})
    said = token("praise", 0.5, The=0.2, complaint=0.25)
    found = scores(labels, certain('{"label":'), before, said, certain('"}'))
    # A third was decided with the quote; of the rest a third.
    assert found == pytest.approx({"praise": 2 / 3 * 2 / 3, "complaint": 1 / 3 + 2 / 3 / 3})
    whole = Token(b'{"label": "praise"}', math.log(0.3), {b'{"label": "complaint': math.log(0.1)})
    assert scores(labels, whole) == pytest.approx({"praise": 0.75, "complaint": 0.25})


def test_a_whole_label_counts_in_any_case_and_a_beginning_only_as_it_is_written() -> None:
    said = token("praise", 0.2, Praise=0.1, P=0.3, Complaint=0.1)
    found = scores(in_json("praise", "complaint"), certain(HEAD), said, certain('"}'))
    assert found == pytest.approx({"praise": 0.75, "complaint": 0.25})
    longer = token("praise", 0.2, praised=0.3, complaints=0.4, complaint=0.2)
    found = scores(in_json("praise", "complaint"), certain(HEAD), longer, certain('"}'))
    assert found == pytest.approx({"praise": 0.5, "complaint": 0.5})


def test_a_label_that_is_not_listed_gets_half_of_what_it_can_have_at_most() -> None:
    said = token("praise", 0.5, The=0.3, A=0.1)
    found = scores(in_json("praise", "complaint"), certain(HEAD), said, certain('"}'))
    assert found == pytest.approx({"praise": 0.5 / 0.55, "complaint": 0.05 / 0.55})
    found = scores(in_json("praise", "a", "b", "c", "d"), certain(HEAD), token("praise", 0.8, The=0.19), certain('"}'))
    assert found is not None
    assert found["praise"] == pytest.approx(0.8 / (0.8 + 4 * 0.01 / 4 / 2))


def test_plain_words_and_thinking_before_them() -> None:
    labels = {"spam": " spam", "spam mail": " spam mail", "ham": " ham"}
    end = Token(b"", math.log(0.9), {b"": math.log(0.9), b" mail": math.log(0.1)})
    found = scores(labels, certain("ham? spam</think>\n"), token("spam", 0.5, ham=0.5), end)
    assert found == pytest.approx({"spam": 0.45, "spam mail": 0.05, "ham": 0.5})
    # Without a token for the end, nothing tells: the stated one has what is left.
    found = scores(labels, token(" spam", 0.5, _ham=0.5))
    assert found == pytest.approx({"spam": 0.5, "spam mail": 0.0, "ham": 0.5}, abs=1e-9)
    # Thinking that is in the tokens alone, with the answer spelled out.
    thinking = (certain('Is it {"label": "ham"}? No. '), certain(HEAD), token("spam", 0.5, ham=0.5), certain('"}'))
    found = scores(in_json("spam", "ham"), *thinking, reply='{"label": "spam"}')
    assert found == pytest.approx({"spam": 0.5, "ham": 0.5})


def test_characters_of_several_tokens_and_escapes() -> None:
    labels = in_json("苦情", "賞賛", 'so "nice"')
    raw = "苦".encode()
    first = Token(
        raw[:2], math.log(0.5), {raw[:2]: math.log(0.5), "賞".encode()[:2]: math.log(0.3), b"so": math.log(0.2)}
    )
    rest = Token(raw[2:] + "情".encode(), 0.0, {})
    found = scores(labels, certain(HEAD), first, rest, certain('"}'))
    assert found == pytest.approx({"苦情": 0.5, "賞賛": 0.3, 'so "nice"': 0.2})
    escaped = Token(b"\\u82e6", math.log(0.5), {b"\\u": math.log(0.2), b"\\u8cde": math.log(0.3)})
    found = scores(in_json("苦情", "賞賛"), certain(HEAD), escaped, certain('\\u60c5"}'))
    assert found == pytest.approx({"苦情": 0.6 / 1.0, "賞賛": 0.4 / 1.0}, abs=0.03)


@pytest.mark.parametrize(
    ("reply", "labels"),
    [
        ("I would say praise", {"praise": " praise", "complaint": " complaint"}),
        ("praise, or complaint", {"praise": " praise", "complaint": " complaint"}),
        ('{"label": "nonsense"}', in_json("praise", "complaint")),
        ('{"label": "praise", "reason": "nice"}', in_json("praise", "complaint")),
        ('{"label": "praise"} {"label": "complaint"}', in_json("praise", "complaint")),
        ("", in_json("praise", "complaint")),
    ],
)
def test_no_scores_for_a_reply_that_says_more_or_less(reply: str, labels: dict[str, str]) -> None:
    parts = [token(part, 0.5, x=0.5) for part in reply.replace(" ", "\x00 ").split("\x00")]
    assert scores(labels, *parts) is None


def test_no_scores_without_alternatives_or_for_other_tokens() -> None:
    labels = in_json("praise", "complaint")
    alone = (certain(HEAD), Token(b"praise", math.log(0.1), {}), certain('"}'))
    assert scores(labels, *alone) is None
    assert scores(in_json("praise"), certain(HEAD), token("praise", 0.5, The=0.5), certain('"}')) is None
    assert scores(labels, certain("something else"), reply='{"label": "praise"}') is None
