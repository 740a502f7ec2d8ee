"""What pytest-tf costs, beside what it replaces: `python -m benchmarks.run`, or `make bench`."""
