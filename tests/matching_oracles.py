"""Theorem 1 pair by pair, and the distances by brute-force least squares, in NumPy float64."""

import numpy as np
import oracles

from advknow import gram
from advknow.passes.apply_fn import as_pytree

# A source and a target of other numbers of outputs.
N_IN, M, D = 6, 4, 3
SOURCE = oracles.tanh_network(0, n=N_IN, d=M, scale=2.0)
TARGET = oracles.tanh_network(1, n=N_IN, d=D, scale=2.0)


def source_attacks(jacobian, hessian):
    """delta^(i) of every example by an SVD: (B, m, n), H (B, m, m) -> (B, r, n), r = min(n, m).

    The right singular vectors of H^{1/2} J; where H is singular, completed within the rows of J.
    """
    found = []
    for j, h in zip(jacobian, hessian, strict=True):
        rank = min(j.shape)
        _, s, vt = np.linalg.svd(oracles.symmetric_root(h) @ j, full_matrices=False)
        # The root of an eigenvalue 0 of H comes out as large as the root of rounding, 1e-8.
        seen = vt[:rank][s[:rank] > 1e-7 * s[0]]
        _, t, rows = np.linalg.svd(j - (j @ seen.T) @ seen, full_matrices=False)
        unseen = rows[: rank - len(seen)]
        assert len(unseen) == 0 or t[len(unseen) - 1] > 1e-9 * s[0]
        found.append(np.concatenate([seen, unseen]))
    return np.array(found)


def theorem1(j_s, j_t, h_s, h_t):
    """E_{x1,x2}[v^(i) A2^(i,j) v^(j)] by all pairs, A1 (N, r), A2_mean and tr(P' H_T P S^+).

    h_t is one matrix (d, d).
    """
    delta = source_attacks(j_s, h_s)
    on_source = np.einsum("bmn,brn->brm", j_s, delta)
    on_target = np.einsum("bdn,brn->brd", j_t, delta)
    s = np.mean(j_s @ j_s.swapaxes(1, 2), axis=0)
    p = np.mean(j_t @ j_s.swapaxes(1, 2), axis=0)
    k = np.linalg.pinv(s, rcond=1e-12, hermitian=True)

    def length(v, metric):
        return np.sqrt(max(v @ metric @ v, 0.0))

    def cos(u, v, metric):
        scale = length(u, metric) * length(v, metric)
        return u @ metric @ v / scale if scale > 0 else 0.0

    count, r = on_source.shape[:2]
    top = np.linalg.svd(oracles.symmetric_root(h_t) @ j_t, compute_uv=False)[:, 0]
    a1 = np.array([[length(v, h_t) for v in on_target[x]] for x in range(count)]) / top[:, None]
    v = a1 * top[:, None]
    v *= np.array([[length(u, k) for u in on_source[x]] for x in range(count)])
    heat = np.zeros((r, r))
    for x1 in range(count):
        for x2 in range(count):
            for i in range(r):
                for j in range(r):
                    a2 = cos(on_target[x1, i], on_target[x2, j], h_t)
                    a2 *= cos(on_source[x1, i], on_source[x2, j], k)
                    heat[i, j] += v[x1, i] * a2 * v[x2, j] / count**2
    weight = np.sqrt(np.mean(v**2, axis=0))
    return heat, a1, heat / (weight[:, None] * weight), np.trace(p.T @ h_t @ p @ k)


def best_affine(responses, regressors, hessian):
    """min_A sqrt(E |Y - A Z|_H^2) by one least-squares problem in all entries of A.

    responses (N, d, q), regressors (N, p, q), hessian (N, d, d) -> distance, A (d, p), norm.
    """
    count, d, q = responses.shape
    p = regressors.shape[1]
    root = np.array([oracles.symmetric_root(h) for h in hessian])
    design = np.einsum("xab,xiq->xaqbi", root, regressors).reshape(count * d * q, d * p)
    weighted = (root @ responses).reshape(count * d * q)
    a = np.linalg.lstsq(design, weighted, rcond=1e-10)[0]
    left = weighted - design @ a
    return np.sqrt(left @ left / count), a.reshape(d, p), np.sqrt(weighted @ weighted / count)


def best_affine_of_outputs(responses, source, hessian):
    """The same of outputs: responses (N, d) on (source (N, m), 1); A is (d, m + 1)."""
    z = np.concatenate([source, np.ones((len(source), 1))], axis=1)
    return best_affine(responses[:, :, None], z[:, :, None], hessian)


def constant(matrix, count):
    """H of every example: (d, d) -> (count, d, d)."""
    return np.broadcast_to(matrix, (count, *np.shape(matrix)))


def random_hessian(seed, d, *, rank=None):
    """A random positive semi-definite matrix (d, d) of that rank."""
    factor = np.random.default_rng(seed).normal(size=(d, rank or d))
    return factor @ factor.T / d


def grams(source, target, x, *, loss):
    """The Gram matrices of these examples in one batch; both models attacked with the loss."""
    return gram.of_batch(
        as_pytree(source), as_pytree(target), x, len(x), loss=loss, source_loss=loss
    )
