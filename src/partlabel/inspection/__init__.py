"""What can be told of a label table and its pictures before any training: states, gaps, broken files, leaks across a split."""
