"""The parameters of `/resources` and `/changes`, each declared once.

GET takes them as a query string, POST as a JSON body.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import ClassVar, Literal, TypeVar, get_args

from presenter.api.declarations import (
    api_group,
    body_fields,
    boolean,
    choice,
    label_set,
    parameter,
    query_string_fields,
    read,
    shown,
    text,
    timestamp,
    token,
    uuid,
    whole_number,
)
from presenter.errors import BadRequest

MAX_LIMIT = 5000
EVERY_NAMESPACE = "*"
_LONGEST_LABELS = 4096
_LONGEST_CURSOR = 4096
_LONGEST_QUERY_STRING = 16_384
_LONGEST_POSITION = 1024
_REMEMBERED_QUERY_STRINGS = 1024

POSITION = "X-Cache-Position"
"""The header of a list that says from where its changes are followed."""
MAX_SECONDS = 86_400

SortBy = Literal["created_at", "updated_at", "name", "resource", "global_uid", "composition_id"]
SortOrder = Literal["asc", "desc"]
_Parameters = TypeVar("_Parameters", bound="ObjectParameters")

_COMPOSITION = "3f0c1d8e-7a53-4d6f-9b2e-5c1a7e9d4b60"
_MOMENT = "2026-03-01T10:00:00Z"
_RESOURCE = text("the lower-case plural of a resource type", pattern="[^A-Z]*")


@dataclass(frozen=True, kw_only=True)
class DetailParameters:
    """What may be asked of one object. `group` and `resource` matter where it is served as several types."""

    group: str | None = parameter(
        api_group(),
        "API group of the item, where a cluster serves one object in several, as it does events. Without it: the "
        "first that the caller may see, in the order of groups and resource types.",
        example="events.k8s.io",
        default=None,
    )
    resource: str | None = parameter(
        _RESOURCE, "Resource type of the item; see `group`.", example="events", default=None
    )
    raw: bool = parameter(boolean(), "Include the whole object.", example=False, default=True)
    status_raw: bool = parameter(boolean(), "Include the object's `status`.", example=False, default=True)


@dataclass(frozen=True, kw_only=True)
class ObjectParameters:
    """Which objects are asked for, and how they are given; all filters must hold."""

    group: str = parameter(
        api_group(), "API group. `core`, or empty, is the core group.", example="widgets.templates.krateo.io"
    )
    version: str | None = parameter(
        text(),
        "API version the type is served in. One that is not cached is given where it differs by its name alone.",
        example="v1beta1",
        default=None,
    )
    resource: str | None = parameter(
        _RESOURCE,
        "Resource type: its plural. Without it: every cached type of the group.",
        example="panels",
        default=None,
    )
    namespace: str = parameter(
        text(f"a namespace, or {EVERY_NAMESPACE}"),
        f"Namespace; `{EVERY_NAMESPACE}`: all that the caller may see. Does not concern cluster-scoped types.",
        example=EVERY_NAMESPACE,
        default="default",
    )
    cluster: str | None = parameter(text(), "Name of the cluster, exactly.", example="prod-eu", default=None)
    composition_id: str | None = parameter(
        uuid(_COMPOSITION), "Composition the object belongs to.", example=_COMPOSITION, default=None
    )
    name: str | None = parameter(
        text(), "Name, exactly. Not together with `name_contains`.", example="fireworks-panel", default=None
    )
    name_contains: str | None = parameter(
        text(),
        "Part of the name: A to Z in either case, other characters as they are. Not together with `name`.",
        example="fireworks",
        default=None,
    )
    labels: Mapping[str, str] | None = parameter(
        label_set(longest=_LONGEST_LABELS),
        "Labels the object must carry, all of them; `null`: any.",
        example={"krateo.io/portal-page": "compositions"},
        default=None,
    )
    raw: bool = parameter(boolean(), "Include the whole object.", example=True, default=False)
    status_raw: bool = parameter(boolean(), "Include the object's `status`.", example=True, default=False)

    @property
    def one_namespace(self) -> str | None:
        """The namespace that is asked for, or None for all."""
        return None if self.namespace == EVERY_NAMESPACE else self.namespace


@dataclass(frozen=True, kw_only=True)
class ListParameters(ObjectParameters):
    """What may be asked of the list. `both_ways`: a cursor may also lead back."""

    both_ways: ClassVar = False

    since: datetime | None = parameter(
        timestamp(_MOMENT),
        "Only what changed at or after this moment (`updated_at`).",
        example=_MOMENT,
        default=None,
    )
    sort_by: SortBy = parameter(
        choice(*get_args(SortBy)),
        "Order: `resource` is by namespace, then name; with `composition_id` objects without one come last.",
        example="name",
        default="created_at",
    )
    sort_order: SortOrder | None = parameter(
        choice(*get_args(SortOrder)),
        "Direction. Without it: desc for times, asc for the rest.",
        example="asc",
        default=None,
    )
    limit: int = parameter(
        whole_number(1, MAX_LIMIT, null=MAX_LIMIT),
        f"Size of the page; `null`: {MAX_LIMIT}.",
        example=50,
        default=100,
    )
    cursor: str | None = parameter(
        token("the cursor of a previous page as it came", longest=_LONGEST_CURSOR),
        "The `cursor` of the previous page; absent, empty or `null`: the first page.",
        example="pW7mX0mR2mJx6o0Y1m0Vw5UBAMPEDCvA",
        default=None,
    )

    @property
    def descending(self) -> bool:
        """The direction that is meant, where none is said, too."""
        if self.sort_order is None:
            return self.sort_by in ("created_at", "updated_at")
        return self.sort_order == "desc"


@dataclass(frozen=True, kw_only=True)
class ChangesParameters(ObjectParameters):
    """What may be asked of the changes."""

    since_revision: str | None = parameter(
        token("the `id` of an event, the position of a list, or the revision of a cluster", longest=_LONGEST_POSITION),
        f"Position to go on from: the `id` of an event, `{POSITION}` of a list, or a revision of the only cluster. The "
        "header `Last-Event-ID` goes before it. Without either: what changes from now on.",
        example="1048611-5f2c81d4a1b2c3d4",
        default=None,
    )
    limit_seconds: int | None = parameter(
        whole_number(1, MAX_SECONDS),
        "After so long the stream ends. Without it: when the token expires.",
        example=60,
        default=None,
    )


@lru_cache(_REMEMBERED_QUERY_STRINGS)
def parse_list_query(query_string: bytes, *, lenient: bool = False) -> ListParameters:
    """The parameters in a query string. A pure function of its bytes, so its answers are remembered.

    `lenient` (UNKNOWN_PARAMETERS=ignore): unknown ones are ignored, and of repeated ones all but the first.
    Raises BadRequest naming the parameter, what came and what is allowed.
    """
    fields = fields_of(query_string, lenient=lenient)
    return that_agree(read(ListParameters, fields, in_query_string=True, lenient=lenient))


def parse_list_body(body: bytes, *, lenient: bool = False) -> ListParameters:
    """The parameters in a JSON body. Raises BadRequest like `parse_list_query`."""
    fields = body_fields(body, ListParameters, lenient=lenient)
    return that_agree(read(ListParameters, fields, in_query_string=False, lenient=lenient))


def parse_detail_query(query_string: bytes, *, lenient: bool = False) -> DetailParameters:
    """The parameters of a detail. Raises BadRequest like `parse_list_query`."""
    fields = query_string_fields(query_string, lenient=lenient)
    return read(DetailParameters, fields, in_query_string=True, lenient=lenient)


@lru_cache(_REMEMBERED_QUERY_STRINGS)
def parse_changes_query(query_string: bytes) -> ChangesParameters:
    """The parameters of a stream of changes. Raises BadRequest like `parse_list_query`."""
    fields = fields_of(query_string)
    if "since" in fields:
        raise BadRequest(
            f"since is {shown(fields['since'])}: changes are followed from a position and not from a time: "
            "allowed is since_revision"
        )
    return that_agree(read(ChangesParameters, fields, in_query_string=True))


def fields_of(query_string: bytes, *, lenient: bool = False) -> dict[str, str]:
    """What a query string has, by name, unless it is too long (BadRequest)."""
    if len(query_string) > _LONGEST_QUERY_STRING:
        raise BadRequest(f"the query string has {len(query_string)} bytes: allowed are {_LONGEST_QUERY_STRING}")
    return query_string_fields(query_string, lenient=lenient)


def that_agree(parameters: _Parameters) -> _Parameters:
    """The parameters, unless two of them exclude each other (BadRequest)."""
    if parameters.name is not None and parameters.name_contains is not None:
        raise BadRequest(
            f"name is {shown(parameters.name)} and name_contains is {shown(parameters.name_contains)}: "
            "allowed is one of the two"
        )
    return parameters
