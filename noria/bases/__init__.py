"""Models that others trained, made into model folders of ours: read, checked, never executed."""
