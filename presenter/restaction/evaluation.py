"""jq evaluated on symbols: what an expression makes of lists whose objects are not known.

Each step either has one meaning for whatever the API server may answer, or is refused, at its place and with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from operator import eq, ge, gt, le, lt, ne

from presenter.restaction import arrays, syntax, values
from presenter.restaction.idioms import keys_read
from presenter.restaction.syntax import (
    Array,
    Call,
    Comma,
    Constant,
    Identity,
    Index,
    Iterate,
    Node,
    Operation,
    Pipe,
    walk,
)
from presenter.restaction.values import (
    EMPTY,
    NULL,
    Arrays,
    Context,
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
    Other,
    Record,
    Unrecognised,
    Value,
    Wrapped,
    constant,
)

_FALSE = Known.of(False)
_SLICE: dict[str, Value] = {
    "page": values.PAGE,
    "perPage": values.PER_PAGE,
    "offset": values.OFFSET,
}
_COMPARISONS = {"==": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One case of what the context holds: `results` are the values of calls, by name, `slice` that of `.slice`."""

    results: Mapping[str, Value]
    slice: Value = NULL
    _names: Mapping[str, Value] = field(default_factory=dict)

    def of(self, node: Node, dot: Value) -> Value:
        """What an expression gives for this input. Raises Unrecognised and Fails."""
        match dot:
            case Context() if self._is_about_others(node):
                return Other(node)
            case Each() | Counter():
                return self._for_each(node, dot)
        return self._once(node, dot)

    def _once(self, node: Node, dot: Value) -> Value:  # noqa: C901 - one case for each kind of node
        match node:
            case Identity():
                return dot
            case Constant(constant_value):
                return _constant(node, constant_value)
            case syntax.Variable(name):
                return self._variable(node, name)
            case Pipe(left, right):
                return self._piped(self.of(left, dot), right)
            case syntax.Binding(source, syntax.Variable(name), body):
                return self._bound(name, self.of(source, dot), body, dot)
            case syntax.Optional(body, whole):
                if not whole and isinstance(body, Index | Iterate | syntax.Slice):
                    self.of(body.target, dot)  # which is not forgiven when it fails
                return self._attempt(body, dot)
            case syntax.Condition(branches, otherwise):
                return self._condition(branches, otherwise, dot)
            case Array(body):
                return EMPTY if body is None else _array(body, self.of(body, dot))
            case syntax.Object(entries):
                return self._record(entries, dot)
            case Comma(left, right):
                return _both(node, self.of(left, dot), self.of(right, dot))
            case syntax.Negation(body):
                return _operation(node, "-", constant(0), self.of(body, dot))
            case Operation("//", left, right):
                return self._alternative(node, left, right, dot)
            case Operation("and" | "or" as operator, left, right):
                decided = _is_true(left, self.of(left, dot)) == (operator == "or")
                return Known.of(operator == "or" if decided else _is_true(right, self.of(right, dot)))
            case Operation(operator, left, right):
                value = self.of(right, dot)  # the first that jq looks at
                return value if isinstance(value, Nothing) else _operation(node, operator, self.of(left, dot), value)
            case Index() | Iterate():
                value = self.of(node.target, dot)
                if isinstance(value, Each):
                    return self._for_each(replace(node, target=Identity()), value)
                return _iterated(node, value) if isinstance(node, Iterate) else self._indexed(node, value, dot)
            case syntax.Slice(target, low, high):
                return _sliced(node, self.of(target, dot), *(self.of(at, dot) if at else NULL for at in (low, high)))
            case syntax.Definition(name, (), body, rest) if _is_simple(name, body, rest):
                return self.of(syntax.replaced(rest, Call(name), body), dot)
            case Call(name, arguments):
                return self._called(node, name, arguments, dot)
        raise Unrecognised(node, "this is more than can be followed")

    # -- many outputs --------------------------------------------------------------------------------------------------

    def _for_each(self, node: Node, stream: Each | Counter) -> Value:
        """What a stream becomes, of which each output passes through the expression once."""
        match node, stream:
            case Identity(), _:
                return stream
            case Pipe(left, right), _:
                return self._piped(self._for_each(left, stream), right)
            case Operation("//", left, Call("empty", ())), _:
                return _without_nulls(self._for_each(left, stream))
            case _, Each(Items() as items):
                return arrays.each(node, stream, items)
            case syntax.Optional(body), _:
                return self._for_each(body, stream)
        return self._for_each_list(node, stream) if isinstance(stream, Each) else self._for_each_number(node, stream)

    def _for_each_number(self, node: Node, counter: Counter) -> Value:
        match node:
            case Index(syntax.Variable() as variable, Identity()):
                array = self._once(variable, counter)
                if isinstance(array, Items):
                    return arrays.picked(node, array, counter)
            case Call("select", (test,)):
                return self._counted(test, counter)
        raise Unrecognised(node, "what this gives for each of many numbers cannot be told")

    def _for_each_list(self, node: Node, stream: Each) -> Value:
        """What becomes of every list, or array of objects, is what becomes of one of them, if nothing else is read."""
        lists, call = isinstance(stream.of, Lists), stream.of.call
        try:
            one = self._once(node, List(call) if lists else Items(call)) if _is_closed(node) else stream
        except Unrecognised:
            one = stream
        match one:
            case Nothing() | Each(Items(order=Order("api", False), window=None, after=()), False):
                return one
            case List():
                return stream
            case Items() if one == Items(call):
                return Each(Arrays(call))
        raise Unrecognised(node, "what this gives for each of many lists cannot be told")

    def _counted(self, test: Node, counter: Counter) -> Value:
        match test:
            case Operation("<", Identity(), bound) | Operation(">", bound, Identity()):
                high = self._once(bound, NULL) if keys_read(bound) == set() else NULL
                if isinstance(high, Number) and isinstance(high.length, Items) and counter.within is None:
                    return replace(counter, within=high.length)
                if high == constant(0):
                    return Nothing()
        raise Unrecognised(test, "which numbers these are cannot be told")

    def _bound(self, name: str, value: Value, body: Node, dot: Value) -> Value:
        match value, body:
            case Nothing(), _:
                return value
            case Counter(), Index(syntax.Variable() as array, syntax.Variable(index)) if index == name:
                return self._for_each(Index(array, Identity(), span=body.span), value)
            case ((Each() | Counter()), _):
                raise Unrecognised(body, f"for each ${name}: what this gives cannot be told")
        return replace(self, _names={**self._names, name: value}).of(body, dot)

    # -- names and paths -----------------------------------------------------------------------------------------------

    def _is_about_others(self, node: Node) -> bool:
        keys = keys_read(node)
        return keys is not None and bool(keys) and not keys & {*self.results, "slice"} and _is_closed(node)

    def _variable(self, node: Node, name: str) -> Value:
        if name not in self._names:
            raise Unrecognised(node, f"${name} is not known here")
        return self._names[name]

    def _indexed(self, node: Index, target: Value, dot: Value) -> Value:
        match target, self.of(node.key, dot):
            case Context(), Known(str() as name):
                other = Other(Index(Identity(), Constant(name), span=node.span))
                return self.slice if name == "slice" else self.results.get(name, other)
            case Other(inner), Known(str() as name):
                return Other(Index(inner, Constant(name), span=node.span))
            case values.Slice(), Known(str() as name):
                return _SLICE.get(name, NULL)
            case List(call), Known("items"):
                return Items(call)
            case Record(entries), Known(str() as name):
                return dict(entries).get(name, NULL)
            case (Known(None), Known(str()) | Number()) | (Nothing(), _):
                return target
            case Items(), Number():
                return arrays.after(replace(node, target=Identity()), target)
            case ((Items() | Lists() | Arrays() | Known()), Known()):
                raise Fails
        raise Unrecognised(node, "what is taken here cannot be told")

    # -- control -------------------------------------------------------------------------------------------------------

    def _piped(self, left: Value, right: Node) -> Value:
        if isinstance(left, Nothing):
            return left
        if isinstance(left, Items) and left.after and not isinstance(right, Identity):
            return arrays.after(right, left)
        return self.of(right, left)

    def _attempt(self, body: Node, dot: Value) -> Value:
        try:
            return arrays.attempted(body, self.of(body, dot))
        except Fails:
            return Nothing()

    def _condition(self, branches: tuple[tuple[Node, Node], ...], otherwise: Node | None, dot: Value) -> Value:
        for test, then in branches:
            if _is_true(test, self.of(test, dot)):
                return self.of(then, dot)
        return self.of(otherwise, dot) if otherwise else dot

    def _record(self, entries: tuple[tuple[Node, Node], ...], dot: Value) -> Value:
        record: dict[str, Value] = {}
        for key, value in entries:
            if not isinstance(key, Constant) or not isinstance(key.value, str):
                raise Unrecognised(key, "a key that is computed")
            record[key.value] = self.of(value, dot)
            if isinstance(record[key.value], Each | Counter | Nothing):
                raise Unrecognised(value, "an object for each of many outputs")
        return Record(tuple(record.items()))

    def _alternative(self, node: Node, left: Node, right: Node, dot: Value) -> Value:
        try:
            value = self.of(left, dot)
        except Fails:
            raise Unrecognised(node, "where this fails, versions of jq disagree on what follows") from None
        if value in (Nothing(), NULL, _FALSE):
            return self.of(right, dot)
        if isinstance(value, Each):
            if isinstance(value.of, Items) and right != Call("empty"):
                raise Unrecognised(node, "something else in place of objects, when there are none")
            return _without_nulls(value)
        _is_true(node, value)
        return value

    # -- functions -----------------------------------------------------------------------------------------------------

    def _called(self, node: Node, name: str, arguments: tuple[Node, ...], dot: Value) -> Value:
        match name, arguments:
            case (("null" | "true" | "false"), ()):
                return Known.of({"null": None, "true": True, "false": False}[name])
            case "empty", ():
                return Nothing()
            case "not", ():
                return Known.of(not _is_true(node, dot))
            case "type", ():
                if (of_type := _type_of(dot)) is None:
                    raise Unrecognised(node, "the type of this cannot be told")
                return Known.of(of_type)
            case "has", (Constant(str() as key),):
                return Known.of(self._has(node, key, dot))
            case "select", (test,):
                return dot if _is_true(test, self.of(test, dot)) else Nothing()
            case "tonumber", () if isinstance(dot, Number):
                return dot
        return self._called_on_array(node, name, arguments, dot)

    def _called_on_array(self, node: Node, name: str, arguments: tuple[Node, ...], dot: Value) -> Value:
        match name, arguments:
            case "length", ():
                return arrays.length(node, dot)
            case "map", (body,):
                return self.of(Array(Pipe(Iterate(Identity()), body, span=body.span), span=node.span), dot)
            case ("flatten", ()) | ("add", ()) | ("flatten", (Constant(1),)):
                return arrays.flattened(node, name, dot)
            case "range", (high,):
                return _range(node, constant(0), self.of(high, dot))
            case "range", (low, high):
                return _range(node, self.of(low, dot), self.of(high, dot))
            case "limit", (count, body):
                return _limited(node, self.of(count, dot), self.of(body, dot))
        return arrays.called(node, name, arguments, dot)

    def _has(self, node: Node, key: str, dot: Value) -> bool:
        match dot:
            case Context() if key == "slice":
                return self.slice != NULL
            case Context() if key in self.results:
                return self.results[key] != NULL
            case List() if key == "items":
                return True
            case values.Slice():
                return key in _SLICE
        raise Unrecognised(node, "whether it has this key cannot be told")


