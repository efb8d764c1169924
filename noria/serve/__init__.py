"""The live model over HTTP: OpenAI's API, keys, limits, feedback. Never imports train."""
