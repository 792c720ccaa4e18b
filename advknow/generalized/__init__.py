"""Section 3 of theory.md: A1, A2 and rho^2 of all attacks of the source."""
