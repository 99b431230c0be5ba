"""Methods on the towers of a model that was trained on images with texts."""

from partlabel.methods.catalogue.entry import Entry, Needs

VISION_LANGUAGE: dict[str, Entry] = {
    "zero_shot": Entry(
        "zero_shot:ZeroShot",
        "Text vectors of the class names as a classifier (Radford et al., Zhai et al.)",
        "ICML 2021",
        Needs.NOTHING,
        "unlabelled",
        "not read, as known ones are not",
        fitted=True,
        joint_space="attended",
    ),
    "clip_map": Entry(
        "clip_map:ClipMap",
        "Two learned vectors per class on the locations of an image tower (baseline of Rawlekar et al.)",
        "WACV 2025",
        Needs.BOTH_SIGNS,
        "ignored",
        "ignored",
        joint_space="projected",
    ),
    "positive_coop": Entry(
        "positive_coop:PositiveCoOp",
        "Positive prompts and negative vectors, PositiveCoOp (Rawlekar et al.)",
        "WACV 2025",
        Needs.BOTH_SIGNS,
        "ignored",
        "ignored",
        joint_space="projected",
    ),
    "dual_coop": Entry(
        "dual_coop:DualCoOp",
        "Positive and negative prompts, DualCoOp (Sun et al.)",
        "NeurIPS 2022",
        Needs.BOTH_SIGNS,
        "ignored",
        "ignored",
        joint_space="projected",
    ),
    "dual_coop_plus": Entry(
        "dual_coop_plus:DualCoOpPlus",
        "Prompts of evidence, and classes that compete, DualCoOp++ (Hu et al.)",
        "TPAMI 2023",
        Needs.BOTH_SIGNS,
        "ignored",
        "ignored",
        joint_space="plain",
    ),
}
