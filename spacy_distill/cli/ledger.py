"""`spacy-distill ledger`"""

from pathlib import Path
from typing import Annotated

import typer

from .common import console, usd


def ledger(
    path: Annotated[Path, typer.Argument(help="A ledger: the file where annotate and preview keep replies.")] = Path(
        "annotations/ledger.sqlite"
    ),
) -> None:
    """List what a ledger holds: which teachers were asked, with which prompts, and what that has cost.

    Reads a **ledger**; writes nothing. One line for each model with its parameters and version of the prompt, by the
    beginning of its hash: the `prompt_hash` in the provenance of an annotated doc. Where lines differ by a parameter
    alone, it is shown.

    Example: `spacy-distill ledger annotations/ledger.sqlite`

    Next: `spacy-distill annotate` with another config: several teachers share a ledger, and nothing is mixed up.
    """
    from datetime import datetime

    from rich.table import Table

    from ..errors import InputError
    from ..teacher.ledger import Ledger

    if not path.is_file():
        raise InputError(
            f"{path} does not exist. `spacy-distill annotate` and `preview` write it; a Recorded teacher needs none, as"
            " its file is the ledger."
        )
    holdings = Ledger(path).holdings()
    names = sorted({name for holding in holdings for name in holding.params})
    values = {name: {repr(holding.params.get(name)) for holding in holdings} for name in names}
    table = Table()
    for column in ("model", "prompt", "replies"):
        table.add_column(column, overflow="fold")
    for column in ("tokens read", "written", "cost", "last reply"):
        table.add_column(column, justify="right")
    for holding in holdings:
        told = [f"{name} {holding.params.get(name)}" for name in names if len(values[name]) > 1]
        table.add_row(
            "\n".join([holding.model, *told]),
            holding.prompt_hash[:8],
            ", ".join(f"{count:,} {status}" for status, count in holding.replies.most_common()),
            f"{holding.prompt_tokens:,}",
            f"{holding.reply_tokens:,}",
            usd(holding.cost_usd),
            f"{datetime.fromtimestamp(holding.newest_s):%Y-%m-%d %H:%M}",
        )
    console.print(table)
    total = sum(holding.cost_usd for holding in holdings)
    replies = sum(holding.replies.total() - holding.replies["error"] for holding in holdings)
    console.print(f"{replies:,} replies, {usd(total)} where prices are known. An error is no reply: it is asked again.")
