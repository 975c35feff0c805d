"""What both tasks share: spaCy-llm's interface, prompts cut into prefix, text and suffix, facts noted on the doc."""

import typing
from abc import ABC, abstractmethod
from typing import Any

from spacy.tokens import Doc

from ..docs import note
from ..errors import ConfigError
from ..teacher.types import Prompt, Reply
from ..types import TaskName

# spaCy-llm compares the hints of a task literally: they must be typing's own, not collections.abc's or builtins.


class Task(ABC):
    """A prompt out, a reply in. Holds no state about docs; both methods are lazy, one item at a time."""

    task: TaskName
    labels: tuple[str, ...]

    def generate_prompts(self, docs: typing.Iterable[Doc]) -> typing.Iterable[str]:
        """YIELDS (Prompt): One prompt a doc."""
        for doc in docs:
            yield self.prompt(doc.text)

    def parse_responses(
        self, docs: typing.Iterable[Doc], responses: typing.Iterable[typing.Any]
    ) -> typing.Iterable[Doc]:
        """Set each reply's annotation on its doc, in place, and note its status in `doc._.distill`.

        responses (Iterable[Any]): For each doc an iterable of its replies, of which the first counts. The hint does not
            say so because spaCy-llm takes it for the type of a single reply, and refuses anything nested.
        YIELDS (Doc): The same docs.
        """
        for doc, replies in zip(docs, responses, strict=True):
            reply = Reply.of(next(iter(replies)))
            note(doc, self.task, {**self.parse(doc, reply), "provenance": self.provenance(reply)})
            yield doc

    @abstractmethod
    def prompt(self, text: str) -> Prompt:
        """RETURNS (Prompt): The prompt for one text."""

    @abstractmethod
    def parse(self, doc: Doc, reply: Reply) -> dict[str, Any]:
        """Set the reply's annotation on the doc.

        RETURNS (Dict[str, Any]): Facts to note: `status`, `labels`, `exclusive`, `confidence`, `confidence_kind`, and
            `raw`, the reply itself, wherever the status is not "ok".
        """

    def add_label(self, label: str, label_definition: typing.Optional[str] = None) -> int:
        """Part of spaCy-llm's protocol for tasks with `labels`. RAISES ConfigError: Always."""
        raise ConfigError(f"Labels cannot be added to a running task: put {label!r} into the task's `labels`.")

    def clear(self) -> None:
        """Part of spaCy-llm's protocol for tasks with `labels`. RAISES ConfigError: Always."""
        raise ConfigError("Labels cannot be removed from a running task: change the task's `labels`.")

    def provenance(self, reply: Reply) -> dict[str, Any]:
        """RETURNS (Dict[str, Any]): Where the reply comes from: plain types, for the doc."""
        meta = reply.meta
        found = {
            "model": meta.model,
            "key": meta.key,
            "prompt_hash": meta.prompt_hash,
            "prompt_tokens": meta.prompt_tokens,
            "reply_tokens": meta.reply_tokens,
            "cost_usd": meta.cost_usd,
            "latency_s": meta.latency_s,
            "error": meta.error,
        }
        return {name: value for name, value in found.items() if value is not None}
