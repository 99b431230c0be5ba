"""Pure functions (logits, labels, ...) -> scalar or per-cell values: no state, no logging, no device code."""
