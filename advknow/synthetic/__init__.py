"""The synthetic experiment (theory.md section 7)."""
