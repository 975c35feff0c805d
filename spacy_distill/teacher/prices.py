"""What a reply costs, by a price list that comes with a package: nothing is ever fetched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from .transport import is_loopback

BATCH_SHARE = 0.5
"""What a reply in a batch costs, of the price that is listed: OpenAI, and most who offer the same batches, halve it."""

_STEP_TOKENS = 1000


@dataclass(frozen=True, slots=True)
class Price:
    """What a model's tokens cost.

    Discounts for prompts that a provider has cached are not counted: a bill may be lower, not higher.

    source (str): Where the price is from, for people.
    usd_per_million (Callable[[int], Tuple[float, float]]): For a prompt of so many tokens, what a million tokens read
        and a million tokens written cost, in USD. Some models cost more a token where prompts are long.
    """

    source: str
    usd_per_million: Callable[[int], tuple[float, float]]

    @property
    def free(self) -> bool:
        """RETURNS (bool): True if nothing is charged."""
        return self.usd_per_million(_STEP_TOKENS) == (0.0, 0.0)

    def usd(self, prompt_tokens: int, reply_tokens: int) -> float:
        """RETURNS (float): What a reply costs, in USD."""
        steps = -(-prompt_tokens // _STEP_TOKENS)
        read, written = self.usd_per_million(max(1, steps) * _STEP_TOKENS)
        return (prompt_tokens * read + reply_tokens * written) / 1e6


def constant(source: str, read: float, written: float) -> Price:
    """RETURNS (Price): One that does not depend on the prompt's length."""
    return Price(source, lambda _: (read, written))


FREE = constant("nothing is charged on this machine", 0.0, 0.0)


def find_price(model: str, endpoint: str, usd_per_million: Sequence[float] | None = None) -> Price | None:
    """Find what a model costs.

    model (str): Its name, as the endpoint knows it.
    endpoint (str): Base URL. On this machine nothing is charged.
    usd_per_million (Optional[Sequence[float]]): What the user says a million tokens read and written cost, in USD; it
        wins over every list.
    RETURNS (Optional[Price]): None if the list does not know this model at this endpoint.
    """
    if usd_per_million is not None:
        read, written = usd_per_million
        return constant("usd_per_million in the config", float(read), float(written))
    if is_loopback(endpoint):
        return FREE
    try:
        _listed(model, endpoint, _STEP_TOKENS)
    except LookupError:
        return None
    from genai_prices import __version__

    return Price(f"genai-prices {__version__}", lambda prompt_tokens: _listed(model, endpoint, prompt_tokens))


@lru_cache(maxsize=4096)
def _listed(model: str, endpoint: str, prompt_tokens: int) -> tuple[float, float]:
    """RETURNS (Tuple[float, float]): USD for a million tokens read and written. RAISES (LookupError): Not listed."""
    from genai_prices import Usage, calc_price  # Its list takes half a second to load.

    usage = Usage(input_tokens=prompt_tokens, output_tokens=_STEP_TOKENS)
    price = calc_price(usage, model, provider_api_url=endpoint)
    return float(price.input_price) / prompt_tokens * 1e6, float(price.output_price) / _STEP_TOKENS * 1e6
