"""Tests that change, delete and flush what is only in memory."""

from __future__ import annotations

import redis

SEED = {"rye": "3.50", "wheat": "2.90"}


def everything(prices: redis.Redis) -> dict[str, str]:
    names = sorted(prices.keys())
    return dict(zip(names, prices.mget(names), strict=True)) if names else {}


def test_a_price_rises(prices: redis.Redis) -> None:
    assert everything(prices) == SEED
    prices.set("rye", "9.90")
    assert prices.get("rye") == "9.90"


def test_everything_is_flushed(prices: redis.Redis) -> None:
    assert everything(prices) == SEED
    prices.flushall()
    assert everything(prices) == {}


def test_a_million_bytes_are_added(prices: redis.Redis) -> None:
    assert everything(prices) == SEED
    prices.set("dough", "x" * 1_000_000)
    assert prices.strlen("dough") == 1_000_000


def test_the_seed_is_there_after_all_that(prices: redis.Redis) -> None:
    assert everything(prices) == SEED
