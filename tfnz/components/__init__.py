"""Services made of containers, ready to use: `from tfnz.components.postgresql import Postgresql`."""

__all__ = ["postgresql"]
