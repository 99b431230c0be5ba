"""The documents of a FiftyOneDataset as FiftyOne keeps them in its database."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from partlabel.formats.annotation_tools import STATED, ImageCells, image_cells
from partlabel.formats.reading import WriteOptions
from partlabel.labels import LabelTable

_VERSION = "1.0.0"  # a newer FiftyOne brings the documents up to date, an older one refuses them
_FIELDS = "fiftyone.core.fields."
_LABELS = "fiftyone.core.labels."


def write_dataset(table: LabelTable, folder: Path, options: WriteOptions) -> None:
    """Write metadata.json and samples.json."""
    metadata = json.dumps(_metadata(table.classes), ensure_ascii=False, indent=1)
    (folder / "metadata.json").write_text(metadata + "\n", encoding="utf-8", newline="\n")
    with (folder / "samples.json").open("w", encoding="utf-8", newline="\n") as stream:
        stream.write('{"samples": [')
        for number, one in enumerate(image_cells(table, options.suggested)):
            sample = json.dumps(_sample(one, options.prefix), ensure_ascii=False, allow_nan=False)
            stream.write((",\n" if number else "\n") + sample)
        stream.write("\n]}\n")


def _sample(one: ImageCells, prefix: str) -> dict[str, Any]:
    key = hashlib.sha256(one.image.encode()).digest()
    sample = {
        "_id": _object_id(one.image),
        "filepath": prefix + one.image,
        "tags": [],
        "_media_type": "image",
        "_rand": int.from_bytes(key[-6:]) / 2**48,
    }
    if one.words:
        for field in STATED:
            sample[field] = _labels(one.image, field, [(name, None) for name in one.named(field)])
    if one.suggested:
        scored = [(suggestion.class_name, suggestion.probability) for suggestion in one.suggested]
        sample["suggested"] = _labels(one.image, "suggested", scored)
    return sample


def _labels(image: str, field: str, names: Iterable[tuple[str, float | None]]) -> dict[str, Any]:
    labels = []
    for name, confidence in names:
        label = {"_id": _object_id(image, field, name), "_cls": "Classification", "tags": [], "label": name}
        labels.append(label if confidence is None else {**label, "confidence": confidence})
    return {"_cls": "Classifications", "classifications": labels}


def _object_id(*parts: str) -> dict[str, str]:
    """An id that follows from what it is of, so that a dataset written again has the same ones."""
    return {"$oid": hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]}


def _metadata(classes: Iterable[str]) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "media_type": "image",
        "info": {},
        "tags": [],
        "classes": {},
        "default_classes": [*classes],
        "mask_targets": {},
        "default_mask_targets": {},
        "skeletons": {},
        "group_media_types": {},
        "sample_fields": _sample_fields(),
        "frame_fields": [],
        "saved_views": [],
        "workspaces": [],
        "annotation_runs": {},
        "brain_methods": {},
        "evaluations": {},
        "runs": {},
    }


def _sample_fields() -> list[dict[str, Any]]:
    sizes = [_field(name, "Int") for name in ("size_bytes", "width", "height", "num_channels")]
    return [
        _field("id", "ObjectId", key="_id"),
        _field("filepath", "String"),
        _field("tags", "List", subfield="String"),
        _document("metadata", "fiftyone.core.metadata.ImageMetadata", [*sizes, _field("mime_type", "String")]),
        _field("_media_type", "String"),
        _field("_rand", "Float"),
        _field("_dataset_id", "ObjectId"),
        {**_field("created_at", "DateTime"), "read_only": True},
        {**_field("last_modified_at", "DateTime"), "read_only": True},
        *(_classifications(name) for name in (*STATED, "suggested")),
    ]


def _classifications(name: str) -> dict[str, Any]:
    label = [
        _field("id", "ObjectId", key="_id"),
        _field("tags", "List", subfield="String"),
        _field("label", "String"),
        _field("confidence", "Float"),
        _field("logits", "Vector"),
    ]
    labels = _field("classifications", "List", subfield="EmbeddedDocument")
    labels |= {"embedded_doc_type": _LABELS + "Classification", "fields": label}
    return _document(name, _LABELS + "Classifications", [labels, _field("logits", "Vector")])


def _document(name: str, kind: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {**_field(name, "EmbeddedDocument"), "embedded_doc_type": kind, "fields": fields}


def _field(name: str, kind: str, *, subfield: str | None = None, key: str | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "ftype": f"{_FIELDS}{kind}Field",
        "embedded_doc_type": None,
        "subfield": f"{_FIELDS}{subfield}Field" if subfield else None,
        "fields": [],
        "db_field": key or name,
        "description": None,
        "info": None,
        "read_only": False,
    }
