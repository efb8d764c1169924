"""Weights in, numbers out: each with the weight hash it was measured on and an interval."""
