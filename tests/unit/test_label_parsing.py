"""Labels read off raw replies: every form that models answer in, and none of the guesses that would be wrong."""

import pytest

from spacy_distill.errors import ConfigError
from spacy_distill.tasks.label_parsing import parse_labels
from spacy_distill.tasks.names import Names

LABELS = ("billing", "card_lost", "Other requests", "refund, partial", "refund", "is it real?")


def names_of(*labels, **words):
    return Names({**{label: label for label in labels}, **words})


def read(reply, labels=LABELS, **settings):
    settings.setdefault("exclusive", True)
    return parse_labels(reply, names_of(*labels), **settings)


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        ('{"label": "billing"}', "billing"),
        ('```json\n{"label": "card_lost"}\n```', "card_lost"),
        ('Sure! Here it is: {"label": "billing"} Anything else?', "billing"),
        ('{"Label": "BILLING"}', "billing"),
        ('{"category": "billing", "reason": "an invoice [1]"}', "billing"),
        ('{"topic": "billing"}', "billing"),
        ('{"labels": ["billing"]}', "billing"),
        ('["billing"]', "billing"),
        ('"billing"', "billing"),
        ("{'label': 'billing'}", "billing"),
        ('{"label": "billing"', "billing"),
        ('[{"label": "billing"}]', "billing"),
        ("billing", "billing"),
        ("  Billing.\n", "billing"),
        ("**card lost**", "card_lost"),
        ("Card-Lost", "card_lost"),
        ("OTHER   REQUESTS", "Other requests"),
        ("refund, partial", "refund, partial"),
        ('{"label": "refund, partial"}', "refund, partial"),
        ("is it real?", "is it real?"),
        ("Is it real", "is it real?"),
        ("Category: card_lost\n\nThis category fits because of billing and refund.", "card_lost"),
        ("**Label:** `billing`", "billing"),
        ("Answer: billing (very sure)", "billing"),
        ("Label: billing - they ask for an invoice", "billing"),
        ("Label: billing because they ask for an invoice", "billing"),
        ("Label:\n\n**refund**\n\nIt is about money.", "refund"),
        ("The category for this message would be:\n\n**refund**", "refund"),
        ("I would say this is about **refund**. The customer wants money.", "refund"),
        ("The label for this text is billing.", "billing"),
        ('I would classify it as "billing", since it names an invoice.', "billing"),
        (" billing\n\nText: another one\nLabel: refund", "billing"),
        ("<think>It could be refund.\nLabel: refund</think>\n\nLabel: billing", "billing"),
        ("billing\nbilling", "billing"),
        ("It is not about money, so the label is billing.", "billing"),
        ("I can't see an invoice. It should not be classified as refund. The label is billing.", "billing"),
        ("They cannot find the invoice so the label is **billing**.", "billing"),
        ("It is not a refund but **billing**.", "billing"),
        ("The text does not name a card — it is **billing**.", "billing"),
        ("It does not name a card and is therefore classified as billing.", "billing"),
        ('The text "I did not get it" is **billing**.', "billing"),
        ("The text “why don't you answer?” can be classified as billing.", "billing"),
        ("There is no doubt that the label is billing.", "billing"),
        ("If I had to choose it would be billing.", "billing"),
        ("Refund: no\nBilling: yes", "billing"),
        ("billing: no invoice came", "billing"),
    ],
)
def test_one_label_in_many_forms(reply, label):
    answer = read(reply)
    assert (answer.status, answer.labels, answer.unknown) == ("ok", (label,), ())


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "   \n",
        "...",
        "{}",
        "[[[[[[",
        "{" * 5000,
        "[" * 5000 + "]" * 5000,
        '{"label": {"billing": true}}',
        '{"label": "billing", "label2": ',
        "I cannot help with that request.",
        "It is not billing",
        "not billing",
        "Either billing or refund",
        "Label: billing or refund",
        "Label: billing, refund",
        "Label: billing / something else",
        '{"label": "billing, refund"}',
        '{"labels": ["billing", "refund"]}',
        "billing\nrefund",
        "The label is billing. No, the label is refund.",
        "They mention billing in passing, and a number of other things besides.",
        "Label: I really cannot tell which of these it ought to be",
        "<think>Label: billing",
        "This should not be classified as billing.",
        "I'm sorry, but I can't classify this as billing.",
        "This is not a **billing** question.",
        "It is not clear whether it is billing.",
        "It is unlikely to be billing.",
        "It is a refund but not **billing**.",
        "It is not so much **billing** as anger.",
        'The text "I paid" is not **billing**.',
        "Billing: no",
    ],
)
def test_what_cannot_be_read_is_unparsed(reply):
    answer = read(reply)
    assert (answer.status, answer.labels) == ("unparsed", ()), answer


