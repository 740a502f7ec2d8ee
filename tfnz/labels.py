"""Labels of what `pytest --tf-keep` keeps of a failed test, by which `tf resume` finds all of it again."""

FAILURE = "failure"
"""An id, the same for all containers of one test."""

CONTAINER = "container"
"""The name of the container's fixture."""

TEST = "test"
"""The test's own id."""
