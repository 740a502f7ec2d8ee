"""What the benchmarks stand on: a disk, a private location, the services that run on it."""
