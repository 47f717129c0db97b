"""The cluster that is written to, and everything it has ever said."""

from __future__ import annotations

import hashlib
import json
import random
from typing import Any

from presenter.sandbox import Cluster
from tests.e2e.system import Json, without_managed_fields

CONFIG_MAPS = "configmaps"
GROUP = "chaos.krateo.io"
TYPES = (CONFIG_MAPS, f"notes.{GROUP}", f"marks.{GROUP}", f"beacons.{GROUP}")
"""Beacons are cluster-scoped. Of the config maps there are so many that a list of them takes several pages."""

_KINDS = {f"notes.{GROUP}": "Note", f"marks.{GROUP}": "Mark", f"beacons.{GROUP}": "Beacon"}
_NAMESPACES = tuple(f"chaos-{number}" for number in range(4))
_MANY, _SOME = 900, 120
COLOURS = ("red", "green", "blue")

Key = tuple[str, str, str]


class World:
    """Random writes. A state is what was stored under a uid and a resourceVersion.

    `gone` are the uids of the objects that were deleted.
    """

    def __init__(self, seed: int) -> None:
        self.cluster = Cluster(seed=seed)
        self.gone: set[str] = set()
        self.writes = 0
        self._states: dict[tuple[str, str], bytes] = {}
        self._alive: dict[Key, str] = {}
        rng = random.Random(seed)
        for namespace in _NAMESPACES:
            self.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        for name, kind in _KINDS.items():
            self.cluster.create(_definition(name, kind))
        while len(self._alive) < _MANY:
            self.write(rng, create=True)
        self.writes = 0

    def was(self, manifest: Json) -> bool:
        """Whether the cluster ever had an object in just this state."""
        metadata = manifest["metadata"]
        return self._states.get((metadata["uid"], metadata["resourceVersion"])) == digest(manifest)

    def write(self, rng: random.Random, *, create: bool = False) -> None:
        """Create, change, relabel, delete, or delete and create again under the same name."""
        name = rng.choices(TYPES, (7, 2, 2, 1))[0]
        key = (name, _namespace(rng, name), f"object-{rng.randrange(_MANY if name == CONFIG_MAPS else _SOME):03}")
        if key not in self._alive or create:
            self._put(key, _manifest(rng, key))
            return
        match rng.choices(("change", "label", "delete", "recreate"), (5, 2, 2, 2))[0]:
            case "change":
                self._put(key, _manifest(rng, key))
            case "label":
                labels = {"metadata": {"labels": {"colour": rng.choice((*COLOURS, None))}}}
                self._record(self.cluster.merge_patch(name, key[2], key[1], labels))
            case "delete":
                self._delete(key)
            case "recreate":
                self._delete(key)
                self._put(key, _manifest(rng, key))

    def clear(self, rng: random.Random) -> None:
        """Delete all objects of one type in one namespace."""
        name = rng.choice(TYPES[1:])
        namespace = _namespace(rng, name)
        for key in [key for key in self._alive if key[:2] == (name, namespace)]:
            self._delete(key)

    def _put(self, key: Key, manifest: Json) -> None:
        stored = self._record(self.cluster.apply(manifest))
        self._alive[key] = stored["metadata"]["uid"]

    def _delete(self, key: Key) -> None:
        name, namespace, object_name = key
        self.cluster.delete(name, object_name, namespace)
        self.gone.add(self._alive.pop(key))
        self.writes += 1

    def _record(self, manifest: Json) -> Json:
        stored = without_managed_fields(manifest)
        self._states[stored["metadata"]["uid"], stored["metadata"]["resourceVersion"]] = digest(stored)
        self.writes += 1
        return stored


def digest(manifest: Any) -> bytes:
    """The same for two manifests that say the same."""
    return hashlib.blake2b(json.dumps(manifest, sort_keys=True).encode(), digest_size=16).digest()


def _namespace(rng: random.Random, type_name: str) -> str:
    return "" if type_name == f"beacons.{GROUP}" else rng.choice(_NAMESPACES)


def _manifest(rng: random.Random, key: Key) -> Json:
    type_name, namespace, name = key
    labels = {"colour": rng.choice(COLOURS), "number": str(rng.randrange(10))}
    metadata = {"name": name, "labels": labels} | ({"namespace": namespace} if namespace else {})
    text = rng.choice(("plain", "naïve — 漢字 🎲", 'with "quotes" \\ and \n lines')) * rng.choice((1, 5, 60))
    if type_name == CONFIG_MAPS:
        data = {"text": text, "number": str(rng.getrandbits(40))}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    spec = {"text": text, "number": rng.getrandbits(40)}
    return {"apiVersion": f"{GROUP}/v1", "kind": _KINDS[type_name], "metadata": metadata, "spec": spec}


def _definition(name: str, kind: str) -> Json:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name},
        "spec": {
            "group": GROUP,
            "names": {"plural": name.partition(".")[0], "kind": kind},
            "scope": "Cluster" if kind == "Beacon" else "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
