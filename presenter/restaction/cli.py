"""`presenter restaction …`: the commands. Each turns its options into values and calls one thing."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from presenter.errors import ConfigError


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Run a command, and see to it that all it prints gets where it should. Raises ConfigError."""
        if sys.stdout is None:
            raise ConfigError("standard output is closed: send it somewhere, such as >/dev/null")
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except BrokenPipeError:  # of `| head`, which has seen enough
            raise
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left cannot be printed either
            raise ConfigError(f"{error.filename or 'standard output'}: cannot be written: {error.strerror}") from error


restaction = typer.Typer(
    name="restaction",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Resolve, migrate, compare and check RESTActions.",
)

Token = Annotated[
    str | None,
    typer.Option(help="Token (JWT) of the user to resolve as: `presenter token` prints one.", show_default=False),
]
Account = Annotated[
    bool,
    typer.Option(
        "--account",
        help="Call the cluster by the account of the kubeconfig all the same: few clusters take tokens of a portal.",
    ),
]
Kubeconfig = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        help="Kubeconfig of the cluster. Default: KUBECONFIG, ~/.kube/config, or this pod's account.",
    ),
]
Endpoint = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=URL", help="Where an endpointRef leads, instead of its Secret; may be repeated."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="More context: a.b=3, a.c=text, a=[1,2]; may be repeated."),
]
Name = Annotated[str | None, typer.Option(help="Which RESTAction, when there are several: NAME or NAMESPACE/NAME.")]


@restaction.callback()
def _prepare() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell without job control starts jobs deaf to it
    if any(find_spec(name) is None for name in ("aiohttp", "jq", "lark", "ruamel", "ruamel.yaml")):
        raise ConfigError("presenter restaction needs more packages: pip install 'resources-presenter[restaction]'")


@restaction.command()
def resolve(
    file: Annotated[Path, typer.Argument(help="File with the RESTAction; - is standard input.")],
    name: Name = None,
    per_page: Annotated[int | None, typer.Option(min=1, help="Items of a page: slice.perPage.")] = None,
    page: Annotated[
        int | None, typer.Option(min=1, help="Number of the page, for RESTActions that page in jq.")
    ] = None,
    cursor: Annotated[str, typer.Option(help="Cursor of the page, as the one before it gave it.")] = "",
    all_pages: Annotated[
        bool,
        typer.Option(
            "--all-pages",
            help="Walk to the end, and print all pages as one: arrays joined, all else as on the last page.",
        ),
    ] = False,
    token: Token = None,
    account: Account = False,
    kubeconfig: Kubeconfig = None,
    endpoint: Endpoint = None,
    values: Set = None,
    shuffle: Annotated[
        int | None,
        typer.Option(metavar="SEED", help="Make calls that depend on none in another order, as snowplow may."),
    ] = None,
    trace: Annotated[bool, typer.Option("--trace", help="Tell of each request: path, status, time, size.")] = False,
) -> None:
    """Resolve a RESTAction as snowplow does: the result as JSON on standard output, all else on standard error.

    Calls without endpointRef go to the cluster, with --token in place of the account's, unless --account is given.
    Those with one go where its Secret says, with --token if they have exportJwt.

    Ends with 1 when a call failed that has no continueOnError, and with 2 when the RESTAction cannot be read.
    """
    if per_page is None and (page is not None or cursor or all_pages):
        raise ConfigError("--page, --cursor and --all-pages need --per-page")
    if page is not None and cursor:
        raise ConfigError("--page and --cursor are given: allowed is one of the two")
    from presenter.restaction.resolve import Options, read, run

    options = replace(Options.of(token, account, kubeconfig, endpoint, values), shuffle=shuffle)
    action = read(file, name, options)
    if not run(action, options, per_page=per_page, page=page, cursor=cursor, all_pages=all_pages, trace=trace):
        raise typer.Exit(1)


@restaction.command()
def migrate(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Files or directories of manifests, which may be Helm templates or Lists; - is standard input."
        ),
    ],
    in_place: Annotated[bool, typer.Option("--in-place", help="Change the files.")] = False,
    output: Annotated[
        Path | None, typer.Option(file_okay=False, help="Write the files that change into this directory instead.")
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="NAMESPACE/NAME",
            help="Endpoint Secret of the presenter. Default: resources-presenter-endpoint in the release's namespace, "
            "where the file is a template that names it, else in that of the RESTAction.",
        ),
    ] = None,
) -> None:
    """Rewrite RESTActions that filter, sort and page lists in jq into ones that let resources-presenter do it.

    Prints what would change, as a diff. On standard error there is a line for each RESTAction: migrated, with what is
    different afterwards; or left alone, and why. Widgets among the files that show one of them lose their `slice.page`.
    Only lines that have to change do.

    Nothing is guessed: an expression that does something else for some answer of the cluster is left alone.

    Ends with 1 when something that looks like the old pattern was left alone, and with 2 when a file cannot be read; or
    cannot be written, and then none is.
    """
    from presenter.restaction.migrate import run

    raise typer.Exit(run(files, in_place=in_place, output=output, endpoint=endpoint))


@restaction.command()
def compare(
    old: Annotated[Path, typer.Argument(help="File with the RESTAction as it was.")],
    new: Annotated[Path, typer.Argument(help="File with the RESTAction as it is to be.")],
    name: Name = None,
    per_page: Annotated[
        int | None, typer.Option(min=1, help="Compare all pages of this size. Default: everything at once.")
    ] = None,
    token: Token = None,
    account: Account = False,
    kubeconfig: Kubeconfig = None,
    endpoint: Endpoint = None,
    values: Set = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Resolve two RESTActions as the same user, and tell whether they give the same, and what each of them costs.

    All but `slice` is compared: the same objects, in the same order, in the same shape. What differs is looked at
    again, for the cluster may change meanwhile. Objects of equal creationTimestamp have no order.

    Ends with 0 when they are equivalent, with 1 when not, with 2 when they cannot be read.
    """
    from presenter.restaction.compare import run
    from presenter.restaction.resolve import Options, read

    options = Options.of(token, account, kubeconfig, endpoint, values)
    before, after = read(old, name, options), read(new, name, options)
    if not run(before, after, options, per_page=per_page, as_json=as_json):
        raise typer.Exit(1)


@restaction.command()
def lint(
    files: Annotated[list[Path], typer.Argument(help="Files or directories of manifests; - is standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: a list of findings.")] = False,
) -> None:
    """Tell what will go wrong in RESTActions that call resources-presenter: file, line, and what to do about it.

    Nothing is called. Ends with 0 when all is well, with 1 when something was found, with 2 when something could not be
    read.
    """
    from presenter.restaction.lint import run

    raise typer.Exit(run(files, as_json=as_json))
