"""The demo's last words: who did how well, and where everything is.

python -m demo.summary
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from demo.install import newest_wheel


def main() -> None:
    evaluation = json.loads(Path("evaluation/evaluation.json").read_text(encoding="utf8"))
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:  # a pipe has no width: leave the table room
        console = Console(highlight=False, soft_wrap=True, width=120)
    table = Table(title=f"{evaluation['texts']} sentences rated by people, 95 % intervals", title_justify="left")
    table.add_column("")
    for column in ("accuracy", "macro F1", "words/s", "MB", "labels used"):
        table.add_column(column, justify="right", no_wrap=True)
    for result in sorted(evaluation["results"], key=lambda result: -result["scores"]["accuracy"]["value"]):
        table.add_row(
            result["name"],
            _interval(result["scores"]["accuracy"]),
            _interval(result["scores"]["macro_f1"]),
            "–" if result["words_per_s"] is None else f"{result['words_per_s']:,.0f}",
            "–" if result["size_mb"] is None else f"{result['size_mb']:.1f}",
            f"{100 * result['label_coverage']:.0f} %",
        )
    console.print(table)
    for sentence in evaluation["verdict"]:
        console.print(sentence, markup=False)
    console.print(f"\nReport: {Path('evaluation/report.html')}\nWheel:  {newest_wheel(Path('packages'))}", markup=False)


def _interval(found: dict[str, Any]) -> str:
    return f"{100 * found['value']:.1f} ({100 * found['low']:.1f}–{100 * found['high']:.1f})"


if __name__ == "__main__":
    main()