@pytest.mark.parametrize(
    ("reply", "unknown"),
    [
        ('{"label": "shipping"}', "shipping"),
        ("Category: getting_a_card\n\nThis fits best.", "getting_a_card"),
        ("shipping", "shipping"),
        ("non-refund", "non-refund"),
        ('{"label": 3}', "3"),
        ("Label: unbilling", "unbilling"),
        ("none", "none"),
    ],
)
def test_a_label_that_was_not_offered_is_named(reply, unknown):
    answer = read(reply)
    assert (answer.status, answer.unknown, answer.labels) == ("unknown_label", (unknown,), ())


def test_longer_labels_are_read_before_their_parts():
    assert read("Label: not spam", ("spam", "not spam")).labels == ("not spam",)
    assert read("not spam.", ("spam", "not spam")).labels == ("not spam",)
    assert read("Label: C++ (the language)", ("C", "C++")).labels == ("C++",)
    assert read("Label: virtual_card_broken", ("card_broken", "virtual_card_broken")).labels == ("virtual_card_broken",)
    assert read("Label: virtual_card_broken", ("card_broken",)).status == "unknown_label"


def test_labels_that_are_numbers_or_truth_values():
    assert read('{"label": 1}', ("0", "1")).labels == ("1",)
    assert read('{"label": true}', ("true", "false")).labels == ("true",)


@pytest.mark.parametrize("reply", ["-1.", "Label: **-1**", '{"label": "-1."}', '{"label": -1}', "'-1'"])
def test_a_sign_is_part_of_a_figure(reply):
    assert read(reply, labels=("-1", "0", "1")).labels == ("-1",)
    assert read(reply.replace("-", ""), labels=("-1", "0", "1")).labels == ("1",)
    assert read(reply.replace("-", ""), labels=("-1", "0", "+1")).status == "unknown_label"
    assert read(reply.replace("-1", "- 1"), labels=("0", "1")).labels == ("1",)
    assert read(reply.replace("-1", "50"), labels=(">50", "=50")).labels != (">50",)


@pytest.mark.parametrize("reply", ["< 18", "<18", "Label: < 18", '{"label": "< 18."}', "**< 18**"])
def test_a_sign_may_stand_apart_from_its_figure(reply):
    labels = ("<18", "18-65", ">18")
    assert read(reply, labels=labels).labels == ("<18",)
    assert read(reply.replace("<", ">"), labels=labels).labels == (">18",)
    assert read("- 18", labels=labels).status == "unknown_label"
    assert read(reply, labels=("18", "65")).labels == ("18",)


@pytest.mark.parametrize("labels", [("+", "-"), ("?", "fine"), ("-", "-1")])
def test_an_empty_answer_is_no_label_of_nothing_but_punctuation(labels):
    assert read('{"label": ""}', labels=labels).status == "abstain"
    for label in labels:
        assert read(label, labels=labels).labels == (label,)


def test_unicode_forms_of_a_label_are_one():
    assert read("Label: cafe\u0301", ("caf\u00e9", "bar")).labels == ("caf\u00e9",)
    assert read('{"label": "ＣＡＦＥ\u0301"}', ("caf\u00e9", "bar")).labels == ("caf\u00e9",)


def test_a_form_that_could_mean_two_labels_means_neither():
    names = names_of("a-b", "a_b")
    assert names.find("a-b") == "a-b"
    assert names.find("a_b") == "a_b"
    assert names.find("a b") is None
    assert parse_labels("a b", names, exclusive=True).status == "unknown_label"


def test_words_map_back_to_labels_and_may_not_clash():
    names = names_of("pos", "neg", pos="great", neg="terrible")
    assert parse_labels(" great\n", names, exclusive=True).labels == ("pos",)
    assert parse_labels("Label: neg", names, exclusive=True).labels == ("neg",)
    with pytest.raises(ConfigError, match="also means 'neg'"):
        names_of("pos", "neg", pos="Neg")
    with pytest.raises(ConfigError, match="also means"):
        names_of("pos", "neg", pos="fine", neg="FINE")
    with pytest.raises(ConfigError, match="empty or has space"):
        names_of("pos", "neg", pos=" great")


