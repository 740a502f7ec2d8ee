"""pytest-tf: disposable containers as the unit of test isolation."""
