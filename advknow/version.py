"""The version, in one place, importable without JAX."""

__version__ = "0.1.0"
