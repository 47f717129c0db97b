"""`presenter demo`: everything comes up, what it prints can be pasted, and it leaves nothing behind."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from presenter.sandbox import Sandbox
from tests.e2e.processes import Process, working_in
from tests.e2e.system import PANELS, Launch
from tests.e2e.tools import paste, require
from tests.eventually import eventually

SEEN_BY_ALICE = {"team-atlas", "team-borealis", "team-cobalt", "demo-system", "team-dorado"}
"""Where the sandbox's RBAC lets her see panels: all but the last as one of the group devs."""

AT_ONCE = 1.0
"""Seconds from a change to its being served, two starts of curl included; generous, for a busy machine."""


@dataclass(frozen=True)
class Demo:
    """A demo that is up, and what it has told."""

    process: Process

    @property
    def text(self) -> str:
        return "\n".join(self.process.out)

    def told(self, pattern: str) -> str:
        found = re.search(pattern, self.text, re.MULTILINE)
        assert found, f"{pattern!r} is not in\n{self.text}"
        return found[1]

    @property
    def port(self) -> int:
        return int(self.told(r"^Listening on http://127\.0\.0\.1:(\d+) "))

    @property
    def directory(self) -> Path:
        return Path(self.told(r"\(also in (.+)/token\)"))

    @property
    def questions(self) -> list[str]:
        """What to ask as the administrator."""
        return [line for line in self.process.out if line.startswith("curl -gsS") and "/token)" in line]

    @property
    def question_of_alice(self) -> str:
        return self.told(r"^(curl -gsS .*/token-developer\).*)$")

    @property
    def objects(self) -> int:
        return int(self.told(r"^Watching cluster .* types, ([\d,]+) objects").replace(",", ""))

    def processes(self) -> list[psutil.Process]:
        """It, what it has started, and whatever works in its directory."""
        return [psutil.Process(self.process.pid), *self.process.descendants(), *working_in(self.directory)]


StartDemo = Callable[..., Awaitable[Demo]]


@pytest.fixture
def place(home: Path) -> Path:
    """For temporary files, so that what stays behind is seen."""
    place = home / "temporary"
    place.mkdir()
    return place


@pytest.fixture
def demo(presenter: Launch, place: Path) -> StartDemo:
    async def start(*arguments: str, **variables: str) -> Demo:
        process = await presenter("demo", *arguments, TMPDIR=str(place), **variables)
        await process.line("^Ctrl-C stops everything")
        return Demo(process)

    return start


async def test_every_line_it_prints_can_be_pasted(demo: StartDemo, home: Path) -> None:
    require("curl")
    running = await demo("--port", "0", "--objects", "100")
    assert running.told(r"panels\.widgets\.templates\.krateo\.io +│ v1beta1 +│ +([1-9]\d*) │")
    assert running.told(r"^(eyJ[\w-]+\.[\w-]+\.[\w-]+)$") == (running.directory / "token").read_text()

    for secret in ("token", "environment"):
        assert (running.directory / secret).stat().st_mode & 0o077 == 0

    newest, whole, by_name, changed = running.questions
    assert (await paste(newest, home)).json["count"] == 5
    (one,) = (await paste(whole, home)).json["items"]
    assert one["raw"]["metadata"]["labels"]["krateo.io/portal-page"] == "compositions"
    names = [item["name"] for item in (await paste(by_name, home)).json["items"]]
    assert len(names) == 3
    assert names == sorted(names)

    everything = (await paste(newest.replace("limit=5", "limit=500"), home)).json["items"]
    all_of_alice = (await paste(running.question_of_alice.replace("limit=5", "limit=500"), home)).json["items"]
    assert all_of_alice == [item for item in everything if item["namespace"] in SEEN_BY_ALICE]
    assert {item["namespace"] for item in everything} > {item["namespace"] for item in all_of_alice} > {"team-dorado"}
    assert (await paste(running.question_of_alice, home)).json["items"] == all_of_alice[:5]

    assert (await paste(changed, home)).json["items"] == []
    started = time.monotonic()
    patched = (await paste(running.told(r"^(curl -sS -X PATCH .*)$"), home)).json
    found = await eventually(lambda: paste(changed, home), lambda pasted: pasted.json["count"] == 1)
    took = time.monotonic() - started
    assert found.json["items"][0]["uid"] == patched["metadata"]["uid"]
    assert took < AT_ONCE, f"{took:.3f} s from the change to the answer"


