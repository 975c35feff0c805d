"""What replies cost: by the list, by the user's word, and nothing on this machine."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from spacy_distill.errors import ConfigError
from spacy_distill.teacher.chat import Chat
from spacy_distill.teacher.foreign import Foreign
from spacy_distill.teacher.ledger import Ledger
from spacy_distill.teacher.prices import find_price
from spacy_distill.teacher.scripted import Scripted
from spacy_distill.teacher.types import Reply, ReplyMeta

OPENAI = "https://api.openai.com/v1"


def test_a_listed_model_is_priced_without_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a price was looked up on the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    price = find_price("gpt-4o-mini", OPENAI)
    assert price is not None
    assert price.source.startswith("genai-prices ")
    assert not price.free
    assert 0.0 < price.usd(1_000_000, 0) < price.usd(1_000_000, 1_000_000) < 10.0
    assert price.usd(2_000, 0) == pytest.approx(2 * price.usd(1_000, 0))
    assert price.usd(0, 0) == 0.0


def test_an_unknown_model_has_no_price_rather_than_a_wrong_one() -> None:
    assert find_price("nobody-made-this", OPENAI) is None
    assert find_price("gpt-4o-mini", "https://gateway.example/v1") is None


def test_where_long_prompts_cost_more_a_token_they_do() -> None:
    price = find_price("gemini-2.5-pro", "https://generativelanguage.googleapis.com/v1beta/openai")
    assert price is not None
    assert price.usd(400_000, 0) > 1.5 * 4 * price.usd(100_000, 0)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:8080/v1", "http://localhost:11434/v1", "http://[::1]/v1"])
def test_this_machine_charges_nothing_unless_the_user_says_so(endpoint: str) -> None:
    price = find_price("gpt-4o-mini", endpoint)
    assert price is not None
    assert price.free
    assert "nothing" in price.source
    told = find_price("gpt-4o-mini", endpoint, [1.0, 2.0])
    assert told is not None
    assert told.usd(1_000_000, 500_000) == pytest.approx(2.0)


@pytest.mark.parametrize("wrong", [[1.0], [1.0, 2.0, 3.0], [-0.1, 1.0]])
def test_a_wrong_price_is_refused(wrong: list[float]) -> None:
    with pytest.raises(ConfigError, match="usd_per_million"):
        Chat("m", OPENAI, usd_per_million=wrong)


def test_models_know_their_prices() -> None:
    given = Chat("m", "https://gateway.example/v1", usd_per_million=[0.5, 1.0]).price
    assert given is not None
    assert given.usd(1_000_000, 1_000_000) == pytest.approx(1.5)
    assert Chat("m", "https://gateway.example/v1").price is None
    assert Scripted([]).price.free  # type: ignore[union-attr]
    assert Foreign(lambda _: [["x"]], {}).price is None


def test_a_price_does_not_change_what_was_asked() -> None:
    cheap, dear = Chat("m", OPENAI), Chat("m", OPENAI, usd_per_million=[9.0, 9.0])
    assert cheap.params == dear.params


class Priced(Scripted):
    """Costs a dollar a token written, two a token read."""

    price = find_price("m", OPENAI, [2e6, 1e6])


def test_every_reply_has_its_cost_in_the_ledger_and_hits_keep_it(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    told = ReplyMeta(prompt_tokens=3, reply_tokens=2)
    model = Priced([Reply("a", told), Reply("b"), Reply("", ReplyMeta(status="error", error="gone"))], path)
    fresh = dict(model.stream(["p", "q", "r"]))
    assert [fresh[index].meta.cost_usd for index in range(3)] == [8.0, None, None]
    (kept,) = [row for row in Ledger(path).rows() if row["reply"] == "a"]
    assert kept["meta"]["cost_usd"] == 8.0
    again = dict(Priced([], path).stream(["p"]))
    assert again[0].meta.from_ledger
    assert again[0].meta.cost_usd == 8.0


def test_a_reply_from_before_prices_were_known_is_priced_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"

    class Unpriced(Scripted):
        price = None

    dict(Unpriced([Reply("a", ReplyMeta(prompt_tokens=3, reply_tokens=2))], path).stream(["p"]))
    assert dict(Unpriced([], path).stream(["p"]))[0].meta.cost_usd is None
    assert dict(Priced([], path).stream(["p"]))[0].meta.cost_usd == 8.0
