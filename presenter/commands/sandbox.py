"""`presenter sandbox`: a Kubernetes API in memory, without a service that watches it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from presenter.commands.process import blaming, read_settings, run_until_done
from presenter.errors import ConfigError


def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the sandbox API; 0: a free one.")] = 8001,
    load: Annotated[
        list[Path] | None,
        typer.Option(exists=True, help="Directory of manifests to load (YAML or JSON); may be repeated."),
    ] = None,
    objects: Annotated[
        int | None, typer.Option(min=0, help="Number of sample objects. Default: 200, or 0 with --load.")
    ] = None,
    kubeconfig_out: Annotated[
        Path | None, typer.Option(resolve_path=True, help="Write a kubeconfig for it to this file.")
    ] = None,
) -> None:
    """Run the sandbox alone: a Kubernetes API in memory, for a real kubectl. Ctrl-C ends it, and forgets everything."""
    read_settings()  # for the log
    count = objects if objects is not None else 0 if load else 200
    run_until_done(_run(port, load or [], count, kubeconfig_out))


async def _run(port: int, directories: Sequence[Path], objects: int, kubeconfig_out: Path | None) -> None:
    """Run the sandbox API until cancelled.

    Raises ConfigError when the port is taken, a manifest cannot be loaded or the kubeconfig cannot be written.
    """
    from presenter.sandbox import ManifestError, Sandbox, fill, load_directory  # aiohttp, which --help does not need

    sandbox = Sandbox(port=port)
    try:
        for directory in directories:
            typer.echo(f"{load_directory(sandbox.cluster, directory)} objects loaded from {directory}")
    except (ManifestError, OSError) as error:
        raise ConfigError(f"--load: {error}") from error
    if objects or not directories:
        await asyncio.to_thread(fill, sandbox.cluster, objects)
    with blaming("--port", port):
        await sandbox.start()
    try:
        if kubeconfig_out is not None:
            with blaming("--kubeconfig-out", kubeconfig_out):
                sandbox.write_kubeconfig(kubeconfig_out)
        _tell_how_to_use(sandbox.url, kubeconfig_out)
        await asyncio.get_running_loop().create_future()
    finally:
        await sandbox.stop()


def _tell_how_to_use(url: str, kubeconfig: Path | None) -> None:
    kubectl = f"kubectl --kubeconfig {kubeconfig}" if kubeconfig else f"kubectl --server {url}"
    typer.echo(f"Sandbox Kubernetes API on {url}")
    typer.echo(f"{kubectl} api-resources")
    typer.echo(f"{kubectl} get panels -A")
    typer.echo("Ctrl-C ends it, and forgets everything.")
