"""Several readings of one text's entities made one: votes of samples, and the parts of a long text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..types import Span, Status
from .alignment import Unaligned
from .labels_combined import failure


@dataclass(frozen=True, slots=True)
class SpanReading:
    """What one reply, or several, say of a text's entities.

    status (Status): Only "ok" has an answer, which may be that there are none.
    spans (Tuple[Span, ...]): On token boundaries, in the order of the text, overlaps and all.
    unaligned (Tuple[Unaligned, ...]): Quotes that mark nothing.
    unread (Tuple[Span, ...]): Stretches whose reply could not be used, without a label.
    """

    status: Status
    spans: tuple[Span, ...] = ()
    unaligned: tuple[Unaligned, ...] = ()
    unread: tuple[Span, ...] = ()


def vote(readings: Sequence[SpanReading]) -> SpanReading:
    """Count the samples of one prompt. Replies that could not be read have no vote.

    RETURNS (SpanReading): Every span that any sample named, once, by its offsets and label; its score is the share of
        the samples that did. The samples' most frequent failure if none could be read; "error" if more than half of
        them got no reply at all.
    """
    if 2 * sum(reading.status == "error" for reading in readings) > len(readings):
        return SpanReading("error")
    ok = [reading for reading in readings if reading.status == "ok"]
    unaligned = tuple(dict.fromkeys(quote for reading in readings for quote in reading.unaligned))
    if not ok:
        return SpanReading(failure([reading.status for reading in readings]), (), unaligned)
    votes = Counter(key for reading in ok for key in {(span.start, span.end, span.label) for span in reading.spans})
    spans = (Span(*key, count / len(ok)) for key, count in votes.items())
    return SpanReading("ok", tuple(sorted(spans, key=lambda span: (span.start, span.end, span.label))), unaligned)


def merge(readings: Sequence[SpanReading], parts: Sequence[tuple[int, int]]) -> SpanReading:
    """Put the parts of a long text together. A part without a usable answer is unread, which is not the same as without
    entities. If a part got no reply at all, the text counts as not answered, and is asked again.

    parts (Sequence[Tuple[int, int]]): Where each part starts and ends.
    RETURNS (SpanReading): The only part's own reading if there is one part.
    """
    if len(readings) == 1:
        return readings[0]
    statuses = [reading.status for reading in readings]
    unaligned = tuple(quote for reading in readings for quote in reading.unaligned)
    if "error" in statuses or "ok" not in statuses:
        return SpanReading("error" if "error" in statuses else failure(statuses), (), unaligned)
    return SpanReading(
        "ok",
        tuple(span for reading in readings for span in reading.spans),
        unaligned,
        tuple(Span(*part, "") for reading, part in zip(readings, parts, strict=True) if reading.status != "ok"),
    )
