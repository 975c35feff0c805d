"""What a run of annotation would take, before anything is sent: requests, tokens, money, time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

from spacy.language import Language
from spacy_llm.pipeline import LLMWrapper

from .annotate import render, teachers
from .docs import make_doc
from .teacher.base import TeacherModel
from .teacher.budget import UNKNOWN_REPLY_TOKENS, size
from .teacher.ledger import Usage
from .teacher.prices import Price
from .teacher.types import Prompt
from .types import Text

_LEAST_REPLIES = 5
"""Fewer replies than this tell nothing about the others."""

_TOKENS_PER_BYTE = (1 / 6, 1 / 4, 1 / 2)
"""Of prompts whose tokenizer was never seen at work: few for English, many for rare scripts and figures."""


class Range(NamedTuple):
    """A figure that is not known: at least about, most likely, at most about."""

    low: float
    expected: float
    high: float

    def times(self, factor: float) -> Range:
        """RETURNS (Range): So many of them."""
        return Range(*(value * factor for value in self))


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one teacher of a pipeline would be asked.

    component (str): Its name in the pipeline.
    model (str): Its model's name.
    prompts (int): All prompts. `requests` + `from_ledger` + `repeated`.
    requests (int): Prompts that would be asked for.
    from_ledger (int): Prompts whose reply the ledger has.
    repeated (int): Prompts that stand in the texts once more.
    seen (int): Replies in the ledger that the figures are worked out from. 0: they are guesses.
    prompt_tokens (Range): Tokens read.
    reply_tokens (Range): Tokens written.
    price (Optional[Price]): None if it is not known.
    cost_usd (Optional[Range]): None if the price is not known.
    elapsed_s (Optional[Range]): None if no reply was seen yet.
    """

    component: str
    model: str
    prompts: int
    requests: int
    from_ledger: int
    repeated: int
    seen: int
    prompt_tokens: Range
    reply_tokens: Range
    price: Price | None
    cost_usd: Range | None
    elapsed_s: Range | None


def estimate(nlp: Language, texts: Iterable[Text], *, ledger: Path | None = None) -> list[Estimate]:
    """Estimate what `annotate` would ask for. Nothing is sent, nothing written.

    Prompts are rendered and looked up one by one, so the number of requests is exact; only a component whose prompts
    depend on what another teacher has set would be asked differently. Tokens and time are worked out from the replies
    that the ledger has from this model, where there are at least five: the range is that of their mean, plus and minus
    two standard errors. Where there are not, tokens are guessed from the prompt's bytes, and a reply has between one
    token and as many as it may have.

    nlp (Language): A teacher pipeline.
    texts (Iterable[Text]): What would be labelled.
    ledger (Optional[Path]): As for `annotate`.
    RETURNS (List[Estimate]): One for each component that is a teacher.
    RAISES (ConfigError): Votes of a model whose answers are always the same.
    """
    models = teachers(nlp, ledger=ledger)
    counts = {name: _Count(model) for name, model in models.items()}
    for text in texts:
        doc = make_doc(nlp, text)
        for name, component in nlp.pipeline:
            if isinstance(component, LLMWrapper):
                for prompt in render(component, doc)[0]:
                    counts[name].add(Prompt.of(prompt))
            else:
                doc = component(doc)
    return [_estimate(name, count) for name, count in counts.items()]


class _Count:
    """What one model would be asked.

    model (TeacherModel): The model.
    """

    def __init__(self, model: TeacherModel) -> None:
        self.model = model
        self.ledger = model.ledger if model.ledger is not None and model.ledger.path.exists() else None
        self.seen: set[bytes] = set()
        self.from_ledger = self.repeated = self.bytes = 0
        self.first: Prompt | None = None

    def add(self, prompt: Prompt) -> None:
        self.model.check(prompt)
        key = self.model.key(prompt)
        known = bytes.fromhex(key[:24])
        if known in self.seen:
            self.repeated += 1
            return
        self.seen.add(known)
        if self.ledger is not None and self.ledger.get(key) is not None:
            self.from_ledger += 1
            return
        self.bytes += size(prompt)
        self.first = self.first or prompt


def _estimate(component: str, count: _Count) -> Estimate:
    model = count.model
    requests = len(count.seen) - count.from_ledger
    usage: list[Usage] = []
    if count.ledger is not None and count.first is not None:
        usage = count.ledger.usage(model.name, model.params, count.first.frame)
    if len(usage) < _LEAST_REPLIES:
        usage = []
    most = model.longest_reply or UNKNOWN_REPLY_TOKENS
    if usage:
        per_byte = _mean([one.prompt_tokens / max(1, one.size) for one in usage])
        reply = _mean([one.reply_tokens for one in usage])
        reply = reply._replace(high=min(reply.high, max(most, reply.expected)))
    else:
        per_byte = Range(*_TOKENS_PER_BYTE)
        reply = Range(1.0, math.sqrt(most), float(most))
    prompt_tokens, reply_tokens = per_byte.times(count.bytes), reply.times(requests)
    latencies = [one.latency_s for one in usage if one.latency_s is not None]
    at_a_time = max(1, min(model.max_in_flight, requests))
    return Estimate(
        component=component,
        model=model.name,
        prompts=len(count.seen) + count.repeated,
        requests=requests,
        from_ledger=count.from_ledger,
        repeated=count.repeated,
        seen=len(usage),
        prompt_tokens=prompt_tokens,
        reply_tokens=reply_tokens,
        price=model.price,
        cost_usd=_cost(model.price, requests, prompt_tokens, reply_tokens),
        elapsed_s=_mean(latencies).times(requests / at_a_time) if latencies else None,
    )


def _mean(values: Sequence[float]) -> Range:
    """RETURNS (Range): The mean, plus and minus two standard errors."""
    mean = fmean(values)
    error = 2.0 * stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return Range(max(0.0, mean - error), mean, mean + error)


def _cost(price: Price | None, requests: int, prompt_tokens: Range, reply_tokens: Range) -> Range | None:
    if price is None:
        return None
    if not requests:
        return Range(0.0, 0.0, 0.0)
    return Range(
        *(
            price.usd(math.ceil(read / requests), math.ceil(written / requests)) * requests
            for read, written in zip(prompt_tokens, reply_tokens, strict=True)
        )
    )
