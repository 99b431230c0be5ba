"""The data sets that can be named, by name."""

from partlabel.datasets.base import Dataset
from partlabel.datasets.coco import Coco2014
from partlabel.datasets.voc import Voc2007, Voc2012

DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in (Voc2007(), Voc2012(), Coco2014())}
