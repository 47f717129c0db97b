"""Manifests from files into a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from presenter.apimachinery.errors import StatusError
from presenter.sandbox.cluster import Cluster
from presenter.sandbox.negotiation import TextLoader

_SUFFIXES = (".yaml", ".yml", ".json")
_FIRST = ("CustomResourceDefinition", "Namespace")


class ManifestError(Exception):
    """A manifest that cannot be loaded; the message names the file and the document in it."""


def load_directory(cluster: Cluster, path: Path) -> int:
    """Apply every manifest below a directory, or in one file; returns how many. Raises ManifestError.

    CRDs and namespaces go first, whatever file they are in, and namespaces that none of them makes are
    created.
    """
    documents = [document for file in _files(path) for document in _documents(file)]
    documents.sort(key=lambda document: _order(document[1]))
    for where, manifest in documents:
        try:
            _ensure_namespace(cluster, manifest)
            cluster.apply(manifest)
        except StatusError as problem:
            raise ManifestError(f"{where}: {problem.message}") from problem
    return len(documents)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ManifestError(f"{path}: no such file or directory")
    return sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES and file.is_file())


def _documents(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        # JSON is YAML too.
        documents = list(yaml.load_all(file.read_text(), Loader=TextLoader))
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise ManifestError(f"{file}: not YAML or JSON: {problem}") from problem
    for number, document in enumerate(documents, start=1):
        where = f"{file}, document {number}"
        if document is None:
            continue
        if not isinstance(document, dict) or not document.get("kind") or not document.get("apiVersion"):
            raise ManifestError(f"{where}: not a Kubernetes object: apiVersion and kind are required")
        if isinstance(document.get("items"), list) and document["kind"].endswith("List"):
            yield from ((f"{where}, item {index}", item) for index, item in enumerate(document["items"], start=1))
        else:
            yield where, document


def _order(manifest: dict[str, Any]) -> int:
    kind = manifest.get("kind", "")
    return _FIRST.index(kind) if kind in _FIRST else len(_FIRST)


def _ensure_namespace(cluster: Cluster, manifest: dict[str, Any]) -> None:
    namespace = (manifest.get("metadata") or {}).get("namespace")
    if not namespace or not cluster.registry.of(manifest).namespaced:
        return
    if namespace not in {existing["metadata"]["name"] for existing in cluster.objects("namespaces")}:
        cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
