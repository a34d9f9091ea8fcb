"""labd for task authors. Standard library only, Python 3.8 and later."""

__version__ = "0.1.0"
