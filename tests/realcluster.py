"""A real control plane on loopback: etcd and kube-apiserver, from the programs that KUBEBUILDER_ASSETS leads to.

That variable is the convention of envtest: a directory with `etcd` and `kube-apiserver`. The sandbox is ours, and what
it forgives, a real API server may not.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.sandbox.authority import Authority

PROGRAMS = ("etcd", "kube-apiserver")
ADMIN = "admin"
PATIENCE = 90.0
"""Seconds within which the API server must be ready: it takes five on an idle machine."""


@dataclass(frozen=True)
class ControlPlane:
    """A running API server. Everybody is known by a bearer token; `ADMIN` is in `system:masters`."""

    url: str
    authority: Path
    tokens: Mapping[str, str]

    @asynccontextmanager
    async def session(self, user: str = ADMIN) -> AsyncIterator[aiohttp.ClientSession]:
        """A connection as somebody; paths alone are enough."""
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=self.authority), limit=32)
        headers = {"Authorization": f"Bearer {self.tokens[user]}"}
        async with aiohttp.ClientSession(self.url, connector=connector, headers=headers) as session:
            yield session

    def write_kubeconfig(self, path: Path, user: str = ADMIN) -> Path:
        """A kubeconfig as somebody."""
        cluster = {"server": self.url, "certificate-authority": str(self.authority)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "real", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self.tokens[user]}}],
            "contexts": [{"name": "real", "context": {"cluster": "real", "user": user}}],
            "current-context": "real",
        }
        path.write_text(yaml.safe_dump(config))
        return path


def programs() -> Path:
    """Where the programs are. The test is skipped when nothing says where."""
    named = os.environ.get("KUBEBUILDER_ASSETS")
    if not named:
        pytest.skip("no real API server: KUBEBUILDER_ASSETS names no directory with etcd and kube-apiserver")
    if missing := [name for name in PROGRAMS if not os.access(Path(named) / name, os.X_OK)]:
        pytest.fail(f"KUBEBUILDER_ASSETS is {named}, which has no program {' and no '.join(missing)}")
    return Path(named)


@contextmanager
def control_plane(
    directory: Path, users: Mapping[str, tuple[str, Sequence[str]]] | None = None, flags: Sequence[str] = ()
) -> Iterator[ControlPlane]:
    """A new control plane while inside, with RBAC and nothing but what it brings along; its files are in a directory.

    `users` are further ones by the key of their token: a name, and the groups that the token says. `flags` are further
    ones of kube-apiserver.
    """
    assets = programs()
    authority = Authority()
    (directory / "ca.crt").write_text(authority.pem)
    (directory / "server.pem").write_text(authority.issue())
    key = rsa.generate_private_key(65537, 2048)
    (directory / "accounts.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    known = {ADMIN: (ADMIN, ["system:masters"]), **(users or {})}
    tokens = {who: f"token-of-{number}" for number, who in enumerate(known)}
    rows = (
        f"{tokens[who]},{name},{number}" + (f',"{",".join(groups)}"' if groups else "") + "\n"
        for number, (who, (name, groups)) in enumerate(known.items())
    )
    (directory / "tokens.csv").write_text("".join(rows))
    client, peer, port = _free_ports(3)
    etcd, peers = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    plane = ControlPlane(f"https://127.0.0.1:{port}", directory / "ca.crt", tokens)
    with ExitStack() as running:
        running.enter_context(
            _process(
                directory / "etcd.log",
                assets / "etcd",
                f"--data-dir={directory / 'etcd'}",
                f"--listen-client-urls={etcd}",
                f"--advertise-client-urls={etcd}",
                f"--listen-peer-urls={peers}",
                f"--initial-advertise-peer-urls={peers}",
                f"--initial-cluster=default={peers}",
                "--unsafe-no-fsync",
                "--log-level=error",
            )
        )
        api_server = running.enter_context(
            _process(
                directory / "kube-apiserver.log",
                assets / "kube-apiserver",
                f"--etcd-servers={etcd}",
                "--bind-address=127.0.0.1",
                f"--secure-port={port}",
                "--service-cluster-ip-range=10.0.0.0/24",
                "--endpoint-reconciler-type=none",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={directory / 'accounts.key'}",
                f"--service-account-signing-key-file={directory / 'accounts.key'}",
                f"--tls-cert-file={directory / 'server.pem'}",
                f"--tls-private-key-file={directory / 'server.pem'}",
                f"--client-ca-file={plane.authority}",
                f"--token-auth-file={directory / 'tokens.csv'}",
                "--authorization-mode=RBAC",
                "--disable-admission-plugins=ServiceAccount",
                *flags,
            )
        )
        _wait_until_ready(plane, api_server, directory / "kube-apiserver.log")
        yield plane


@contextmanager
def _process(log: Path, *command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=log.parent)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def _wait_until_ready(plane: ControlPlane, process: subprocess.Popen[bytes], log: Path) -> None:
    request = urllib.request.Request(f"{plane.url}/readyz", headers={"Authorization": f"Bearer {plane.tokens[ADMIN]}"})
    trusted = ssl.create_default_context(cafile=plane.authority)
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(request, timeout=5, context=trusted):
            return
        time.sleep(0.1)
    pytest.fail(f"kube-apiserver {'is not ready' if process.poll() is None else 'ended'}: {log.read_text()[-2000:]}")
