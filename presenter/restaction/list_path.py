"""Which objects a call of the Kubernetes API lists: its path, understood."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

from presenter.restaction import syntax
from presenter.restaction.idioms import NAME, NAMESPACE, is_name
from presenter.restaction.syntax import Constant, Node
from presenter.restaction.values import Equal

ALL = "*"
_COMPUTED = "\x01"
_PART = r"[-.\w\ue000-\uf8ff\U000f0000-\U0010ffff]+"  # names, or what Helm makes a name of
_LIST = re.compile(
    rf"/(?:api/(?P<core>{_PART})|apis/(?P<group>{_PART})/(?P<version>{_PART}))"
    rf"(?:/namespaces/(?P<namespace>{_PART}|\x01))?/(?P<resource>{_PART})(?:\?(?P<query>.*))?"
)
_SUBRESOURCES = ("status", "finalize")
_LABELS = ("metadata", "labels")
_SELECTED = re.compile(r"([^=!,()\s]+)==?([^=!,()\s]*)")
_IGNORED = ("resourceVersion", "timeoutSeconds", "pretty")


class NotAList(ValueError):
    """A list that cannot be asked of the presenter; the message says why."""


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects of a type in `namespace`, or in ALL namespaces; `computed`: in one that an expression gives."""

    group: str
    version: str
    resource: str
    namespace: str = ALL
    computed: Node | None = None
    query: str = ""

    def conditions(self) -> tuple[Equal, ...]:
        """What the query string asks of the objects. Raises NotAList for what cannot be asked of the presenter."""
        if _COMPUTED in self.query:
            raise NotAList("a query string that is computed")
        found: list[Equal] = []
        for name, value in parse_qsl(self.query, keep_blank_values=True):
            if name in ("labelSelector", "fieldSelector"):
                found += (_selected(name, term) for term in value.split(",") if term)
            elif name not in _IGNORED:
                raise NotAList(f"`{name}={value}` in the query string: the presenter cannot do that")
        return tuple(found)


def _selected(name: str, term: str) -> Equal:
    pair = _SELECTED.fullmatch(term)
    if pair is None:
        raise NotAList(f"`{term}` in the {name}: only equality can be asked of the presenter")
    keys = (*_LABELS, pair[1]) if name == "labelSelector" else tuple(pair[1].split("."))
    if name == "fieldSelector" and (keys not in (NAME, NAMESPACE) or not is_name(pair[2])):
        raise NotAList(
            f"`{term}` in the {name}: only metadata.name and metadata.namespace can be asked of the presenter"
        )
    return Equal(keys, pair[2])


def listing(path: str | Node) -> Listing | None:
    """What a path lists, None when it is not the path of a list. A path is literal text, or an expression."""
    pieces = [path] if isinstance(path, str) else list(_pieces(path))
    found = _LIST.fullmatch("".join(piece if isinstance(piece, str) else _COMPUTED for piece in pieces))
    computed = [piece for piece in pieces if not isinstance(piece, str)]
    if found is None or (found["resource"] in _SUBRESOURCES and found["namespace"]):
        return None
    namespace, query = found["namespace"], found["query"] or ""
    return Listing(
        group="core" if found["core"] else found["group"],
        version=found["core"] or found["version"],
        resource=found["resource"],
        namespace=namespace or ALL,
        computed=computed[0] if namespace == _COMPUTED else None,
        query=query,
    )


def _pieces(node: Node) -> list[str | Node]:
    """The parts of a text that is put together."""
    match node:
        case Constant(str() as text):
            return [text]
        case syntax.Operation("+", left, right):
            return [*_pieces(left), *_pieces(right)]
        case syntax.Text(None, parts):
            return [piece for part in parts for piece in _pieces(part)]
        case syntax.Pipe(body, syntax.Call("tostring", ())):
            return _pieces(body)
    return [node]
