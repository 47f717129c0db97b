"""The resource types that the sandbox serves: the built-in ones and those that CRDs add."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from presenter.apimachinery import errors
from presenter.apimachinery.discovery import version_priority
from presenter.apimachinery.tables import AGE, Column

_COLUMN = ("name", "type", "format", "description", "priority")


class PageNotFound(Exception):
    """404 as plain text: what kube-apiserver says of paths that none of its own types is at."""


@dataclass(frozen=True)
class Version:
    """One served version of a resource type."""

    name: str
    columns: tuple[Column, ...] = (AGE,)
    status: bool = False
    scale: bool = False
    schema: dict[str, Any] | None = None


@dataclass(frozen=True)
class Definition:
    """A resource type.

    `fields` are the selectable fields beyond metadata.name and metadata.namespace, as dotted paths.
    `name_rule` says which names its objects may bear: a `subdomain`, a DNS `label` or, as RBAC does, any path
    `segment`.
    """

    group: str
    plural: str
    singular: str
    kind: str
    namespaced: bool
    versions: tuple[Version, ...]
    list_kind: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    custom: bool = False
    name_rule: str = "subdomain"

    @cached_property
    def name(self) -> str:
        """`panels.widgets.templates.krateo.io`, or `pods` for the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @cached_property
    def preferred(self) -> Version:
        """The served version that comes first in discovery."""
        return self.versions[0]

    def version(self, name: str) -> Version | None:
        """The served version of that name."""
        return next((version for version in self.versions if version.name == name), None)

    def api_version(self, version: str) -> str:
        """`group/version`, or only the version for the core group."""
        return f"{self.group}/{version}" if self.group else version

    def not_found(self, name: str) -> errors.StatusError:
        """404 for an object of this type."""
        return errors.not_found(self.group, self.plural, name)

    def unknown_path(self) -> Exception:
        """404 for a path that would be one of this type, if it led anywhere."""
        return PageNotFound() if self.custom else errors.unknown_path()


def from_crd(crd: dict[str, Any]) -> Definition:
    """The resource type that a CustomResourceDefinition (apiextensions.k8s.io/v1) declares."""
    spec = crd["spec"]
    names = spec["names"]
    versions = [_crd_version(version) for version in spec["versions"] if version.get("served")]
    fields = (field["jsonPath"] for v in spec["versions"] for field in v.get("selectableFields", ()))
    return Definition(
        group=spec["group"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        kind=names["kind"],
        list_kind=names.get("listKind") or f"{names['kind']}List",
        namespaced=spec["scope"] == "Namespaced",
        versions=tuple(sorted(versions, key=lambda version: version_priority(version.name))),
        short_names=tuple(names.get("shortNames", ())),
        categories=tuple(names.get("categories", ())),
        fields=tuple(dict.fromkeys(path.lstrip(".") for path in fields)),
        custom=True,
    )


def _crd_version(version: dict[str, Any]) -> Version:
    subresources = version.get("subresources") or {}
    columns = [
        Column(json_path=column["jsonPath"], **{key: column[key] for key in _COLUMN if key in column})
        for column in version.get("additionalPrinterColumns", ())
    ]
    return Version(
        name=version["name"],
        columns=tuple(columns) or (AGE,),
        status="status" in subresources,
        schema=(version.get("schema") or {}).get("openAPIV3Schema"),
    )


class Registry:
    """The types that are served now."""

    def __init__(self, definitions: Iterable[Definition]) -> None:
        self._by_name: dict[str, Definition] = {}
        self._by_path: dict[tuple[str, str, str], Definition] = {}
        self._by_kind: dict[tuple[str, str], Definition] = {}
        for definition in definitions:
            self.add(definition)

    def __iter__(self) -> Iterator[Definition]:
        return iter(self._by_name.values())

    def add(self, definition: Definition) -> None:
        """Serve a type, in place of one of the same name."""
        self.remove(definition.name)
        self._by_name[definition.name] = definition
        for version in definition.versions:
            self._by_path[definition.group, version.name, definition.plural] = definition
            self._by_kind[definition.api_version(version.name), definition.kind] = definition

    def remove(self, name: str) -> None:
        """Serve a type no longer; one that is not served is no error."""
        definition = self._by_name.pop(name, None)
        if definition is None:
            return
        for version in definition.versions:
            del self._by_path[definition.group, version.name, definition.plural]
            del self._by_kind[definition.api_version(version.name), definition.kind]

    def named(self, name: str) -> Definition:
        """The type called `plural.group` or, in the core group, `plural`. Raises StatusError 404."""
        if definition := self._by_name.get(name):
            return definition
        raise errors.unknown_path()

    def at(self, group: str, version: str, plural: str) -> Definition:
        """The type served at a path of the API. Raises StatusError 404, or PageNotFound."""
        if definition := self._by_path.get((group, version, plural)):
            return definition
        built_in = any(definition.group == group and not definition.custom for definition in self)
        raise errors.unknown_path() if built_in else PageNotFound

    def of(self, manifest: dict[str, Any]) -> Definition:
        """The type that a manifest is of. Raises StatusError 400, in the words of kubectl."""
        api_version, kind = manifest.get("apiVersion", ""), manifest.get("kind", "")
        if definition := self._by_kind.get((api_version, kind)):
            return definition
        raise errors.bad_request(f'no matches for kind "{kind}" in version "{api_version}"')

    def groups(self) -> dict[str, dict[str, list[Definition]]]:
        """group → version → the types in it; versions in the order of discovery."""
        found: dict[str, dict[str, list[Definition]]] = {}
        for definition in self:
            for version in definition.versions:
                found.setdefault(definition.group, {}).setdefault(version.name, []).append(definition)
        return {
            group: dict(sorted(v.items(), key=lambda item: version_priority(item[0]))) for group, v in found.items()
        }