@pytest.mark.parametrize(
    ("reply", "labels"),
    [
        ('{"labels": ["billing", "refund"]}', ("billing", "refund")),
        ('{"labels": ["refund, partial", "Billing", "billing"]}', ("refund, partial", "billing")),
        ('{"labels": "billing, refund"}', ("billing", "refund")),
        (
            "Labels: billing, refund, partial; card lost and refund",
            ("billing", "refund, partial", "card_lost", "refund"),
        ),
        ("- billing\n- refund\n\nThey also mention card_lost.", ("billing", "refund")),
        ("Labels:\n* billing: an invoice is named\n* refund", ("billing", "refund")),
        ('{"labels": ["billing"], "reason": "and then it was cut', ("billing",)),
        ("billing", ("billing",)),
        ("- billing: yes\n- refund: no\n- card_lost: yes", ("billing", "card_lost")),
        ("Billing: No, no invoice.\nRefund (no)\nCard lost: yes", ("card_lost",)),
    ],
)
def test_several_labels(reply, labels):
    answer = read(reply, exclusive=False)
    assert (answer.status, answer.labels) == ("ok", labels)


@pytest.mark.parametrize(
    "reply",
    [
        '{"labels": ["billing", "refu',
        '{"labels": [{"label": "billing"}, {"label": "ref',
        "This text is about billing.",
        "It may be **billing**",
    ],
)
def test_half_a_list_is_no_list(reply):
    assert read(reply, exclusive=False).status == "unparsed"


def test_one_unknown_label_among_several_spoils_the_list():
    answer = read('{"labels": ["billing", "shipping"]}', exclusive=False)
    assert (answer.status, answer.labels, answer.unknown) == ("unknown_label", (), ("shipping",))


@pytest.mark.parametrize(
    "reply", ["none", "None.", '{"label": "none"}', "Label: none", '{"label": null}', '{"label": ""}']
)
def test_none_declines_where_it_may(reply):
    assert read(reply, allow_none=True).status == "abstain"
    several = read(reply, allow_none=True, exclusive=False)
    assert (several.status, several.labels) == ("ok", ())


@pytest.mark.parametrize("reply", ['{"label": null}', '{"labels": []}', "[]", '{"label": ""}'])
def test_an_empty_answer_abstains_where_none_was_not_offered(reply):
    assert read(reply).status == "abstain"
    assert read(reply, exclusive=False).status == "abstain"


def test_a_truncated_reply_counts_only_as_far_as_it_is_whole():
    labels = ("top_up", "top_up_by_card", "refund")
    assert read("Label: refund\n\nThis is bec", labels, truncated=True).labels == ("refund",)
    assert read("Label: top_up", labels, truncated=True).status == "unparsed"
    assert read("Label: top_up", labels).labels == ("top_up",)
    assert read("Label: top_up_by_car", labels, truncated=True).status == "unparsed"
    assert read("top_up, refund", labels, truncated=True, exclusive=False).status == "unparsed"
    assert read('{"labels": ["top_up"]}', labels, truncated=True, exclusive=False).labels == ("top_up",)


@pytest.mark.parametrize(
    ("said", "confidence"),
    [
        ("0.9", 0.9),
        ("90", 0.9),
        ('"90 %"', 0.9),
        ('"9 %"', 0.09),
        ("9", None),
        ("1.2", None),
        ('"0.5"', 0.5),
        ('"high"', None),
        ("-3", None),
        ("true", None),
        ("NaN", None),
    ],
)
def test_confidence_in_words(said, confidence):
    answer = read(f'{{"label": "billing", "confidence": {said}}}')
    assert answer.status == "ok"
    assert answer.confidence == (None if confidence is None else pytest.approx(confidence))


def test_confidence_of_several_labels_is_that_of_the_least_sure():
    reply = '{"labels": [{"label": "billing", "confidence": 0.9}, {"label": "refund", "confidence": 0.4}]}'
    assert read(reply, exclusive=False).confidence == pytest.approx(0.4)


@pytest.mark.parametrize(
    "reply",
    [
        '{"label": "billing"}',
        "It is said.\nLabel: **billing**",
        "billing",
        'Well: ["billing"]',
        "The label is billing.",
    ],
)
def test_places_point_at_the_label(reply):
    answer = read(reply)
    assert [reply[start:end] for start, end in answer.places] == ["billing"]


def test_a_value_is_not_mistaken_for_its_key():
    reply = '{"label": "label"}'
    answer = read(reply, ("label", "other"))
    assert answer.places == ((11, 16),)


def test_a_long_reply_is_read_in_reasonable_time():
    assert read("word " * 50_000 + "\nLabel: billing").labels == ("billing",)
    assert read("[{" * 50_000).status == "unparsed"
