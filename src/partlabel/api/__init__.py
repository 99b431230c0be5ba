"""The verbs as functions: the same words as on the command line."""
