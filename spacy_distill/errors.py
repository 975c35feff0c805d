"""Every error this package raises on purpose.

DistillError
├── InputError       a record, file or label that a person has to mend (names where it stands)
├── ConfigError      a config or argument that cannot work (names the setting)
├── TeacherError     the teacher cannot be used at all: no key, no server, no weights
│   ├── BudgetError  the next request would pass a limit the user set
│   └── PendingError  prompts are in batches that are not done, and nobody is to wait for them
└── StageError       a stage's input is missing or empty because an earlier stage has not run, or kept nothing

A reply that cannot be parsed is a value (`Annotation.status`), never an exception. Only the command line turns
one of these into an exit code.
"""

from __future__ import annotations


class DistillError(Exception):
    """Base of the tree: catch it to catch everything listed above."""


class InputError(DistillError, ValueError):
    """A record, file or label is wrong. The message names the file and the line, and what to do about it."""


class ConfigError(DistillError, ValueError):
    """A setting is missing, unknown or contradicts another. The message names the setting."""


class TeacherError(DistillError, RuntimeError):
    """No reply can be had from this teacher at all, whatever the text."""


class BudgetError(TeacherError):
    """The next request would pass a limit that the user set. Everything paid so far is in the ledger."""


class PendingError(TeacherError):
    """Replies will be there later. The same run collects them; nothing is submitted twice."""


class StageError(DistillError, RuntimeError):
    """A stage has nothing to work on. The message names the stage to run first, or the setting that emptied it."""


def counted(count: int, noun: str) -> str:
    """RETURNS (str): How many, for messages: "1 text", "2 texts"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
