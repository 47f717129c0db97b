"""KUBECONFIG is read as the real kubectl reads it, and whatever is wrong with it is one line."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import uvloop
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from presenter.config import ClusterSettings
from presenter.errors import ClusterUnavailable, ConfigError
from presenter.kube import kubeconfig, login
from presenter.kube.client import KubeClient
from presenter.sandbox import Sandbox, User
from tests.e2e.tools import require

OWN = Path(__file__).parents[2] / ".tools" / "bin"
KINDS = {"clusters": "cluster", "contexts": "context", "users": "user"}

Json = dict[str, Any]


def seen_by_kubectl(paths: str) -> Json | None:
    """What kubectl makes of it, in the form of `seen_here`; None if it refuses."""
    done = subprocess.run(
        ["kubectl", "config", "view", "--raw", "--flatten", "-o", "json"],
        env={"KUBECONFIG": paths, "HOME": "/nonexistent", "PATH": f"{OWN}:{os.defpath}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return _by_name(json.loads(done.stdout)) if done.returncode == 0 else None


def seen_here(paths: str) -> Json | None:
    try:
        return _by_name(kubeconfig.read(paths))
    except ConfigError:
        return None


def _by_name(config: Json) -> Json:
    return {
        plural: {entry["name"]: _set(entry.get(kind) or {}) for entry in config[plural] or ()}
        for plural, kind in KINDS.items()
    } | {"current-context": config["current-context"]}


def _set(entry: Json) -> Json:
    """What is not empty (kubectl prints some of what is), with the contents of files in their place."""
    found: Json = {key: _set(value) if isinstance(value, dict) else value for key, value in entry.items() if value}
    files = {"certificate-authority", "client-certificate", "client-key"} & found.keys()
    return found | {f"{key}-data": base64.b64encode(Path(found.pop(key)).read_bytes()).decode() for key in files}


_names = st.sampled_from(["a", "b", "c"])
_paths = st.sampled_from(["", "pem", "more/pem", "more/../pem", "/etc/hostname"])
_servers = st.sampled_from(["", "https://one", "https://two"])


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    return st.fixed_dictionaries({}, optional={key.replace("_", "-"): value for key, value in fields.items()})


_plugins = st.builds(
    lambda command: {"apiVersion": "client.authentication.k8s.io/v1", "command": command, "interactiveMode": "Never"},
    st.sampled_from(["aws", "/bin/plugin"]),
)
_ENTRIES = {
    "cluster": _some(server=_servers, certificate_authority=_paths, proxy_url=_servers),
    "context": _some(cluster=_names, user=_names, namespace=_names),
    "user": _some(
        tokenFile=st.just("") | st.just("/no/token"),
        token=_names,
        client_certificate=_paths,
        client_key=_paths,
        exec=_plugins,
    ),
}


def _lists(kind: str) -> st.SearchStrategy[list[Json] | None]:
    named = st.builds(lambda name, entry: {"name": name, kind: entry}, _names, _ENTRIES[kind])
    return st.none() | st.lists(named, max_size=3, unique_by=lambda entry: entry["name"])


_files: st.SearchStrategy[Json | None] = (
    st.none()
    | st.just({})
    | _some(**{plural: _lists(kind) for plural, kind in KINDS.items()}, current_context=st.just("") | _names)
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_files, min_size=1, max_size=3).filter(any))
def test_files_are_merged_as_kubectl_does(files: list[Json | None]) -> None:
    """None is a file that is missing."""
    require("kubectl")
    with tempfile.TemporaryDirectory() as directory:
        paths = []
        for number, document in enumerate(files):
            path = Path(directory) / str(number) / "config"
            for place in (path.parent, path.parent / "more"):
                place.mkdir()
                (place / "pem").write_text(str(place))
            paths += [str(path), ""]
            if document is not None:
                path.write_text(yaml.safe_dump(document))
        joined = os.pathsep.join(paths)
        assert seen_here(joined) == seen_by_kubectl(joined)


@pytest.mark.parametrize(
    "text",
    [
        "clusters: [{name: a, cluster: {server: x}}, {name: a, cluster: {}}]",
        "clusters: 5",
        "clusters: [5]",
        "clusters: [{name: a, cluster: 5}]",
        "clusters: [{name: [], cluster: {}}]",
        "}{",
        "5",
    ],
)
def test_what_kubectl_refuses_is_refused(tmp_path: Path, text: str) -> None:
    require("kubectl")
    (tmp_path / "good").write_text("current-context: a")
    (tmp_path / "bad").write_text(text)
    paths = f"{tmp_path}/good:{tmp_path}/bad"
    assert seen_by_kubectl(paths) is None
    with pytest.raises(ConfigError, match="bad") as caught:
        kubeconfig.read(paths)
    assert len(str(caught.value).splitlines()) == 1


def test_paths_start_at_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    user = {"tokenFile": "../token", "exec": {"command": "./plugin"}}
    (tmp_path / "here/config").write_text(json.dumps({"users": [{"name": "a", "user": user}]}))
    monkeypatch.chdir(tmp_path)
    wanted = {"tokenFile": str(tmp_path / "token"), "exec": {"command": str(tmp_path / "here/plugin")}}
    assert kubeconfig.read("here/config")["users"] == [{"name": "a", "user": wanted}]


async def test_an_account_of_several_files(sandbox: Sandbox, tmp_path: Path) -> None:
    """The context is in one, the cluster in another, the user in a third, with a token file of its own directory."""
    sandbox.tokens = {"secret": User("presenter", ())}
    document = yaml.safe_load(sandbox.kubeconfig())
    cluster, context = document["clusters"][0], document["contexts"][0]
    name = context["context"]["user"]
    files = {
        "empty": {"current-context": ""},
        "contexts": {"contexts": [context], "current-context": context["name"]},
        "clusters": {"clusters": [cluster], "current-context": "another"},
        "users": {"users": [{"name": name, "user": {"tokenFile": "token"}}]},
        "others": document | {"users": [{"name": name, "user": {"token": "wrong"}}]},
    }
    for directory, config in files.items():
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "config").write_text(yaml.safe_dump(config))
    (tmp_path / "users/token").write_text("\n secret\r\n")
    paths = ":".join(str(tmp_path / directory / "config") for directory in files)
    client = await KubeClient.connect(ClusterSettings(kubeconfig=paths))
    assert await client.cluster_uid() == sandbox.cluster.uid
    await client.close()


# -- credentials ---------------------------------------------------------------------------------------------------

PLUGIN = {"apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never"}


def _plugin(script: str) -> Json:
    return {"exec": PLUGIN | {"command": "/bin/sh", "args": ["-c", script]}}


def _answers(**status: str) -> Json:
    answer = {"apiVersion": PLUGIN["apiVersion"], "kind": "ExecCredential", "status": status}
    return _plugin(f"echo '{json.dumps(answer)}'")


BAD: dict[str, tuple[Json, str]] = {
    "a token file that is missing": ({"tokenFile": "none"}, "none: No such file"),
    "a token file that is a directory": ({"tokenFile": "."}, "Is a directory"),
    "a token file that is empty": ({"tokenFile": "empty"}, "`tokenFile` gives no credentials"),
    "a token file with nothing but a line feed": ({"tokenFile": "blank"}, "the token is empty"),
    "a token file that is binary": ({"tokenFile": "binary"}, "no|text"),
    "a token of two lines": ({"tokenFile": "lines"}, "characters that no token may have"),
    "a token beyond ASCII": ({"token": "schlüssel"}, "characters that no token may have"),
    "a plugin that is missing": (
        {"exec": PLUGIN | {"command": "no-such-plugin"}},
        "no-such-plugin: No such file or directory",
    ),
    "a plugin that fails": (_plugin("echo first >&2; echo second >&2; exit 3"), "returned 3. first second"),
    "a plugin that says nothing": (_plugin("true"), "failed to decode process output"),
    "a plugin that has nothing": (_answers(), "`exec` gives no credentials"),
    "a certificate that is missing": ({"client-certificate": "none", "client-key": "none"}, "none"),
    "a certificate that is none": ({"client-certificate": "lines", "client-key": "lines"}, "certificate"),
    "certificate data that is none": (
        {"client-certificate-data": base64.b64encode(b"x").decode(), "client-key-data": "=="},
        "certificate",
    ),
    "certificate data that is no base64": ({"client-certificate-data": "!", "client-key-data": "!"}, "cannot be used"),
    "a user that is a list": ({"auth-provider": []}, "cannot be used"),
}


@pytest.mark.parametrize(("user", "said"), BAD.values(), ids=BAD)
async def test_what_is_wrong_with_credentials_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], user: Json, said: str
) -> None:
    for name, content in {"empty": b"", "blank": b"\n", "binary": b"\xff\xfe\x00", "lines": b"one\ntwo"}.items():
        (tmp_path / name).write_bytes(content)
    config = {
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    (tmp_path / "config").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=said) as caught:
        await KubeClient.connect(ClusterSettings(kubeconfig=str(tmp_path / "config")))
    assert len(str(caught.value).splitlines()) == 1
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_no_yaml_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("clusters: []\ncontexts: [a\nusers: {")
    with pytest.raises(
        ConfigError, match=r"config' cannot be used: it is no YAML in line 3: expected ',' or '\]', but got"
    ):
        kubeconfig.read(str(tmp_path / "config"))


def test_a_plugin_that_is_missing_where_the_event_loop_does_not_name_it(tmp_path: Path) -> None:
    """As on the command line."""
    config = {
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"exec": PLUGIN | {"command": "no-such-plugin"}}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    (tmp_path / "config").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="the command of its `exec` cannot be run: No such file"):
        uvloop.run(KubeClient.connect(ClusterSettings(kubeconfig=str(tmp_path / "config"))))


@pytest.mark.parametrize("server", ["", "https://[::1", "127.0.0.1:6443", "ftp://127.0.0.1", "https://", "localhost"])
async def test_a_server_that_is_no_url(tmp_path: Path, server: str) -> None:
    config = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "contexts": [{"name": "c", "context": {"cluster": "c"}}],
        "current-context": "c",
    }
    (tmp_path / "config").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="names no server that begins with https://"):
        await KubeClient.connect(ClusterSettings(kubeconfig=str(tmp_path / "config")))


async def test_a_token_file_that_goes_bad_while_it_is_used(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "TOKEN_REFRESH_SECONDS", 0)
    sandbox.tokens = {"secret": User("presenter", ())}
    document = yaml.safe_load(sandbox.kubeconfig())
    document["users"][0]["user"] = {"tokenFile": "token"}
    (tmp_path / "config").write_text(yaml.safe_dump(document))
    (tmp_path / "token").write_text("secret\n")
    client = await KubeClient.connect(ClusterSettings(kubeconfig=str(tmp_path / "config")))
    for content in ("secret", "secret\n\n", ""):  # while it is empty the token before may last
        (tmp_path / "token").write_text(content)
        assert await client.cluster_uid() == sandbox.cluster.uid
    (tmp_path / "token").write_text("two\nlines")
    with pytest.raises(ClusterUnavailable, match="characters that no token may have"):
        await client.cluster_uid()
    (tmp_path / "token").unlink()
    (tmp_path / "token").write_text("secret")
    assert await client.cluster_uid() == sandbox.cluster.uid
    await client.close()
