"""Long texts in parts: cut between paragraphs or sentences, else between words, else anywhere."""

from __future__ import annotations

import re

Part = tuple[int, int]
"""First character of a part, and one past its last."""

# From the best place to cut to the worst: each is what comes before the cut.
_BORDERS = (
    re.compile(r"\n\s*\n\s*"),
    re.compile(r"""[.!?…][)\]"'”’]*\s+|[。！？]|\n"""),
    re.compile(r"\s+"),
)


def cut(text: str, max_chars: int | None) -> list[Part]:
    """Cut a text so that no part is longer than `max_chars`, and parts are as long as they can be.

    RETURNS (List[Part]): At least one; side by side they are the text.
    """
    if max_chars is None or len(text) <= max_chars:
        return [(0, len(text))]
    parts: list[Part] = []
    start = 0
    while len(text) - start > max_chars:
        end = _border(text, start, start + max_chars)
        parts.append((start, end))
        start = end
    return [*parts, (start, len(text))]


def _border(text: str, start: int, limit: int) -> int:
    """RETURNS (int): The last good place to cut in the second half of the window, at the latest at `limit`."""
    half = start + (limit - start) // 2
    for border in _BORDERS:
        ends = [match.end() for match in border.finditer(text, half, limit)]
        if ends:
            return ends[-1]
    return limit
