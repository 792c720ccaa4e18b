"""What statistics says of a handful of models: `correlation`, with n and an exact p-value."""
