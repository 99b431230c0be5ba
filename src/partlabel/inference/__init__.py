"""A finished tagger, asked: its scores, its decisions, and what tables say of files."""
