"""What a model is used for, one file per application."""
