"""`presenter watch`: the side of the service that writes."""

from __future__ import annotations

from presenter.commands.process import read_settings, run_until_done


def watch() -> None:
    """Watch the cluster into the database, without serving it. Only /livez, /readyz and /metrics answer on PORT."""
    from presenter import app  # takes half a second, which --help need not wait for
    from presenter.commands.database import migrated_database

    settings = read_settings()
    run_until_done(
        app.run(settings, migrated_database(settings.database), watch=True, serve=False),
        settings.http.shutdown_grace.total_seconds(),
    )
