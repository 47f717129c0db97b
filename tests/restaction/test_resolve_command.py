"""`presenter restaction resolve` as a process: what it prints where, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import signal
import sys
from pathlib import Path

import pytest
import yaml

from tests.e2e.processes import PRESENTER, Process, run
from tests.e2e.tools import Pasted, paste
from tests.eventually import eventually
from tests.restaction.test_paging import BY_CURSOR, BY_NUMBER, FORWARDED
from tests.restaction.world import Json, World, call, text

OPTIONS = {
    *("--name", "--per-page", "--page", "--cursor", "--all-pages", "--token", "--kubeconfig", "--endpoint", "--set"),
    *("--trace", "--account", "--shuffle", "--help"),
}
CONFIG_MAPS = {"name": "maps", "path": "/api/v1/namespaces/default/configmaps"}


class Command:
    """Runs it on a RESTAction made of calls."""

    def __init__(self, world: World, home: Path) -> None:
        self._world = world
        self.home = home

    async def __call__(self, *options: str, manifest: str, kubeconfig: bool = True) -> Pasted:
        (self.home / "action.yaml").write_text(manifest)
        variables = {"KUBECONFIG": str(self._world.kubeconfig)} if kubeconfig else {}
        words = ("restaction", "resolve", "action.yaml", *options)
        done = await asyncio.to_thread(run, *words, home=self.home, **variables)
        return Pasted(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def resolve(world: World, tmp_path: Path) -> Command:
    return Command(world, tmp_path)


async def test_the_result_is_json_and_nothing_else_is_said(resolve: Command, world: World) -> None:
    world.config_map("one", a="ä")
    done = await resolve(manifest=text(CONFIG_MAPS, filter="[.maps.items[] | {(.metadata.name): .data}]"))
    assert done.json == [{"one": {"a": "ä"}}]
    assert done.err == ""


async def test_a_file_may_have_more_in_it_and_may_be_standard_input(resolve: Command, world: World) -> None:
    world.foreign.answer("/a", 1)
    several = "---\n".join(
        yaml.safe_dump(json.loads(manifest))
        for manifest in ('{"kind": "Panel"}', text(call("x", "/a"), name="one"), text(call("y", "/a"), name="two"))
    )
    assert (await resolve("--name", "two", manifest=several)).json == {"y": 1}
    refused = await resolve(manifest=several)
    assert (refused.code, refused.out) == (2, "")
    assert (
        refused.err
        == "presenter: action.yaml: there are several RESTActions: choose one with --name: default/one, default/two\n"
    )
    line = f"KUBECONFIG={world.kubeconfig} {PRESENTER} restaction resolve --name one - <action.yaml"
    assert (await paste(line, resolve.home)).json == {"x": 1}


async def test_trace_tells_of_each_request_on_standard_error(resolve: Command, world: World) -> None:
    token = world.user("ada", "system:masters")
    world.foreign.answer("/a", [1, 2])
    done = await resolve(
        "--trace",
        "--token",
        token,
        manifest=text(CONFIG_MAPS, call("list", "/a?b={}", exportJwt=True), call("gone", "/c")),
    )
    assert done.code == 1
    assert json.loads(done.out)["list"] == [1, 2]
    maps, listed, gone, error = done.err.splitlines()
    assert maps.startswith(f"maps: GET {CONFIG_MAPS['path']}: 200, ")
    assert maps.endswith(" bytes, 0 items")
    assert listed.startswith("list: GET /a?b={}: 200, ")
    assert listed.endswith(" ms, 6 bytes, 2 items")
    assert gone.startswith("gone: GET /c: 404, ")
    assert error == "error: gone: answered with 404: no such path"
    assert token not in done.err + done.out
    assert {asked.headers.get("Authorization") for asked in world.foreign.asked} == {f"Bearer {token}", None}
    assert world.sandbox.requests.matching(resource="configmaps")[0].user == "ada"


async def test_a_cluster_that_takes_no_tokens_is_called_by_the_account(resolve: Command, world: World) -> None:
    world.config_map("one")
    manifest = text(CONFIG_MAPS, filter=".maps.items | length")
    refused = await resolve("--token", "of-the-portal", manifest=manifest)
    assert (refused.code, refused.err) == (1, "error: maps: answered with 401: Unauthorized\n")
    assert (await resolve("--token", "of-the-portal", "--account", manifest=manifest)).json == 1


async def test_a_failure_that_may_be_is_a_warning(resolve: Command) -> None:
    done = await resolve(manifest=text(call("tried", "/none", continueOnError=True), filter=".error.code"))
    assert done.json == 404
    assert done.err == "warning: tried: answered with 404: no such path\n"


async def test_a_filter_that_fails_is_an_error(resolve: Command, world: World) -> None:
    world.foreign.answer("/a", 1)
    done = await resolve(manifest=text(call("tried", "/a"), filter=".tried[]"))
    assert (done.code, done.out) == (1, "")
    assert done.err == "presenter: jq: Cannot iterate over number (1), in: .tried[]\n"


async def test_an_answer_cannot_disturb_the_terminal(resolve: Command, world: World) -> None:
    world.foreign.answer("/a", b"\x1b[2J\nfake: GET /x: 200", 404)
    done = await resolve(manifest=text(call("tried", "/a")))
    assert done.err == "error: tried: answered with 404: \\x1b[2J\\nfake: GET /x: 200\n"


async def test_one_page_or_all_of_them(resolve: Command, world: World) -> None:
    manifest = text(call("tried", BY_CURSOR), filter=FORWARDED)
    for cursor, items, following in [("first", [1, 2], "b"), ("b", [3, 4], "c"), ("c", [5], None)]:
        world.foreign.answer(f"/page/{cursor}", {"items": items, "cursor": following})
    assert (await resolve("--per-page", "2", manifest=manifest)).json == {
        "items": [1, 2],
        "slice": {"cursor": "b", "perPage": 2},
    }
    assert (await resolve("--per-page", "2", "--cursor", "b", manifest=manifest)).json["items"] == [3, 4]
    done = await resolve("--per-page", "2", "--all-pages", manifest=manifest)
    assert done.json == {"items": [1, 2, 3, 4, 5], "slice": {"cursor": None, "perPage": 2}}
    assert done.err == ""
    world.foreign.answer("/page/c", {"items": [5], "cursor": "first"})
    world.foreign.answer("/page/first", {"items": [1, 2], "cursor": "b"})
    endless = await resolve("--per-page", "2", "--all-pages", manifest=manifest)
    assert (endless.code, endless.out) == (1, "")
    assert "the pages would never end" in endless.err


async def test_a_terminal_is_shown_how_far_it_is(resolve: Command, world: World) -> None:
    for cursor, items, following in [("first", [1, 2], "b"), ("b", [3], None)]:
        world.foreign.answer(f"/page/{cursor}", {"items": items, "cursor": following})
    (resolve.home / "action.yaml").write_text(text(call("tried", BY_CURSOR), filter=FORWARDED))
    master, terminal = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *(PRESENTER, "restaction", "resolve", "action.yaml", "--per-page", "2", "--all-pages"),
        env={"PATH": os.defpath, "TERM": "xterm", "KUBECONFIG": str(world.kubeconfig), "HOME": str(resolve.home)},
        cwd=resolve.home,
        stdout=asyncio.subprocess.PIPE,
        stderr=terminal,
    )
    os.close(terminal)
    shown, (out, _) = await asyncio.gather(asyncio.to_thread(_read, master), process.communicate())
    assert json.loads(out)["items"] == [1, 2, 3]
    assert "2 pages, 3 items" in shown


def _read(terminal: int) -> str:
    """All that is printed on a terminal until nobody has it open any more."""
    printed = b""
    with contextlib.suppress(OSError), open(terminal, "rb", buffering=0) as screen:
        while piece := screen.read(1 << 16):
            printed += piece
    return printed.decode()


async def test_pages_by_number(resolve: Command, world: World) -> None:
    manifest = text(call("tried", "/all"), filter=BY_NUMBER)
    world.foreign.answer("/all", {"items": [1, 2, 3]})
    assert (await resolve("--per-page", "2", "--page", "2", manifest=manifest)).json == {"items": [3], "more": 2}
    assert (await resolve("--per-page", "2", "--all-pages", manifest=manifest)).json["items"] == [1, 2, 3]


async def test_context_can_be_set(resolve: Command, world: World) -> None:
    world.foreign.answer("/a", 1)
    done = await resolve(
        *("--set", "a.b=3", "--set", "a.c=three", "--set", 'd=[{"e": null}]', "--set", "f=g=h", "--set", "i="),
        manifest=text(call("tried", "/a"), filter="del(.tried)"),
    )
    assert done.json == {"a": {"b": 3, "c": "three"}, "d": [{"e": None}], "f": "g=h", "i": ""}


async def test_another_order_of_calls_can_be_tried(resolve: Command, world: World) -> None:
    world.foreign.answer("/a", 1)
    manifest = text(call("one", "/a"), call("two", '${ "/a?" + (.one | tostring) }'))
    asked = set()
    for seed in range(8):
        before = len(world.foreign.paths)
        await resolve("--shuffle", str(seed), manifest=manifest)
        asked.add(tuple(world.foreign.paths[before:]))
    assert asked == {("/a", "/a?1"), ("/a?null", "/a")}


@pytest.mark.parametrize(("filter", "printed"), [(".one[]", '12\n{"a":3,"b":1e+21}\n'), ("empty", "\n")])
async def test_a_filter_that_gives_no_single_result_prints_what_snowplow_sends(
    resolve: Command, world: World, filter: str, printed: str
) -> None:
    world.foreign.answer("/a", [1, "2", {"b": 1e21, "a": 3.0}])
    done = await resolve(manifest=text(call("one", "/a"), filter=filter))
    assert (done.code, done.out) == (1, printed.replace("12\n", '1"2"'))
    assert "instead of one, which are no JSON together" in done.err


async def test_page_and_cursor_exclude_each_other(resolve: Command) -> None:
    done = await resolve(*("--per-page", "1", "--page", "1", "--cursor", "c"), manifest=text(call("one", "/a")))
    assert (done.code, done.err) == (2, "presenter: --page and --cursor are given: allowed is one of the two\n")


async def test_an_endpoint_given_by_name_needs_no_cluster(resolve: Command, world: World) -> None:
    world.foreign.answer("/a", 1)
    done = await resolve(
        "--endpoint", f"foreign={world.foreign.url}", manifest=text(call("tried", "/a")), kubeconfig=False
    )
    assert done.json == {"tried": 1}


async def test_the_cluster_may_be_that_of_the_usual_kubeconfig(resolve: Command, world: World, tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    for option in (["--kubeconfig", str(world.kubeconfig)], []):
        done = await resolve(*option, manifest=text(CONFIG_MAPS, filter=".maps.items"), kubeconfig=False)
        assert done.json == []
        world.kubeconfig.rename(tmp_path / ".kube" / "config") if option else None
    (tmp_path / ".kube" / "config").unlink()
    done = await resolve(manifest=text(CONFIG_MAPS), kubeconfig=False)
    assert done.code == 1
    assert "set KUBECONFIG" in done.err


def test_the_options_are_the_documented_ones(tmp_path: Path) -> None:
    shown = run("restaction", "resolve", "--help", home=tmp_path, COLUMNS="120")
    assert set(re.findall(r"│[ *]+(--[a-z-]+) ", shown.stdout)) == OPTIONS
    shown = run("restaction", home=tmp_path, COLUMNS="120")
    assert re.findall(r"│ ([a-z]+) ", shown.stdout + shown.stderr) == ["resolve", "migrate", "compare", "lint"]


async def test_what_it_takes_is_said_when_it_is_not_installed(tmp_path: Path) -> None:
    for missing in "jq", "lark", "ruamel":
        script = (
            f"import sys; sys.modules['{missing}'] = None; sys.argv = ['presenter', 'restaction', 'resolve', 'a'];"
            "from presenter.commands.main import main; main()"
        )
        done = await paste(shlex.join([sys.executable, "-c", script]), tmp_path)
        assert (done.code, done.out) == (2, "")
        assert "pip install 'resources-presenter[restaction]'" in done.err
        assert len(done.err.splitlines()) == 1


async def test_it_can_be_interrupted(world: World, tmp_path: Path) -> None:
    (tmp_path / "action.yaml").write_text(text(call("tried", "/silence")))
    endpoint = f"foreign={world.foreign.url}"
    process = await Process.start("restaction", "resolve", "action.yaml", "--endpoint", endpoint, home=tmp_path)

    async def asked() -> int:
        return len(world.foreign.asked)

    await eventually(asked, lambda count: count == 1)
    assert await process.stop(signal.SIGINT) != 0
    assert process.out == []
    assert "Traceback" not in process.log()


TEMPLATE: Json = call("tried", "/a/{{ .Values.b }}")


@pytest.mark.parametrize(
    ("options", "manifest", "says"),
    [
        ([], "a: [", "presenter: action.yaml:1: not YAML: "),
        ([], text({"name": "a", "dependsOn": {"name": "b"}}), "depends on 'b', which is no call"),
        ([], text(TEMPLATE), "the call 'tried' is a template: render it first"),
        ([], text(call("a", "/a"), filter="{{ .Values.filter }}"), "the filter is a template: render it first"),
        (["--page", "2"], text(), "--page, --cursor and --all-pages need --per-page"),
        (["--all-pages"], text(), "--page, --cursor and --all-pages need --per-page"),
        (["--endpoint", "foreign"], text(), "--endpoint is 'foreign': it must be NAME=URL"),
        (["--endpoint", "foreign=ftp://a"], text(), "--endpoint is 'foreign=ftp://a': it must be NAME=URL"),
        (["--set", "a"], text(), "--set is 'a': it must be PATH=VALUE"),
        (["--set", "a..b=1"], text(), "--set is 'a..b=1': it must be PATH=VALUE"),
        (["--set", "a=1", "--set", "a.b=1"], text(), "--set is 'a.b=1': a was set to a value before"),
        (["--per-page", "0"], text(), "--per-page"),
        (["--token", ""], text(), "--token is empty: it must be a token, or be left out"),
        (["--kubeconfig", "none"], text(), "'none' does not exist"),
        (["--name", "other"], text(), "there is no RESTAction named 'other'"),
    ],
)
async def test_what_cannot_be_done_is_said_at_once(
    resolve: Command, options: list[str], manifest: str, says: str
) -> None:
    done = await resolve(*options, manifest=manifest)
    assert (done.code, done.out) == (2, "")
    assert says in done.err
    assert "Traceback" not in done.err
