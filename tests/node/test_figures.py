"""What an agent counts of itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tfcore.timings import BOUNDS
from tfcore.wire.containers import ContainerReady, RolledBack
from tfnode.figures import Figures


def test_rollbacks_are_counted_by_tier() -> None:
    figures = Figures()
    figures.rolled_back(RolledBack(generation=2, seconds=seconds, tier="spare") for seconds in (0.002, 0.004))
    figures.rolled_back([RolledBack(generation=3, seconds=2.0, tier="cold")])
    told = figures.told(spares=4)
    assert [(of.name, of.count, of.seconds) for of in told.rollbacks] == [("cold", 1, 2.0), ("spare", 2, 0.006)]
    assert all(sum(of.buckets) == of.count and len(of.buckets) == len(BOUNDS) + 1 for of in told.rollbacks)
    assert told.spares == 4


def test_only_boots_that_end_well_count() -> None:
    async def scenario() -> None:
        figures = Figures()

        async def boot(error: Exception | None) -> ContainerReady:
            if error is not None:
                raise error
            return ContainerReady(generation=1, seconds=0.3)

        tasks = [asyncio.ensure_future(boot(error)) for error in (None, OSError("no"))]
        for task in tasks:
            task.add_done_callback(figures.booted)
        gone = asyncio.ensure_future(asyncio.Event().wait())
        gone.add_done_callback(figures.booted)  # type: ignore[arg-type]
        gone.cancel()
        await asyncio.gather(*tasks, gone, return_exceptions=True)
        await asyncio.sleep(0)
        (boots,) = figures.told(spares=0).boots
        assert (boots.count, boots.seconds) == (1, 0.3)

    asyncio.run(scenario())


def test_the_agents_own_process(tmp_path: Path) -> None:
    told = Figures().told(spares=0)
    assert told.memory > 1_000_000
    assert told.descriptors > 2
    assert told.threads >= 1
    nowhere = Figures(tmp_path / "nowhere").told(spares=0)
    assert (nowhere.memory, nowhere.descriptors) == (0, 0)