# -- what does not depend on the case ----------------------------------------------------------------------------------


def _constant(node: Node, value: syntax.Literal) -> Value:
    if isinstance(value, float):
        raise Unrecognised(node, f"{value} is no whole number")
    return Known.of(value) if isinstance(value, str) else constant(value)


def _is_closed(node: Node) -> bool:
    return not syntax.free_variables(node)


def _is_simple(name: str, body: Node, rest: Node) -> bool:
    """Whether a function's name can be read as its body."""
    called = {each.name for each in walk(body) if isinstance(each, Call | syntax.Definition)}
    defined = {each.name for each in walk(rest) if isinstance(each, syntax.Definition)}
    return _is_closed(body) and name not in called and not defined & {name, *called}


def _type_of(value: Value) -> str | None:
    """What `type` gives, None when that cannot be told."""
    match value:
        case Known(None):
            return "null"
        case Known(bool()):
            return "boolean"
        case Known(str()):
            return "string"
        case Number():
            return "number"
        case Lists() | Arrays() | Items(after=()) | Wrapped() | Known(list()):
            return "array"
        case List() | Record() | Context() | values.Slice():
            return "object"
    return None


def _is_true(node: Node, value: Value) -> bool:
    if isinstance(value, Known):
        return value.value is not None and value.value is not False
    if _type_of(value) is None:
        raise Unrecognised(node, "whether this holds cannot be told")
    return True


