"""The run: a folder that holds everything about one training, and what was decided when it started. No torch."""
