from collections.abc import Callable, Iterator
from typing import Any

import pytest
from chat_server import ChatServer


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
