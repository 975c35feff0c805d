"""The command line: one thin command a stage, in the order in which the data flows."""

import errno
import logging
import sqlite3
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from ..errors import DistillError
from .aggregate import aggregate
from .annotate import annotate
from .calibrate import calibrate
from .choose import choose
from .corpus import corpus
from .curate import curate
from .evaluate import evaluate
from .export import export
from .import_ import import_
from .init import init
from .ledger import ledger
from .preview import preview
from .pseudo_label import pseudo_label
from .release import release
from .sweep import sweep
from .vectors import vectors

INTERRUPTED = 130

GO_ON = ("preview", "choose", "annotate", "sweep")
"""Commands that keep what is done, and go on with the rest when they run again."""

REFUSED = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    *(errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
)
"""What the system says where a file cannot be read or written, for reasons that are not ours."""

app = typer.Typer(
    name="spacy-distill",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Turn a large language model's knowledge of one task into a tiny spaCy pipeline.

The straight line: **init** a project, **preview** ten labels, **choose** the prompt (embedded teachers), **annotate**
texts or **import** labels made elsewhere, **aggregate** those of several teachers, **export** them for people to
correct and import those corrections, **calibrate** their confidence, **curate** them, build a **corpus**, train with
`spacy train` (with word **vectors** where labels are few) or **sweep** all kinds of student, let a large student
**pseudo-label** the rest for a small one, **evaluate** student and teacher against people, **release** a wheel that
needs spaCy alone.

Every command reads and writes files, so any step can be run again, alone, or replaced by your own.""",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("spacy-distill"))
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


app.command("init")(init)
app.command("preview")(preview)
app.command("choose")(choose)
app.command("annotate")(annotate)
app.command("ledger")(ledger)
app.command("import")(import_)
app.command("aggregate")(aggregate)
app.command("export")(export)
app.command("calibrate")(calibrate)
app.command("curate")(curate)
app.command("corpus")(corpus)
app.command("vectors")(vectors)
app.command("sweep")(sweep)
app.command("pseudo-label")(pseudo_label)
app.command("evaluate")(evaluate)
app.command("release")(release)


def main() -> None:
    """Run the command line. Errors of ours, and a full disk or the like, become one message and exit code 1; all others
    are bugs and keep their traceback."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("spacy_distill").setLevel(logging.INFO)
    try:
        app()
    except DistillError as error:
        typer.secho(f"✘ {error}", fg=typer.colors.RED, err=True)
        raise SystemExit(1) from None
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        which = f"{error.filename}: " if error.filename is not None else ""
        typer.secho(f"✘ {which}{error.strerror}.{_kept()}", fg=typer.colors.RED, err=True)
        raise SystemExit(1) from None
    except sqlite3.OperationalError as error:
        if "disk" not in str(error):  # "database or disk is full", "disk I/O error"
            raise
        typer.secho(f"✘ The ledger cannot be written: {error}.{_kept()}", fg=typer.colors.RED, err=True)
        raise SystemExit(1) from None
    except SystemExit as end:
        if end.code == INTERRUPTED:  # typer's, for Ctrl-C
            typer.secho(f"Stopped.{_kept()}", err=True)
        raise


def _kept() -> str:
    keeps = bool({*sys.argv[1:2]} & {*GO_ON})
    return " What is done is kept: run the same command again to go on." if keeps else ""
