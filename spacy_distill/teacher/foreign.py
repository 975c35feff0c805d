"""Models of spaCy-llm's or the user's own, behind the ledger like ours."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Callable, Dict, Optional

from ..errors import TeacherError
from .base import Request, TeacherModel
from .types import Reply, ReplyMeta

logger = logging.getLogger("spacy_distill")

_SECRET = ("key", "token", "secret", "password", "authorization", "credentials")


class Foreign(TeacherModel):
    """Any callable that spaCy-llm takes for a model. It is given one prompt a call, so that a failure is one text's
    failure.

    call (Callable[..., Iterable[Iterable[str]]]): The model.
    settings (Mapping[str, Any]): Its section in the config, which stands for all that could change a reply. Values
        that are secrets, by their names, are not looked at.
    ledger (Optional[Path]): See `TeacherModel`.
    """

    def __init__(
        self, call: Callable[..., Iterable[Iterable[str]]], settings: Mapping[str, Any], ledger: Optional[Path] = None
    ) -> None:
        super().__init__(ledger)
        self._call = call
        self._settings = dict(settings)

    @property
    def name(self) -> str:
        return str(self._settings.get("@llm_models", type(self._call).__name__))

    @property
    def endpoint(self) -> str:
        return "spacy-llm"

    @property
    def price(self) -> None:
        """Not known: such models do not say what they read and wrote."""
        return None

    @property
    def params(self) -> Dict[str, Any]:
        return {name: repr(value) for name, value in _without_secrets(self._settings).items()}

    def _ask(self, requests: Iterator[Request]) -> Iterator[tuple[Request, Reply]]:
        for request in requests:
            start_s = time.perf_counter()
            try:
                text = str(next(iter(next(iter(self._call([[request.prompt]]))))))
                meta = ReplyMeta(model=self.name, latency_s=time.perf_counter() - start_s)
            except TeacherError:
                raise
            except Exception as error:  # its words may hold a key or a document
                text = ""
                meta = ReplyMeta(status="error", error=type(error).__name__, model=self.name)
                logger.warning("%s failed on one prompt: %s", self.name, type(error).__name__)
            yield request, Reply(text, meta)


def _without_secrets(settings: Any) -> Any:
    """RETURNS (Any): The same settings with nothing in the place of keys and passwords, by their names."""
    if isinstance(settings, Mapping):
        return {
            name: "..." if str(name).casefold().endswith(_SECRET) else _without_secrets(value)
            for name, value in settings.items()
        }
    if isinstance(settings, (list, tuple)):
        return [_without_secrets(value) for value in settings]
    return settings
