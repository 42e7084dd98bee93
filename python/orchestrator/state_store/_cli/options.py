"""Options that several verbs have, and what they turn into."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click
from orchestrator.state_store import CannotOpenError, StateStore
from orchestrator.state_store._cli.errors import Failure
from orchestrator.state_store._cli.passwords import VARIABLE, has_password
from orchestrator.state_store._cli.progress import progress
from orchestrator.state_store._view.text import shown
from orchestrator.state_store._view.times import now, span

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Shared:
    """What was said before or behind the verb."""

    db: str | None = None
    form: str | None = None

    @property
    def location(self) -> str:
        """Where the store is."""
        location = os.environ.get(VARIABLE) if self.db is None else self.db
        if not location:
            raise click.UsageError(f"which store? Give --db PATH or URL, or set {VARIABLE}")
        return location

    def open(self, *, writes: bool = False) -> StateStore:
        """Open the store, which must be there: to look for it comes first, since opening for writing would make it."""
        location = self.location
        # A file that is locked is waited for, up to the store's busy_timeout.
        with progress("waiting for the store"):
            try:
                store = StateStore(location, read_only=True)
            except CannotOpenError as error:
                raise CannotOpenError(f"{'--db' if self.db else VARIABLE}: {error}") from None
            if not writes:
                return store
            store.close()
            return StateStore(location)


def without_password(location: str) -> str:
    """Refuse a URL with a password."""
    if has_password(location):
        raise click.UsageError(
            f"a password is not taken from the command line, where others can see it: put the URL into {VARIABLE}, "
            "or the password into ~/.pgpass or a service file (pg_service.conf)"
        )
    return location


def _keep_db(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    shared = ctx.ensure_object(Shared)
    if value is not None:
        shared.db = without_password(value)


def _keep_form(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value:
        ctx.ensure_object(Shared).form = value


db_option = click.option(
    "-d",
    "--db",
    metavar="STORE",
    expose_value=False,
    callback=_keep_db,
    is_eager=True,
    help=f"A file, or postgresql://... Default: ${VARIABLE}.",
)


def form_option(*forms: str) -> Callable[[F], F]:
    """Return the options -o and --json."""

    def add(command: F) -> F:
        as_json = "json" if "json" in forms else "jsonl"
        command = click.option("--json", "_", flag_value=as_json, expose_value=False, callback=_keep_form,
                               help=f"The same as -o {as_json}.")(command)  # fmt: skip
        choice = click.Choice(forms)
        text = f"How it is printed: {', '.join(forms)}.  [default: table]"
        return click.option(
            "-o", "--output", type=choice, metavar="FORM", expose_value=False, callback=_keep_form, help=text
        )(command)

    return add


def verb(*forms: str) -> Callable[[F], F]:
    """Return the options that every verb has which prints something: --db, and -o with its forms."""

    def add(command: F) -> F:
        return db_option(form_option(*(forms or ("table", "json", "jsonl", "csv", "ids")))(command))

    return add


def shared(ctx: click.Context) -> Shared:
    """Return what was said before or behind the verb."""
    return ctx.ensure_object(Shared)


def a_span(text: str) -> timedelta:
    """Return the time span of an option: `7d`."""
    try:
        return span(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def a_number(text: str) -> int:
    """Return the number of an option, 0 or more."""
    if not re.fullmatch("[0-9]{1,9}", text):
        raise click.BadParameter(f"{text[:50]!r} is not a whole number of 0 or more")
    return int(text)


def a_time(text: str) -> datetime:
    """Return the time of an option: `7d` ago, or in ISO 8601, in the local zone unless it says another."""
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromisoformat(text).astimezone()
    with suppress(ValueError, OverflowError):
        return now() - span(text)
    raise click.BadParameter(f"{text[:50]!r} is neither a time span (7d) nor a time (2026-11-26T03:00)")


_CONDITION = re.compile(r"((?:\"(?:[^\"\\]|\\.)*\"|[^\"=!<>~])+?)\s*(!=|<=|>=|[=<>~](?!=))\s*(.+)", re.DOTALL)
_EXISTS = re.compile(r"(!?)\s*([^?!].*?)\s*\?", re.DOTALL)


def a_condition(text: str) -> tuple[str, str, Any]:
    """Return path, operator and value of `PATH OP VALUE`, `PATH?` or `!PATH?`, as `where` of the store has them."""
    text = text.strip()
    if found := _CONDITION.fullmatch(text):
        path, operator, operand = found.groups()
        with suppress(ValueError, RecursionError):
            operand = json.loads(operand)
        return path, "contains" if operator == "~" else operator, operand
    if found := _EXISTS.fullmatch(text):
        return found[2], "exists", not found[1]
    raise click.BadParameter(
        f"{text[:100]!r} is no condition; 'PATH OP VALUE' (OP: = != < <= > >= ~), 'PATH?', '!PATH?' are"
    )


class _Path(str):
    """A path that equals no other one, so that several conditions may be on it."""

    __slots__ = ()
    __eq__ = object.__eq__
    __hash__ = object.__hash__


def conditions(given: Sequence[tuple[str, str, Any]]) -> dict[str, tuple[str, Any]] | None:
    """Return conditions as the store takes them: paths, each with an operator and a value."""
    return {_Path(path): (operator, operand) for path, operator, operand in given} or None


def limit_option(of: str = "rows", default: int = 20) -> Callable[[F], F]:
    """Return the option --limit."""
    return click.option(
        "--limit", type=a_number, metavar="N", default=str(default), show_default=True, help=f"The most {of}; 0: all."
    )


cursor_option = click.option("--cursor", metavar="TEXT", help="Go on where the page before ended; it says how.")
stale_option = click.option(
    "--stale", type=a_span, metavar="SPAN", default="10m", show_default=True, help="Silent for how long is marked."
)
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask. Needed where nobody can be asked.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Only say what would be done.")


def fields_option(names: Sequence[str]) -> Callable[[F], F]:
    """Return the option --fields of these names."""

    def check(_: click.Context, __: click.Parameter, value: str | None) -> list[str] | None:
        if value is None:
            return None
        chosen = list(dict.fromkeys(each.strip() for each in value.split(",")))
        for each in chosen:
            if each not in names:
                from difflib import get_close_matches

                near = get_close_matches(each, names, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise click.BadParameter(f"{each[:50]!r} is none of {', '.join(names)}{hint}")
        return chosen

    text = f"Only these, in this order: {', '.join(names)}."
    return click.option("--fields", metavar="A,B", callback=check, help=text)


def confirmed(question: str, yes: bool) -> None:
    """Ask before something is deleted, and go on only if the answer is yes.

    Raises
    ------
    Failure
        When it is no.
    click.UsageError
        When there is no terminal to ask on.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: give --yes, or --dry-run to see what would be done")
    if not click.confirm(question, err=True):
        raise Failure("nothing was changed")


_HARMLESS = re.compile(r"[\w./:@+=,%][\w./:@+=,%-]*")
"""What a shell may put into a line as it is: ids come from anywhere, and `$(...)` would be run."""


def run_ids(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the run ids that begin with what was typed, for the completion of the shell; the newest first."""
    from click.shell_completion import CompletionItem

    try:
        with ctx.find_root().ensure_object(Shared).open() as store:
            runs = store.list_runs(run_id_prefix=incomplete or None, limit=50)
            return [
                CompletionItem(run.run_id, help=shown(f"{run.run_type}, {run.status}", 40))
                for run in runs
                if _HARMLESS.fullmatch(run.run_id)
            ]
    except Exception:
        # Whatever is wrong, a shell in the middle of a line is no place to say it.
        return []
