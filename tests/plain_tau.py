"""Weighted tau written out pair by pair, from Vigna's definitions (WWW 2015)."""

import math


def _sign(number):
    return (number > 0) * 1 - (number < 0) * 1


def _one_way(x, y):
    """By ranks from 0 of x, the highest first, y breaking ties."""
    n = len(x)
    order = sorted(range(n), key=lambda i: (x[i], y[i]), reverse=True)
    rank = {i: r for r, i in enumerate(order)}

    def product(u, v):
        total = 0.0
        for i in range(n):
            for j in range(i):
                signs = _sign(u[i] - u[j]) * _sign(v[i] - v[j])
                total += signs * (1 / (rank[i] + 1) + 1 / (rank[j] + 1))
        return total

    return product(x, y) / math.sqrt(product(x, x) * product(y, y))


def weighted_tau(x, y):
    return (_one_way(x, y) + _one_way(y, x)) / 2
