"""Tensors and config to and from the layouts of published model families."""
