"""JSON among prose, and the probabilities of tokens."""

import math

import pytest

from spacy_distill.tasks.replies import json_values, place_of, probability_of, without_thinking


def test_json_is_found_wherever_it_stands():
    reply = 'See [here]: {"a": [1]} and ```json\n["b"]\n``` and {broken'
    assert [value for _, _, value in json_values(reply)] == [{"a": [1]}, ["b"]]
    assert [reply[start:end] for start, end, _ in json_values(reply)] == ['{"a": [1]}', '["b"]']


@pytest.mark.parametrize(("levels", "found"), [(20, 2), (21, 1), (500, 1), (50_000, 0)])
def test_brackets_without_end_are_no_answer(levels, found):
    """Whether or not Python's own parser gives up on them: how soon it does differs from version to version."""
    values = [value for _, _, value in json_values("[" * levels + "]" * levels + ' {"a": [1]}')]
    assert len(values) == found
    assert not found or values[-1] == {"a": [1]}


def test_thinking_is_blanked_out_in_place():
    reply = "<think>no {}</think>yes"
    assert without_thinking(reply) == " " * 20 + "yes"
    assert without_thinking("thinking aloud</think>yes").endswith(" yes")
    assert without_thinking("<think>for ever").strip() == ""
    assert without_thinking("I <think> so") == "I <think> so"


@pytest.mark.parametrize("written", ['"caf\u00e9 \\"x\\""', '"caf\\u00e9 \\"x\\""'])
def test_a_place_is_found_however_json_writes_it(written):
    reply = f'{{"text": {written}}}'
    place = place_of('caf\u00e9 "x"', reply)
    assert place is not None
    assert reply[slice(*place)] == written[1:-1]
    assert place_of("text", reply) is None


def test_probability_is_the_product_over_the_tokens_that_overlap():
    tokens = [(" {", -9.0), ('"label": "', -9.0), ("bil", -0.1), ('ling"', -0.2), ("}", -9.0)]
    reply = '{"label": "billing"}'
    assert probability_of([(11, 18)], reply, tokens) == pytest.approx(math.exp(-0.3))
    assert probability_of([], reply, tokens) is None
    assert probability_of([(11, 18)], reply, []) is None
    assert probability_of([(11, 18)], "another reply", tokens) is None
    assert probability_of([(0, 2)], "ab", [("ab", 0.001)]) == 1.0


def test_thinking_among_the_tokens_is_not_taken_for_the_answer():
    tokens = [("spam", -3.0), ("? ", 0.0), ("spam", -0.5)]
    assert probability_of([(0, 4)], "spam", tokens) == pytest.approx(math.exp(-0.5))
