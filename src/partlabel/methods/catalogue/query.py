"""Methods whose head asks the map one question per class or group of classes."""

from partlabel.methods.catalogue.entry import Entry, Needs

QUERY: dict[str, Entry] = {
    "ml_decoder": Entry(
        "ml_decoder:MLDecoder",
        "Queries for groups of classes, ML-Decoder (Ridnik et al.), with the asymmetric loss of known cells",
        "WACV 2023",
        Needs.BOTH_SIGNS,
        "ignored",
        "ignored",
        may_assume_absent=True,
    ),
    "query2label": Entry(
        "query2label:Query2Label",
        "A query for each class, Query2Label (Liu et al.), with the asymmetric loss of known cells",
        "arXiv 2021",
        Needs.BOTH_SIGNS,
        "ignored",
        "ignored",
        may_assume_absent=True,
    ),
}
