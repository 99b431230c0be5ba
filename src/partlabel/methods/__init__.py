"""Methods, one paper a file; `catalogue` names them without importing torch."""
