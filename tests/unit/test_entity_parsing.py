"""Quoted entities read off raw replies."""

import pytest

from spacy_distill.tasks.entity_parsing import parse_entities
from spacy_distill.tasks.names import Names

NAMES = Names({label: label for label in ("PERSON", "PLACE", "Work of art")})


def read(reply, **settings):
    found = parse_entities(reply, NAMES, **settings)
    return None if found is None else [(entity.quote, entity.label) for entity in found]


@pytest.mark.parametrize(
    "reply",
    [
        '{"entities": [{"text": "Ada", "label": "PERSON"}, {"text": "Oslo", "label": "PLACE"}]}',
        '```json\n{"entities": [{"text": "Ada", "label": "PERSON"}, {"text": "Oslo", "label": "PLACE"}]}\n```',
        'Here you are: [{"text": "Ada", "label": "person"}, {"text": "Oslo", "label": "place"}] Done.',
        '[{"entity": "Ada", "type": "PERSON"}, {"span": "Oslo", "category": "PLACE"}]',
        '{"text": "Ada", "label": "PERSON"}\n{"text": "Oslo", "label": "PLACE"}',
        '{"PERSON": ["Ada"], "PLACE": ["Oslo"], "Work of art": []}',
        '{"entities": {"PERSON": "Ada", "PLACE": ["Oslo"], "Work of art": null}}',
        "PERSON: Ada\nPLACE: Oslo\nWORK OF ART:",
        "PERSON:\n- Ada\n\nPLACE:\n- Oslo\n\nWork of art:\nNone",
        "**Person:** Ada\n**Place:** Oslo",
        '<think>{"entities": []}</think>PERSON: Ada\nPLACE: "Oslo"',
        '{"entities": [{"text": "Ada", "label": "PERSON"}, {"text": "Oslo", "label": "PLACE"}]',
    ],
)
def test_the_same_entities_in_many_forms(reply):
    assert read(reply) == [("Ada", "PERSON"), ("Oslo", "PLACE")]


@pytest.mark.parametrize(
    "reply", ['{"entities": []}', "[]", "{}", "none", "None.", "PERSON:\nPLACE: n/a", '{"PERSON": []}']
)
def test_no_entities_is_an_answer(reply):
    assert read(reply) == []


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "I found Ada in the text.",
        '{"entities": [{"text": "Ada", "label": "PERSON"}, {"text": "Os',
        '{"entities": [{"text": "Ada", "label": "PERSON"}, {"text": "Oslo"}]}',
        '{"entities": {"PERSON": ["Ada"], "PLACE": [',
        '{"PERSON": [], "PLACE": ["Os',
        '{"error": "no can do"}',
        '["Ada", "Oslo"]',
        "[1] [2]",
        "Note: Ada is a person.",
    ],
)
def test_what_cannot_be_read_is_none_and_not_empty(reply):
    assert read(reply) is None


def test_a_truncated_reply_counts_only_if_its_list_was_closed():
    assert read("PERSON: Ada\nPLACE: Os", truncated=True) is None
    assert read('{"entities": [{"text": "Ada", "label": "PERSON"}], "note": "cu', truncated=True) == [("Ada", "PERSON")]


def test_unknown_labels_keep_their_names():
    found = parse_entities('{"entities": [{"text": "Acme", "label": "ORG"}]}', NAMES)
    assert [(entity.quote, entity.label, entity.said) for entity in found] == [("Acme", None, "ORG")]
    found = parse_entities("PERSON: Ada\nORG: Acme", NAMES)
    assert [(entity.quote, entity.label, entity.said) for entity in found] == [
        ("Ada", "PERSON", "PERSON"),
        ("Acme", None, "ORG"),
    ]
    assert read('{"ORG": ["Acme"]}') == [("Acme", None)]


def test_lists_on_lines_keep_numbers_whole():
    assert read("PLACE: 1,000 Islands, Oslo; Rome") == [
        ("1,000 Islands", "PLACE"),
        ("Oslo", "PLACE"),
        ("Rome", "PLACE"),
    ]


@pytest.mark.parametrize(
    ("reply", "stated"),
    [
        (
            '{"entities": [{"text": "Ada", "label": "PERSON"}, {"text": "Ada", "label": "PLACE"}]}',
            [["Ada", "PERSON"], ["Ada", "PLACE"]],
        ),
        ('{"PERSON": ["PERSON", "Ada"]}', [["PERSON"], ["Ada"]]),
        ("PERSON: Ada, Ada L.\nPLACE: Oslo", [["Ada"], ["Ada L."], ["Oslo"]]),
    ],
)
def test_places_point_at_quote_and_label(reply, stated):
    entities = parse_entities(reply, NAMES)
    assert [[reply[start:end] for start, end in entity.places] for entity in entities] == stated
    places = [place for entity in entities for place in entity.places]
    assert places == sorted(set(places))
