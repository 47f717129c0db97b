"""The real helm, on the chart of this checkout."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).parents[2]
NAME = "resources-presenter"
NAMESPACE = "krateo-system"
CHART = CHECKOUT / "charts" / NAME
EXAMPLES = sorted(path.stem for path in (CHART / "examples").glob("*.yaml"))

Manifest = dict[str, Any]
Manifests = dict[tuple[str, str], Manifest]
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Helm:
    """helm with an environment of its own: nothing of the machine's, and of clusters the given one at most."""

    program: str
    home: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, values: Values | None = None) -> subprocess.CompletedProcess[str]:
        """Run it to its end; `values` are given as a file."""
        command, environment = self._command(arguments, values)
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    async def __call__(self, *arguments: str, values: Values | None = None) -> str:
        """Run it next to what it talks to. It must succeed; returns what it printed."""
        command, environment = self._command(arguments, values)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=pipe, stderr=pipe)
        out, err = await process.communicate()
        assert process.returncode == 0, out.decode() + err.decode()
        return out.decode()

    def _command(self, arguments: tuple[str, ...], values: Values | None) -> tuple[list[str], dict[str, str]]:
        command = [self.program, *arguments, "--namespace", NAMESPACE]
        if values is not None:
            path = self.home / "values.yaml"
            path.write_text(yaml.safe_dump(dict(values)))
            command += ["--values", str(path)]
        return command, {"HOME": str(self.home), "PATH": os.defpath, **self.variables}

    def template(self, values: Values, *options: str) -> subprocess.CompletedProcess[str]:
        """Render the chart."""
        return self.run("template", NAME, str(CHART), *options, values=values)

    def render(self, values: Values) -> Manifests:
        """The manifests by kind and name; those of further namespaces by `namespace/name`."""
        done = self.template(values)
        assert done.returncode == 0, done.stderr
        return {_key(manifest): manifest for manifest in yaml.safe_load_all(done.stdout) if manifest}


def _key(manifest: Manifest) -> tuple[str, str]:
    meta = manifest["metadata"]
    return manifest["kind"], "/".join(filter(None, (meta.get("namespace"), meta["name"])))


def example(name: str) -> dict[str, Any]:
    """The values of one of the chart's examples."""
    values: dict[str, Any] = yaml.safe_load((CHART / "examples" / f"{name}.yaml").read_text())
    return values


def having(values: Values, path: str, value: Any) -> dict[str, Any]:
    """The values with the one at a dotted path set; None takes it out."""
    head, _, rest = path.partition(".")
    changed = {**values, head: having(values.get(head) or {}, rest, value) if rest else value}
    return {key: kept for key, kept in changed.items() if kept is not None}


def container(manifest: Manifest) -> Manifest:
    """The only container of a workload or a pod."""
    pod = manifest["spec"] if manifest["kind"] == "Pod" else manifest["spec"]["template"]["spec"]
    (only,) = pod["containers"]
    assert isinstance(only, dict)
    return only


def environment(container: Manifest) -> dict[str, Any]:
    """Plain variables by value, the others as (Secret, key)."""
    found: dict[str, Any] = {}
    for variable in container["env"]:
        if "value" in variable:
            found[variable["name"]] = variable["value"]
        else:
            secret = variable["valueFrom"]["secretKeyRef"]
            found[variable["name"]] = (secret["name"], secret["key"])
    assert len(found) == len(container["env"])
    return found
