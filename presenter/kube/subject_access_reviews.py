"""SubjectAccessReviews: the API server decides who may see what, by whichever authorizers it has."""

from __future__ import annotations

import asyncio
from typing import Literal

import msgspec

from presenter.access.review_authorizer import Question
from presenter.errors import ClusterError, ClusterForbidden, Unavailable
from presenter.kube.client import KubeClient

PATH = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


class _ReviewStatus(msgspec.Struct):
    allowed: bool
    evaluation_error: str = msgspec.field(default="", name="evaluationError")


class _Review(msgspec.Struct):
    kind: Literal["SubjectAccessReview"]
    status: _ReviewStatus


_decode = msgspec.json.Decoder(_Review).decode


class SubjectAccessReviews:
    """The reviewer of one cluster. This service's account must be allowed to create subjectaccessreviews.

    `patience`: seconds after which a review counts as not answered.
    """

    def __init__(self, client: KubeClient, *, patience: float = 5.0) -> None:
        self._client = client
        self._patience = patience

    async def allowed(self, question: Question) -> bool:
        """The verdict. Raises Unavailable when the API server does not answer, refuses, or cannot decide."""
        status = await self._review(question)
        # kube-apiserver too answers with an error, not with 403, when no authorizer allows and one failed
        # (k8s.io/apiserver, endpoints/filters: withAuthorization).
        if status.evaluation_error and not status.allowed:
            raise Unavailable(
                f"the API server at {self._client.host} could not decide who may see what: {status.evaluation_error}"
            )
        return status.allowed

    async def _review(self, question: Question) -> _ReviewStatus:
        try:
            async with asyncio.timeout(self._patience):
                return _decode(await self._client.post(PATH, _body(question))).status
        except TimeoutError as error:
            raise Unavailable(
                f"the API server at {self._client.host} did not say within {self._patience:g} s who may see what"
            ) from error
        except ClusterForbidden as error:
            raise Unavailable(
                "who may see what cannot be asked: this service's account must be allowed to create "
                f"subjectaccessreviews.authorization.k8s.io ({error})"
            ) from error
        except ClusterError as error:
            raise Unavailable(f"who may see what cannot be asked: {error}") from error
        except msgspec.DecodeError as error:
            raise Unavailable(
                f"the API server at {self._client.host} answered with something that is no review: {error}"
            ) from error


def _body(question: Question) -> dict[str, object]:
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": question.identity.username,
            "groups": sorted(question.identity.groups),
            "resourceAttributes": {
                "verb": question.verb,
                "group": question.group,
                "resource": question.resource,
                "namespace": question.namespace,
                "name": question.name,
            },
        },
    }
