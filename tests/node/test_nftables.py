"""Rule sets as text, and libnftables: what it applies, what it says, and whose tables go when."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address

import pytest

from tfcore.errors import CommandFailed
from tfnode.kernel.namespaces import in_netns
from tfnode.network.nftables import Nftables
from tfnode.network.rules import ROUTER_TABLE, host_table, pair_elements, source_element
from tfnode.network.ruleset import Chain, Hook, Set, Table
from tfnode.testing.netns import fresh_netns, run_in

ONE, OTHER = IPv4Address("10.117.0.2"), IPv4Address("10.117.0.3")
TABLE = Table(
    family="ip",
    name="t",
    sets=(Set("known", "ipv4_addr"),),
    chains=(
        Chain("inner", ("accept",)),
        Chain("outer", ("ip saddr @known jump inner", "drop"), Hook("filter", "input", "filter", "drop")),
    ),
)
TEXT = """\
add table ip t
delete table ip t
table ip t {
	set known {
		type ipv4_addr;
	}
	chain inner {
		accept
	}
	chain outer {
		type filter hook input priority filter; policy drop;
		ip saddr @known jump inner
		drop
	}
}"""


@pytest.fixture
def netns() -> Iterator[int]:
    with fresh_netns() as made:
        yield made


@pytest.fixture
def rules(netns: int) -> Iterator[Nftables]:
    made = in_netns(netns, Nftables)
    yield made
    made.close()


def test_table_as_text() -> None:
    assert TABLE.load() == TEXT


def test_flags_are_part_of_the_first_mention() -> None:
    owned = Table(family="ip", name="t", chains=(), flags=("owner",))
    assert owned.load() == "add table ip t { flags owner; }\ndelete table ip t\ntable ip t {\n\tflags owner;\n}"


def test_elements_as_text() -> None:
    assert TABLE.add_elements("known", ["10.0.0.1", "10.0.0.2"]) == "add element ip t known { 10.0.0.1, 10.0.0.2 }"
    assert TABLE.delete_elements("known", ["10.0.0.1"]) == "delete element ip t known { 10.0.0.1 }"


def test_pair_is_both_directions() -> None:
    assert pair_elements(ONE, OTHER) == ("10.117.0.2 . 10.117.0.3", "10.117.0.3 . 10.117.0.2")


def test_source_is_a_link_and_an_address() -> None:
    assert source_element("c7", ONE) == '"c7" . 10.117.0.2'


def test_pairs_are_judged_before_anything_else_is_accepted() -> None:
    """A general `established` rule for containers would keep live flows going after their pair is gone."""
    forward = next(chain for chain in ROUTER_TABLE.chains if chain.name == "forward")
    assert forward.hook is not None
    assert forward.hook.policy == "drop"
    assert forward.rules[0] == "ct original ip saddr . ct original ip daddr @allow accept"
    assert all('"up0"' in rule for rule in forward.rules[1:] if rule.endswith("accept"))


@pytest.mark.parametrize("table", [TABLE, ROUTER_TABLE, host_table("tf01234567", ONE, flags=())])
def test_tables_load_again_and_go(table: Table, rules: Nftables, netns: int) -> None:
    rules.run(table.load())
    first = run_in(netns, "nft", "list", "ruleset")
    rules.run(table.load())
    assert run_in(netns, "nft", "list", "ruleset") == first
    assert f"table {table.family} {table.name}" in first
    rules.run(table.delete())
    assert run_in(netns, "nft", "list", "ruleset") == ""


def test_owned_table_goes_with_its_connection(netns: int) -> None:
    rules = in_netns(netns, Nftables)
    rules.run(host_table("tf01234567", ONE, flags=("owner",)).load())
    assert "tf01234567" in run_in(netns, "nft", "list", "tables")
    rules.close()
    assert run_in(netns, "nft", "list", "tables") == ""


def test_refusal_carries_their_words_and_changes_nothing(rules: Nftables, netns: int) -> None:
    rules.run(TABLE.load())
    before = run_in(netns, "nft", "list", "ruleset")
    with pytest.raises(CommandFailed, match=r"nftables: .*No such file or directory"):
        rules.run(f"{TABLE.add_elements('known', ['10.0.0.9'])}\n{TABLE.add_elements('unknown', ['10.0.0.9'])}")
    assert run_in(netns, "nft", "list", "ruleset") == before


def test_refusal_does_not_colour_what_follows(rules: Nftables) -> None:
    with pytest.raises(CommandFailed):
        rules.run("nonsense")
    assert rules.run("add table ip t") == ""
    assert rules.run("list tables") == "table ip t\n"


def test_query_answers_in_json(rules: Nftables) -> None:
    rules.run("add table ip t")
    assert '"name": "t"' in rules.query("list tables")
    assert rules.run("list tables") == "table ip t\n"


def test_tables_of_all_families_are_listed_whoever_owns_them(rules: Nftables, netns: int) -> None:
    owners = in_netns(netns, Nftables)
    owners.run(host_table("tf01234567", ONE, flags=("owner",)).load())
    rules.run("add table inet everything")
    assert sorted(rules.tables()) == [("inet", "everything"), ("ip", "tf01234567")]
    owners.close()
    assert rules.tables() == [("inet", "everything")]


def test_connections_belong_to_where_they_were_made(rules: Nftables) -> None:
    with fresh_netns() as elsewhere:
        others = in_netns(elsewhere, Nftables)
        others.run("add table ip elsewhere")
        rules.run("add table ip here")
        assert rules.run("list tables") == "table ip here\n"
        assert others.run("list tables") == "table ip elsewhere\n"
        others.close()


def test_many_threads_share_a_connection(rules: Nftables) -> None:
    rules.run(TABLE.load())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: rules.run(TABLE.add_elements("known", [f"10.0.0.{n}"])), range(100)))
    assert all(f"10.0.0.{n}" in rules.run("list set ip t known") for n in range(100))


def test_closed_is_said_and_leaves_nothing(netns: int) -> None:
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    rules = in_netns(netns, Nftables)
    rules.close()
    rules.close()
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before
    with pytest.raises(CommandFailed, match="closed"):
        rules.run("list tables")
