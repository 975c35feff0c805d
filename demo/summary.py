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
from spacy_distill.evaluation.report import speed


def main() -> None:
    tiny, large = (_read(Path(folder, "evaluation.json")) for folder in ("evaluation", "evaluation/large"))
    names = {"student": "tiny student"}
    results = [{**result, "name": names.get(result["name"], result["name"])} for result in tiny["results"]]
    results += [{**result, "name": "large student"} for result in large["results"] if result["name"] == "student"]
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:  # a pipe has no width: leave the table room
        console = Console(highlight=False, soft_wrap=True, width=120)
    table = Table(title=f"{tiny['texts']} sentences rated by people, 95 % intervals", title_justify="left")
    table.add_column("")
    for column in ("accuracy", "macro F1", "words/s,\nwarm", "MB", "labels used"):
        table.add_column(column, justify="right", no_wrap=True)
    for result in sorted(results, key=lambda result: -result["scores"]["accuracy"]["value"]):
        table.add_row(
            result["name"],
            _interval(result["scores"]["accuracy"]),
            _interval(result["scores"]["macro_f1"]),
            speed(result["words_per_s"]),
            "–" if result["size_mb"] is None else f"{result['size_mb']:.1f}",
            f"{100 * result['label_coverage']:.0f} %",
        )
    console.print(table)
    said = {
        sentence.replace("he student", f"he {name} student"): None  # what is said of the teacher, once
        for name, evaluation in {"large": large, "tiny": tiny}.items()
        for sentence in evaluation["verdict"]
    }
    for sentence in said:
        console.print(sentence, markup=False)
    console.print(f"\nReport: {Path('evaluation/report.html')}\nWheel:  {newest_wheel(Path('packages'))}", markup=False)


def _read(path: Path) -> dict[str, Any]:
    evaluation: dict[str, Any] = json.loads(path.read_text(encoding="utf8"))
    return evaluation


def _interval(found: dict[str, Any]) -> str:
    return f"{100 * found['value']:.1f} ({100 * found['low']:.1f}–{100 * found['high']:.1f})"


if __name__ == "__main__":
    main()
