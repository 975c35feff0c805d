"""A model that says what it is told to: for tests, ours and our users'."""

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Dict, List, Optional

from ..errors import TeacherError
from .base import Request, TeacherModel
from .types import Prompt, Reply


class Scripted(TeacherModel):
    """Answers from a queue, first come, first served.

    replies (Iterable[str]): What to answer; `Reply` objects bring their own facts.
    ledger (Optional[Path]): As for every model. What the ledger has takes nothing from the queue.
    asked (List[Prompt]): Every prompt that reached the model, in order.
    """

    def __init__(self, replies: Iterable[str], ledger: Optional[Path] = None) -> None:
        super().__init__(ledger)
        self.replies = deque(Reply.of(reply) for reply in replies)
        self.asked: List[Prompt] = []

    @property
    def name(self) -> str:
        return "scripted"

    @property
    def endpoint(self) -> str:
        return "scripted"

    @property
    def params(self) -> Dict[str, Any]:
        return {}

    def _ask(self, requests: Iterator[Request]) -> Iterator[tuple[Request, Reply]]:
        for request in requests:
            if not self.replies:
                raise TeacherError(
                    f"The script has no reply left for prompt {len(self.asked) + 1}. Queue more replies."
                )
            self.asked.append(request.prompt)
            yield request, self.replies.popleft()


def make_scripted(replies: List[str], ledger: Optional[Path] = None) -> Scripted:
    """Make `spacy_distill.Scripted.v1`.

    replies (List[str]): What to answer, in this order.
    ledger (Optional[Path]): Where replies are kept and looked up. None: nothing is kept.
    RETURNS (Scripted): The model.
    """
    return Scripted(replies, ledger)
