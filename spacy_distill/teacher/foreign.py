"""Models of spaCy-llm's or the user's own, behind the ledger like ours."""

import logging
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Callable, Dict, Optional

from ..errors import TeacherError
from .base import Request, TeacherModel
from .types import Reply, ReplyMeta, sha256

logger = logging.getLogger("spacy_distill")


_SECRET = re.compile(r"key|token|secret|password|auth", re.IGNORECASE)


class Foreign(TeacherModel):
    """Any callable that spaCy-llm takes for a model. It is given one prompt a call, so that a failure is one text's
    failure.

    call (Callable[..., Iterable[Iterable[str]]]): The model.
    settings (Mapping[str, Any]): Its section in the config, which stands for all that could change a reply. Of what
        looks like a key, only a hash is kept.
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


def _without_secrets(value: Any) -> Any:
    """RETURNS (Any): A setting in which words under a name such as `api_key` are replaced by their hash."""
    if isinstance(value, Mapping):
        secret = {name for name, found in value.items() if isinstance(found, str) and _SECRET.search(str(name))}
        return {n: sha256(found)[:12] if n in secret else _without_secrets(found) for n, found in value.items()}
    return [_without_secrets(found) for found in value] if isinstance(value, (list, tuple)) else value
