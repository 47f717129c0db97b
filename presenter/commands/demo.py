"""`presenter demo`: the whole system on this machine. What it brings up is in `showcase`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from presenter.commands.process import read_settings, run_until_done


def demo(
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of the service. Default: PORT, or a free one if it is taken."),
    ] = None,
    objects: Annotated[int, typer.Option(min=0, help="Number of objects in the sandbox cluster.")] = 500,
    data_dir: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Where to keep the database. Default: nowhere, it goes with the demo."),
    ] = None,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            resolve_path=True,
            help="Watch the cluster of this kubeconfig instead of a sandbox.",
        ),
    ] = None,
) -> None:
    """Bring up the whole system on this machine: sandbox cluster, PostgreSQL, watchers and service. Ctrl-C ends it.

    Prints a token, lines to paste, and how to see a change of the cluster arrive.
    """
    from presenter.commands.showcase import bring_up  # takes two seconds, which --help need not wait for

    settings = read_settings(quiet=True)
    run_until_done(bring_up(settings, port=port, objects=objects, data_dir=data_dir, kubeconfig=kubeconfig))
