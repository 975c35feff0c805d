"""Prompt templates: rendered once around a placeholder and cut there, so that no text ever passes through Jinja."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from ..errors import ConfigError
from ..texts import read_records

FOLDER = Path(__file__).parent / "templates"


def cut_template(template: str, built_in: Mapping[str, str], variables: Mapping[str, Any]) -> tuple[str, str]:
    """Render a template around the place where the text goes.

    template (str): One of the built-in names, or the path of a Jinja file that uses `{{ text }}` exactly once.
    built_in (Mapping[str, str]): Name to file name in this package's `templates` folder.
    variables (Mapping[str, Any]): What the template may use besides `text`.
    RETURNS (Tuple[str, str]): What stands before the text, and what stands after it.
    RAISES (ConfigError): No such template, one that cannot be rendered, or one without exactly one place for the text.
    """
    path = FOLDER / built_in[template] if template in built_in else Path(template)
    if not path.is_file():
        names = ", ".join(map(repr, built_in))
        raise ConfigError(f"The template {template!r} is neither a file nor one of {names}. Mend `template`.")
    environment = SandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    placeholder = f"<{secrets.token_hex(16)}>"
    try:
        source = path.read_text(encoding="utf8")
        rendered = environment.from_string(source).render(**variables, text=placeholder)
    except UnicodeDecodeError as error:
        raise ConfigError(f"The template {path} is not UTF-8 (byte {error.start}). Convert it first.") from error
    except TemplateError as error:
        where = f":{lineno}" if (lineno := getattr(error, "lineno", None)) else ""
        known = ", ".join(sorted([*variables, "text"]))
        raise ConfigError(f"The template {path}{where} cannot be rendered ({error}). It may use: {known}.") from error
    parts = rendered.split(placeholder)
    if len(parts) != 2:
        raise ConfigError(
            f"The template {path} has {len(parts) - 1} places for the text, expected 1."
            " Write {{ text }} exactly once, without filters."
        )
    return parts[0], parts[1]


def read_examples(examples: str | Sequence[Mapping[str, Any]] | None) -> list[tuple[str, Mapping[str, Any]]]:
    """RETURNS (List[Tuple[str, Mapping[str, Any]]]): Few-shot examples, given in place or as a file's path, each with
    where it stands."""
    if isinstance(examples, str):
        return list(read_records(Path(examples)))
    return [(f"Example {number}", record) for number, record in enumerate(examples or (), 1)]
