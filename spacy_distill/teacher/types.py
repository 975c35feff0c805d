"""What goes to a language model and what comes back: subclasses of `str`, so that spaCy-llm passes them through."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal

from ..types import ConfidenceKind

ReplyStatus = Literal["ok", "refused", "truncated", "error"]
"""`ok`; `refused`, the model or a content filter declined; `truncated`, cut at the token limit; `error`, no reply."""


class Prompt(str):
    """A rendered prompt that still knows its parts.

    The string itself is exactly what the model is to read: `prefix + text + suffix`.

    prefix (str): The constant beginning (instruction, labels, examples): the same for every text of a run, so that
        its key-value cache can be shared. "" if the parts are unknown.
    text (str): The user's text as it stands in the prompt.
    suffix (str): The constant end.
    choices (Mapping[str, str]): Label to the continuation that states it, where the answer is one of a few:
        a model that can score continuations need not generate. Empty if the answer is open.
    schema (Optional[Mapping[str, Any]]): JSON schema of the expected reply.
    sample (int): Which of several replies to the same words this prompt asks for, from 0. Not shown to the model: it is
        part of the ledger's key, so that the same words can be asked more than once.
    """

    prefix: str
    text: str
    suffix: str
    choices: Mapping[str, str]
    schema: Mapping[str, Any] | None
    sample: int

    def __new__(
        cls,
        text: str,
        *,
        prefix: str = "",
        suffix: str = "",
        choices: Mapping[str, str] | None = None,
        schema: Mapping[str, Any] | None = None,
        sample: int = 0,
    ) -> Prompt:
        self = super().__new__(cls, prefix + text + suffix)
        self.prefix = prefix
        self.text = text
        self.suffix = suffix
        self.choices = dict(choices or {})
        self.schema = schema
        self.sample = sample
        return self

    @classmethod
    def of(cls, prompt: str) -> Prompt:
        """Take any task's prompt. A plain string is all text: no prefix, no choices, no schema."""
        return prompt if isinstance(prompt, cls) else cls(prompt)

    @cached_property
    def frame(self) -> str:
        """RETURNS (str): Hash of all but the text: the prompt's version."""
        return sha256(self.prefix, self.suffix, self.choices, self.schema)

    def with_text(self, text: str) -> Prompt:
        """RETURNS (Prompt): The same prompt around another text, such as a content-free one."""
        return _rebuild_prompt(text, *self._rest())

    def with_sample(self, sample: int) -> Prompt:
        """RETURNS (Prompt): The same words, asked for another reply."""
        return _rebuild_prompt(self.text, *self._rest()[:-1], sample)

    def _rest(self) -> tuple[str, str, Mapping[str, str], Mapping[str, Any] | None, int]:
        return self.prefix, self.suffix, self.choices, self.schema, self.sample

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_prompt, (self.text, *self._rest())


def _rebuild_prompt(
    text: str, prefix: str, suffix: str, choices: Mapping[str, str], schema: Mapping[str, Any] | None, sample: int
) -> Prompt:
    return Prompt(text, prefix=prefix, suffix=suffix, choices=choices, schema=schema, sample=sample)


@dataclass(frozen=True, slots=True)
class ReplyMeta:
    """Everything about a reply but its text. Plain types only: it is stored in the ledger as JSON.

    status (ReplyStatus): What became of the request.
    error (Optional[str]): Why there is no reply, or nothing in it, without keys or document text.
    choices (Optional[Mapping[str, float]]): Label to log-probability of its continuation, raw and unnormalised.
    scores (Optional[Mapping[str, float]]): Label to probability, 0 to 1; calibrated, by a model that can.
    tokens (Optional[Sequence[Tuple[str, float]]]): Generated tokens with their log-probabilities.
    spans (Optional[Sequence[Tuple[int, int, str, Optional[float]]]]): Start, end, label and score (0 to 1, None if
        unknown) of labels made elsewhere: exact half-open character offsets.
    confidence (Optional[float]): The source's own figure, 0 to 1.
    confidence_kind (Optional[ConfidenceKind]): Where that figure comes from.
    model (Optional[str]): The model that answered, as it names itself.
    prompt_tokens (Optional[int]): Tokens read.
    reply_tokens (Optional[int]): Tokens written.
    unread_chars (Optional[int]): Characters of the text that the model was not shown, because its window is full.
    cost_usd (Optional[float]): What it cost, where a price is known.
    latency_s (Optional[float]): Seconds from asking to answer.
    batch (Optional[str]): The server's name for the batch it came in, at the price of batches.
    key (Optional[str]): What was asked, as the ledger's key. None: nothing was ever asked for.
    prompt_hash (Optional[str]): The version of the prompt: the hash of its constant part, see `Prompt.frame`.
    from_ledger (bool): True if nothing was asked this time: it is known from before, or the same prompt came twice.
    """

    status: ReplyStatus = "ok"
    error: str | None = None
    choices: Mapping[str, float] | None = None
    scores: Mapping[str, float] | None = None
    tokens: Sequence[tuple[str, float]] | None = None
    spans: Sequence[tuple[int, int, str, float | None]] | None = None
    confidence: float | None = None
    confidence_kind: ConfidenceKind | None = None
    model: str | None = None
    prompt_tokens: int | None = None
    reply_tokens: int | None = None
    unread_chars: int | None = None
    cost_usd: float | None = None
    latency_s: float | None = None
    batch: str | None = None
    key: str | None = None
    prompt_hash: str | None = None
    from_ledger: bool = False

    def to_dict(self) -> dict[str, Any]:
        """RETURNS (Dict[str, Any]): The fields that are set, for JSON."""
        values = ((name, getattr(self, name)) for name in self.__slots__)
        return {name: value for name, value in values if value is not None and value is not False}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ReplyMeta:
        """Read what `to_dict` wrote; fields of a newer version are ignored."""
        names = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in names})


class Reply(str):
    """A raw reply: the model's words as a string, the rest in `meta`."""

    meta: ReplyMeta

    def __new__(cls, text: str, meta: ReplyMeta | None = None) -> Reply:
        self = super().__new__(cls, text)
        self.meta = meta or ReplyMeta()
        return self

    @classmethod
    def of(cls, reply: str) -> Reply:
        """Take any model's reply."""
        return reply if isinstance(reply, cls) else cls(reply)

    def __reduce__(self) -> tuple[Any, ...]:
        return Reply, (str(self), self.meta)


_canonical = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode


def sha256(*parts: Any) -> str:
    """RETURNS (str): Hex digest of the parts' canonical JSON."""
    return hashlib.sha256(_canonical(parts).encode("utf8", "surrogatepass")).hexdigest()
