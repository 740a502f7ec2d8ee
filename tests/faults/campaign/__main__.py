"""The command: rounds until enough faults have fired, or the time is up; then what was seen."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.campaign.rounds import Campaign, Step, Tally
from tests.faults.campaign.troubles import Local, Remote
from tests.support.line import short_directory
from tests.support.rootfs import rootfs_tar


def main() -> int:
    """0 if everything held."""
    options = _options()
    with tempfile.TemporaryDirectory() as images, short_directory() as directory:
        image = f"rootfs:{rootfs_tar(Path(images) / 'tiny.tar')}"
        ground = (Remote if options.remote else Local)(directory, options.storage)
        campaign = Campaign(ground, image, options.seed)
        try:
            if options.steps:
                steps = [Step.parse(step) for step in options.steps.split(";")]
                campaign.tally.broken += filter(None, [campaign.play(steps, 0) for _ in range(options.times)])
            elif options.round is not None:
                campaign.round(options.round)
            else:
                _until_enough(campaign, options)
        finally:
            ground.close()
            if campaign.tally.broken:
                Path(options.log).write_text(ground.log())
    print(report(campaign.tally))
    return 1 if campaign.tally.broken else 0


def _until_enough(campaign: Campaign, options: argparse.Namespace) -> None:
    end = time.monotonic() + options.seconds
    number = options.first
    while campaign.tally.faults < options.faults and time.monotonic() < end:
        campaign.round(number)
        number += 1
        tally = campaign.tally
        if sys.stderr.isatty() or number % 25 == 0:
            print(f"{tally.rounds} rounds, {tally.faults} faults, {len(tally.broken)} broken", file=sys.stderr)


def report(tally: Tally) -> str:
    """For people, and for the documentation."""
    lines = [f"{tally.rounds} rounds, {tally.faults} faults"]
    lines += [f"  {count:6}  {name}" for name, count in tally.happened.most_common()]
    lines.append("acts ended:")
    lines += [f"  {count:6}  {name}" for name, count in tally.outcomes.most_common()]
    lines.append(f"{len(tally.broken)} broken")
    return "\n".join([*lines, *tally.broken])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.campaign", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=10_000, help="how many are to fire")
    parser.add_argument("--seconds", type=float, default=7200, help="after which it ends whatever has fired")
    parser.add_argument("--first", type=int, default=0, metavar="ROUND", help="begin there")
    parser.add_argument("--round", type=int, help="play this one only: to see again what was reported")
    parser.add_argument("--steps", metavar="STEP; …", help="play these only, as a report shows them")
    parser.add_argument("--times", type=int, default=1, help="play them so often")
    parser.add_argument("--remote", action="store_true", help="a location over TCP, whose link is cut and slow as well")
    parser.add_argument("--storage", default="auto", help="the node's driver")
    parser.add_argument("--log", default="campaign.log", help="where the daemons' log goes if something broke")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
