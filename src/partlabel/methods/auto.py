"""`--method auto`: what kind of labels a table holds, and the rule that takes a method for them. No torch here.

The first of `RULES` whose words all hold decides. The words are those of `Facts.words`, and how the network is
trained: "frozen", "fine-tuned" from pretrained weights, or "from scratch". What the user sets goes before the settings
    of a rule.
docs/auto.md shows the rules and what they rest on.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from partlabel.errors import AssumptionError
from partlabel.labels import LabelTable

AUTO = "auto"
"""What `method` is called where the rules decide."""

Kind = Literal["both signs", "positives only", "single positive"]
Network = Literal["frozen", "fine-tuned", "from scratch"]
Word = Kind | Network | Literal["mostly present"]

_MOSTLY = 0.5


@dataclass(frozen=True)
class Rule:
    """One line of the rules.

    Args:
        when: words that must all hold.
        method: what is taken then.
        settings: settings of the method that are not its defaults.
        reason: why, as a sentence without its end.
        evidence: page of the documentation with the numbers.
        stages: how many of the last stages of the backbone give features; one where the backbone cannot give more.
    """

    when: tuple[Word, ...]
    method: str
    settings: dict[str, Any]
    reason: str
    evidence: str
    stages: int = 1

    @property
    def all_settings(self) -> dict[str, Any]:
        """Those of the method and of the training."""
        return _all_settings(self.settings, self.stages)


RULES: tuple[Rule, ...] = (
    Rule(
        ("both signs", "from scratch"),
        "saliency",
        {"pseudo": "none", "supervised": "weak"},
        "a network that starts from nothing learns most by looking at single places, as measured on scenes of small "
        "objects, where pseudo-labels did not help",
        "docs/demo.md",
    ),
    Rule(
        ("frozen",),
        "discriminant",
        {},
        "ahead of every loss on two sets of photographs with frozen features, or level with the best, and most where "
        "few labels are known",
        "docs/discriminant.md",
        stages=2,
    ),
    Rule(
        ("both signs", "mostly present"),
        "bce",
        {},
        "the asymmetric loss plays absent cells down, which are rare here; provisional, not measured",
        "docs/auto.md",
    ),
    Rule(
        ("both signs",),
        "asl",
        {},
        "the best of all losses on two sets of photographs with frozen features; that a network which is trained wants "
        "the same is an assumption",
        "docs/discriminant.md",
    ),
    Rule(
        ("single positive",),
        "positive_unlabeled",
        {},
        "the best loss on two sets of photographs with frozen features, with one present label an image; unknown cells "
        "stay unlabelled",
        "docs/discriminant.md",
    ),
    Rule(
        ("positives only",),
        "positive_unlabeled",
        {},
        "among the best losses on two sets of photographs with frozen features, with 75, 50 and 25 % of the present "
        "labels; unknown cells stay unlabelled",
        "docs/discriminant.md",
    ),
)
"""Tried from the top; the last ones hold for every table of their kind."""


@dataclass(frozen=True)
class Facts:
    """What the rules know of a table.

    Args:
        kind: "both signs" if any absent cell is known; "single positive" if none is and no image has two known present
            ones, with more than one class; else "positives only".
        images: number of images.
        classes: number of classes.
        known_share: share of the cells that are known, 0 to 1.
        present_share: share of present among the known cells, 0 to 1.
        median_present: known present cells of a class, the median over classes.
    """

    kind: Kind
    images: int
    classes: int
    known_share: float
    present_share: float
    median_present: float

    @classmethod
    def of(cls, labels: LabelTable) -> "Facts":
        """Count the cells of a table with at least one known present cell."""
        counts = labels.counts_by_class()
        present, absent = int(counts.present.sum()), int(counts.absent.sum())
        images, classes = labels.shape
        return cls(
            kind="both signs" if absent else _kind_of_positives(labels),
            images=images,
            classes=classes,
            known_share=(present + absent) / (images * classes),
            present_share=present / (present + absent),
            median_present=float(np.median(counts.present)),
        )

    @property
    def words(self) -> frozenset[Word]:
        """What rules can ask for: kind, and "mostly present" (over half of the known cells)."""
        found: set[Word] = {self.kind}
        if self.present_share > _MOSTLY:
            found.add("mostly present")
        return frozenset(found)

    def __str__(self) -> str:
        return (
            f"{self.kind}, {self.images:,} × {self.classes:,} cells, {100 * self.known_share:.3g} % known, "
            f"{100 * self.present_share:.3g} % of these present, a class has {self.median_present:,g} of them in the "
            f"median"
        )


@dataclass(frozen=True)
class Choice:
    """What is taken for a table, and why.

    Args:
        method: a name of the catalogue.
        settings: settings of the method that are not its defaults.
        reason: why, with the page that holds the numbers.
        facts: what was known of the table.
        stages: how many of the last stages of the backbone give features.
    """

    method: str
    settings: dict[str, Any]
    reason: str
    facts: Facts
    stages: int = 1

    @property
    def taken(self) -> str:
        """The method with its settings: "saliency, pseudo = none"."""
        settings = _all_settings(self.settings, self.stages)
        return ", ".join([self.method, *(f"{name} = {value}" for name, value in settings.items())])

    def __str__(self) -> str:
        return f"auto takes {self.taken}: {self.reason}; the labels: {self.facts}"


def choose(labels: LabelTable, *, frozen: bool, pretrained: bool = True) -> Choice:
    """The method for a table, by the first rule that holds.

    Args:
        labels: what will be trained on.
        frozen: the backbone keeps its weights.
        pretrained: the backbone starts from pretrained weights.

    Raises:
        AssumptionError: no present cell is known.
    """
    found = choices(labels)
    if not found:
        raise AssumptionError(
            "auto: the table holds no known present cell, without which no method learns; label some images"
        )
    return found["frozen" if frozen else "fine-tuned" if pretrained else "from scratch"]


def choices(labels: LabelTable) -> dict[Network, Choice]:
    """The choice for each way to train the network; none if no present cell is known."""
    if not labels.counts_by_class().present.any():
        return {}
    facts = Facts.of(labels)
    return {network: _first(facts, network) for network in get_args(Network)}


def _all_settings(settings: dict[str, Any], stages: int) -> dict[str, Any]:
    return settings | ({"stages": stages} if stages > 1 else {})


def _first(facts: Facts, network: Network) -> Choice:
    holding = facts.words | {network}
    rule = next(rule for rule in RULES if holding.issuperset(rule.when))
    return Choice(rule.method, dict(rule.settings), f"{rule.reason} ({rule.evidence})", facts, rule.stages)


def _kind_of_positives(labels: LabelTable) -> Kind:
    """With one class every image has at most one present cell, which says nothing."""
    single = len(labels.classes) > 1 and labels.counts_by_image().present.max() == 1
    return "single positive" if single else "positives only"
