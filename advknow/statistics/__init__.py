"""What statistics says of models that rank others: README.md here has the question of each file.

matrices (from long records), tau, choices, intervals, holm, partial, static, agreement, null,
resamples, ranks; and correlation, of a handful of rows, with n and an exact p-value.
"""
