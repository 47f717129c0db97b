"""RESTActions as they are written: YAML streams, which may be Helm templates, read with the lines everything is on."""

from __future__ import annotations

import io
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.reader import ReaderError

from presenter.errors import ConfigError
from presenter.restaction import helm

API_GROUP = "templates.krateo.io"
KIND = "RESTAction"
_ALLOWED = {str: "a string", bool: "true or false", list: "a list", dict: "a mapping"}
_EXPRESSION = "${"
_T = TypeVar("_T")
_SUFFIXES = (".yaml", ".yml", ".json")


class ManifestError(ConfigError):
    """A file that is not what it should be; the message says file, line, what came and what is allowed."""


Where = tuple[str | int, ...]
"""The path of a node in a document, by keys and indexes."""


class Refused(Exception):
    """What is not migrated; the message says why, `where` at which path, `text` and `offset` where in an expression."""

    def __init__(self, reason: str, where: Where, text: str = "", offset: int = 0) -> None:
        super().__init__(reason)
        self.where = where
        self.text = text
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Reference:
    """The name of a Secret that describes an endpoint."""

    name: str
    namespace: str


@dataclass(frozen=True, slots=True)
class Call:
    """One item of `spec.api`. What may be an expression is as written, with its `${ }`."""

    name: str
    path: str = ""
    verb: str = "GET"
    headers: tuple[str, ...] = ()
    payload: str | None = None
    endpoint_ref: Reference | None = None
    depends_on: str | None = None
    iterator: str | None = None
    filter: str | None = None
    continue_on_error: bool = False
    error_key: str = "error"
    export_jwt: bool = False
    user_access_filter: bool = False

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts that are an expression, or may hold one."""
        return tuple(filter(None, (self.path, self.payload, self.filter, self.iterator, *self.headers)))


@dataclass(frozen=True, slots=True)
class RestAction:
    """A RESTAction, with its calls in the order they are written in."""

    name: str
    namespace: str
    calls: tuple[Call, ...] = ()
    filter: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document, or an item of a List; `index`: one after the other in the stream.

    `node` has placeholders where the text has template actions.
    """

    path: str
    index: int
    node: CommentedMap
    mask: helm.Mask

    @property
    def kind(self) -> str:
        """What it is, such as `RESTAction`; "" when it does not say."""
        return self.text("kind")

    @property
    def is_list(self) -> bool:
        """Whether it is a List, as `kubectl get -o yaml` prints; its items are documents of their own."""
        return _is_list(self.node)

    @property
    def name(self) -> str:
        """Its name, "" when it has none."""
        return self.text("metadata", "name")

    @property
    def full_name(self) -> str:
        """`namespace/name`; the name, when there is no namespace."""
        return f"{self.text('metadata', 'namespace')}/{self.name}".removeprefix("/")

    @property
    def is_restaction(self) -> bool:
        """Whether it is a RESTAction of Krateo's."""
        return self.kind == KIND and self.text("apiVersion").partition("/")[0] == API_GROUP

    def get(self, *path: str | int) -> Any:
        """The node at a path, None when there is none."""
        node: Any = self.node
        for step in path:
            known = isinstance(node, dict) or (isinstance(node, list) and isinstance(step, int) and step < len(node))
            if not known or (isinstance(node, dict) and step not in node):
                return None
            node = node[step]
        return node

    def text(self, *path: str | int) -> str:
        """The text at a path with its template actions, "" when there is none."""
        value = self.get(*path)
        return self.mask.restore(value) if isinstance(value, str) else ""

    def line(self, *path: str | int) -> int:
        """The line of the file, from 1, that a path begins on: that of its key. Of what is not there: its parent's."""
        node: Any = self.node
        line: int = node.lc.line
        for step in path:
            if isinstance(node, CommentedMap) and step in node:
                line = node.lc.key(step)[0]
            elif isinstance(node, CommentedSeq) and isinstance(step, int) and step < len(node):
                line = node.lc.item(step)[0]
            else:
                break
            node = node[step]
        return line + 1

    def error(self, message: str, *path: str | int) -> ManifestError:
        """An error that says where."""
        return ManifestError(f"{self.path}:{self.line(*path)}: {message}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A YAML stream. What is no mapping, as empty documents are, is not among `documents`; items of Lists are."""

    path: str
    text: str
    documents: tuple[Document, ...]

    @classmethod
    def read(cls, path: Path | str) -> Manifest:
        """The manifest in a file, `-` is standard input. Raises ManifestError."""
        if str(path) == "-" and sys.stdin is None:
            raise ManifestError("<stdin>: cannot be read: it is closed")
        name, read = ("<stdin>", sys.stdin.buffer.read) if str(path) == "-" else (str(path), Path(path).read_bytes)
        try:
            text = read().decode()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else f"not UTF-8: {error}"
            raise ManifestError(f"{name}: cannot be read: {reason}") from error
        return cls.parse(text, name)

    @classmethod
    def parse(cls, text: str, path: str = "<stdin>") -> Manifest:
        """The manifest in a text, which may be a Helm template or JSON. Raises ManifestError."""
        try:
            mask = helm.Mask(text)
            nodes = [each for node in YAML(typ="rt").load_all(mask.text) for each in _with_items(node)]
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f":{mark.line + 1}" if mark else ""
            hint = "; it is a template: see what `helm template` makes of it" if helm.has_action(text) else ""
            raise ManifestError(f"{path}{line}: not YAML: {mask.restore(error.problem or str(error))}{hint}") from error
        except ReaderError as error:
            number, character = len(lines_of(text[: error.position + 1])), text[error.position]
            raise ManifestError(f"{path}:{number}: not YAML: the character {character!r} in it") from error
        except Exception as error:  # the reader fails as it likes, on tags and the like
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise ManifestError(f"{path}: not YAML that can be read: {reason}") from error
        mappings = ((index, node) for index, node in enumerate(nodes) if isinstance(node, CommentedMap))
        return cls(path, text, tuple(Document(path, index, node, mask) for index, node in mappings))

    def restactions(self, name: str | None = None) -> list[Document]:
        """Its RESTActions, or those with a name, which may be `namespace/name`."""
        found = [document for document in self.documents if document.is_restaction]
        return [document for document in found if name in (None, document.name, document.full_name)]

    def only(self, name: str | None = None) -> RestAction:
        """The one RESTAction there is, or the one with a name. Raises ManifestError when there are none or several."""
        match self.restactions(name):
            case [document]:
                return restaction(document)
            case []:
                raise ManifestError(f"{self.path}: there is no RESTAction" + (f" named {name!r}" if name else ""))
            case several:
                if len({document.full_name for document in several}) == 1:
                    lines = " and ".join(str(document.line()) for document in several)
                    raise ManifestError(
                        f"{self.path}: {several[0].full_name} is there more than once: on lines {lines}"
                    )
                names = ", ".join(document.full_name for document in several)
                raise ManifestError(f"{self.path}: there are several RESTActions: choose one with --name: {names}")


def expression(text: str) -> str | None:
    """The jq program in a value, `${ … }`, None when the value is literal.

    As in snowplow it ends where its braces are balanced, those in strings and comments included; what is around it is
    not looked at.
    """
    start = text.find(_EXPRESSION)
    if start < 0:
        return None
    start += len(_EXPRESSION)
    depth = 1
    for end in range(start, len(text)):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return text[start:end].strip()
    return None


def lines_of(text: str) -> list[str]:
    """The lines of a text as YAML counts them, with their ends."""
    return io.StringIO(text, newline="").readlines()


def _with_items(node: Any) -> list[Any]:
    """A node, and after a List its items."""
    return [node, *node["items"]] if _is_list(node) else [node]


def _is_list(node: Any) -> bool:
    return isinstance(node, dict) and str(node.get("kind")).endswith("List") and isinstance(node.get("items"), list)


def files(path: Path) -> list[Path]:
    """The manifests of a directory and those below it, in order; of a file, the file. Raises ManifestError."""
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES and file.is_file())
    if not found:
        raise ManifestError(f"{path}: there is no {', '.join(_SUFFIXES)} file in this directory")
    return found


