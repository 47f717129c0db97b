"""WATCH patterns, as operators write them."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenter.cache.watch_patterns import NEVER_BY_WILDCARD, WatchPatterns
from presenter.config import DEFAULT_WATCH
from presenter.errors import ConfigError

TYPES = (
    ("", "pods"),
    ("", "secrets"),
    ("", "events"),
    ("apps", "deployments"),
    ("events.k8s.io", "events"),
    ("coordination.k8s.io", "leases"),
    ("krateo.io", "things"),
    ("core.krateo.io", "compositiondefinitions"),
    ("widgets.templates.krateo.io", "panels"),
    ("widgets.templates.krateo.io", "buttons"),
    ("composition.krateo.io", "fireworksapps"),
    ("notkrateo.io", "panels"),
)


def selected(*patterns: str) -> set[str]:
    chosen = WatchPatterns(patterns)
    return {f"{resource}.{group}".rstrip(".") for group, resource in TYPES if chosen.selects(group, resource)}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["pods"], {"pods"}),
        (["deployments.apps"], {"deployments.apps"}),
        (["panels.widgets.templates.krateo.io"], {"panels.widgets.templates.krateo.io"}),
        (["*.composition.krateo.io"], {"fireworksapps.composition.krateo.io"}),
        (
            ["*.*.krateo.io"],
            {
                "compositiondefinitions.core.krateo.io",
                "panels.widgets.templates.krateo.io",
                "buttons.widgets.templates.krateo.io",
                "fireworksapps.composition.krateo.io",
            },
        ),
        (["*.krateo.io"], {"things.krateo.io"}),
        (["*"], {"pods", "events"}),
        (["p*"], {"pods"}),
        (["panels.*", "!*.notkrateo.io"], {"panels.widgets.templates.krateo.io"}),
        (["!panels.*", "panels.*", "pods"], {"pods"}),
        (["secrets"], {"secrets"}),
        (["*", "!*", "secrets"], set()),
        (["leases.coordination.k8s.io"], {"leases.coordination.k8s.io"}),
        (["*.coordination.k8s.io", "leases.*"], set()),
        (["events.events.k8s.io"], {"events.events.k8s.io"}),
    ],
)
def test_selects(patterns: list[str], expected: set[str]) -> None:
    assert selected(*patterns) == expected


def test_everything_is_every_type_but_the_reserved_ones() -> None:
    names = {f"{resource}.{group}".rstrip(".") for group, resource in TYPES}
    assert selected("*.*") == names - NEVER_BY_WILDCARD


def test_the_default_takes_krateo_and_the_crds() -> None:
    chosen = WatchPatterns(DEFAULT_WATCH)
    assert chosen.selects("apiextensions.k8s.io", "customresourcedefinitions")
    assert chosen.selects("widgets.templates.krateo.io", "panels")
    assert not chosen.selects("", "pods")
    assert chosen.texts == DEFAULT_WATCH


@pytest.mark.parametrize("pattern", ["", ".", "pods.", ".apps", "Pods", "a b", "pods/log", "!!pods", "a..b", "!"])
def test_an_ill_formed_pattern_is_named(pattern: str) -> None:
    with pytest.raises(ConfigError, match="WATCH") as caught:
        WatchPatterns(["pods", pattern])
    assert repr(pattern.removeprefix("!")) in str(caught.value)


@pytest.mark.parametrize("patterns", [[], ["!pods"]])
def test_something_must_be_included(patterns: list[str]) -> None:
    with pytest.raises(ConfigError, match="WATCH"):
        WatchPatterns(patterns)


_parts = st.lists(st.sampled_from(["a", "ab", "b", "*", "a*", "*b"]), min_size=1, max_size=3).map(".".join)
_types = st.tuples(
    st.lists(st.sampled_from(["a", "ab", "b"]), max_size=3).map(".".join),
    st.sampled_from(["a", "ab", "b", "abb"]),
)


@given(st.lists(_parts, min_size=1, max_size=3), st.lists(_parts, max_size=2), _types)
def test_agrees_with_shell_patterns(including: list[str], excluding: list[str], kind: tuple[str, str]) -> None:
    group, resource = kind

    def matches(pattern: str) -> bool:
        left, _, right = pattern.partition(".")
        return fnmatchcase(resource, left) and fnmatchcase(group, right)

    expected = any(map(matches, including)) and not any(map(matches, excluding))
    chosen = WatchPatterns([*(f"!{pattern}" for pattern in excluding), *including])
    assert chosen.selects(group, resource) == expected


@pytest.mark.parametrize("watch", ["pods", "!*.rbac.authorization.k8s.io,pods", "!roles.rbac.authorization.k8s.io,*.*"])
def test_what_decides_access_is_always_watched(watch: str) -> None:
    patterns = WatchPatterns(watch.split(","))
    for resource in ("roles", "rolebindings", "clusterroles", "clusterrolebindings"):
        assert patterns.selects("rbac.authorization.k8s.io", resource)


def test_the_groups_that_patterns_reach() -> None:
    patterns = WatchPatterns(["*.*.krateo.io", "pods", "!panels.widgets.templates.krateo.io"])
    assert [patterns.reaches(group) for group in ("widgets.templates.krateo.io", "", "apps", "krateo.io")] == [
        True,
        True,
        False,
        False,
    ]
