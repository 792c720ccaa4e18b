"""The five architectures once more, in NumPy: any dtype, loops over windows, nothing shared."""

import numpy as np


def _conv(x, layer, stride=1, padding=0):
    kernel = layer["kernel"]
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(1, 2))
    windows = windows[:, ::stride, ::stride]
    return np.einsum("bijcuv,uvcf->bijf", windows, kernel, optimize=True) + layer.get("bias", 0)


def _dense(x, layer):
    return x @ layer["kernel"] + layer.get("bias", 0)


def _relu(x):
    return np.maximum(x, 0)


def _pool(x):
    height, width = x.shape[1] // 2, x.shape[2] // 2
    x = x[:, : 2 * height, : 2 * width]
    return x.reshape(len(x), height, 2, width, 2, -1).max(axis=(2, 4))


def _pixels(x):
    return 2 * np.asarray(x, np.float64) - 1


class _BatchNorm:
    """Running statistics, or the batch's own and what the running ones become."""

    def __init__(self, train):
        self.train = train

    def __call__(self, x, layer, stats, changed, name):
        mean, variance = stats[name]["mean"], stats[name]["var"]
        if self.train:
            axes = tuple(range(x.ndim - 1))
            old, mean, variance = (mean, variance), x.mean(axes), x.var(axes)
            changed[name] = {
                "mean": 0.9 * old[0] + 0.1 * mean,
                "var": 0.9 * old[1] + 0.1 * variance,
            }
        return (x - mean) / np.sqrt(variance + 1e-5) * layer[name]["scale"] + layer[name]["bias"]


def mlp(params, stats, x, train):
    x = _pixels(x).reshape(len(x), -1)
    for i in range(4):
        x = _relu(_dense(x, params[f"Dense_{i}"]))
    return x, {}


def lenet(params, stats, x, train):
    x = _pool(_relu(_conv(_pixels(x), params["Conv_0"])))
    x = _pool(_relu(_conv(x, params["Conv_1"])))
    x = _relu(_dense(x.reshape(len(x), -1), params["Dense_0"]))
    return _relu(_dense(x, params["Dense_1"])), {}


def alexnet(params, stats, x, train):
    x = _pool(_relu(_conv(_pixels(x), params["Conv_0"], 4, 5)))
    x = _pool(_relu(_conv(x, params["Conv_1"], 1, 2)))
    for i in (2, 3, 4):
        x = _relu(_conv(x, params[f"Conv_{i}"], 1, 1))
    return _pool(x).reshape(len(x), -1), {}


def _block(kind, params, stats, changed, x, stride, norm):
    def bn(x, i):
        return norm(x, params, stats, changed, f"BatchNorm_{i}")

    if kind == "basic":
        y = _relu(bn(_conv(x, params["Conv_0"], stride, 1), 0))
        y = bn(_conv(y, params["Conv_1"], 1, 1), 1)
    else:
        y = _relu(bn(_dense(x, params["Dense_0"]), 0))
        y = _relu(bn(_conv(y, params["Conv_0"], stride, 1), 1))
        y = bn(_dense(y, params["Dense_1"]), 2)
    if x.shape != y.shape:
        projection, last = ("Dense_0", 2) if kind == "basic" else ("Dense_2", 3)
        x = bn(_dense(x[:, ::stride, ::stride], params[projection]), last)
    return _relu(x + y)


def _resnet(kind, stages):
    name = "BasicBlock" if kind == "basic" else "Bottleneck"

    def forward(params, stats, x, train):
        norm, changed = _BatchNorm(train), {}
        x = _conv(_pixels(x), params["Conv_0"], 1, 1)
        x = _relu(norm(x, params, stats, changed, "BatchNorm_0"))
        block = 0
        for stage, count in enumerate(stages):
            for i in range(count):
                here = f"{name}_{block}"
                changed[here] = {}
                stride = 2 if stage and not i else 1
                x = _block(kind, params[here], stats[here], changed[here], x, stride, norm)
                block += 1
        return x.mean(axis=(1, 2)), changed

    return forward


def _whole(backbone):
    def forward(variables, x, train=False):
        """(features, logits, batch_stats after a step in training mode)."""
        params = variables["params"]
        features, changed = backbone(params["backbone"], variables.get("batch_stats", {}), x, train)
        return features, _dense(features, params["head"]), changed

    return forward


ORACLES = {
    "mlp": _whole(mlp),
    "lenet": _whole(lenet),
    "alexnet": _whole(alexnet),
    "resnet18": _whole(_resnet("basic", (2, 2, 2, 2))),
    "resnet50": _whole(_resnet("bottleneck", (3, 4, 6, 3))),
}