async def test_the_kubectl_line_can_be_pasted(demo: StartDemo, home: Path) -> None:
    require("curl")
    require("kubectl")
    running = await demo("--port", "0", "--objects", "20")
    labelled = await paste(running.told(r"^\(the same with kubectl: (.*)\)$"), home)
    assert labelled.code == 0, labelled
    await eventually(lambda: paste(running.questions[-1], home), lambda pasted: pasted.json["count"] == 1)


async def test_two_that_start_at_once_keep_apart_and_leave_nothing_behind(
    presenter: Launch, place: Path, home: Path
) -> None:
    require("curl")
    (place / ".lockfile").mkdir()  # who locks by this name cannot open it, as if it were another user's
    with _taken(0) as port:
        variables = {"TMPDIR": str(place), "PORT": str(port)}
        both = [await presenter("demo", "--objects", "20", **variables) for _ in range(2)]
        for process in both:
            await process.line(f"^Port {port} is taken: another one is used")
            await process.line("^Ctrl-C stops everything")
    first, second = map(Demo, both)
    assert len({port, first.port, second.port}) == 3
    assert first.directory.is_relative_to(place)
    processes = first.processes() + second.processes()
    assert any(process.name() == "postgres" for process in processes)

    assert await first.process.stop(signal.SIGINT) == 0
    assert (await paste(second.questions[0], home)).json["count"] > 0
    assert await second.process.stop(signal.SIGTERM) == 0
    assert first.process.err == second.process.err == []
    assert [process for process in processes if process.is_running()] == []
    assert _left(place) == []


@pytest.mark.parametrize("sign", ["postgresql/PG_VERSION", "postgresql/postmaster.pid", "postgresql/postmaster.opts"])
async def test_it_can_be_stopped_while_it_starts(presenter: Launch, place: Path, sign: str) -> None:
    """While initdb begins, while it is at work, while the server comes up."""
    process = await presenter("demo", "--port", "0", TMPDIR=str(place))
    await eventually(lambda: _found(place.glob(f"*/{sign}")), bool)
    assert await process.stop(signal.SIGINT) == 0
    assert _left(place) == []
    assert working_in(place) == []


async def _found(paths: Iterator[Path]) -> list[Path]:
    return list(paths)


def _left(place: Path) -> list[Path]:
    """What is in a directory, but for the locks by which embedded PostgreSQLs take turns in starting."""
    return [path for path in place.iterdir() if not path.name.startswith(".lockfile")]


async def test_a_port_that_was_asked_for_and_is_taken_is_an_error(presenter: Launch, place: Path) -> None:
    with _taken(0) as port:
        process = await presenter("demo", "--port", str(port), TMPDIR=str(place))
        assert await process.ended() == 2
    assert process.out == []
    assert len(process.err) == 1
    assert process.err[0].startswith(
        f"presenter: --port is {port}, which cannot be listened on: Address already in use"
    )
    assert _left(place) == []


@contextlib.contextmanager
def _taken(port: int) -> Iterator[int]:
    with socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True) as taken:
        yield taken.getsockname()[1]


async def test_a_kept_directory_can_be_used_again(demo: StartDemo, home: Path) -> None:
    require("curl")
    arguments = ("--port", "0", "--data-dir", str(home / "kept"))
    first = await demo(*arguments, "--objects", "40")
    before = first.objects
    assert await first.process.stop() == 0
    assert (home / "kept" / "postgresql" / "PG_VERSION").exists()

    second = await demo(*arguments, "--objects", "20")
    assert second.objects < before, "the second sandbox has fewer objects"
    assert (await paste(second.questions[0], home)).json["count"] > 0
    assert (await paste(second.told(r"^(curl -sS -X PATCH .*)$"), home)).json["kind"] == "Panel"
    await eventually(lambda: paste(second.questions[-1], home), lambda pasted: pasted.json["count"] == 1)
    assert await second.process.stop() == 0


