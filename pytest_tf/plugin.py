"""The pytest plugin's entry point: options and hooks. Imports pytest and the standard library only, so that loading costs nothing."""
