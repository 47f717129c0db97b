"""The command line: which commands there are, and how it is said what went wrong."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from presenter.errors import ConfigError, PresenterError
from presenter.restaction.cli import restaction

COMMANDS = {
    "run": "Watch the cluster and serve its cache, in one process.",
    "watch": "Watch the cluster into the database, without serving it.",
    "serve": "Serve what is in the database, without watching: needs no cluster.",
    "migrate": "Bring the database's schema to the one this version works with.",
    "migrate-values": "Print the Helm values of the Go services as values of this chart, and name what is left.",
    "token": "Print a token (JWT) signed with SIGN_KEY, to try the service with.",
    "can-i": "Tell whether a user may see something, by the RBAC rules in the database, and which binding grants it.",
    "explain": "Tell how a page is read: which indexes are scanned, how far, and why; and the statements.",
    "status": "Tell the status of the cache: who watches which cluster, and how far behind each type is.",
    "forget": "Remove a cluster that is no longer watched under this name from the database, with all its objects.",
    "settings": "List the environment variables this program reads, with their defaults.",
    "demo": "Bring up the whole system on this machine: sandbox cluster, PostgreSQL, watchers and service.",
    "sandbox": "Run the sandbox alone: a Kubernetes API in memory, for a real kubectl.",
}
"""Each command, with the first sentence of its help. It is the function of its name in the module of its name."""


class _Commands(TyperGroup):
    """Commands that are imported when they are run: some take a second, which the others need not wait for."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the arguments name, and what is left of them."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, imported(name) if name in COMMANDS else command, rest


def imported(name: str) -> Any:
    """The command of this name, with its options."""
    module_name = name.replace("-", "_")
    alone = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    alone.command(name)(getattr(import_module(f"presenter.commands.{module_name}"), module_name))
    return typer.main.get_command(alone)


cli = typer.Typer(
    name="presenter",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Watch a Kubernetes cluster into PostgreSQL and serve it over HTTP as sorted, filtered pages.

New here? `presenter demo` brings everything up with a sandbox cluster and tells what to try.

Settings are environment variables: `presenter settings` lists them.""",
)
for _name, _summary in COMMANDS.items():
    cli.command(_name, help=_summary)(lambda: None)  # for the list of commands; `imported` has what is run
cli.add_typer(restaction)


def main() -> None:
    """Run the command line; what goes wrong is said in one line."""
    try:
        cli(prog_name="presenter")
    except PresenterError as error:
        sys.stderr.write(f"presenter: {' '.join(str(error).split())}\n")
        raise SystemExit(2 if isinstance(error, ConfigError) else 1) from None
