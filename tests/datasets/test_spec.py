from pathlib import Path

import pytest

from partlabel.datasets.catalogue import DATASETS
from partlabel.datasets.spec import parse
from partlabel.errors import LabelError, UsageError


def test_folder_and_options(tmp_path: Path) -> None:
    folder = tmp_path / "a, b"
    folder.mkdir()
    spec = parse(f"coco2014:{folder},split=val", {"order": "image_id"})
    assert spec is not None
    assert (spec.dataset.name, spec.root) == ("coco2014", folder)
    assert spec.options == {"split": "val", "unannotated": "keep", "order": "image_id"}
    assert str(spec) == f"coco2014:{folder},split=val,order=image_id"
    relative = parse("coco2014:a, b", base=tmp_path)
    assert relative is not None
    assert relative.root == folder


def test_what_is_no_data_set_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "coco2014:here.csv").touch()
    assert parse("coco2014:here.csv") is None
    assert parse("labels.csv") is None
    assert parse(tmp_path / "x:y") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("coco2041:.", r"there is no data set 'coco2041' \(voc2007, .*\); did you mean 'coco2014'\?$"),
        (
            "coco2014:.,spilt=val",
            r"coco2014 has no option 'spilt'; it has split.* \(`partlabel datasets coco2014` explains them\); "
            r"did you mean 'split'\?$",
        ),
        ("coco2014:.,split=vall", r"split 'vall' is not one of train, val; did you mean 'val'\?$"),
        ("coco2014:.,split=test", "split 'test' is not one of train, val"),
        ("coco2014:.,split=val,split=train", "split is given as 'val' and as 'train'"),
    ],
)
def test_what_cannot_be_meant(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse(text)


def test_a_missing_folder_says_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"nowhere is no folder.*annotations/instances_SPLIT2014\.json"):
        parse(f"coco2014:{tmp_path / 'nowhere'}")


@pytest.mark.parametrize("text", ["corel5k", "corel5k:"])
def test_a_name_without_folder_says_how_it_is_given(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no file; .*: corel5k:DIR$"):
        parse(text)


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_explains_itself(name: str) -> None:
    dataset = DATASETS[name]
    assert dataset.name == name
    assert dataset.states
    assert dataset.files
    for option in dataset.options:
        assert option.default in option.meanings if option.meanings else option.help
    for stated in dataset.published:
        assert set(stated.options) <= {option.name for option in dataset.options}
