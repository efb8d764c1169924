"""What a Transformer has to beat to earn its cost."""
