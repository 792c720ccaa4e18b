"""Section 7 of theory.md: the synthetic experiment."""
