"""What a real kube-apiserver answered: to chosen requests (`kube-api.json`) and to random ones (`generated.json`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

Json = dict[str, Any]

VECTORS: Json = json.loads((Path(__file__).parent / "kube-api.json").read_text())
GENERATED: Json = json.loads((Path(__file__).parent / "generated.json").read_text())
ANSWERS: list[Json] = VECTORS["answers"]
THINGS = "/apis/disc.example.com/v1/namespaces/sel/things"
SELECTABLE = ("spec.color", "spec.n", "spec.on")


def split(path: str) -> tuple[str, dict[str, str]]:
    """A vector's path, and the first of each parameter of its query."""
    path, _, query = path.partition("?")
    return path, dict(reversed(parse_qsl(query, keep_blank_values=True)))


def crd() -> Json:
    """The CustomResourceDefinition of the custom objects in the vectors, with the columns of their table."""
    group, columns = "disc.example.com", VECTORS["table"]["columns"]
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    types = {"color": "string", "n": "integer", "on": "boolean"}
    versions = [
        {
            "name": "v1",
            "served": True,
            "storage": True,
            "schema": {
                "openAPIV3Schema": {
                    "type": "object",
                    "properties": {
                        "spec": {**anything, "properties": {name: {"type": type} for name, type in types.items()}},
                        "status": anything,
                    },
                }
            },
            "selectableFields": [{"jsonPath": f".{path}"} for path in SELECTABLE],
            "additionalPrinterColumns": columns,
        }
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"things.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing"},
            "versions": versions,
        },
    }


def manifest(path: str, object: Json) -> Json:
    """An object of the vectors, as it is created."""
    custom = path == THINGS
    return {
        "apiVersion": "disc.example.com/v1" if custom else "v1",
        "kind": "Thing" if custom else "ConfigMap",
        "metadata": {key: object[key] for key in ("name", "namespace", "labels")},
        **({"spec": object["spec"]} if custom else {}),
    }
