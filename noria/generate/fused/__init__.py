"""A pass of a Llama-shaped decoder of 8-bit integers, compiled for this processor (numba)."""