def restaction(document: Document) -> RestAction:
    """What a document says. Raises ManifestError when that is no RESTAction that could be resolved."""
    if not document.is_restaction:
        came = f"{document.text('apiVersion') or 'no apiVersion'}, {document.kind or 'no kind'}"
        raise document.error(f"not a RESTAction of {API_GROUP} but {came}")
    fields = _Fields(document, ())
    metadata, spec = fields.child("metadata"), fields.child("spec")
    action = RestAction(
        name=metadata.required("name"),
        namespace=metadata.get("namespace", str) or "",
        calls=tuple(_call(spec.child("api", index)) for index, _ in spec.items("api", dict)),
        filter=spec.get("filter", str),
    )
    _check_names(document, action.calls)
    in_order(action.calls, document)
    return action


def in_order(
    calls: tuple[Call, ...], document: Document | None = None, shuffle: random.Random | None = None
) -> list[Call]:
    """The calls as they are made: those that depend on none, then those that depend on these, and so on.

    In snowplow those that depend on none come in any order: here as written, or as `shuffle` has it. Of several calls
    of one name only the first is made. Raises ManifestError, which names the whole circle, when they go round in one.
    """
    named = {call.name: call for call in reversed(calls)}
    ordered = [call for call in calls if call is named[call.name] and call.depends_on is None]
    if shuffle is not None:
        shuffle.shuffle(ordered)
    for done in ordered:  # which grows
        ordered += [call for call in calls if call is named[call.name] and call.depends_on == done.name]
    if len(ordered) < len(named):
        waiting = [call for call in calls if call not in ordered]
        message = f"the calls depend on each other in a circle: {' → '.join(_circle(waiting))}"
        raise document.error(message, "spec", "api") if document else ManifestError(message)
    return ordered


