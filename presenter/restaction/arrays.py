"""What becomes of an array of objects, as far as a presenter could do the same."""

from __future__ import annotations

from dataclasses import replace

from presenter.restaction import syntax, values
from presenter.restaction.idioms import conjuncts, equality, gives_one, order_by, path_of
from presenter.restaction.syntax import Call, Identity, Node, Operation
from presenter.restaction.values import (
    EMPTY,
    NULL,
    Arrays,
    Counter,
    Each,
    Fails,
    Items,
    Known,
    List,
    Lists,
    Nothing,
    Number,
    Order,
    Unrecognised,
    Value,
    Wrapped,
    constant,
)


def each(node: Node, stream: Each, items: Items) -> Value:
    """An expression on every object."""
    if stream.padded:
        match node:
            case Call("select", (Operation("!=", Identity(), Call("null", ())) | Identity(),)) | Call("values", ()):
                return Each(items)
        raise Unrecognised(node, "where objects end, nulls follow")
    if node == Call("empty"):
        return Nothing()
    _check_closed(node)
    if isinstance(node, Call) and node.name == "select" and _are_whole(items):
        for condition in conjuncts(node.arguments[0]):
            items = _where(items, condition)
        return Each(items)
    return Each(replace(items, stages=(*items.stages, node)))


def attempted(node: Node, value: Value) -> Value:
    """The value of `node?`, where nothing that could fail may have happened to single objects."""
    match value:
        case Items() | Each(Items()):
            items = value if isinstance(value, Items) else value.of
            assert isinstance(items, Items)
            for stage in items.stages:
                path = path_of(stage)
                if path is None or path.keys[:1] not in [("metadata",), ("name",), ("namespace",)]:
                    raise Unrecognised(node, "an error with one object would end this early")
    return value


def after(node: Node, items: Items) -> Items:
    """An expression on the array as a whole, to be done by jq as before."""
    _check_closed(node)
    return replace(items, after=(*items.after, node))


def called(node: Node, name: str, arguments: tuple[Node, ...], value: Value) -> Value:
    """A function on an array."""
    if value == EMPTY and name in ("sort_by", "reverse", "unique_by", "group_by", "sort", "unique"):
        return EMPTY
    if value == NULL and name in ("sort_by", "unique_by", "group_by", "sort", "unique"):
        raise Fails
    if not isinstance(value, Items):
        raise Unrecognised(node, f"what `{name}` gives here cannot be told")
    if not value.after and _are_whole(value):
        if name == "reverse" and not arguments:
            return replace(value, order=Order(value.order.by, not value.order.descending))
        order = order_by(arguments) if name == "sort_by" else None
        if order is not None:
            return replace(value, order=order)
    return after(node, value)


def length(node: Node, value: Value) -> Number:
    """How many there are in an array."""
    match value:
        case Known(None) | Known([]):
            return constant(0)
        case Items(after=()) if all(_is_select(stage) or gives_one(stage) for stage in value.stages):
            return values.symbol(values.Length(value))
    raise Unrecognised(node, "the length of this cannot be told")


def flattened(node: Node, name: str, value: Value) -> Value:
    """`flatten` or `add` of an array of arrays."""
    match value:
        case Arrays(call):
            return Items(call)
        case Wrapped(Items() as items):
            return items
        case Wrapped(Lists() as lists):
            return lists
        case Wrapped(Arrays(call) as arrays):
            return arrays if name == "add" else Items(call)
        case Wrapped(List() | Known(None)) | Known([]) | Lists() | Items(after=(), stages=()) if name == "flatten":
            return value
        case Known([]):
            return NULL
        case Known(None):
            raise Fails
    raise Unrecognised(node, f"what `{name}` gives here cannot be told")


def picked(node: Node, items: Items, counter: Counter) -> Value:
    """Objects by their numbers."""
    if counter.within not in (None, items):
        raise Unrecognised(node, "objects of one array by the numbers of another")
    ends = counter.within == items or counter.high.length == items
    return Each(cut(node, items, counter.low, counter.high), padded=not ends)


def cut(node: Node, items: Items, low: Number, high: Number | None) -> Items:
    """The objects from one number to before another."""
    if items.after:
        raise Unrecognised(items.after[0], "this comes before the page is cut out, and the presenter cannot do it")
    for stage in items.stages:
        if _is_select(stage):
            raise Unrecognised(stage, "the presenter cannot check this condition, and pages would be short")
        if not gives_one(stage):
            raise Unrecognised(stage, "this may give several outputs or none for an object, before the page is cut out")
    if low.least is None:
        raise Unrecognised(node, "this may count from the end")
    if high is not None and high.length == items:
        high = None
    if items.window is not None:
        start, end = items.window
        if end is not None:
            raise Unrecognised(node, "a page of a page")
        low, high = start + low, None if high is None else start + high
    whole = low == constant(0) and high is None
    return replace(items, window=None if whole else (low, high))


def _are_whole(items: Items) -> bool:
    """Whether these are objects as they were listed, some of them perhaps left out."""
    return items.window is None and all(map(_is_select, items.stages))


def _is_select(node: Node) -> bool:
    return isinstance(node, Call) and node.name == "select"


def _where(items: Items, condition: Node) -> Items:
    equal = equality(condition)
    known = {each.keys: each.value for each in items.conditions}
    if equal is not None and known.get(equal.keys, equal.value) == equal.value:
        return items if equal in items.conditions else replace(items, conditions=(*items.conditions, equal))
    return replace(items, stages=(*items.stages, Call("select", (condition,), span=condition.span)))


def _check_closed(node: Node) -> None:
    free = syntax.free_variables(node)
    if free:
        raise Unrecognised(node, f"${min(free)} comes from outside of this expression")
