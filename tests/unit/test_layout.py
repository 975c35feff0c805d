"""The package's shape: imports point back along the line, and what spaCy loads at every start stays light."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "spacy_distill"
# Each room may use those before it.
LINE = [
    "errors",
    "types",
    "files",
    "docs",
    "records",
    "texts",
    "teacher",
    "tasks",
    "books",
    "annotate",
    "estimate",
    "formats",
    "curation",
    "corpus",
    "students",
    "evaluation",
    "release",
    "cli",
]


def _imports(path: Path) -> set[str]:
    """RETURNS (Set[str]): The rooms of this package that a file imports, at its top or inside a function."""
    package = ["spacy_distill", *path.relative_to(PACKAGE).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            else:
                base = (node.module or "").split(".")
            if base[0] == "spacy_distill":
                found |= {base[1]} if len(base) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.name.split(".")[1] for name in node.names if name.name.startswith("spacy_distill.")}
    return found


def test_imports_point_back_along_the_line() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        room = parts[0].removesuffix(".py")
        if room in ("__init__", "__main__"):
            continue
        assert room in LINE, f"{path.name}: a new room; give it a place in the line"
        wrong += [
            f"{path.relative_to(ROOT)} imports {name}"
            for name in _imports(path)
            if name not in LINE[: LINE.index(room) + 1]
        ]
    assert not wrong


@pytest.mark.parametrize(
    "module", ["spacy_distill", "spacy_distill.students.soft_textcat", "spacy_distill.students.tiny"]
)
def test_what_spacy_loads_at_every_start_stays_light(module: str) -> None:
    program = (
        f"import spacy, sys; before = set(sys.modules); import {module};"
        "new = {name.split('.')[0] for name in set(sys.modules) - before};"
        "names = 'torch transformers pycurl spacy_llm jinja2 sklearn scipy rich typer';"
        "heavy = new & set(names.split());"
        "sys.exit(f'{heavy}' if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_command_line_starts_at_once() -> None:
    """Help does not wait for spaCy, and Ctrl-C while it is imported finds a command that ends in one line."""
    program = "import sys, spacy_distill.cli; sys.exit(' '.join({'spacy', 'thinc', 'torch'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.stderr.strip() == ""


def test_what_a_wheel_carries_needs_spacy_alone() -> None:
    modules = set()
    files = (PACKAGE / "students" / "runtime").glob("[!_]*.py")
    for node in (node for path in files for node in ast.walk(ast.parse(path.read_text(encoding="utf8")))):
        if isinstance(node, ast.Import):
            modules |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "an import from this package"
            modules.add((node.module or "").split(".")[0])
    assert modules - sys.stdlib_module_names <= {"spacy", "numpy", "thinc", "srsly"}


def test_every_entry_point_exists() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf8")
    for group, lines in parser["options.entry_points"].items():
        for line in filter(None, lines.splitlines()):
            module, function = line.split("=")[1].strip().split(":")
            path = ROOT / (module.replace(".", "/") + ".py")
            path = path if path.exists() else ROOT / module.replace(".", "/") / "__init__.py"
            body = ast.parse(path.read_text(encoding="utf8")).body
            names = {node.name for node in body if isinstance(node, ast.FunctionDef)}
            names |= {ast.unparse(node.targets[0]) for node in body if isinstance(node, ast.Assign)}
            assert function in names, f"{group}: {line.strip()}"


def test_the_package_never_takes_spacy_llms_names() -> None:
    text = (ROOT / "setup.cfg").read_text(encoding="utf8")
    for name in ("llm", "llm_textcat", "llm_ner"):
        assert f"\n    {name} =" not in text