async def test_a_kept_directory_survives_a_kill(demo: StartDemo, home: Path) -> None:
    arguments = ("--port", "0", "--objects", "20", "--data-dir", str(home / "kept"))
    first = await demo(*arguments)
    left = first.processes()
    await first.process.kill()
    second = await demo(*arguments)
    assert second.objects == first.objects
    assert await second.process.stop() == 0
    assert [process for process in left if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []
    shutil.rmtree(home / "kept")


async def test_it_watches_a_cluster_of_ones_own(demo: StartDemo, sandbox: Sandbox, home: Path) -> None:
    require("curl")
    sandbox.write_kubeconfig(home / "mine")
    running = await demo("--port", "0", "--kubeconfig", str(home / "mine"))
    assert running.told(r"^Watching cluster ([\w.:]+): ") == sandbox.url.removeprefix("http://")
    assert "curl -sS -X PATCH" not in running.text, "another cluster wants a login that curl does not have"
    assert "alice" not in running.text, "of another cluster's users nothing is known"
    assert running.told(f"^kubectl --kubeconfig ({home}/mine) -n ")
    panels = sandbox.cluster.objects(PANELS)
    newest = max(manifest["metadata"]["creationTimestamp"] for manifest in panels)
    answer = (await paste(running.questions[0], home)).json
    assert answer["items"][0]["created_at"] == newest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kubeconfig", "none"], "Invalid value for '--kubeconfig': file 'none' does not exist."),
        (["--kubeconfig", "empty"], "presenter: KUBECONFIG is '{}/empty': it has no current-context"),
        (["--data-dir", "empty"], "Invalid value for '--data-dir': dir 'empty' is a file."),
        (["--data-dir", "empty/in"], "presenter: --data-dir is 'empty/in', which cannot be used: Not a directory"),
    ],
)
async def test_what_it_cannot_use_stops_it(
    presenter: Launch, place: Path, home: Path, arguments: list[str], message: str
) -> None:
    (home / "empty").touch()
    process = await presenter("demo", "--port", "0", "--objects", "0", *arguments, TMPDIR=str(place), COLUMNS="200")
    assert await process.ended() == 2
    assert message.format(home) in "\n".join(process.err)
    assert "Traceback" not in process.log()
    assert _left(place) == []


async def test_an_empty_cluster_can_be_looked_at_too(demo: StartDemo, home: Path) -> None:
    require("curl")
    running = await demo("--port", "0", "--objects", "0")
    assert running.told(r"panels\.widgets\.templates\.krateo\.io +│ v1beta1 +│ +(0) │")
    for question in running.questions:
        assert (await paste(question, home)).json["count"] >= 0
    refused = (await paste(running.question_of_alice, home)).json
    assert refused["message"].startswith('customresourcedefinitions.apiextensions.k8s.io is forbidden: User "alice" ')
    assert (await paste(running.told(r"^(curl -sS -X PATCH .*)$"), home)).json["kind"] == "CustomResourceDefinition"
    await eventually(lambda: paste(running.questions[-1], home), lambda pasted: pasted.json["count"] == 1)


async def test_settings_of_the_environment_hold(demo: StartDemo, home: Path) -> None:
    require("curl")
    settings = {
        "JWT_ISSUER": "someone",
        "JWT_AUDIENCE": "presenter",
        "JWT_USERNAME_CLAIM": "email",
        "JWT_GROUPS_CLAIM": "roles",
        "WATCH": "pods",
        "CLUSTER_NAME": "mine",
    }
    running = await demo("--port", "0", "--objects", "20", **settings)
    assert running.told(r"^Watching cluster (\w+): ") == "mine"
    for question in running.questions:
        assert "items" in (await paste(question, home)).json
    assert (await paste(running.question_of_alice, home)).json["message"] == (
        'pods is forbidden: User "alice" cannot list resource "pods" in API group "" at the cluster scope'
    )
