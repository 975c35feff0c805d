import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer

DEMO_MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="session")
def demo_model() -> Path:
    """The demo's language model, a GGUF file; not part of the repository."""
    given = os.environ.get("SPACY_DISTILL_MODEL")
    path = Path(given) if given else Path(__file__).parents[2] / "assets" / "model" / DEMO_MODEL
    if path.is_dir():
        path = path / DEMO_MODEL
    if not path.is_file():
        pytest.skip(f"{path} is absent: fetch it with `python -m demo.fetch model`, or set SPACY_DISTILL_MODEL")
    return path


@pytest.fixture
def server() -> Iterator[ChatServer]:
    """A chat endpoint on loopback that answers with the prompt's last word."""
    running = ChatServer()
    yield running
    running.close()


@pytest.fixture
def make_chat(server: ChatServer) -> Iterator[Callable[..., Any]]:
    """Makes `Chat` models for the server, with short timeouts, and closes them."""
    from spacy_distill.teacher.chat import Chat

    made: list[Chat] = []

    def make(**settings: Any) -> Chat:
        made.append(Chat("loopback-1", server.url, **{"timeout_s": 5.0, "max_in_flight": 8, **settings}))
        return made[-1]

    yield make
    for chat in made:
        chat.close()
