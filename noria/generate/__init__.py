"""Weights to tokens: the one weight loader, sampling, and the decoding engine."""
