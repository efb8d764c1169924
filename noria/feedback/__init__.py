"""What users said: interactions, feedback, and the store that keeps both."""
