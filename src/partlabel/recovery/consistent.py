"""Suggestions that exclude each other: day and night of one image."""

from dataclasses import replace
from itertools import combinations

import numpy as np

from partlabel.labels import State
from partlabel.recovery.suggest import Suggestions
from partlabel.relations import Relations


def without_exclusions(found: Suggestions, relations: Relations) -> tuple[Suggestions, int]:
    """The suggestions without pairs that cannot both be right.

    Both of a pair are left out, because one of them at least is wrong: of what is left out half is right at most, so
    that whatever precision above one half was promised of all is kept by the rest. Leaving out the less probable one
    would not keep it. Pairs of the highest probability come first, and each suggestion is left out once.

    Returns:
        The others, and how many were left out.
    """
    if found.state is not State.PRESENT or not relations.excludes:
        return found, 0
    names = found.table.classes
    asked = np.isin(found.class_index, [column for column, name in enumerate(names) if relations.excluded.get(name)])
    of_image: dict[int, list[int]] = {}
    for place in np.flatnonzero(asked).tolist():
        of_image.setdefault(int(found.image_index[place]), []).append(place)
    left = np.ones(len(found), bool)
    for places in of_image.values():
        pairs = [
            pair
            for pair in combinations(places, 2)
            if names[found.class_index[pair[1]]] in relations.excluded[names[found.class_index[pair[0]]]]
        ]
        for one, other in sorted(pairs, key=lambda pair: -found.probability[list(pair)].sum()):
            if left[one] and left[other]:
                left[one] = left[other] = False
    rest = replace(
        found,
        image_index=found.image_index[left],
        class_index=found.class_index[left],
        probability=found.probability[left],
        logit=found.logit[left],
    )
    return rest, int((~left).sum())