def _operation(node: Node, operator: str, left: Value, right: Value) -> Value:
    match operator, left, right:
        case "+", Number(), Number():
            return left + right
        case "-", Number(), Number():
            return left - right
        case "*", Number(), Number():
            return left * right
        case "+", Known(str() as one), Known(str() as two):
            return Known.of(one + two)
        case "+", Items() | Number() | Known(), Known(None):
            return left
        case "+", Known(None), Items() | Number() | Known():
            return right
        case "+", Items(), Known([]):
            return left
        case "+", Known([]), Items():
            return right
    answer = _compared(operator, left, right)
    if answer is None:
        raise Unrecognised(node, f"what `{operator}` gives here cannot be told")
    return Known.of(answer)


def _compared(operator: str, left: Value, right: Value) -> bool | None:
    """What a comparison gives, None when that cannot be told."""
    if isinstance(left, Number) and isinstance(right, Number):
        return _compared_numbers(operator, left, right)
    one, two = _type_of(left), _type_of(right)
    if operator not in ("==", "!=") or one is None or two is None:
        return None
    if isinstance(left, Known) and isinstance(right, Known):
        return (left == right) == (operator == "==")
    return operator == "!=" if one != two else None


def _compared_numbers(operator: str, left: Number, right: Number) -> bool | None:
    above, below = (left - right).least, (right - left).least
    signs = {
        sign
        for sign, is_possible in ((-1, above is None), (0, not above and not below), (1, below is None))
        if is_possible
    }
    answers = {_COMPARISONS[operator](sign, 0) for sign in signs if operator in _COMPARISONS}
    return answers.pop() if len(answers) == 1 else None


