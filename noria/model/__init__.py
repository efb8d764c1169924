"""Our own Transformer: token ids in, logits out. torch only."""
