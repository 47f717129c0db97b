"""Every known fault has its test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FAULTS = {
    1: "http_410_on_watch",
    2: "in_stream_410",
    3: "410_on_page_2",
    4: "410_again_on_the_relist",
    5: "504_too_large_resource_version",
    6: "429_with_retry_after",
    7: "in_stream_500_without_reason",
    8: "html_502_and_503",
    9: "line_cut_in_the_middle",
    10: "reset_in_mid_stream",
    11: "silent_half_open_connection",
    12: "instant_close_loop",
    13: "line_of_more_than_4_mib",
    14: "multibyte_split_across_chunks",
    15: "missing_kind_on_list_items",
    16: "deleted_while_disconnected",
    17: "deleted_and_created_anew_in_one_batch",
    18: "old_deleted_replayed_after_the_new_creation",
    19: "duplicate_and_stale_events",
    20: "crash_between_page_and_sweep",
    21: "crash_between_commit_and_acknowledgement",
    22: "database_down",
    23: "deadlock_and_serialisation_failure",
    24: "what_postgresql_refuses",
    25: "duplicate_key_in_a_batch",
    26: "etcd_restored",
    27: "another_cluster_behind_the_url",
    28: "lagging_api_server",
    29: "no_bookmarks",
    30: "crd_added_deleted_created_anew",
    31: "preferred_version_flips",
    32: "conversion_webhook_down",
    33: "stale_api_service",
    34: "rbac_revoked_in_mid_watch",
    35: "token_or_ca_rotated",
    36: "over_100_watches",
    37: "zombie_leader_writes",
    38: "leader_killed_in_mid_list",
    39: "versions_no_64_bit_number_holds",
    40: "empty_list_while_rows_exist",
    41: "disk_full_or_read_only",
}
"""What a client of Kubernetes and PostgreSQL has to survive; a test's name goes on from there."""

TESTS = set(
    re.findall(
        r"^async def test_fault_(\w+)\(",
        "".join(path.read_text() for path in sorted(Path(__file__).parent.glob("test_*.py"))),
        re.MULTILINE,
    )
)


@pytest.mark.parametrize(("number", "name"), FAULTS.items())
def test_a_fault_has_its_test(number: int, name: str) -> None:
    assert [test for test in TESTS if test.startswith(f"{number:02}_{name}")]


def test_no_test_is_of_an_unknown_fault() -> None:
    known = tuple(f"{number:02}_{name}" for number, name in FAULTS.items())
    assert [test for test in TESTS if not test.startswith(known)] == []
