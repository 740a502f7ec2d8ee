"""A randomised campaign of faults against a real location: seeded, replayable, bounded, shrunk to its cause.

    python -m tests.faults.campaign --faults 10000 --seed 7

Everything that happens in a round follows from the seed and the round's number.
"""
