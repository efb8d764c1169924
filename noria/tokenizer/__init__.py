"""Text to token ids and back: training, loading, the chat renderer and token shards. No torch."""
