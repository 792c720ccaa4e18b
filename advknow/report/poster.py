"""What the ICML 2021 poster prints in its two tables (theory.md section 6): squares, percent."""

# Of both tables; the second repeats the first one's, a slip of the poster.
TRANSFER = (28.30, 45.65, 55.09, 76.60, 77.92)


def _table(names: str, *columns: tuple[float, ...]) -> dict[str, tuple[float, ...]]:
    rows = zip(TRANSFER, *columns, strict=True)
    return dict(zip(names.split(), rows, strict=True))


# By source: knowledge transfer %, alpha1, alpha2 squared, alpha1*alpha2 squared.
TABLES = {
    "adv2know": _table(
        "MLP LeNet AlexNet ResNet18 ResNet50",
        (0.35, 0.32, 0.34, 0.54, 0.61),
        (0.19, 0.22, 0.21, 0.24, 0.22),
        (0.026, 0.025, 0.027, 0.071, 0.090),
    ),
    "know2adv": _table(
        "0% 25% 50% 75% 100%",
        (0.31, 0.32, 0.34, 0.34, 0.36),
        (0.15, 0.31, 0.36, 0.31, 0.36),
        (0.017, 0.038, 0.044, 0.040, 0.049),
    ),
}

NOTES = {
    "adv2know": "",
    "know2adv": (
        "The poster's knowledge-transfer column here repeats the one of its first table: a slip of "
        "the poster."
    ),
}
