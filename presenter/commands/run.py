"""`presenter run`: the whole service."""

from __future__ import annotations

from presenter.commands.process import read_settings, run_until_done


def run() -> None:
    """Watch the cluster and serve its cache, in one process.

    The cluster is the one of KUBECONFIG, or the one this pod runs in. The database is DB_HOST's; without it, an
    embedded PostgreSQL under DATA_DIR. Needs SIGN_KEY.
    """
    from presenter import app  # takes half a second, which --help need not wait for
    from presenter.commands.database import migrated_database

    settings = read_settings()
    run_until_done(
        app.run(settings, migrated_database(settings.database), watch=True, serve=True),
        settings.http.shutdown_grace.total_seconds(),
    )
