"""The command line as far as it works without a cluster and a database; the rest is in `tests/e2e`."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jwt
import pytest
import structlog

from presenter.commands.main import COMMANDS, main
from presenter.config import variables

KEY = "the-key-of-these-tests-is-long-enough"


@dataclass
class Outcome:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


Presenter = Callable[..., Outcome]


@pytest.fixture
def presenter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Presenter]:
    """`presenter …` with these environment variables alone; what it does to logging is undone afterwards."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments: str, **environment: str) -> Outcome:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["presenter", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), printed.out, printed.err)

    yield run
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def _plain(text: str) -> str:
    """Without the frames and line breaks that the terminal's width makes."""
    return re.sub(r"[\s│╭╮╰╯─]+", " ", text)


# -- help ------------------------------------------------------------------------------------------------------------


def test_the_first_help_names_every_command_and_where_to_begin(presenter: Presenter) -> None:
    shown = presenter("--help")
    assert shown.code == 0
    assert {name for name in COMMANDS if re.search(rf"^│ {name} ", shown.out, re.MULTILINE)} == set(COMMANDS)
    assert "presenter demo" in shown.out
    assert "presenter settings" in shown.out


def test_without_a_command_the_help_is_shown(presenter: Presenter) -> None:
    shown = presenter()
    assert shown.code == 2
    assert "Usage: presenter" in shown.out + shown.err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(presenter: Presenter, command: str) -> None:
    shown = presenter(command, "--help")
    assert shown.code == 0
    text = _plain(shown.out)
    assert f"Usage: presenter {command}" in text
    assert COMMANDS[command] in text
    for option in re.findall(r"--[a-z-]+", text):
        described = re.search(rf"{option}(?: [A-Z]+| <[a-z]+>)? (?:\[required\] )?\S+ \S+", text)
        assert described, f"{option} says nothing"


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("token", ["--user", "--group", "--ttl"]),
        ("can-i", ["--user", "--group", "--namespace", "--all-namespaces", "--cluster"]),
        ("status", ["--watch", "--json"]),
        ("migrate", ["--reader"]),
        ("forget", []),
        ("migrate-values", []),
        ("demo", ["--port", "--objects", "--data-dir", "--kubeconfig"]),
        ("sandbox", ["--port", "--load", "--objects", "--kubeconfig-out"]),
    ],
)
def test_the_options_are_the_documented_ones(presenter: Presenter, command: str, options: list[str]) -> None:
    text = presenter(command, "--help").out
    assert set(re.findall(r"(?<![`\w])--[a-z-]+", text)) == {*options, "--help"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["run", "--nonsense"],
        ["demo", "--port", "http"],
        ["token"],
        ["can-i", "--user", "alice"],
        ["can-i", "list", "--user", "alice"],
        ["can-i", "list", "pods"],
        ["can-i", "lst", "pods", "--user", "alice"],
        ["status", "extra"],
        ["forget"],
    ],
)
def test_what_it_does_not_know_is_refused(presenter: Presenter, arguments: list[str]) -> None:
    assert presenter(*arguments).code == 2


# -- settings --------------------------------------------------------------------------------------------------------


def test_settings_lists_every_variable_with_its_default(presenter: Presenter) -> None:
    lines = presenter("settings").out.splitlines()
    assert [line.split()[0] for line in lines] == list(variables())
    defaults = dict(re.findall(r"^(\w+) .*\[default: (.*)\]$", "\n".join(lines), re.MULTILINE))
    assert (
        defaults.items()
        >= {
            "PORT": "8080",
            "DEBUG": "false",
            "DB_PORT": "5432",
            "DB_READY_TIMEOUT": "4m",
            "WATCH": "*.*.krateo.io,customresourcedefinitions.apiextensions.k8s.io",
        }.items()
    )


@pytest.mark.parametrize("command", ["run", "watch", "serve", "migrate", "demo", "sandbox"])
def test_a_wrong_setting_stops_the_start_in_one_line(presenter: Presenter, command: str) -> None:
    refused = presenter(command, PORT="eighty")
    assert refused.code == 2
    assert refused.out == ""
    assert refused.err.count("\n") == 1
    assert refused.err.startswith("presenter: PORT is 'eighty': ")


