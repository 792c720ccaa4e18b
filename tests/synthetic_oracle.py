"""The synthetic experiment in NumPy float64, by other routes: Jacobians by hand, SVD, lstsq."""

import numpy as np


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


def hidden(w, x):
    return _sigmoid(w["W1"] @ x + w["b1"])


def outputs(w, x):
    return w["W2"] @ hidden(w, x) + w["b2"]


def jacobians(w, x):
    """(N, d, n)."""
    h = hidden(w, x)
    return np.einsum("dm,mN,mn->Ndn", w["W2"], h * (1 - h), w["W1"])


def _unit(v):
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def _direction(j_1, j_2, level):
    """alpha1, alpha2 and alpha1*alpha2 (norms) of 1 -> 2."""
    u, s, vt = np.linalg.svd(j_1, full_matrices=False)
    on_1 = s[:, level, None] * u[:, :, level]
    on_2 = np.einsum("Ndn,Nn->Nd", j_2, vt[:, level])
    alpha1 = np.linalg.norm(on_2, axis=1) / np.linalg.svd(j_2, compute_uv=False)[:, 0]
    pairs = np.einsum("Na,Nb->Nab", _unit(on_1), _unit(on_2))
    return (
        alpha1.mean(),
        np.linalg.norm(pairs.mean(axis=0)),
        np.linalg.norm((alpha1[:, None, None] * pairs).mean(axis=0)),
    )


def rows(x, y, networks, *, level, num_steps=10):
    """The table's rows as lists, in its columns' order.

    x (n, N), y (d, N); networks: the arrays of a weights file.
    """
    x, y = x.astype(np.float64), y.astype(np.float64)
    target, source, deviation = (
        {name: networks[f"{role}_{name}"].astype(np.float64) for name in ("W1", "b1", "W2", "b2")}
        for role in ("target", "source", "deviate")
    )
    j_t = jacobians(target, x)
    loss_t = np.sqrt(np.mean(np.sum((y - outputs(target, x)) ** 2, axis=0)))
    found = []
    for k in range(num_steps):
        source = {name: w + 0.1 * k * deviation[name] for name, w in source.items()}
        j_s = jacobians(source, x)
        s_t, t_s = _direction(j_s, j_t, level), _direction(j_t, j_s, level)
        # All columns of all examples' Jacobians at once: min_A |J_T - A J_S|.
        z, r = (j.transpose(1, 0, 2).reshape(j.shape[1], -1) for j in (j_s, j_t))
        a = np.linalg.lstsq(z.T, r.T, rcond=None)[0].T
        gmd = np.sqrt(np.sum((r - a @ z) ** 2) / x.shape[1])
        features = np.vstack([hidden(source, x), np.ones(x.shape[1])]).T
        rest = y.T - features @ np.linalg.lstsq(features, y.T, rcond=None)[0]
        loss_s = np.sqrt(np.mean(np.sum(rest**2, axis=1)))
        alphas = [value for pair in zip(s_t, t_s, strict=True) for value in pair]
        found.append([0.1 * k, *alphas, gmd, loss_s, loss_t])
    return np.array(found)
