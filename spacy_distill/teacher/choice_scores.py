"""A probability for each of a prompt's choices, from the alternatives that a server lists at each token of its reply.

Some servers give probabilities from before a schema held the model to a few words: most of it is then spent on words
that cannot be said, and the stated label's own probability means little. What counts is its share among the labels.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from .tokens import Token

_SMALLEST = 1e-12


def choice_scores(reply: str, tokens: Sequence[Token], choices: Mapping[str, str]) -> dict[str, float] | None:
    """Follow the stated label token by token, and see at each how probability divides among the labels that are still
    possible.

    At each token, listed alternatives are taken together by the labels that they could be the beginning of, or that
    they are, in whatever case. (Beginnings have to be exact: where nothing was ruled out, a lone capital is more often
    that of another word.) What begins no label counts for nothing, as if the model had been held to the labels. What
    begins the same labels as the stated token is taken to go on like it. What begins some others is divided evenly
    among these: how the model would have gone on is not known. A label that nothing listed begins is at most as likely
    as the least of what is listed, and as its part of what is not: it gets half of that.

    reply (str): The reply.
    tokens (Sequence[Token]): The tokens that spell it; more before and after, such as thinking, do no harm.
    choices (Mapping[str, str]): See `Prompt.choices`.
    RETURNS (Optional[Dict[str, float]]): Label to probability, adding up to 1. None if there is nothing to choose, the
        reply does not state exactly one of the choices and nothing else, or nothing is listed where they part.
    """
    found = _find(reply, choices)
    spelled = b"".join(token.said for token in tokens)
    shift = spelled.rfind(reply.encode("utf8"))
    if found is None or shift < 0 or len(choices) < 2:
        return None
    stated, words, before, start = found
    start += shift
    left = words
    scores = dict.fromkeys(left, 0.0)
    path, position = 1.0, 0
    for token in tokens:
        begins, position = position, position + len(token.said)
        if position <= start - len(before):
            continue
        lead = spelled[begins:start]
        here = {label: lead + word[max(0, begins - start) :] for label, word in left.items()}
        groups = _groups(token, here)
        own = _beginning(token.said, here)
        if stated not in own:
            return None
        if len(own) < len(here):
            if not set(token.listed) - {token.said}:
                return None
            groups.pop(tuple(here), None)  # It tells nothing apart.
        total = sum(groups.values())
        if not groups.get(own, 0.0) > 0.0:
            return None
        for labels, probability in groups.items():
            if labels != own:
                for label in labels:
                    scores[label] += path * probability / total / len(labels)
        path *= groups[own] / total
        left = {label: left[label] for label in own}
        if len(left) == 1:
            break
    scores[stated] += path
    whole = sum(max(_SMALLEST, score) for score in scores.values())
    return {label: max(_SMALLEST, score) / whole for label, score in scores.items()}


def _groups(token: Token, here: Mapping[str, bytes]) -> dict[tuple[str, ...], float]:
    """RETURNS (Dict[Tuple[str, ...], float]): Labels to the probability of all tokens that could be the beginning of
    these and no others."""
    listed = {
        said: math.exp(min(0.0, logprob)) for said, logprob in {token.said: token.logprob, **token.listed}.items()
    }
    first = {rest[:1].lower() for rest in here.values()}
    groups: dict[tuple[str, ...], float] = {}
    for said, probability in listed.items():
        # Most of what is listed is ruled out by its first letter; a label that is over can be followed by anything.
        labels = _beginning(said, here) if said[:1].lower() in first or b"" in first else ()
        if labels:
            groups[labels] = groups.get(labels, 0.0) + probability
    unlisted = set(here).difference(*groups)
    if unlisted:
        rest = max(0.0, 1.0 - sum(listed.values()))
        each = min(min(listed.values()), rest / len(unlisted)) / 2
        groups.update({(label,): each for label in unlisted})
    return groups


def _beginning(said: bytes, here: Mapping[str, bytes]) -> tuple[str, ...]:
    """RETURNS (Tuple[str, ...]): The labels of whose remaining spelling this is the beginning, or which it ends; of two
    that it could be, the one of which it holds more."""
    most = -1
    found: list[str] = []
    folded = said.lower()
    for label, rest in here.items():
        if said and rest.startswith(said):
            common = len(said)
        elif len(rest) <= len(said) and folded.startswith(rest.lower()) and not _goes_on(said[len(rest) :]):
            common = len(rest)
        else:
            continue
        if common > most:
            most, found = common, []
        if common == most:
            found.append(label)
    return tuple(found)


def _goes_on(rest: bytes) -> bool:
    """RETURNS (bool): True if a word is not yet over."""
    return rest[:1].isalnum() or rest[:1] == b"_" or rest[:1] >= b"\x80"


def _find(reply: str, choices: Mapping[str, str]) -> tuple[str, Mapping[str, bytes], bytes, int] | None:
    """RETURNS (Optional[Tuple[str, Mapping[str, bytes], bytes, int]]): The stated label; each label's spelling in a
    reply like this; what stands before it; and where it begins, in bytes. None if the reply is no such statement."""
    answer = reply.rpartition("</think>")[2]
    for way in _ways(tuple(choices.items())):
        match = way.pattern.fullmatch(answer)
        if match:
            start = len(reply) - len(answer) + match.start(2)
            return way.labels[match[2]], way.spelled, match[1].encode("utf8"), len(reply[:start].encode("utf8"))
    return None


class _Way(NamedTuple):
    """One way to write the choices: a pattern of all that a reply then is, whose groups are what stands before the
    label, and the label; and the labels' spellings."""

    pattern: re.Pattern[str]
    labels: Mapping[str, str]
    spelled: Mapping[str, bytes]


@lru_cache(maxsize=64)
def _ways(choices: tuple[tuple[str, str], ...]) -> list[_Way]:
    words = {label: said.strip() for label, said in choices}
    try:
        values = {label: json.loads(said) for label, said in words.items()}
        ((key,),) = {tuple(value) for value in values.values()}
        named = {label: value[key] for label, value in values.items()}
    except (ValueError, TypeError):
        named = {}
    if not named or not all(isinstance(word, str) for word in named.values()):
        return [_way(r"(\W*)", words, r"\W*")]  # They are not of the form {"label": "..."}.
    head = rf'(?:\W*json)?\W*"{re.escape(key)}"(\s*:\s*")'
    return [
        _way(head, {label: json.dumps(word, ensure_ascii=ascii)[1:-1] for label, word in named.items()}, r'"\W*')
        for ascii in (False, True)
    ]


def _way(head: str, words: Mapping[str, str], tail: str) -> _Way:
    longest_first = sorted(words.values(), key=len, reverse=True)
    pattern = re.compile(f"{head}({'|'.join(map(re.escape, longest_first))}){tail}")
    return _Way(
        pattern,
        {word: label for label, word in words.items()},
        {label: word.encode("utf8") for label, word in words.items()},
    )
