"""Graphs between classes."""
