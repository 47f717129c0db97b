"""Content negotiation: which of the media types and conversions there are an Accept header asks for.

Source: k8s.io/apiserver, pkg/endpoints/handlers/negotiation, and github.com/munnerz/goautoneg.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from presenter.apimachinery.errors import not_acceptable

JSON = "application/json"
YAML = "application/yaml"
META = "meta.k8s.io"
DISCOVERY = "apidiscovery.k8s.io"


class Conversion(NamedTuple):
    """The kind that an answer is to be converted to: the parameters `as`, `g` and `v` of a media type."""

    kind: str = ""
    group: str = ""
    version: str = ""

    @property
    def api_version(self) -> str:
        """Group and version in one."""
        return f"{self.group}/{self.version}"


UNCONVERTED = Conversion()
_IMPOSSIBLE = Conversion("nothing")
OF_RESOURCES = frozenset(
    [
        UNCONVERTED,
        *(
            Conversion(kind, META, version)
            for kind in ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
            for version in ("v1", "v1beta1")
        ),
    ]
)
OF_DISCOVERY = frozenset(Conversion("APIGroupDiscoveryList", DISCOVERY, version) for version in ("v2", "v2beta1"))


@dataclass(frozen=True)
class MediaType:
    """What was agreed on."""

    name: str
    conversion: Conversion = UNCONVERTED

    def __str__(self) -> str:
        if self.conversion == UNCONVERTED:
            return self.name
        kind, group, version = self.conversion
        return f"{self.name};g={group};v={version};as={kind}"


@dataclass
class _Clause:
    type: str
    subtype: str
    quality: float = 1.0
    parameters: dict[str, str] = field(default_factory=dict)

    def covers(self, media_type: str) -> bool:
        type, _, subtype = media_type.partition("/")
        return (self.type, self.subtype) in ((type, subtype), (type, "*"), ("*", "*"))

    def goes_before(self, other: _Clause) -> bool:
        return (
            self.quality > other.quality
            or (self.type != "*" and other.type == "*")
            or (self.subtype != "*" and other.subtype == "*")
        )


def find(accept: str, media_types: Sequence[str], conversions: Collection[Conversion]) -> MediaType | None:
    """The first media type and conversion in an Accept header that there is, or None."""
    if not accept:
        return MediaType(media_types[0]) if UNCONVERTED in conversions else None
    for clause in _clauses(accept):
        conversion = _conversion(clause.parameters)
        for media_type in media_types:
            if conversion in conversions and clause.covers(media_type):
                return MediaType(media_type, conversion)
    return None


def negotiate(
    accept: str, media_types: Sequence[str], conversions: Collection[Conversion] = OF_RESOURCES, *, many: bool = True
) -> MediaType:
    """What an Accept header asks for. `many`: of a list. Raises StatusError 406."""
    found = find(accept, media_types, conversions)
    if found is None:
        raise not_acceptable(f"only the following media types are accepted: {', '.join(media_types)}")
    kind = found.conversion.kind
    if many and kind == "PartialObjectMetadata":
        what = "is a list (*unstructured.UnstructuredList)"
    elif not many and kind == "PartialObjectMetadataList":
        what = "is not a list (*unstructured.Unstructured)"
    else:
        return found
    raise not_acceptable(f"you requested {kind}, but the requested object {what}")


def _conversion(parameters: Mapping[str, str]) -> Conversion:
    if parameters.get("stream", "watch") not in ("", "watch") or parameters.get("sv", "v1") not in ("", "v1"):
        return _IMPOSSIBLE
    return Conversion(parameters.get("as", ""), parameters.get("g", ""), parameters.get("v", ""))


def _clauses(accept: str) -> list[_Clause]:
    """The clauses of an Accept header, the most wanted first: by the API server's order, which is not RFC 9110's."""
    clauses: list[_Clause] = []
    for part in accept.split(","):
        media_range, *parameters = part.split(";")
        type, slash, subtype = (piece.strip(" ") for piece in media_range.partition("/"))
        if "/" in subtype or (not subtype and (slash or type != "*")):
            continue
        clause = _Clause(type, subtype or "*")
        for parameter in parameters:
            name, _, value = (piece.strip(" ") for piece in parameter.partition("="))
            if not value or "=" in value:
                continue
            if name == "q":
                clause.quality = _quality(value)
            else:
                clause.parameters[name] = value
        position = len(clauses)
        while position and clause.goes_before(clauses[position - 1]):
            position -= 1
        clauses.insert(position, clause)
    return clauses


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0
