"""`presenter token`: a token to try the service with."""

from __future__ import annotations

from typing import Annotated

import typer

from presenter.access.identity import token_for
from presenter.commands.process import read_settings
from presenter.config import parse_duration
from presenter.errors import ConfigError


def token(
    user: Annotated[str, typer.Option(help="Name of the user.")],
    group: Annotated[list[str] | None, typer.Option(help="Group of the user; may be repeated.")] = None,
    ttl: Annotated[str, typer.Option(help="How long the token holds: 90s, 4m, 1h30m.")] = "1h",
) -> None:
    """Print a token (JWT) signed with SIGN_KEY, to try the service with.

    curl -H "Authorization: Bearer $(presenter token --user alice --group devs)" …
    """
    auth = read_settings().auth
    try:
        lifetime = parse_duration(ttl)
    except ValueError as error:
        raise ConfigError(f"--ttl is {ttl!r}: {error}") from error
    if not user:
        raise ConfigError("--user is empty: name a user")
    typer.echo(token_for(auth, user, group or [], lifetime))
