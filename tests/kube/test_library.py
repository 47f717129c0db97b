"""What is imported of kubernetes_asyncio: seen in a process of its own, as the tests themselves import all of it."""

from __future__ import annotations

import subprocess
import sys


def _run(program: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_neither_models_nor_apis_are_imported_to_watch() -> None:
    loaded = _run(
        "import sys, presenter.kube.supervisor\n"
        "print(*(name for name in sys.modules if name.startswith('kubernetes_asyncio')))"
    )
    assert "kubernetes_asyncio.client.api_client" in loaded
    assert "kubernetes_asyncio.config.kube_config" in loaded
    assert len(loaded) < 25
    assert not [name for name in loaded if ".api." in name or ".models." in name]


def test_whoever_wants_the_rest_of_it_gets_it() -> None:
    assert _run(
        "import presenter.kube.login as login\n"
        "from kubernetes_asyncio import client, config, watch\n"
        "from kubernetes_asyncio.client import CoreV1Api\n"
        "print(client.V1Pod.__name__, CoreV1Api.__name__, client.ApiClient is login.ApiClient, watch.Watch.__name__)"
    ) == ["V1Pod", "CoreV1Api", "True", "Watch"]


def test_it_does_not_matter_who_was_first() -> None:
    assert _run(
        "from kubernetes_asyncio import client\n"
        "import presenter.kube.login as login\n"
        "print(client.V1Pod.__name__, client.ApiClient is login.ApiClient)"
    ) == ["V1Pod", "True"]
