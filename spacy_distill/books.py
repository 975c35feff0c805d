"""The books of one run of annotation: what became of every text and of every request, and what it cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from spacy.tokens import Doc

from .docs import SHOWN_IDS, annotations_of
from .teacher.types import ReplyMeta


@dataclass
class Books:
    """What a run did, and what it cost. Entries are made while it runs; they add up when it has ended.

    texts (int): Texts that went through.
    words (int): Whitespace words in them.
    statuses (Dict[str, Counter[str]]): Task to status to number of texts. Adds up to `texts` for each task.
    labels (Dict[str, Counter[str]]): Task to label to number of texts (classes) or entities with it.
    unknown (Dict[str, Counter[str]]): Task to name that is no label, as the teacher wrote it, to how often.
    asked (int): Replies that were asked for in this run, failures too.
    from_ledger (int): Replies that were there already: in the ledger, or because a prompt came twice.
    not_asked (int): Prompts that were not asked for because the budget was spent. These three are all prompts.
    failures (Counter[str]): Why there was no reply, and how often.
    unanswered (Dict[str, List[str]]): The same reasons to the ids of the first texts, of those that were asked about.
    unaligned (Counter[str]): Why quotes and spans mark nothing (see `alignment.Reason`), and how often.
    prompt_tokens (int): Tokens read by the teacher in this run.
    reply_tokens (int): Tokens written by it.
    cost_usd (float): Price of the replies asked for in this run, where prices are known.
    unpriced (int): How many of them have no known price.
    saved_usd (float): Price of the replies that were there already, where it is known.
    elapsed_s (float): Wall time.
    """

    texts: int = 0
    words: int = 0
    statuses: dict[str, Counter[str]] = field(default_factory=dict)
    labels: dict[str, Counter[str]] = field(default_factory=dict)
    unknown: dict[str, Counter[str]] = field(default_factory=dict)
    asked: int = 0
    from_ledger: int = 0
    not_asked: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    unanswered: dict[str, list[str]] = field(default_factory=dict)
    unaligned: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    reply_tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    saved_usd: float = 0.0
    elapsed_s: float = 0.0

    def enter_reply(self, meta: ReplyMeta, id: str) -> None:
        """Enter a reply to a text, or why there is none."""
        if meta.status == "error":
            reason = (meta.error or "unknown").split(" (tried ")[0]
            self.failures[reason] += 1
            first = self.unanswered.setdefault(reason, []) if meta.key is not None else []
            if id not in first and len(first) < SHOWN_IDS:
                first.append(id)
        if meta.key is None:
            self.not_asked += 1
        elif meta.from_ledger:
            self.from_ledger += 1
            self.saved_usd += meta.cost_usd or 0.0
        else:
            self.asked += 1
            self.prompt_tokens += meta.prompt_tokens or 0
            self.reply_tokens += meta.reply_tokens or 0
            self.cost_usd += meta.cost_usd or 0.0
            self.unpriced += meta.cost_usd is None and meta.status != "error"

    def enter_doc(self, doc: Doc) -> None:
        """Enter a doc that went through the whole pipeline."""
        self.texts += 1
        self.words += len(doc.text.split())
        for annotation in annotations_of(doc):
            self.statuses.setdefault(annotation.task, Counter())[annotation.status] += 1
            found = self.labels.setdefault(annotation.task, Counter())
            if annotation.cats is not None:
                found.update(annotation.positive())
            found.update(span.label for span in annotation.ents or ())
            unaligned = annotation.notes.get("unaligned", ())
            self.unaligned.update(each["reason"] for each in unaligned)
            unknown = self.unknown.setdefault(annotation.task, Counter())
            unknown.update(annotation.notes.get("unknown", ()))
            unknown.update(each["label"] for each in unaligned if each["reason"] == "unknown_label")

    def to_dict(self) -> dict[str, Any]:
        """RETURNS (Dict[str, Any]): The same for JSON, the most frequent first."""
        return {
            **vars(self),
            "statuses": {task: dict(count.most_common()) for task, count in self.statuses.items()},
            "labels": {task: dict(count.most_common()) for task, count in self.labels.items()},
            "unknown": {task: dict(count.most_common()) for task, count in self.unknown.items()},
            "failures": dict(self.failures.most_common()),
            "unaligned": dict(self.unaligned.most_common()),
            "cost_usd": round(self.cost_usd, 6),
            "saved_usd": round(self.saved_usd, 6),
            "elapsed_s": round(self.elapsed_s, 3),
        }
