"""`metav1.ListOptions`: what the query string of a list or a watch may say, and what goes together.

Source: k8s.io/apimachinery, pkg/apis/meta/internalversion (defaults, validation) and pkg/runtime/conversion.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from presenter.apimachinery import fields, golang, labels, validation
from presenter.apimachinery.errors import bad_request, invalid
from presenter.apimachinery.validation import FieldError

EXACT, NOT_OLDER_THAN = "Exact", "NotOlderThan"

_MATCH = "resourceVersionMatch"
_NO_CONTINUE = validation.forbidden(_MATCH, "resourceVersionMatch is forbidden when continue is provided")


@dataclass(frozen=True)
class ListOptions:
    """What is asked for. `resource_version` is as it came; `limit` 0 means all, `continue_` "" the first page.

    `send_initial_events` None: nothing was said, and nothing follows from what was.
    """

    label_selector: labels.Selector = labels.EVERYTHING
    field_selector: fields.Selector = fields.EVERYTHING
    watch: bool = False
    allow_watch_bookmarks: bool = False
    resource_version: str = ""
    resource_version_match: str = ""
    timeout_seconds: int | None = None
    limit: int = 0
    continue_: str = ""
    send_initial_events: bool | None = None

    @property
    def from_now(self) -> bool:
        """Whether the version asked for is `0`, or none."""
        return self.resource_version in ("", "0")

    @property
    def exact(self) -> bool:
        """Whether a list is to show just the version asked for, if there is one, and none that is newer."""
        return self.resource_version_match == EXACT or bool(self.limit and not self.resource_version_match)

    def version(self) -> int:
        """The version asked for, or 0.

        Raises StatusError 400 for one that is no number, or that comes with a continue token, which has its own.
        """
        if self.continue_ and not self.from_now:
            raise bad_request("specifying resource version is not allowed when using continue")
        return parse_resource_version(self.resource_version)


def parse(query: Mapping[str, str], *, streaming_lists: bool = True) -> ListOptions:
    """The options in a query string, of each parameter the first; others are ignored.

    `streaming_lists`: the server has them (the feature WatchList). Raises StatusError 400 or 422.
    """
    watch = _boolean(query, "watch") or False
    resource_version, match = query.get("resourceVersion", ""), query.get(_MATCH, "")
    timeout_seconds, limit = _integer(query, "timeoutSeconds"), _integer(query, "limit")
    initial = _boolean(query, "sendInitialEvents")
    label_selector, field_selector = (
        labels.parse(query.get("labelSelector", "")),
        fields.parse(query.get("fieldSelector", "")),
    )
    if streaming_lists and watch and initial is None and not match and resource_version in ("", "0"):
        initial, match = True, NOT_OLDER_THAN
    options = ListOptions(
        label_selector,
        field_selector,
        watch,
        _boolean(query, "allowWatchBookmarks") or False,
        resource_version,
        match,
        timeout_seconds,
        # A list from the watch cache, which a version of 0 asks for, is whole.
        0 if resource_version == "0" else max(limit or 0, 0),
        query.get("continue", ""),
        initial,
    )
    if problems := _watch_problems(options, streaming_lists) if watch else _list_problems(options):
        raise invalid("meta.k8s.io", "ListOptions", "", *problems)
    return options


def parse_resource_version(text: str) -> int:
    """A version that a client names; 0 for none. Raises StatusError 400."""
    try:
        return golang.parse_uint(text or "0")
    except ValueError as problem:
        wrong = validation.invalid("resourceVersion", text, str(problem))
        raise bad_request(f"invalid resource version: {wrong}") from problem


def _list_problems(options: ListOptions) -> list[FieldError]:
    problems, match = [], options.resource_version_match
    if match:
        if not options.resource_version:
            why = "resourceVersionMatch is forbidden unless resourceVersion is provided"
            problems.append(validation.forbidden(_MATCH, why))
        if options.continue_:
            problems.append(_NO_CONTINUE)
        if match not in (EXACT, NOT_OLDER_THAN):
            problems.append(validation.not_supported(_MATCH, match, (EXACT, NOT_OLDER_THAN, "")))
        if match == EXACT and options.resource_version == "0":
            why = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
            problems.append(validation.forbidden(_MATCH, why))
    if options.send_initial_events is not None:
        problems.append(validation.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    return problems


def _watch_problems(options: ListOptions, streaming_lists: bool) -> list[FieldError]:
    problems, match = [], options.resource_version_match
    asked = options.send_initial_events is not None
    if asked and match != NOT_OLDER_THAN:
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        problems.append(validation.forbidden(_MATCH, why))
    if asked and not streaming_lists:
        why = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
        problems.append(validation.forbidden("sendInitialEvents", why))
    if match:
        if not asked:
            why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            problems.append(validation.forbidden(_MATCH, why))
        if match != NOT_OLDER_THAN:
            problems.append(validation.not_supported(_MATCH, match, (NOT_OLDER_THAN,)))
        if options.continue_:
            problems.append(_NO_CONTINUE)
    return problems


def _integer(query: Mapping[str, str], name: str) -> int | None:
    if name not in query:
        return None
    try:
        return golang.parse_int(query[name])
    except ValueError as problem:
        raise bad_request(str(problem)) from problem


def _boolean(query: Mapping[str, str], name: str) -> bool | None:
    return golang.parse_bool(query[name]) if name in query else None