def test_what_others_say_in_several_lines_is_one(presenter: Presenter, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("a: [b\nc: {")
    refused = presenter("sandbox", "--load", str(tmp_path))
    assert refused.code == 2
    assert refused.err.count("\n") == 1
    assert refused.err.startswith(f"presenter: --load: {tmp_path / 'bad.yaml'}: not YAML or JSON: while parsing")


@pytest.mark.parametrize("command", ["run", "serve"])
def test_serving_needs_a_key(presenter: Presenter, command: str) -> None:
    refused = presenter(command)
    assert refused.code == 2
    assert refused.err.startswith("presenter: SIGN_KEY is not set: set it to the key that signs your users' tokens")
    assert refused.err.count("\n") == 1


@pytest.mark.parametrize(
    ("watch", "message"),
    [("Pods", "WATCH has the pattern 'Pods'"), ("!pods", "WATCH is '!pods', which includes nothing")],
)
def test_a_wrong_pattern_is_refused_by_name(presenter: Presenter, watch: str, message: str) -> None:
    refused = presenter("run", SIGN_KEY=KEY, WATCH=watch, DB_HOST="127.0.0.1")
    assert refused.code == 2
    assert refused.err.startswith(f"presenter: {message}")


# -- token -----------------------------------------------------------------------------------------------------------


def test_a_token_names_the_user_and_the_groups(presenter: Presenter) -> None:
    printed = presenter("token", "--user", "alice", "--group", "devs", "--group", "cn=ops,ou=people", SIGN_KEY=KEY)
    assert printed.code == 0
    claims = jwt.decode(printed.out.strip(), KEY, algorithms=["HS256"])
    assert (claims["username"], claims["sub"]) == ("alice", "alice")
    assert claims["groups"] == ["devs", "cn=ops,ou=people"]


def test_a_token_carries_the_claims_of_the_contract(presenter: Presenter) -> None:
    printed = presenter("token", "--user", "alice", "--ttl", "1h30m", SIGN_KEY=KEY)
    claims = jwt.decode(printed.out.strip(), KEY, algorithms=["HS256"])
    assert claims.keys() == {"username", "sub", "groups", "iss", "iat", "nbf", "exp"}
    assert claims["iss"] == "krateo.io"
    assert claims["exp"] - claims["iat"] == 5400


def test_a_token_names_the_issuer_that_is_asked_for(presenter: Presenter) -> None:
    printed = presenter("token", "--user", "alice", SIGN_KEY=KEY, JWT_ISSUER="someone")
    assert jwt.decode(printed.out.strip(), KEY, algorithms=["HS256"])["iss"] == "someone"


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--user", "alice"], {}, "SIGN_KEY is not set"),
        (["--user", "alice", "--ttl", "1 day"], {"SIGN_KEY": KEY}, "--ttl is '1 day': a duration is written like"),
        (["--user", "alice", "--ttl", "99999999999999h"], {"SIGN_KEY": KEY}, "--ttl is '99999999999999h': a duration"),
        (["--user", ""], {"SIGN_KEY": KEY}, "--user is empty"),
    ],
)
def test_a_token_that_cannot_be_made_says_why(
    presenter: Presenter, arguments: list[str], environment: dict[str, str], message: str
) -> None:
    refused = presenter("token", *arguments, **environment)
    assert refused.code == 2
    assert refused.err.startswith(f"presenter: {message}")
    assert refused.err.count("\n") == 1


# -- can-i -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "code", "message"),
    [("alice", 1, "PostgreSQL cannot be used: "), ("", 2, "--user is empty")],
)
def test_a_question_that_cannot_be_answered_says_why(presenter: Presenter, user: str, code: int, message: str) -> None:
    refused = presenter("can-i", "list", "pods", "--user", user, DB_HOST="127.0.0.1", DB_PORT="1")
    assert (refused.code, refused.out) == (code, "")
    assert refused.err.startswith(f"presenter: {message}")
    assert refused.err.count("\n") == 1
