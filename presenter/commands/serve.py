"""`presenter serve`: the side of the service that reads, in one process or in several that share the port."""

from __future__ import annotations

from typing import Annotated

import typer

from presenter.commands.process import read_settings, run_until_done


def serve(
    workers: Annotated[int, typer.Option(min=1, help="Number of processes that share the port.")] = 1,
    listener: Annotated[int | None, typer.Option(hidden=True)] = None,
    metrics: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Serve what is in the database, without watching: needs no cluster. Start as many as you like."""
    settings = read_settings()
    if workers > 1:
        from presenter.commands.workers import supervise
        from presenter.http.server import listen_together

        run_until_done(supervise(listen_together(settings.http.port, workers)))
        return
    from presenter import app  # takes half a second, which --help need not wait for
    from presenter.commands.database import migrated_database
    from presenter.commands.workers import RegistryOfWorkers, inherited

    run_until_done(
        app.run(
            settings,
            migrated_database(settings.database),
            watch=False,
            serve=True,
            listener=None if listener is None else inherited(listener),
            registry=None if metrics is None else RegistryOfWorkers(metrics),
        ),
        settings.http.shutdown_grace.total_seconds(),
    )
