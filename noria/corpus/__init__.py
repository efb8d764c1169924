"""Text in, records out: read, clean, de-identify, de-duplicate, split, decontaminate. No torch."""