def _array(node: Node, value: Value) -> Value:
    match value:
        case Nothing():
            return EMPTY
        case Each(of, False):
            return of
        case Each():
            raise Unrecognised(node, "where objects end, nulls follow")
        case Counter():
            raise Unrecognised(node, "an array of what cannot be told")
    return Wrapped(value)


def _both(node: Node, left: Value, right: Value) -> Value:
    if isinstance(left, Nothing) or isinstance(right, Nothing):
        return right if isinstance(left, Nothing) else left
    raise Unrecognised(node, "two outputs, one after the other: several lists in one cannot be paged")


def _without_nulls(value: Value) -> Value:
    return Each(value.of) if isinstance(value, Each) else value


def _iterated(node: Iterate, value: Value) -> Value:
    match value:
        case Lists() | Arrays() | Items(after=()):
            return Each(value)
        case Wrapped(inner):
            return inner
        case Known([]):
            return Nothing()
        case Nothing():
            return value
        case Known() | Number():
            raise Fails
    raise Unrecognised(node, "what is iterated over here cannot be told")


def _sliced(node: Node, target: Value, low: Value, high: Value) -> Value:
    start, end = (constant(0) if low == NULL else low), (None if high == NULL else high)
    if isinstance(start, Number) and (end is None or isinstance(end, Number)):
        if target in (NULL, EMPTY):
            return target
        if isinstance(target, Items):
            return arrays.cut(node, target, start, end)
    raise Unrecognised(node, "what is cut out here cannot be told")


def _range(node: Node, low: Value, high: Value) -> Value:
    if isinstance(low, Number) and isinstance(high, Number):
        return Counter(low, high)
    raise Unrecognised(node, "the bounds of this range cannot be told")


def _limited(node: Node, count: Value, value: Value) -> Value:
    match count, value:
        case Number(), Nothing():
            return value
        case Number(), Each(Items() as items, False):
            return Each(arrays.cut(node, items, constant(0), count))
    raise Unrecognised(node, "what this is limited to cannot be told")
