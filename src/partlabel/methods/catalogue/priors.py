"""Methods that learn from a matrix of scores which another tagger gave the images."""

from partlabel.methods.catalogue.entry import Entry, Needs

PRIORS: dict[str, Entry] = {
    "vlpl": Entry(
        "vlpl:VLPL",
        "Vision-language pseudo-labels, VLPL (Xing et al.)",
        "CVPRW 2024",
        Needs.PRESENT,
        "soft",
        "softly taken as present where the prior finds them likely, else kept undecided",
        needs_prior=True,
    ),
    "gpr": Entry(
        "gpr:GPR",
        "Generalized pseudo-label robust loss, GPR (Tran et al.)",
        "ICCV 2025",
        Needs.PRESENT,
        "soft",
        "softly taken as present where the prior finds them likely, else pushed up or down by what the network says",
        needs_prior=True,
    ),
    "cdul": Entry(
        "cdul:CDUL",
        "Pseudo-labels of a prior that follow the network, CDUL (Abdelfattah et al.)",
        "ICCV 2023",
        Needs.NOTHING,
        "soft",
        "given the probability of the prior, which the network corrects where that is undecided",
        needs_prior=True,
    ),
}
