"""From an identity to a scope by SubjectAccessReviews: for clusters whose authorizer is not RBAC alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from presenter.access.identity import Identity
from presenter.access.lru import LruCache
from presenter.access.metrics import timed_review
from presenter.access.rbac import implied_groups, is_decided_within
from presenter.cache.scope import EVERYTHING, NOTHING, Grant
from presenter.errors import Unavailable

if TYPE_CHECKING:
    from presenter.access.authorizer import Verb
    from presenter.cache.catalog import CachedType
    from presenter.cache.scope import Scope

T = TypeVar("T")

NamespacesOf = Callable[[Collection[int]], Awaitable[Mapping[int, Collection[str]]]]
"""The namespaces that hold cached objects, by type id."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request that may be allowed, in the terms of a SubjectAccessReview.

    An empty namespace asks about all of them, and about cluster-scoped objects; an empty name about every object.
    """

    identity: Identity
    verb: Verb
    group: str
    resource: str
    namespace: str = ""
    name: str = ""


class Reviewer(Protocol):
    """Decides in one cluster."""

    async def allowed(self, question: Question) -> bool:
        """Whether the request is allowed. Raises Unavailable when that cannot be decided."""


class ReviewAuthorizer:
    """Asks each cluster's reviewer, and believes an answer for as long as `ttl`, whichever it was.

    `reviewers` are by cluster. `list_verb` is the verb that a list takes, as in RbacAuthorizer. At most `concurrency`
    questions are on their way to one reviewer, and at most `capacity` of its answers are kept. `clock` tells seconds.
    """

    decides_by_catalog = False

    def __init__(
        self,
        reviewers: Mapping[str, Reviewer],
        namespaces_of: NamespacesOf,
        ttl: timedelta,
        *,
        list_verb: Verb = "list",
        concurrency: int = 32,
        capacity: int = 50_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._caches = {
            cluster: _ReviewCache(reviewer, ttl.total_seconds(), concurrency, capacity, clock)
            for cluster, reviewer in reviewers.items()
        }
        self._namespaces_of = namespaces_of
        self._list_verb = list_verb

    async def scope(
        self,
        identity: Identity,
        verb: Verb,
        types: Sequence[CachedType],
        *,
        namespace: str | None,
        name: str | None,
    ) -> Scope:
        """What of these types the caller may see, as far as it concerns `namespace` (None: all) and `name`.

        When not all namespaces are allowed at once, those that hold cached objects are asked about one by one: that
        the caller may also list in an empty one is not found out. Raises Unavailable when a question has no answer.
        """
        inquiries = [self._inquiry(identity, verb, cached, name or "") for cached in types]
        widest = await _gather(inquiry.widest(namespace) for inquiry in inquiries)
        scope = {inquiry.cached.id: grant for inquiry, grant in zip(inquiries, widest, strict=True)}
        refused = [inquiry for inquiry in inquiries if inquiry.namespaced and scope[inquiry.cached.id] == NOTHING]
        unlisted = [inquiry.cached for inquiry in refused if namespace is None and not inquiry.cached.synced]
        for cached in unlisted:
            if not cached.refused:
                cached.require_synced()  # which namespaces to ask about is not known before
        candidates = await self._namespaces_to_ask([inquiry.cached.id for inquiry in refused], namespace)
        narrower = await _gather(inquiry.within(candidates.get(inquiry.cached.id, ())) for inquiry in refused)
        scope |= {inquiry.cached.id: grant for inquiry, grant in zip(refused, narrower, strict=True)}
        granted = {type_id: grant for type_id, grant in scope.items() if grant != NOTHING}
        if unlisted and not granted:
            unlisted[0].require_synced()
        return granted

    async def allowed(self, identity: Identity, verb: Verb, cached: CachedType, namespace: str, name: str) -> bool:
        """Whether the caller may do this with one object: the very question kube-apiserver asks when it is got.

        Raises Unavailable when it has no answer.
        """
        inquiry = self._inquiry(identity, verb, cached, name)
        return bool(await inquiry.ask([namespace], name))

    def _inquiry(self, identity: Identity, verb: Verb, cached: CachedType, name: str) -> _Inquiry:
        reviews = self._caches.get(cached.cluster)
        if reviews is None:
            raise Unavailable(
                f"who may see what in cluster {cached.cluster} cannot be asked: this service is connected to "
                f"{', '.join(sorted(self._caches)) or 'no cluster'}"
            )
        # kube-apiserver takes a review's groups as they are: what a login would imply has to be said.
        asker = replace(identity, groups=identity.groups | implied_groups(identity.username))
        return _Inquiry(reviews, asker, self._list_verb if verb == "list" else verb, cached, name)

    async def _namespaces_to_ask(self, type_ids: list[int], namespace: str | None) -> Mapping[int, Collection[str]]:
        if namespace is not None:
            return dict.fromkeys(type_ids, (namespace,))
        return await self._namespaces_of(type_ids) if type_ids else {}


@dataclass(frozen=True, slots=True)
class _Inquiry:
    """The questions about one caller and one type; with a `name`, about objects of that name only."""

    reviews: _ReviewCache
    identity: Identity
    verb: Verb
    cached: CachedType
    name: str

    @property
    def namespaced(self) -> bool:
        return self.cached.type.namespaced

    async def widest(self, namespace: str | None) -> Grant:
        """The grant by a question about all namespaces, or about the cluster scope."""
        if await self.ask([""]):
            return EVERYTHING
        everywhere = namespace is None or not self.namespaced
        if self.name and everywhere and await self.ask([""], self.name):
            return Grant.of(names=[self.name])
        return NOTHING

    async def within(self, namespaces: Collection[str]) -> Grant:
        """The grant by questions about each of these namespaces."""
        whole = await self.ask(namespaces)
        rest = [namespace for namespace in namespaces if namespace not in whole]
        named = await self.ask(rest, self.name) if self.name else ()
        return Grant.of(namespaces=whole, objects=[(namespace, self.name) for namespace in named])

    async def ask(self, namespaces: Collection[str], name: str = "") -> set[str]:
        """Those of the namespaces in which it is allowed."""
        group, resource = self.cached.type.group, self.cached.type.resource
        if not self.namespaced and is_decided_within(self.verb, resource):
            namespaces = [name]
        questions = [Question(self.identity, self.verb, group, resource, namespace, name) for namespace in namespaces]
        return {question.namespace for question in await self.reviews.allowed(questions)}


@dataclass(slots=True, eq=False)
class _Pending:
    """A question on its way, and how many wait for its answer."""

    task: asyncio.Task[bool]
    waiting: int = 0


class _ReviewCache:
    """One reviewer's answers: remembered for `ttl` seconds, and asked for once however many wait."""

    def __init__(
        self, reviewer: Reviewer, ttl: float, concurrency: int, capacity: int, clock: Callable[[], float]
    ) -> None:
        self._reviewer = reviewer
        self._ttl = ttl
        self._clock = clock
        self._slots = asyncio.Semaphore(concurrency)
        self._pending: dict[Question, _Pending] = {}
        self._known: LruCache[Question, tuple[bool, float]] = LruCache(capacity)

    async def allowed(self, questions: Collection[Question]) -> list[Question]:
        """Those that are answered with yes. Raises Unavailable when one has no answer."""
        answers = {question: self._recall(question) for question in questions}
        unknown = [question for question, answer in answers.items() if answer is None]
        answers |= zip(unknown, await _gather(self._answer(question) for question in unknown), strict=True)
        return [question for question, answer in answers.items() if answer]

    def _recall(self, question: Question) -> bool | None:
        known = self._known.get(question)
        return known[0] if known is not None and self._clock() < known[1] else None

    async def _answer(self, question: Question) -> bool:
        """The answer, when it comes; a question that nobody waits for any more is withdrawn."""
        pending = self._pending.get(question)
        if pending is None:
            pending = self._pending[question] = _Pending(asyncio.create_task(self._review(question)))
            pending.task.add_done_callback(lambda _: self._end(question, pending))
        pending.waiting += 1
        try:
            # Not awaited itself: a waiter's cancellation would cancel it for all.
            await asyncio.wait([pending.task])
            return pending.task.result()
        finally:
            pending.waiting -= 1
            if pending.waiting == 0 and not pending.task.done():
                pending.task.cancel()
                del self._pending[question]

    async def _review(self, question: Question) -> bool:
        async with self._slots:
            asked_at = self._clock()  # what changes while it is being answered may not be in the answer
            allowed = await timed_review(self._reviewer.allowed(question))
        self._known.put(question, (allowed, asked_at + self._ttl))
        return allowed

    def _end(self, question: Question, pending: _Pending) -> None:
        if self._pending.get(question) is pending:  # not one that was asked anew after a withdrawal
            del self._pending[question]
        if not pending.task.cancelled():
            pending.task.exception()  # else asyncio logs it where the last to wait has just left


async def _gather(questions: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All answers, in order. The first failure is raised as it is and ends the waiting for the others."""
    tasks = [asyncio.create_task(question) for question in questions]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
