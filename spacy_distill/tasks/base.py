"""What both tasks share: spaCy-llm's interface, how often and in how many parts a text is asked, facts on the doc."""

import typing
import warnings
from abc import ABC, abstractmethod
from collections import Counter
from typing import Any, Dict, List, Optional, Sequence

from spacy.tokens import Doc

from ..docs import note
from ..errors import ConfigError
from ..teacher.types import Prompt, Reply, sha256
from ..types import Annotation, ConfidenceKind, TaskName
from .frames import Frames
from .parts import Part, cut

DEFAULT_SAMPLES = 5

# spaCy-llm compares the hints of a task literally: they must be typing's own, not collections.abc's or builtins.


class Task(ABC):
    """Prompts out, replies in. Holds no state about docs; both methods are lazy, one item at a time.

    A text gets one prompt; with votes as many as there are samples, all in the same words; and as many times that as it
    is cut into parts. To spaCy-llm this is a task that shards, whose only shard is the doc itself.

    confidence (ConfidenceKind): "logprob", from the model's probabilities, if it gives any; "votes", from several
        replies to the same prompt; "verbalised", what the model says of itself when the prompt asks it to.
    samples (Optional[int]): With votes, and only then: how many replies. None: `DEFAULT_SAMPLES`.
    max_chars (Optional[int]): Longer texts are asked in parts of at most so many characters, cut between sentences,
        else words. None: never. In characters, because a task does not know the model's tokens; four are about one.
    RAISES (ConfigError): These contradict each other.
    """

    task: TaskName
    labels: typing.Tuple[str, ...]
    frames: Frames

    def __init__(self, confidence: ConfidenceKind, samples: Optional[int], max_chars: Optional[int]) -> None:
        kinds = typing.get_args(ConfidenceKind)
        if confidence not in kinds:
            raise ConfigError(f"confidence = {confidence!r}: expected one of {', '.join(map(repr, kinds))}.")
        if samples is not None and confidence != "votes":
            raise ConfigError(f'samples = {samples} with confidence = "{confidence}": samples are for votes alone.')
        if samples is not None and samples < 2:
            raise ConfigError(f"samples = {samples}: one reply is no vote. Give 3 or more.")
        if max_chars is not None and max_chars < 100:
            raise ConfigError(f"max_chars = {max_chars}: parts of a text need at least 100 characters to make sense.")
        self.confidence = confidence
        self.samples = (samples or DEFAULT_SAMPLES) if confidence == "votes" else 1
        self.max_chars = max_chars
        # spaCy-llm warns of a task that can take several prompts a doc, beside a model that does not tell its window:
        # the task would not cut texts up. Ours goes by `max_chars`.
        warnings.filterwarnings("ignore", message="Task supports sharding, but model does not provide context length")

    def generate_prompts(
        self, docs: typing.Iterable[Doc], context_length: typing.Optional[int] = None
    ) -> typing.Iterable[typing.Tuple[typing.Iterable[Any], typing.Iterable[Doc]]]:
        """YIELDS (Tuple[List[Prompt], List[Doc]]): A doc's prompts, all samples of a part together; and the doc.

        context_length (Optional[int]): Part of spaCy-llm's protocol; `max_chars` decides instead.
        """
        for doc in docs:
            frame = self.frames.of(doc.text, (doc._.distill or {}).get("group"))
            asked = [self.prompt(doc.text[start:end], frame) for start, end in cut(doc.text, self.max_chars)]
            yield [prompt.with_sample(sample) for prompt in asked for sample in range(self.samples)], [doc]

    def parse_responses(
        self, shards: typing.Iterable[typing.Iterable[Doc]], responses: typing.Iterable[typing.Iterable[Any]]
    ) -> typing.Iterable[Doc]:
        """Set what a doc's replies say on the doc, in place, and note its status in `doc._.distill`.

        shards (Iterable[Iterable[Doc]]): For each doc the doc itself, in an iterable.
        responses (Iterable[Iterable[Any]]): For each doc its replies, in the order of its prompts.
        YIELDS (Doc): The same docs.
        """
        for (doc,), replies in zip(shards, responses, strict=True):
            found = [Reply.of(reply) for reply in replies]
            facts = self.parse(doc, found)
            if facts["status"] != "ok":
                facts["raw"] = "\n\n".join(found)
            if len(found) > 1:
                facts["replies"] = dict(Counter(reply.meta.status for reply in found))
            note(doc, self.task, {**facts, "provenance": provenance(found)})
            yield doc

    def parts(self, text: str, replies: Sequence[Reply]) -> List[typing.Tuple[Part, Sequence[Reply]]]:
        """RETURNS (List[Tuple[Part, Sequence[Reply]]]): Each part of a text with its replies, one a sample."""
        parts = cut(text, self.max_chars)
        if len(replies) != len(parts) * self.samples:
            raise ValueError(f"Expected {len(parts) * self.samples} replies for a text, found {len(replies)}.")
        return [(part, replies[i * self.samples : (i + 1) * self.samples]) for i, part in enumerate(parts)]

    @abstractmethod
    def prompt(self, text: str, frame: Optional[typing.Tuple[str, str]] = None) -> Prompt:
        """RETURNS (Prompt): The prompt for one text, or one part of it.

        frame (Optional[Tuple[str, str]]): What stands before and after it. None: the usual.
        """

    @abstractmethod
    def parse(self, doc: Doc, replies: Sequence[Reply]) -> Dict[str, Any]:
        """Set what a doc's replies say on the doc.

        RETURNS (Dict[str, Any]): Facts to note: `status`, `labels`, `exclusive`, `confidence`, `confidence_kind`.
        """

    @abstractmethod
    def answer(self, annotation: Annotation) -> Optional[str]:
        """RETURNS (Optional[str]): The reply that says the same as an annotation; None if the prompt allows none."""

    def add_label(self, label: str, label_definition: typing.Optional[str] = None) -> int:
        """Part of spaCy-llm's protocol for tasks with `labels`. RAISES ConfigError: Always."""
        raise ConfigError(f"Labels cannot be added to a running task: put {label!r} into the task's `labels`.")

    def clear(self) -> None:
        """Part of spaCy-llm's protocol for tasks with `labels`. RAISES ConfigError: Always."""
        raise ConfigError("Labels cannot be removed from a running task: change the task's `labels`.")


def provenance(replies: Sequence[Reply]) -> Dict[str, Any]:
    """RETURNS (Dict[str, Any]): Where a doc's replies come from: plain types. Tokens, cost and time of several are
    added up, as far as they are known; their key is the hash of all keys."""
    metas = [reply.meta for reply in replies]
    keys = [meta.key for meta in metas]
    found: Dict[str, Any] = {
        "model": metas[0].model,
        "key": None if None in keys else keys[0] if len(keys) == 1 else sha256(keys),
        "prompt_hash": metas[0].prompt_hash,
        "error": next((meta.error for meta in metas if meta.error is not None), None),
    }
    for name in ("prompt_tokens", "reply_tokens", "cost_usd", "latency_s"):
        known = [value for meta in metas if (value := getattr(meta, name)) is not None]
        found[name] = sum(known) if known else None
    return {name: value for name, value in found.items() if value is not None}
