"""Section 4 of theory.md: the chain of alphas and distances, the theorems as inequalities."""
