"""Backbones, heads, the tagger they make, and the bundle it is shipped in."""
