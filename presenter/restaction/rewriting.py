"""The new RESTAction for an old one: the presenter filters, sorts and pages; jq takes out what it is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from urllib.parse import quote

from presenter.api.parameters import MAX_LIMIT
from presenter.restaction.idioms import NAME, NAMESPACE
from presenter.restaction.jq_parser import parse
from presenter.restaction.jq_printer import printed, quoted
from presenter.restaction.list_path import ALL
from presenter.restaction.manifest import Call, Reference, Refused, RestAction
from presenter.restaction.syntax import Constant, Identity, Index, Node, free_variables
from presenter.restaction.understanding import Old, OldList
from presenter.restaction.values import Items, Known, Number, Order, Other, Record, Value

_LONGEST_LABELS = 4096
_KRATEO, _BUILT_IN = ".krateo.io", ".k8s.io"
_OPERAND = 2  # as printed() counts: binds tighter than a pipe and a comma


def rewritten(old: Old, endpoint: Reference) -> RestAction:
    """The action to put in the place of the old one. Raises Refused."""
    calls = [_call(call, old, endpoint) for call in old.action.calls if call.name not in old.dropped]
    filter = _filter(old)
    if free := free_variables(parse(filter)):
        raise Refused(f"${min(free)} would be lost", ("spec", "filter"))
    return replace(old.action, calls=tuple(calls), filter=filter)


def _call(call: Call, old: Old, endpoint: Reference) -> Call:
    if call.name not in old.lists:
        return call
    waits = call.depends_on if call.iterator is None and call.depends_on not in old.dropped else None
    return replace(
        call,
        path=_path(old.lists[call.name], old),
        endpoint_ref=endpoint,
        export_jwt=True,
        depends_on=waits,
        iterator=None,
        filter=None,
    )


# -- the path ----------------------------------------------------------------------------------------------------------


def _path(old_list: OldList, old: Old) -> str:
    url = quoted(_url(old_list, old))
    everything = f'"&limit={old_list.limit or MAX_LIMIT}"'
    if not old_list.paged:
        return f"${{\n  {url}\n    + {everything}\n}}\n"
    return f"""${{
  {url} as $list
  | ([.slice.perPage | tonumber?, {MAX_LIMIT}] | min | tostring) as $limit
  | if (.slice.cursor // "") != "" then
      $list + "&limit=" + $limit + "&cursor=" + .slice.cursor
    elif (.slice.perPage // "") != "" and .slice.perPage != "NULL" then
      $list + "&limit=" + $limit
    else
      $list + {everything}
    end
}}
"""


def _url(old_list: OldList, old: Old) -> str:
    listing, asked = old_list.listing, {each.keys: each.value for each in old_list.conditions}
    namespace = asked.pop(NAMESPACE, listing.namespace)
    if listing.namespace not in (ALL, namespace):
        raise _refused(old, old_list, f"the namespace cannot be {listing.namespace} and {namespace} at once")
    parameters = [
        f"group={listing.group}&resource={listing.resource}&version={listing.version}&namespace={namespace}",
        *([f"name={asked.pop(NAME)}"] if NAME in asked else []),
        "raw=true",
        *_sort(old_list.order),
    ]
    if asked:
        labels = _labels({keys[-1]: value for keys, value in asked.items()})
        if len(labels) > _LONGEST_LABELS:
            raise _refused(old, old_list, f"labels of {len(labels)} characters: the presenter takes {_LONGEST_LABELS}")
        parameters.append(f"labels={labels}")
    return f"/resources?{'&'.join(parameters)}"


def _sort(order: Order) -> Iterator[str]:
    """Newest first is what the presenter does by itself; of the other orders it ascends in each."""
    by = "resource" if order.by == "api" else order.by
    if (by, order.descending) != ("created_at", True):
        yield f"sort_by={by}"
        if order.descending or by == "created_at":
            yield f"sort_order={'desc' if order.descending else 'asc'}"


def _labels(labels: Mapping[str, str]) -> str:
    """A JSON object whose structure stays readable in the URL, and whose texts are escaped where a URL must be."""
    return "{" + ",".join(f"{_label(key)}:{_label(value)}" for key, value in labels.items()) + "}"


def _label(text: str) -> str:
    inside = quoted(text)[1:-1]
    return '"' + "".join(each if _is_template(each) else quote(each, safe="/:,;=@!$'()*-._~") for each in inside) + '"'


def _is_template(character: str) -> bool:
    """Whether this stands for a template action, which is for Helm to fill in."""
    return "\ue000" <= character <= "\uf8ff" or character >= "\U000f0000"


# -- the filter --------------------------------------------------------------------------------------------------------


def _filter(old: Old) -> str:
    match old.result:
        case Record(entries):
            lines = [f"{_key(key)}: {_value(value, old)}" for key, value in entries]
            lines += [_slice(name) for name, each in old.lists.items() if each.paged]
            return "{\n" + ",\n".join(f"  {line}" for line in lines) + "\n}\n"
    return _value(old.result, old) + "\n"


def _slice(name: str) -> str:
    return f"slice: {{ cursor: {printed(_field(name, 'cursor'))}, perPage: .slice.perPage }}"


def _value(value: Value, old: Old) -> str:
    match value:
        case Record(entries):
            return "{ " + ", ".join(f"{_key(key)}: {_value(each, old)}" for key, each in entries) + " }"
        case Items(call, stages=stages, after=after):
            each = f"{printed(_field(call, 'items'))}[]{'?' if old.lists[call].tolerant else ''}"
            objects = " | ".join([each, ".raw", *(printed(stage, _OPERAND - 1) for stage in stages)])
            whole = " | ".join([f"[ {objects} ]", *(printed(node, _OPERAND - 1) for node in after)])
            return f"({whole})" if after else whole
        case Other(node):
            return printed(node, _OPERAND)
        case Number(known=int() as number):
            return str(number)
        case Known(known) if isinstance(known, str):
            return quoted(known)
        case Known(known):
            return {None: "null", True: "true", False: "false"}[known] if not isinstance(known, list) else "[]"
    raise AssertionError(value)  # nothing else is merged


def _key(key: str) -> str:
    return key if key.isascii() and key.isidentifier() else quoted(key)


def _field(name: str, key: str) -> Node:
    return Index(Index(Identity(), Constant(name)), Constant(key))


def _refused(old: Old, old_list: OldList, reason: str) -> Refused:
    return Refused(reason, ("spec", "api", old.action.calls.index(old_list.call), "path"))


# -- what differs -----------------------------------------------------------------------------------------------------


def consequences(old: Old) -> list[str]:
    """What is different after a migration, for those who may care: a sentence for each."""
    return [*old.notes, *(sentence for each in old.lists.values() for sentence in _of_list(each))]


def _of_list(old: OldList) -> Iterator[str]:
    name, listing = old.call.name, old.listing
    resource = listing.resource if listing.group == "core" else f"{listing.resource}.{listing.group}"
    if not f".{listing.group}".endswith(_KRATEO):
        yield f"{name}: the presenter must watch {resource}: add it to WATCH"
    if "." not in listing.group or listing.group.endswith(_BUILT_IN):
        yield f"{name}: objects have kind and apiVersion, which the API server leaves out in lists of its own types"
    if not old.paged and old.limit is None:
        yield f"{name}: at most {MAX_LIMIT} objects are given, where there was no limit"
    everywhere = listing.namespace == ALL and all(each.keys != NAMESPACE for each in old.conditions)
    yield from _of_order(name, old, everywhere)
    if old.iterated and not old.call.continue_on_error:
        yield (
            f"{name}: it ended at the first namespace whose {listing.resource} the user may not list, since there is "
            "no continueOnError; now the objects of all the others are given"
        )
    elif everywhere and not old.iterated:
        yield (
            f"{name}: who may not list {listing.resource} in all namespaces was refused; now they are given the "
            "objects of those where they may"
        )


def _of_order(name: str, old: OldList, everywhere: bool) -> Iterator[str]:
    if old.order.by == "created_at":
        yield f"{name}: objects with equal creationTimestamps have no defined order now; they had the API server's"
    elif old.order.by == "name" and everywhere:
        yield f"{name}: objects with equal names in several namespaces have no defined order now"
    elif old.order.by == "api" and everywhere and not old.iterated:
        yield (
            f"{name}: the order is by namespace, then name; the API server has the namespace `a-b` before `a`, and the "
            "presenter after it"
        )
