"""The methods by name: where the code is, which paper, what each assumes of labels. No torch here.

To add a method, write `methods/NAME.py` and one entry below.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, Literal

from partlabel.errors import AssumptionError, UsageError
from partlabel.labels import LabelTable


class Needs(StrEnum):
    """What a table must hold so that a method can learn from it."""

    BOTH_SIGNS = "known present and known absent cells"
    PRESENT = "known present cells"
    PAIRS = "images with both a known present and a known absent cell"


ReadsUnknown = Literal["ignored", "absent", "soft", "unlabelled"]
"""How a method reads unknown cells. "ignored": no gradient reaches them. "absent": as if they were known absent, at
least in the first epoch. "soft": by a target or a weight of their own, such as a prediction or a smaller share in the
loss. "unlabelled": as every cell that is not known present, known absent ones included.
"""


@dataclass(frozen=True)
class Entry:
    """One method of the catalogue.

    Args:
        location: "module:Class" below `partlabel.methods`.
        title: the paper's, or what it is.
        venue: where and when it was published.
        needs: what it needs of a label table.
        reads_unknown: how it reads unknown cells.
        unknown: the same in a few words, after "unknown cells are".
        may_assume_absent: whether its setting `unknown="absent"` has it take unknown cells as absent; known present
            cells are all it needs then.
        ignores_with: a setting, and the value with which it ignores unknown cells instead.
        fitted: whether it is fitted to the features of a frozen backbone at once, without steps of an optimizer.
        needs_start: whether it learns from the predictions of an earlier run, whose weights it starts from.
    """

    location: str
    title: str
    venue: str
    needs: Needs
    reads_unknown: ReadsUnknown
    unknown: str
    may_assume_absent: bool = False
    ignores_with: tuple[str, Any] | None = None
    fitted: bool = False
    needs_start: bool = False

    @property
    def takes_absence_from_unknown(self) -> bool:
        """Whether unknown cells, held-out ones among them, teach it what is absent; a fitted method only where no
        absent cell is known, and then whole images are held out.
        """
        soft = self.reads_unknown == "soft" and self.needs is Needs.PRESENT and not self.fitted
        return self.reads_unknown == "absent" or soft


CATALOGUE: dict[str, Entry] = {
    "assume_negative": Entry(
        "assume_negative:AssumeNegative",
        "Binary cross-entropy with unknown taken as absent",
        "baseline",
        Needs.PRESENT,
        "absent",
        "taken as absent",
    ),
    "bce": Entry(
        "bce:KnownBCE",
        "Binary cross-entropy on known cells; partial BCE (Durand et al.)",
        "CVPR 2019",
        Needs.BOTH_SIGNS,
        "ignored",
        "ignored",
    ),
    "asl": Entry(
        "asl:Asymmetric",
        "Asymmetric loss for multi-label classification (Ridnik et al.)",
        "ICCV 2021",
        Needs.BOTH_SIGNS,
        "ignored",
        "ignored",
        may_assume_absent=True,
    ),
    "focal": Entry(
        "asl:Focal",
        "Focal loss for dense object detection (Lin et al.)",
        "ICCV 2017",
        Needs.BOTH_SIGNS,
        "ignored",
        "ignored",
        may_assume_absent=True,
    ),
    "discriminant": Entry(
        "discriminant:Discriminant",
        "Semi-supervised linear discriminant, in closed form on frozen features",
        "ours",
        Needs.PRESENT,
        "soft",
        "given soft labels, where these help",
        ignores_with=("soft_weight", 0),
        fitted=True,
    ),
    "self_training": Entry(
        "self_training:SelfTraining",
        "Self-training on soft labels of the run that it starts from (Hinton et al., Xie et al.)",
        "CVPR 2020",
        Needs.BOTH_SIGNS,
        "soft",
        "given the probabilities of the run that it starts from",
        ignores_with=("soft_weight", 0),
        needs_start=True,
    ),
    "saliency": Entry(
        "saliency:Saliency",
        "Saliency regularization for self-training with partial annotations (Wang et al.)",
        "ICCV 2023",
        Needs.BOTH_SIGNS,
        "soft",
        "given confident pseudo-labels",
        ignores_with=("pseudo", "none"),
    ),
    "colearning": Entry(
        "colearning:CoLearning",
        "Co-learning of semantic-aware features and label recovery, CSL (He et al.)",
        "arXiv 2025",
        Needs.BOTH_SIGNS,
        "soft",
        "given the network's own probabilities as soft labels",
        ignores_with=("colearning", False),
    ),
    "positive_unlabeled": Entry(
        "positive_unlabeled:PositiveUnlabeled",
        "Positive label is all you need for multi-label classification, PU-MLC (Yuan et al.)",
        "ICME 2024",
        Needs.PRESENT,
        "unlabelled",
        "unlabelled, as is the whole batch; absent cells are not used",
    ),
    "coselection": Entry(
        "coselection:CoSelection",
        "Partial labels: from sample selection to label selection (Lyu et al.)",
        "AAAI 2025",
        Needs.PRESENT,
        "absent",
        "taken as absent, but for those that a second network finds unlikely to be",
    ),
    "co_teaching": Entry(
        "co_teaching:CoTeaching",
        "Co-teaching, with BCE (Han et al.)",
        "NeurIPS 2018",
        Needs.PRESENT,
        "absent",
        "taken as absent; each network learns what its peer finds easy",
    ),
    "co_teaching_plus": Entry(
        "co_teaching_plus:CoTeachingPlus",
        "Co-teaching+, with BCE (Yu et al.)",
        "ICML 2019",
        Needs.PRESENT,
        "absent",
        "taken as absent; learned where two networks disagree and the peer finds it easy",
    ),
    "jocor": Entry(
        "jocor:JoCoR",
        "JoCoR, with BCE (Wei et al.)",
        "CVPR 2020",
        Needs.PRESENT,
        "absent",
        "taken as absent; learned where two networks agree easily",
    ),
    "ssgrl": Entry(
        "ssgrl:SSGRL",
        "Semantic-specific graph representation learning (Chen et al.), with BCE of known cells",
        "ICCV 2019",
        Needs.BOTH_SIGNS,
        "ignored",
        "ignored",
        may_assume_absent=True,
    ),
    "ml_gcn": Entry(
        "ml_gcn:MLGCN",
        "Multi-label recognition with graph convolutions (Chen et al.), with partial BCE",
        "CVPR 2019",
        Needs.BOTH_SIGNS,
        "ignored",
        "ignored",
        may_assume_absent=True,
    ),
    "interactive": Entry(
        "interactive:Interactive",
        "Interactive multi-label CNN learning with partial labels (Huynh, Elhamifar)",
        "CVPR 2020",
        Needs.BOTH_SIGNS,
        "soft",
        "predicted, and kept smooth over similar images and related labels",
    ),
    "label_smoothing": Entry(
        "single_positive:LabelSmoothing",
        "Assume negative with label smoothing, AN-LS (Cole et al.)",
        "CVPR 2021",
        Needs.PRESENT,
        "absent",
        "taken as absent, smoothed",
    ),
    "weak_assume_negative": Entry(
        "single_positive:WeakAssumeNegative",
        "Weak assume negative, WAN (Cole et al.)",
        "CVPR 2021",
        Needs.PRESENT,
        "soft",
        "taken as absent with weight 1 / (classes - 1)",
    ),
    "expected_positive": Entry(
        "single_positive:ExpectedPositive",
        "Expected positive regularization, EPR (Cole et al.)",
        "CVPR 2021",
        Needs.PRESENT,
        "soft",
        "free, but for the number of present classes expected in an image",
    ),
    "role": Entry(
        "role:Role",
        "Regularized online label estimation, ROLE (Cole et al.)",
        "CVPR 2021",
        Needs.PRESENT,
        "soft",
        "estimated with the classifier, as many present as expected in an image",
    ),
    "entropy_maximization": Entry(
        "entropy_maximization:EntropyMaximization",
        "Acknowledging the unknown, EM + APL (Zhou et al.)",
        "ECCV 2022",
        Needs.PRESENT,
        "soft",
        "kept undecided; the least likely are given soft absent labels",
    ),
    "hill": Entry(
        "hill:Hill",
        "Hill loss for missing labels (Zhang et al.)",
        "arXiv 2021",
        Needs.PRESENT,
        "soft",
        "softly taken as absent, less so where found likely",
    ),
    "splc": Entry(
        "hill:SelfPaced",
        "Self-paced loss correction, SPLC (Zhang et al.)",
        "arXiv 2021",
        Needs.PRESENT,
        "absent",
        "taken as absent; after the first epoch as present where found likely",
    ),
    "large_loss": Entry(
        "large_loss:LargeLoss",
        "Large loss matters in weakly supervised multi-label classification (Kim et al.)",
        "CVPR 2022",
        Needs.PRESENT,
        "absent",
        "taken as absent, but for those of largest loss",
    ),
    "class_selective": Entry(
        "class_selective:ClassSelective",
        "Class-aware selective loss (Ben-Baruch et al.)",
        "CVPR 2022",
        Needs.BOTH_SIGNS,
        "soft",
        "ignored at first; then taken as absent with less weight, but for likely ones and frequent classes",
    ),
    "curriculum": Entry(
        "curriculum:Curriculum",
        "Partial BCE with curriculum labelling (Durand et al.)",
        "CVPR 2019",
        Needs.BOTH_SIGNS,
        "soft",
        "predicted, the easy ones first, and learned from then on",
    ),
    "lsep": Entry(
        "pairwise:LSEP",
        "Log-sum-exp pairwise ranking (Li et al.), of known pairs",
        "CVPR 2017",
        Needs.PAIRS,
        "ignored",
        "ignored",
    ),
    "warp": Entry(
        "pairwise:WARP",
        "Weighted approximate ranking, WARP (Weston et al., Gong et al.), of known pairs",
        "ICLR 2014",
        Needs.PAIRS,
        "ignored",
        "ignored",
    ),
    "wsabie": Entry(
        "wsabie:Wsabie",
        "WARP in a joint embedding of images and classes, WSABIE (Weston et al.), of known pairs",
        "IJCAI 2011",
        Needs.PAIRS,
        "ignored",
        "ignored",
    ),
    "fast0tag": Entry(
        "fast0tag:Fast0Tag",
        "Ranking along a direction among word vectors, Fast0Tag (Zhang et al.), of known pairs",
        "CVPR 2016",
        Needs.PAIRS,
        "ignored",
        "ignored",
    ),
    "latent_noise": Entry(
        "latent_noise:LatentNoise",
        "Seeing through the human reporting bias, Latent Noise (Misra et al.)",
        "CVPR 2016",
        Needs.PRESENT,
        "absent",
        "taken as absent from what is mentioned, which what is seen need not believe",
    ),
    "cnn_rnn": Entry(
        "cnn_rnn:CNNRNN",
        "Labels in sequence, CNN-RNN (Wang et al.)",
        "CVPR 2016",
        Needs.PRESENT,
        "absent",
        "taken as absent, as known absent ones, which are not used otherwise",
    ),
}


def entry(name: str, settings: Mapping[str, Any] | None = None) -> Entry:
    """The entry of a method, as its settings have it; with its defaults if none are given.

    Raises:
        UsageError: no such method.
    """
    if name not in CATALOGUE:
        near = get_close_matches(name, CATALOGUE)
        similar = f"closest: {', '.join(near)}; " if near else ""
        raise UsageError(f"no method {name!r}; {similar}methods are {', '.join(CATALOGUE)}, or auto")
    found, settings = CATALOGUE[name], settings or {}
    if found.ignores_with and found.ignores_with in settings.items():
        return replace(found, reads_unknown="ignored", unknown="ignored")
    if found.may_assume_absent and settings.get("unknown") == "absent":
        return replace(found, needs=Needs.PRESENT, reads_unknown="absent", unknown="taken as absent")
    return found


def check_start(name: str, start: object) -> None:
    """Refuse (UsageError) a method that learns from an earlier run where there is none."""
    if entry(name).needs_start and start is None:
        raise UsageError(
            f"method {name} learns from the predictions of an earlier run; name it (init; in a grid, start)"
        )


def notice(name: str, settings: Mapping[str, Any] | None = None) -> str | None:
    """What the user is told before training: how unknown cells are read, unless they are ignored or unlabelled."""
    found = entry(name, settings)
    return f"{name}: unknown cells are {found.unknown}" if found.reads_unknown in {"absent", "soft"} else None


def misfit(name: str, table: LabelTable, settings: Mapping[str, Any] | None = None) -> str | None:
    """Why a method with such settings cannot learn from a table, or None if it can."""
    needs = entry(name, settings).needs
    counts = table.counts_by_class()
    present, absent = int(counts.present.sum()), int(counts.absent.sum())
    if present == 0:
        return f"{name} needs {needs}, but the table holds no known present cell"
    if needs is not Needs.PRESENT and absent == 0:
        return f"{name} needs {needs}, but the table holds {present} present and no absent cell"
    if needs is Needs.PAIRS:
        of_image = table.counts_by_image()
        if not ((of_image.present > 0) & (of_image.absent > 0)).any():
            return f"{name} needs {needs}, but the table has no such image"
    return None


def check_fit(name: str, table: LabelTable, settings: Mapping[str, Any] | None = None) -> None:
    """Refuse a table that a method with such settings cannot learn from.

    Raises:
        AssumptionError: says what is missing, with counts, and names the methods that would fit.
    """
    reason = misfit(name, table, settings)
    if reason is None:
        return
    fitting = [other for other in CATALOGUE if misfit(other, table) is None]
    advice = "no method can learn from these labels"
    if fitting:
        advice = f"--method auto takes one that fits these labels; they are {', '.join(fitting)}"
    raise AssumptionError(f"{reason}; {advice}")
