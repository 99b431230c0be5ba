"""Methods that transfer labels between classes and images, by features of each class in an image."""

from partlabel.methods.catalogue.entry import Entry, Needs

TRANSFER: dict[str, Entry] = {
    "sst": Entry(
        "sst:SST",
        "Structured semantic transfer (Chen et al.)",
        "AAAI 2022",
        Needs.BOTH_SIGNS,
        "soft",
        "ignored at first, later taken as present where other labels or images speak for it",
    ),
    "hst": Entry(
        "hst:HST",
        "Heterogeneous semantic transfer (Chen et al.)",
        "IJCV 2024",
        Needs.BOTH_SIGNS,
        "soft",
        "ignored at first, later taken as present where other labels or prototypes speak for it",
    ),
    "sarb": Entry(
        "sarb:SARB",
        "Semantic-aware representation blending (Pu et al.)",
        "AAAI 2022",
        Needs.BOTH_SIGNS,
        "soft",
        "ignored at first, later given soft labels where features of present cells are mixed in",
    ),
}
