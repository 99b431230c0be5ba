"""Pairwise ranking needs pairs."""

import numpy as np
import pytest

from partlabel.errors import AssumptionError
from partlabel.labels import LabelTable
from partlabel.methods.base import Context
from partlabel.methods.build import build_method
from partlabel.models.encoders.build import create_backbone


@pytest.mark.parametrize("name", ["lsep", "warp"])
def test_a_table_in_which_no_image_has_both_signs_is_refused(name: str) -> None:
    """Both signs are known, but no loss would ever differ from 0."""
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    states = np.array([[1, 0], [0, -1], [-1, -1], [1, 1]], np.int8)
    table = LabelTable.from_dense(["a", "b", "c", "d"], ["x", "y"], states)
    with pytest.raises(AssumptionError, match="no image of the table has both a known present and a known absent cell"):
        build_method(name, {}, backbone, Context(table))
    states[0, 1] = -1
    build_method(name, {}, backbone, Context(LabelTable.from_dense(table.images, table.classes, states)))
