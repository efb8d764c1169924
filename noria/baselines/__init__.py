"""What a Transformer has to beat to earn its cost: n-grams, tags, LSTMs, word counts, vectors."""
