"""`tf-location doctor`: what is wrong with a location, and the way out."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from tflocation.cli.asking import asks_the_daemon, directory_of, run_of, verb

EVERY = 0.5
"""Seconds between two looks, with --wait."""

MARKS = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}


def add_to(commands: Any) -> None:
    """The verb's arguments."""
    doctor = verb(commands, "doctor", _doctor, "look for what is wrong, and say the way out")
    doctor.add_argument("--json", action="store_true", help="for programs: one object for each finding")
    doctor.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="as long as something is wrong")
    asks_the_daemon(doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    """Look at files, store, disk, daemon and nodes. Exit status 1 if something is wrong; notes do not count."""
    import dataclasses

    from tflocation.examination import examine

    directory = directory_of(arguments)
    run, deadline = run_of(arguments, directory), time.monotonic() + arguments.wait
    while True:
        findings = examine(directory, run)
        wrong = sum(finding.level == "wrong" for finding in findings)
        if not wrong or time.monotonic() >= deadline:
            break
        time.sleep(EVERY)
    if arguments.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
        return 1 if wrong else 0
    for finding in findings:
        print(f"{MARKS[finding.level]} {finding.name:<12} {finding.sentence}")
        if finding.way_out:
            print(f"      {'':<12} {finding.way_out}")
    print(f"{wrong} of {len(findings)} findings have to be mended" if wrong else "nothing has to be mended")
    return 1 if wrong else 0
