"""What a model is to get better at: scores in, a loss out, each a pure function with its paper."""
