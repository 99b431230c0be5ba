"""The data sets that can be named, by name."""

from partlabel.datasets.base import Dataset
from partlabel.datasets.coco import Coco2014
from partlabel.datasets.coco_words import Coco2014Words
from partlabel.datasets.corel5k import Corel5k
from partlabel.datasets.cub import Cub200
from partlabel.datasets.nus_wide import NusWide, NusWideList
from partlabel.datasets.open_images import OpenImagesV3, OpenImagesV6
from partlabel.datasets.visual_genome import VisualGenome200, VisualGenome500
from partlabel.datasets.voc import Voc2007, Voc2012

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        *(Voc2007(), Voc2012(), Coco2014(), Coco2014Words(), NusWide(), NusWideList()),
        *(VisualGenome200(), VisualGenome500(), OpenImagesV3(), OpenImagesV6(), Cub200(), Corel5k()),
    )
}
