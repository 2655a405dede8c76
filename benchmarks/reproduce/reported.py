"""The figures that the papers report, in per cent. `table` shows our results next to them.

COBRA: Moslemi et al., "Fair Dataset Distillation via Cross-Group Barycenter Alignment" (ICML 2026, arXiv 2605.00185).
Its EOD seems to be a maximum over classes in some rows and a mean in others. FairDD: Zhou et al., NeurIPS 2025
(arXiv 2411.19623).

Data sets have the names of `benchmarks`; two of them are not available here. Methods have the names of `methods`.
"""

Figures = dict[str, tuple[float | None, ...]]

# table -> ipc -> data set -> method -> (EOD, accuracy)
COBRA: dict[str, dict[int, dict[str, Figures]]] = {
    "dm": {
        10: {
            "cifar10_s": {
                "vanilla": (56.25, 37.2),
                "fairdd": (25.63, 44.9),
                "cobra_code": (20.18, 44.5),
                "full": (48.96, 69.71),
            },
            "c_mnist_fg": {"vanilla": (100.0, 26.2), "fairdd": (7.26, 94.0), "cobra_code": (6.71, 94.1)},
            "c_mnist_bg": {
                "vanilla": (100.0, 20.3),
                "fairdd": (7.51, 94.7),
                "cobra_code": (7.04, 94.5),
                "full": (10.30, None),
            },
            "c_fmnist_fg": {
                "vanilla": (99.20, 33.9),
                "fairdd": (17.25, 76.6),
                "cobra_code": (15.93, 77.1),
                "full": (78.40, None),
            },
            "c_fmnist_bg": {"vanilla": (99.50, 22.1), "fairdd": (24.05, 70.9), "cobra_code": (21.48, 70.6)},
            "utkface": {"vanilla": (35.53, 55.9), "fairdd": (22.78, 67.5), "cobra_code": (20.78, 70.7)},
            "bffhq": {
                "vanilla": (44.80, 65.1),
                "fairdd": (14.10, 66.0),
                "cobra_code": (15.73, 69.5),
                "full": (64.00, None),
            },
        },
        50: {
            "cifar10_s": {
                "vanilla": (73.22, None),
                "fairdd": (25.40, None),
                "cobra_code": (16.70, None),
                "full": (48.96, 69.71),
            },
            "c_mnist_bg": {
                "vanilla": (100.0, None),
                "fairdd": (8.45, None),
                "cobra_code": (7.46, 96.8),
                "full": (10.30, None),
            },
            "utkface": {"vanilla": (53.50, None), "fairdd": (38.83, None), "cobra_code": (35.00, None)},
            "bffhq": {
                "vanilla": (60.27, None),
                "fairdd": (24.13, None),
                "cobra_code": (15.13, None),
                "full": (64.00, None),
            },
        },
        100: {
            "cifar10_s": {
                "vanilla": (82.87, 45.4),
                "fairdd": (25.17, 61.2),
                "cobra_code": (9.37, 62.4),
                "full": (48.96, 69.71),
            },
            "c_mnist_bg": {"vanilla": (100.0, None), "cobra_code": (7.58, None), "full": (10.30, None)},
            "c_fmnist_fg": {"vanilla": (100.0, None), "cobra_code": (24.17, None), "full": (78.40, None)},
            "c_fmnist_bg": {"vanilla": (100.0, None), "cobra_code": (22.40, None)},
            "utkface": {"vanilla": (48.83, None), "cobra_code": (32.33, None)},
            "bffhq": {"vanilla": (63.47, 65.8), "cobra_code": (7.87, 74.2), "full": (64.00, None)},
        },
    },
}

# table -> ipc -> data set -> method -> (EODM, EODA, accuracy)
FAIRDD: dict[str, dict[int, dict[str, Figures]]] = {
    "dm": {
        10: {
            "c_mnist_fg": {
                "vanilla": (100.0, 99.96, 25.0),
                "fairdd": (17.04, 7.95, 94.61),
                "full": (10.1, 5.89, 97.71),
            },
            "c_mnist_bg": {
                "vanilla": (100.0, 99.97, 23.4),
                "fairdd": (13.42, 6.77, 94.88),
                "full": (9.7, 5.78, 97.80),
            },
            "c_fmnist_fg": {
                "vanilla": (100.0, 99.05, 33.4),
                "fairdd": (26.87, 16.38, 77.09),
                "full": (79.2, 41.72, 82.94),
            },
            "c_fmnist_bg": {
                "vanilla": (100.0, 99.68, 22.3),
                "fairdd": (33.05, 19.72, 71.10),
                "full": (91.4, 51.68, 77.97),
            },
            "cifar10_s": {
                "vanilla": (59.20, 39.31, 37.9),
                "fairdd": (31.75, 8.73, 45.17),
                "full": (49.72, 33.17, 69.78),
            },
        },
        50: {
            "c_mnist_fg": {"fairdd": (10.05, 5.46, 96.58)},
            "c_mnist_bg": {"fairdd": (8.98, 5.25, 96.86)},
            "c_fmnist_fg": {"fairdd": (24.92, 13.74, 82.11)},
            "c_fmnist_bg": {"fairdd": (24.50, 14.47, 79.07)},
        },
    },
}
