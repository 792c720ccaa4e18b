"""Studies whose truth is known: normal scores and truths of sources on targets."""

import numpy as np


def study(rng, targets, sources, *, r, common, spread=0.0, scores=1):
    """Scores, (scores, T, S), and truth, (T, S), each correlated r with truth on every target.

    A share `common` of the variance is the source's on all targets, the rest its own on each. With
    `spread` the inverse hyperbolic tangent of the target's own r varies with that deviation.
    """
    own = np.tanh(np.arctanh(r) + spread * rng.normal(size=(targets, 1)))

    def pair(shape, rho):
        truth, noise = rng.normal(size=shape), rng.normal(size=(scores, *shape))
        return rho * truth + np.sqrt(1 - rho**2) * noise, truth

    of_all, of_each = pair((1, sources), r), pair((targets, sources), own)
    return tuple(
        np.sqrt(common) * a + np.sqrt(1 - common) * b for a, b in zip(of_all, of_each, strict=True)
    )
