"""Methods, one paper per file; `catalogue` names them without importing torch."""
