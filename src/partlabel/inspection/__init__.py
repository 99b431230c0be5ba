"""What can be told of a label table and its images before any training: states, gaps, broken files, leaks across a
split.
"""
