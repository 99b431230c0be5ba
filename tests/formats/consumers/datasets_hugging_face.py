"""`imagefolder FOLDER parquet FILE` prints what `datasets` sees; `write FOLDER` has it write its kinds of files."""

import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, List, Value, load_dataset
from PIL import Image as Picture

ROLES = "present", "absent", "unsure"


def seen(builder, given):
    """The names of classes and the rows, as one of the builders of `datasets` loads them."""
    given = Path(given)
    where = {"data_dir": str(given)} if builder == "imagefolder" else {"data_files": str(given)}
    dataset = load_dataset(builder, **where, cache_dir=str(given.parent / "cache"), split="train")
    names = dataset.features["present"].feature.names
    assert all(dataset.features[role].feature.names == names for role in ROLES)
    if builder == "imagefolder":
        dataset = dataset.cast_column("image", Image(decode=False))
    rows = [
        {
            "image": Path(row["image"]["path"]).relative_to(given).as_posix() if "image" in row else row["file_name"],
            **{role: [names[label] for label in row[role]] for role in ROLES},
        }
        for row in dataset
    ]
    return {"names": names, "rows": rows}


if sys.argv[1] == "write":
    given = Path(sys.argv[2])
    Picture.new("RGB", (4, 4)).save(given / "x.jpg")
    labels = List(ClassLabel(names=["sea", "dog", "cat", "never"]))
    features = Features({"image": Image(), "file_name": Value("string"), "labels": labels, "score": Value("float32")})
    rows = {
        "image": [str(given / "x.jpg")] * 3,
        "file_name": ["a.jpg", "b.jpg", "c.jpg"],
        "labels": [[2, 0], [], None],
        "score": [0.5, 0.1, 0.2],
    }
    dataset = Dataset.from_dict(rows, features=features)
    dataset.to_parquet(given / "t.parquet")
    dataset.save_to_disk(given / "disk")
    parts = {name: dataset.select([row]) for row, name in enumerate(["train", "test", "validation"])}
    DatasetDict(parts).save_to_disk(given / "disks")
    (given / "hub" / "data").mkdir(parents=True)
    for name, part in parts.items():
        part.remove_columns("file_name").to_parquet(given / "hub" / "data" / f"{name}-00000-of-00001.parquet")
    print("null")
else:
    print(json.dumps([seen(*pair) for pair in zip(sys.argv[1::2], sys.argv[2::2], strict=True)]))
