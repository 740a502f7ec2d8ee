"""The suite that `benchmarks.suite` runs: its tests, and a conftest for each way to give them a container."""
