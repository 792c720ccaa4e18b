"""What the ICML 2021 poster prints in its two tables (theory.md section 6): squares, percent."""

# source, knowledge transfer %, alpha1, alpha2 squared, alpha1*alpha2 squared
ADV2KNOW = {
    "MLP": (28.30, 0.35, 0.19, 0.026),
    "LeNet": (45.65, 0.32, 0.22, 0.025),
    "AlexNet": (55.09, 0.34, 0.21, 0.027),
    "ResNet18": (76.60, 0.54, 0.24, 0.071),
    "ResNet50": (77.92, 0.61, 0.22, 0.090),
}
KNOW2ADV = {
    "0%": (28.30, 0.31, 0.15, 0.017),
    "25%": (45.65, 0.32, 0.31, 0.038),
    "50%": (55.09, 0.34, 0.36, 0.044),
    "75%": (76.60, 0.34, 0.31, 0.040),
    "100%": (77.92, 0.36, 0.36, 0.049),
}
TABLES = {"adv2know": ADV2KNOW, "know2adv": KNOW2ADV}

NOTES = {
    "adv2know": "",
    "know2adv": (
        "The poster's knowledge-transfer column here repeats the one of its first table: a slip of "
        "the poster."
    ),
}
