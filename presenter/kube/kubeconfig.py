"""KUBECONFIG: one file, or several that are merged as kubectl merges them.

The first file that sets a value wins, and so does the first that has a cluster, context or user of a name, whole. What
is empty is not set. Files that do not exist are left out. Relative paths start at the file that they stand in.
Source: k8s.io/client-go, tools/clientcmd/loader.go.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from presenter.errors import ConfigError

Mapping = dict[str, Any]

_PATHS = {
    "cluster": ("certificate-authority",),
    "context": (),
    "user": ("client-certificate", "client-key", "tokenFile"),
}


def read(paths: str) -> Mapping:
    """What the files (joined by `:`) say together, as one would write it into a single file. All paths are absolute.

    Raises ConfigError when there is none, or one that is no kubeconfig.
    """
    merged: Mapping = {"clusters": {}, "contexts": {}, "users": {}, "current-context": ""}
    found = False
    for path in (Path(text).expanduser() for text in paths.split(os.pathsep) if text):
        try:
            config = _parsed(path)
            if config is None:
                continue
            found = True
            for kind in _PATHS:
                entries = dict(_entries(config, kind, path.absolute().parent))
                merged[f"{kind}s"] = entries | merged[f"{kind}s"]
            merged["current-context"] = merged["current-context"] or config.get("current-context") or ""
        except ValueError as error:
            raise ConfigError(f"KUBECONFIG is {paths!r}, of which {str(path)!r} cannot be used: {error}") from error
    if not found:
        raise ConfigError(f"KUBECONFIG is {paths!r}: there is no such file")
    return merged | {
        f"{kind}s": [{"name": name, kind: entry} for name, entry in merged[f"{kind}s"].items()] for kind in _PATHS
    }


def current(paths: str) -> tuple[Mapping, Mapping]:
    """The cluster and the user of the current context, as in a kubeconfig. A user need not be named, nor be there.

    Raises ConfigError when there are none.
    """
    config = read(paths)
    clusters, contexts, users = (
        {entry["name"]: entry[kind] for entry in config[f"{kind}s"]} for kind in ("cluster", "context", "user")
    )
    name = config["current-context"]
    if name not in contexts:
        what = f"its current-context {name!r} is not among its contexts" if name else "it has no current-context"
        raise ConfigError(f"KUBECONFIG is {paths!r}: {what}")
    context = contexts[name]
    if context.get("cluster") not in clusters:
        raise ConfigError(
            f"KUBECONFIG is {paths!r}: the cluster of its current context {name!r} is not among its clusters"
        )
    return clusters[context["cluster"]], users.get(context.get("user"), {})


def _parsed(path: Path) -> Mapping | None:
    """What the file says, None if there is no such file."""
    try:
        config = yaml.safe_load(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ValueError(error.strerror or type(error).__name__) from error
    except yaml.MarkedYAMLError as error:
        line = f"in line {error.problem_mark.line + 1}" if error.problem_mark else "somewhere"
        raise ValueError(f"it is no YAML {line}: {error.problem}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from error
    if config is None:
        return {}
    if not isinstance(config, dict):
        raise ValueError("it is not a mapping")
    return config


def _entries(config: Mapping, kind: str, directory: Path) -> Iterator[tuple[str, Mapping]]:
    """What there is of a kind, by name."""
    names = set()
    entries = config.get(f"{kind}s") or []
    if not isinstance(entries, list):
        raise ValueError(f"`{kind}s` is not a list")
    for named in entries:
        if not isinstance(named, dict):
            raise ValueError(f"`{kind}s` is not a list of mappings")
        name, entry = named.get("name"), named.get(kind)
        if not isinstance(name, str | None) or not isinstance(entry, dict | None):
            raise ValueError(f"`{kind}s` has something other than a `name` with a `{kind}`")
        name = name or ""
        if name in names:
            raise ValueError(f"`{kind}s` has two of the name {name!r}")
        names.add(name)
        yield name, _entry(entry or {}, kind, directory)


def _entry(entry: Mapping, kind: str, directory: Path) -> Mapping:
    """What it sets, with absolute paths."""
    entry = {key: value for key, value in entry.items() if value not in (None, "")}
    for key in _PATHS[kind]:
        if key in entry:
            entry[key] = os.path.normpath(directory / str(entry[key]))
    if "tokenFile" in entry and Path(entry["tokenFile"]).is_file():
        entry.pop("token", None)  # the file is what is up to date
    plugin = entry.get("exec")
    if isinstance(plugin, dict) and os.sep in str(plugin.get("command", "")):  # else it is looked for in PATH
        entry["exec"] = plugin | {"command": os.path.normpath(directory / plugin["command"])}
    return entry