def _circle(calls: list[Call]) -> list[str]:
    needs = {call.name: call.depends_on or "" for call in calls}
    seen = [calls[0].name]
    while needs[seen[-1]] not in seen:
        seen.append(needs[seen[-1]])
    start = needs[seen[-1]]
    return [*seen[seen.index(start) :], start]


def _call(item: _Fields) -> Call:
    depends_on = item.child("dependsOn") if item.get("dependsOn", dict) is not None else None
    reference = item.child("endpointRef") if item.get("endpointRef", dict) is not None else None
    return Call(
        name=item.required("name"),
        path=item.get("path", str) or "",
        verb=item.get("verb", str) or "GET",
        headers=tuple(item.document.mask.restore(header) for _, header in item.items("headers", str)),
        payload=item.get("payload", str),
        endpoint_ref=Reference(reference.required("name"), reference.required("namespace")) if reference else None,
        depends_on=depends_on.required("name") if depends_on else None,
        iterator=(depends_on.get("iterator", str) if depends_on else None) or None,
        filter=item.get("filter", str),
        continue_on_error=item.get("continueOnError", bool) or False,
        error_key=item.get("errorKey", str) or "error",
        export_jwt=item.get("exportJwt", bool) or False,
        user_access_filter=item.get("userAccessFilter", dict) is not None,
    )


def _check_names(document: Document, calls: tuple[Call, ...]) -> None:
    names = [call.name for call in calls]
    for index, call in enumerate(calls):
        if call.depends_on is not None and call.depends_on not in names:
            known = ", ".join(names)
            message = f"depends on {call.depends_on!r}, which is no call of this RESTAction: {known}"
            raise document.error(message, "spec", "api", index, "dependsOn", "name")


@dataclass(frozen=True, slots=True)
class _Fields:
    """A mapping in a document, whose fields must be what the RESTAction's schema says."""

    document: Document
    path: Where

    def get(self, key: str, kind: type[_T]) -> _T | None:
        value = self.document.get(*self.path, key)
        if value is not None and not isinstance(value, kind):
            self._refuse(_ALLOWED[kind], key)
        return cast("_T | None", self.document.mask.restore(value) if isinstance(value, str) else value)

    def required(self, key: str) -> str:
        return self.get(key, str) or self._refuse("a string, and required", key)

    def child(self, *steps: str | int) -> _Fields:
        if not isinstance(self.document.get(*self.path, *steps), dict):
            self._refuse("a mapping", *steps)
        return _Fields(self.document, (*self.path, *steps))

    def items(self, key: str, kind: type[_T]) -> Iterator[tuple[int, _T]]:
        for index, item in enumerate(self.get(key, list) or ()):
            if not isinstance(item, kind):
                self._refuse(f"a list of {_ALLOWED[kind].removeprefix('a ')}s", key, index)
            yield index, item

    def _refuse(self, allowed: str, *steps: str | int) -> NoReturn:
        where = (*self.path, *steps)
        value = self.document.get(*where)
        name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in where)[1:]
        match value:
            case None:
                came = "missing"
            case dict() | list():  # which may be endless to print
                came = "a mapping" if isinstance(value, dict) else "a list"
            case _:
                came = repr(self.document.mask.restore(str(value))[:60])
        raise self.document.error(f"{name} is {came}: it must be {allowed}", *where)
