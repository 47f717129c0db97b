"""What single expressions over one object mean: the way to a field, a constant, a condition, a key to sort by."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from presenter.restaction import syntax
from presenter.restaction.syntax import Array, Call, Comma, Constant, Identity, Index, Node, Operation, Pipe
from presenter.restaction.values import Equal, Order

NAME = ("metadata", "name")
NAMESPACE = ("metadata", "namespace")
_CREATED = ("metadata", "creationTimestamp")
_LABELS = ("metadata", "labels")
_WORDS = {"null": None, "true": True, "false": False}
_ABSENT = object()
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_ONE_FOR_EACH_ARGUMENT = frozenset(
    {"length", "type", "tostring", "tonumber", "tojson", "fromjson", "keys", "not", "ascii_downcase", "ascii_upcase"}
    | {"to_entries", "from_entries", "sort", "reverse", "unique", "join", "split", "test", "startswith", "endswith"}
    | {"ltrimstr", "rtrimstr", "has", "null", "true", "false", "todate", "fromdate", "fromdateiso8601"}
)
_ONE = frozenset({"map", "with_entries", "sort_by", "group_by", "unique_by", "any", "all", "add"})


@dataclass(frozen=True, slots=True)
class Path:
    """The way to a field; `default` is what stands for it when it is absent."""

    keys: tuple[str, ...]
    default: Any = _ABSENT


def path_of(node: Node) -> Path | None:
    """`.a.b`, `.a | .["b"]?`, `(.a // {}).b // "x"`."""
    match node:
        case Identity():
            return Path(())
        case syntax.Optional(body):
            return path_of(body)
        case Index(target, Constant(str() as key)):
            before = path_of(target)
            usual = before is not None and before.default in (_ABSENT, None, {})
            return Path((*before.keys, key)) if before and usual else None
        case Pipe(left, right):
            first, then = path_of(left), path_of(right)
            usual = first is not None and first.default in (_ABSENT, None, {})
            return Path((*first.keys, *then.keys), then.default) if first and then and usual else None
        case Operation("//", left, right):
            path, default = path_of(left), constant_of(right)
            return Path(path.keys, default) if path and path.default is _ABSENT and default is not _ABSENT else None
    return None


def constant_of(node: Node) -> Any:
    """The JSON value of a constant, `_ABSENT` for whatever is none."""
    match node:
        case Constant(value):
            return value
        case Call(name, ()) if name in _WORDS:
            return _WORDS[name]
        case syntax.Object(()):
            return {}
        case Array(None):
            return []
    return _ABSENT


def conjuncts(condition: Node) -> Iterator[Node]:
    """What must hold, all of it."""
    match condition:
        case Operation("and", left, right):
            yield from conjuncts(left)
            yield from conjuncts(right)
        case _:
            yield condition


def equality(condition: Node) -> Equal | None:
    """A condition that the presenter can check: a label, the name or the namespace equals a constant.

    Not one that also holds for objects without that label, since its default is that constant.
    """
    match condition:
        case Operation("==", Constant(str() as value), side) | Operation("==", side, Constant(str() as value)):
            path = path_of(side)
            if path is None or not value or path.default == value:
                return None
            if path.keys[:-1] == _LABELS and path.keys[-1]:
                return Equal(path.keys, value)
            if path.keys in (NAME, NAMESPACE) and is_name(value):
                return Equal(path.keys, value)
    return None


def is_name(text: str) -> bool:
    """Whether this could name something in Kubernetes."""
    return _NAME.fullmatch(text) is not None


def order_by(keys: tuple[Node, ...]) -> Order | None:
    """The order of the presenter that `sort_by` with these arguments makes of objects in the API server's order."""
    match keys:
        case (Comma(left, right),) | (Array(Comma(left, right)),):
            fields = [_field(left), _field(right)]
            return Order("resource") if fields == [NAMESPACE, NAME] else None
        case (Array(Node() as key),):
            return order_by((key,))
        case (syntax.Negation(Pipe(key, Call("fromdate" | "fromdateiso8601", ()))),):
            return Order("created_at", descending=True) if _field(key) == _CREATED else None
        case (Pipe(key, Call("fromdate" | "fromdateiso8601", ())),) | (key,):
            orders: dict[tuple[str, ...], Order] = {_CREATED: Order("created_at"), NAME: Order("name")}
            return orders.get(_field(key))
    return None


def _field(node: Node) -> tuple[str, ...]:
    """A field that every object has, so that no default is ever taken."""
    path = path_of(node)
    return path.keys if path else ()


def gives_one(node: Node) -> bool:
    """Whether an expression surely has one output for each input, unless it fails."""
    match node:
        case Constant() | Identity() | syntax.Format() | Array():
            return True
        case Call(name, arguments):
            return name in _ONE or (name in _ONE_FOR_EACH_ARGUMENT and all(map(gives_one, arguments)))
        case (
            syntax.Text()
            | syntax.Object()
            | Index()
            | Operation()
            | Pipe()
            | syntax.Slice()
            | syntax.Negation()
            | syntax.Condition()
        ):
            return all(map(gives_one, node.children()))
    return False


def keys_read(node: Node) -> set[str] | None:
    """The keys of its input that an expression reads; None: perhaps any."""
    match node:
        case Index(Identity(), Constant(str() as key)):
            return {key}
        case Identity() | syntax.Format() | syntax.Definition():
            return None
        case Pipe(left, _):
            return keys_read(left)
        case syntax.Binding(source, _, body):
            return _all_read(source, body)
        case syntax.Fold("reduce", source, _, initial):
            return _all_read(source, initial)
        case Call(name, arguments):
            harmless = name in _WORDS or name == "empty" or name in ("range", "limit", "first", "last")
            return _all_read(*arguments) if harmless and (arguments or name not in ("first", "last")) else None
    return _all_read(*node.children())


def _all_read(*nodes: Node) -> set[str] | None:
    keys: set[str] = set()
    for node in nodes:
        read = keys_read(node)
        if read is None:
            return None
        keys |= read
    return keys
