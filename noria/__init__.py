"""Noria: raise your own language model, from raw text to a served model that feedback improves."""

__version__ = "0.1.0"
__all__ = ["__version__"]
