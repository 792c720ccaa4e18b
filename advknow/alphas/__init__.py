"""Section 2 of theory.md: alpha1, alpha2 and alpha1*alpha2 of a pair of models."""
