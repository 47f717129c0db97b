"""All pages of a RESTAction, and what they cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.progress import Progress, TaskID

from presenter.errors import PresenterError
from presenter.restaction.comparison import times_in
from presenter.restaction.manifest import RestAction
from presenter.restaction.paging import length, pages
from presenter.restaction.resolver import Problem, Request, Resolved, Services, resolve


@dataclass(slots=True)
class Walk:
    """All pages of one RESTAction, and what they cost. `failure` is why there are no more."""

    results: list[Any] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    times: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    failure: str = ""

    def add(self, resolved: Resolved) -> None:
        """Take in one page."""
        result = resolved.result
        if isinstance(result, dict):
            result = {key: value for key, value in result.items() if key != "slice"}
        self.results.append(result)
        self.times |= times_in(resolved.context)
        self.requests += resolved.requests
        self.problems += resolved.problems

    @property
    def lengths(self) -> list[int]:
        """How many items each page has. That there is nothing left may take a page of its own to find out."""
        lengths = [length(result) for result in self.results]
        return lengths[:-1] if len(lengths) > 1 and lengths[-1] == 0 else lengths

    @property
    def errors(self) -> list[str]:
        """Why the result is not what it should be, if so."""
        fatal = [f"{problem.call}: {problem.message}" for problem in self.problems if problem.fatal]
        return [*fatal, self.failure] if self.failure else fatal


async def walk(
    action: RestAction,
    context: dict[str, Any],
    of: Services,
    per_page: int | None,
    bar: Progress | None = None,
    name: str = "",
) -> Walk:
    """All pages, or everything at once."""
    walked, started = Walk(), time.monotonic()
    task = bar.add_task(name, total=None) if bar else TaskID(0)
    try:
        if per_page is None:
            walked.add(await resolve(action, context, of))
        else:
            async for resolved in pages(action, context, of, per_page):
                walked.add(resolved)
                if bar:
                    bar.advance(task)
    except PresenterError as error:
        walked.failure = error.message
    walked.seconds = time.monotonic() - started
    return walked


def joined(results: Sequence[Any]) -> Any:
    """Pages as one: the arrays in mappings joined, whatever the depth; the rest as the last page has it."""
    if all(isinstance(result, list) for result in results):
        return [item for result in results for item in result]
    if all(isinstance(result, dict) for result in results):
        keys = dict.fromkeys(key for result in results for key in result)
        return {key: joined([result[key] for result in results if key in result]) for key in keys}
    return results[-1]
