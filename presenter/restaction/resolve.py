"""`presenter restaction resolve`: the result on standard output, everything else on standard error."""

from __future__ import annotations

import asyncio
import random
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from presenter import logs
from presenter.config import Settings
from presenter.errors import ConfigError
from presenter.restaction.endpoints import ClusterEndpoints
from presenter.restaction.helm import has_action
from presenter.restaction.jq import Jq
from presenter.restaction.manifest import Manifest, RestAction
from presenter.restaction.numbers import as_json
from presenter.restaction.paging import joined, length, pages, slice_of
from presenter.restaction.resolver import NotJson, Problem, Request, Resolved, Services, resolve

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Options:
    """The user, cluster, endpoints and context to resolve with.

    `account`: the cluster is not given the token; `shuffle`: the seed of an order of calls.
    """

    token: str | None = field(default=None, repr=False)
    account: bool = False
    kubeconfig: str | None = None
    urls: dict[str, str] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    shuffle: int | None = None

    @classmethod
    def of(
        cls,
        token: str | None,
        account: bool,
        kubeconfig: Path | None,
        endpoints: Iterable[str] | None,
        values: Iterable[str] | None,
    ) -> Options:
        """The options of the command line, checked. Raises ConfigError."""
        if token == "":
            raise ConfigError("--token is empty: it must be a token, or be left out")
        settings = Settings.from_environment()
        logs.configure(debug=settings.log.debug, quiet=True)
        usual = Path("~/.kube/config").expanduser()
        found = (
            str(kubeconfig) if kubeconfig else settings.cluster.kubeconfig or (str(usual) if usual.exists() else None)
        )
        return cls(token, account, found, dict(map(_endpoint, endpoints or ())), _context(values or ()))


@asynccontextmanager
async def services(options: Options, observe: Callable[[Request | Problem], None]) -> AsyncIterator[Services]:
    """What resolving needs, for as long as it takes."""
    async with Jq() as jq, ClusterEndpoints(options.kubeconfig, options.urls) as endpoints:
        shuffle = None if options.shuffle is None else random.Random(options.shuffle)  # noqa: S311 - no secret
        yield Services(jq, endpoints, options.token, options.account, observe, shuffle)


def read(file: Path, name: str | None, options: Options) -> RestAction:
    """The RESTAction of a file. Raises ManifestError; and ConfigError when Helm has something to fill in first."""
    action = Manifest.read(file).only(name)
    for call in action.calls:
        reference = call.endpoint_ref if call.endpoint_ref and call.endpoint_ref.name not in options.urls else None
        names = (reference.name, reference.namespace) if reference else ()
        if any(map(has_action, (*call.texts, *names))):
            raise ConfigError(f"{file}: the call {call.name!r} is a template: render it first, with `helm template`")
    if has_action(action.filter or ""):
        raise ConfigError(f"{file}: the filter is a template: render it first, with `helm template`")
    return action


def run(
    action: RestAction,
    options: Options,
    *,
    per_page: int | None = None,
    page: int | None = None,
    cursor: str = "",
    all_pages: bool = False,
    trace: bool = False,
) -> bool:
    """Resolve, and print. False when a call failed that may not."""
    report = _Report(trace)

    async def resolving() -> list[Resolved]:
        async with services(options, report.observe) as of:
            if per_page is None or not all_pages:
                return [await resolve(action, options.context | slice_of(per_page, page, cursor), of)]
            walk = pages(action, options.context, of, per_page, page=page, cursor=cursor)
            async with aclosing(walk):
                return [resolved async for resolved in report.counting(walk)]

    walked = asyncio.run(resolving())
    result = joined([resolved.result for resolved in walked]) if all_pages else walked[0].result
    shown = result.encode() if isinstance(result, NotJson) else msgspec.json.format(as_json(result), indent=2)
    sys.stdout.buffer.write(shown + b"\n")
    return not any(resolved.failed for resolved in walked)


class _Report:
    """What happens, on standard error."""

    def __init__(self, trace: bool) -> None:
        self._trace = trace
        self._console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

    def observe(self, what: Request | Problem) -> None:
        if isinstance(what, Problem):
            where = f"{what.call}: " if what.call else ""
            self._say(f"{'error' if what.fatal else 'warning'}: {where}{what.message}")
        elif self._trace:
            self._say(trace_line(what))

    async def counting(self, walk: AsyncIterator[Resolved]) -> AsyncIterator[Resolved]:
        """A progress bar on a terminal; how many pages there will be, nobody knows."""
        columns = (TextColumn("{task.completed} pages, {task.fields[items]} items"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal) as bar:
            task = bar.add_task("pages", total=None, items=0)
            items = 0
            async for resolved in walk:
                items += length(resolved.result)
                bar.update(task, advance=1, items=items)
                yield resolved

    def _say(self, line: str) -> None:
        self._console.print(_CONTROL.sub(lambda found: repr(found[0])[1:-1], line))


def trace_line(request: Request) -> str:
    """A request in one line."""
    if not request.status:
        return f"{request.call}: {request.method} {request.url}: no answer"
    items = "" if request.items is None else f", {request.items} items"
    return (
        f"{request.call}: {request.method} {request.url}: "
        f"{request.status}, {request.milliseconds:.1f} ms, {request.bytes} bytes{items}"
    )


def _endpoint(option: str) -> tuple[str, str]:
    name, _, url = option.partition("=")
    if not name or urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise ConfigError(f"--endpoint is {option!r}: it must be NAME=URL, such as presenter=http://127.0.0.1:8080")
    return name, url


def _context(options: Iterable[str]) -> dict[str, Any]:
    context: dict[str, Any] = {}
    for option in options:
        path, equals, text = option.partition("=")
        *parents, last = path.split(".")
        if not equals or not all([*parents, last]):
            raise ConfigError(f"--set is {option!r}: it must be PATH=VALUE, such as user.name=ada")
        node = context
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ConfigError(f"--set is {option!r}: {parent} was set to a value before")
        node[last] = _value(text)
    return context


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
