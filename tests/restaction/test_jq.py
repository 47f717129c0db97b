"""jq programs in a process of their own: what they give, what they cost at most, and what they cannot get at."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from presenter.restaction.jq import Jq, JqError
from tests.eventually import eventually

SECRET = "a-secret-that-no-program-may-see"


AS_IT_IS = ". as [$any] ?// $any"
"""With this in it a program is not understood, and given to jq as it is."""


async def test_what_gojq_does_not_have_fails(jq: Jq) -> None:
    for program in "[keys_unsorted]", "1 | debug", "$__loc__":
        with pytest.raises(JqError, match="snowplow does not have"):
            await jq.all(program, {})
    assert await jq.all("def debug: 5; debug", {}) == [5]


async def test_programs_give_all_or_the_first_of_their_outputs(jq: Jq) -> None:
    value = {"items": [{"name": "b"}, {"name": "ä"}], "big": 12345678901234567890123}
    assert await jq.all("[.items[].name] | sort", value) == [["b", "ä"]]
    assert await jq.all(".items[].name", value) == ["b", "ä"]
    assert await jq.first(".items[].name", value) == "b"
    assert await jq.first("range(infinite)", None) == 0
    assert await jq.all("empty", value) == []
    assert await jq.all(".big", value) == [value["big"]], "digits are not lost on the way"
    assert await jq.all(". # a comment", 1) == [1]
    assert await jq.all("nan", None) == [None]
    assert await jq.all("[.[]], keys", {"b": 1, "a": 2}) == [[2, 1], ["a", "b"]], "as in gojq"
    await jq.check(".a | map(.b)")
    with pytest.raises(JqError, match="gives no output, in: empty"):
        await jq.first("empty", None)


@pytest.mark.parametrize(
    ("program", "says", "line"),
    [
        ("1 +", "syntax error, unexpected end of file", 1),
        (".a |\n nonsense", "nonsense/0 is not defined", 2),
        ("", "Top-level program not given", None),
        (".) | (.", "syntax error", 1),
        (".\0", "NUL", None),
        ("\ud800", "surrogates not allowed", None),
    ],
)
async def test_what_does_not_compile_says_where(jq: Jq, program: str, says: str, line: int | None) -> None:
    for refused in (jq.check(program), jq.all(program, None)):
        with pytest.raises(JqError) as raised:
            await refused
        assert says in raised.value.message
        assert "\n" not in raised.value.message
        assert raised.value.line == line
    assert await jq.all(".", 1) == [1]


async def test_what_fails_says_why(jq: Jq) -> None:
    with pytest.raises(JqError, match=r"Cannot iterate over null \(null\), in:"):
        await jq.all(".[]", None)
    with pytest.raises(JqError, match="mine"):
        await jq.all('error("mine")', None)
    with pytest.raises(JqError) as raised:
        await jq.all('error("x" * 1000000)', None)
    assert len(raised.value.message) < 5000
    with pytest.raises(JqError, match="cannot be given to jq"):
        await jq.all(".", "\ud800")


@pytest.mark.parametrize(
    "program",
    [
        "def f: f; f",
        "last(range(infinite))",
        "[repeat(1)] | length",
        "reduce range(infinite) as $i (0; . + $i)",
        "[recurse(.; true)]",
        "until(false; .)",
    ],
)
async def test_a_program_without_end_is_ended(program: str) -> None:
    async with Jq(seconds=0.5) as jq:
        with pytest.raises(JqError, match=r"does not end within 0\.5 seconds|more memory than is allowed"):
            await jq.all(program, None)
        assert await jq.all("[., 1]", 2) == [[2, 1]], "the next program is not affected"


@pytest.mark.parametrize("program", ["range(infinite)", "repeat(.)", '[limit(9000; repeat("x"))]', '"x" * 99999'])
async def test_output_without_end_is_ended(program: str) -> None:
    async with Jq(output_bytes=20_000) as jq:
        with pytest.raises(JqError, match="gives more than 20000 bytes"):
            await jq.all(program, None)
        assert await jq.all(".", 2) == [2]


async def test_memory_without_end_is_ended() -> None:
    async with Jq(seconds=60, memory_bytes=256 << 20) as jq:
        with pytest.raises(JqError, match="more memory than is allowed"):
            await jq.all('"xxxxxxxxxxxxxxxx" * 50000000 | [., ., .] | map(. + "y") | map(. + "z") | length', None)
        assert await jq.all(".", 2) == [2]


async def test_limits_of_its_parent_hold_for_it_too() -> None:
    script = (
        "import asyncio, resource, presenter.restaction.jq as m\n"
        "for what, limit in (resource.RLIMIT_AS, 1 << 30), (resource.RLIMIT_CPU, 5), (resource.RLIMIT_CORE, 0):\n"
        "    resource.setrlimit(what, (limit, limit))\n"
        "async def ask():\n"
        "    async with m.Jq(memory_bytes=4 << 30) as jq:\n"
        "        print(await jq.all('. + 1', 1))\n"
        "asyncio.run(ask())\n"
    )
    asking = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert (await asking.communicate())[0] == b"[2]\n"


async def test_what_is_nested_without_end_is_refused(jq: Jq) -> None:
    with pytest.raises(JqError, match="cannot be read"):
        await jq.all("reduce range(9000) as $i (1; [.])", None)
    assert await jq.all(".", 2) == [2]


async def test_no_program_sees_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGN_KEY", SECRET)
    async with Jq() as jq:
        assert await jq.all("$ENV, env", None) == [{}, {}]
        with pytest.raises(JqError, match="not defined"):
            await jq.all("$__prog_args", None)
        process = psutil.Process(_children()[0])
        assert SECRET not in str(process.environ())
        assert process.cwd() == "/"


async def test_no_program_reads_a_file(jq: Jq, tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text(json.dumps(SECRET))
    (tmp_path / "module.jq").write_text(f'def secret: "{SECRET}";')
    for program in [
        f'import "{tmp_path}/data" as $d; $d',
        f'import "data" as $d {{search: "{tmp_path}"}}; $d',
        f'import "module" as m {{search: "{tmp_path}"}}; m::secret',
        f'include "module" {{search: "{tmp_path}"}}; secret',
        f'"{tmp_path}/module" | modulemeta',
    ]:
        with pytest.raises(JqError) as raised:
            await jq.all(program, None)
        assert SECRET not in raised.value.problem
    assert await jq.all(f"{AS_IT_IS} | input_filename, get_search_list", None) == [None, []]


async def test_no_program_disturbs_what_is_said_about_it(jq: Jq) -> None:
    for program in ["halt", "halt_error", '"x" | halt_error(3)', "[inputs]", "input?"]:
        assert await jq.all(f"{AS_IT_IS} | {program}", None) in ([], [[]])
    for program in ["debug", "stderr", '"ok 1\\n1" | debug', 'debug("ok 2")', "input_line_number?"]:
        assert len(await jq.all(f"{AS_IT_IS} | {program}", 7)) in (0, 1)
    assert await jq.all('"ok 3\\n[1]"', None) == ["ok 3\n[1]"]
    with pytest.raises(JqError):
        await jq.all(f"{AS_IT_IS} | input", None)
    assert await jq.all(".", 2) == [2]


async def test_many_at_once_get_their_own_answers(jq: Jq) -> None:
    async with asyncio.TaskGroup() as tasks:
        answers = [tasks.create_task(jq.all(f". + {number % 7}", number)) for number in range(50)]
    assert [answer.result() for answer in answers] == [[number + number % 7] for number in range(50)]
    assert len(_children()) == 1


async def test_who_gives_up_waiting_does_not_leave_an_answer_to_the_next(jq: Jq) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await jq.all("last(range(infinite))", None)
    assert await jq.all(".", 2) == [2]


async def test_a_process_that_is_gone_is_replaced_and_none_is_left() -> None:
    async with Jq() as jq:
        assert await jq.all(".", 1) == [1]
        [first] = _children()
        psutil.Process(first).kill()
        with pytest.raises(JqError, match="crashes"):
            await jq.all(".", 1)
        assert await jq.all(".", 1) == [1]
        [second] = _children()
    assert not psutil.pid_exists(second)
    assert first != second


async def test_nothing_goes_on_when_the_one_who_asked_is_gone() -> None:
    script = (
        "import asyncio, presenter.restaction.jq as m\n"
        "async def ask():\n"
        "    async with m.Jq(seconds=1) as jq:\n"
        "        await jq.all('.', 1)\n"
        "        print(jq._process.pid, flush=True)\n"
        "        await jq.all('last(range(infinite))', 1)\n"
        "asyncio.run(ask())\n"
    )
    asking = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert asking.stdout is not None
    evaluating = psutil.Process(int(await asking.stdout.readline()))
    idle = evaluating.cpu_times().user
    await eventually(lambda: asyncio.to_thread(evaluating.cpu_times), lambda used: used.user > idle + 0.1)
    asking.kill()
    assert await asking.wait() == -9

    async def runs() -> bool:
        try:
            return evaluating.status() != psutil.STATUS_ZOMBIE  # which not every init takes away
        except psutil.NoSuchProcess:
            return False

    await eventually(runs, lambda running: not running)


def _children() -> list[int]:
    """The processes that evaluate programs for this one, which may have others, and adopted some that have ended."""
    evaluating = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if "presenter.restaction.jq_process" in child.cmdline():
                evaluating.append(child.pid)
    return evaluating
