"""Images: where they lie, how they are decoded, and the views of them that a network sees."""
