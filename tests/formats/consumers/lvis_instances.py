"""Opens a file with the lvis library and prints what each image has, lacks and has more of, by name."""

import json
import sys

from lvis import LVIS

lvis = LVIS(sys.argv[1])
names = {category["id"]: category["name"] for category in lvis.load_cats(lvis.get_cat_ids())}
seen = {}
for image in lvis.load_imgs(lvis.get_img_ids()):
    annotations = lvis.load_anns(lvis.get_ann_ids(img_ids=[image["id"]]))
    assert all(image["id"] in lvis.cat_img_map[annotation["category_id"]] for annotation in annotations)
    seen[image["file_name"] if "file_name" in image else image["coco_url"]] = [
        [names[annotation["category_id"]] for annotation in annotations],
        [names[id] for id in image["neg_category_ids"]],
        [names[id] for id in image["not_exhaustive_category_ids"]],
    ]
print(json.dumps({"images": seen, "classes": list(names.values())}))
