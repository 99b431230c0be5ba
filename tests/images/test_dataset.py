import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from partlabel.errors import ImageError
from partlabel.images.dataset import ImageDataset, SharedNames, UnreadableImageError
from partlabel.images.decode import decode
from partlabel.images.limits import Limits
from partlabel.images.randomness import item_randomness
from partlabel.images.views import VIEW_KINDS, ViewSettings, build_view

MakePhoto = Callable[..., Image.Image]

SETTINGS = ViewSettings(size=32)
COUNT = 10


@pytest.fixture(scope="module")
def folder(make_photo: MakePhoto, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    for number in range(COUNT):
        make_photo(120 + number, 90, number).save(root / f"{number}.{'jpg' if number % 2 else 'png'}")
    return root


def names(count: int = COUNT) -> list[str]:
    return [f"{number}.{'jpg' if number % 2 else 'png'}" for number in range(count)]


def load(dataset: ImageDataset, keys: list[tuple[int, int]], workers: int, batch: int = 4) -> list[dict]:
    return list(DataLoader(dataset, batch_size=batch, sampler=keys, num_workers=workers))


def test_an_item_is_what_its_parts_make(folder: Path):
    dataset = ImageDataset(folder, names(), VIEW_KINDS, SETTINGS, seed=5)
    assert len(dataset) == COUNT
    sample = dataset[7, 3]
    assert sample["index"] == 3
    assert tuple(sample["views"]) == VIEW_KINDS
    for kind, view in sample["views"].items():
        with item_randomness(5, 7, "3.jpg", kind):
            expected = build_view(kind, SETTINGS)(decode(folder / "3.jpg", at_least=SETTINGS.decode_side))
        assert torch.equal(view, expected)


def test_the_plain_view_depends_on_the_size_alone(make_photo: MakePhoto, tmp_path: Path):
    """JPEG decodes at a fraction of its size where that is enough; the plain view must not change with the random
    crop.
    """
    make_photo(900, 800, 1).save(tmp_path / "large.jpg")
    plain = [
        ImageDataset(tmp_path, ["large.jpg"], ("plain",), ViewSettings(size=48, crop_scale=scale), seed=0)[0, 0][
            "views"
        ]["plain"]
        for scale in (0.05, 0.25, 0.6, 1)
    ]
    assert all(torch.equal(view, plain[0]) for view in plain)


def test_collated_batches(folder: Path):
    dataset = ImageDataset(folder, names(), ("weak", "strong"), SETTINGS, seed=0)
    batches = load(dataset, [(2, index) for index in (4, 1, 9, 0, 3)], workers=0)
    assert [batch["index"].tolist() for batch in batches] == [[4, 1, 9, 0], [3]]
    assert batches[0]["index"].dtype == torch.int64
    assert {kind: tuple(view.shape) for kind, view in batches[0]["views"].items()} == {
        "weak": (4, 3, 32, 32),
        "strong": (4, 3, 32, 32),
    }


def test_workers_order_and_batching_do_not_change_a_bit(folder: Path):
    dataset = ImageDataset(folder, names(), VIEW_KINDS, SETTINGS, seed=1)
    keys = [(epoch, index) for epoch in (0, 1) for index in range(COUNT)]
    seen: dict[tuple[int, int], dict[str, torch.Tensor]] = {}
    for workers, batch, order in ((0, 4, keys), (1, 4, keys), (2, 3, keys[::-1])):
        torch.manual_seed(workers)
        batches = load(dataset, order, workers, batch)
        views = {kind: torch.cat([each["views"][kind] for each in batches]) for kind in VIEW_KINDS}
        for place, key in enumerate(order):
            for kind in VIEW_KINDS:
                first = seen.setdefault(key, {}).setdefault(kind, views[kind][place])
                assert torch.equal(first, views[kind][place])
    assert torch.equal(seen[0, 2]["plain"], seen[1, 2]["plain"])
    assert not torch.equal(seen[0, 2]["weak"], seen[1, 2]["weak"])
    assert not torch.equal(seen[0, 2]["strong"], seen[1, 2]["strong"])


def test_a_view_depends_neither_on_its_row_nor_on_the_other_views(folder: Path):
    whole = ImageDataset(folder, names(), VIEW_KINDS, SETTINGS, seed=1)
    part = ImageDataset(folder, names()[5:], ("strong",), SETTINGS, seed=1)
    assert torch.equal(whole[0, 6]["views"]["strong"], part[0, 1]["views"]["strong"])


def test_training_draws_are_left_alone(folder: Path):
    dataset = ImageDataset(folder, names(), VIEW_KINDS, SETTINGS, seed=1)
    before = torch.get_rng_state()
    dataset[0, 0]
    assert torch.equal(torch.get_rng_state(), before)


def complaint(dataset: ImageDataset, keys: list[tuple[int, int]], workers: int) -> str:
    """The sentence of the error.

    The error that torch raises again refers to itself through its traceback, and so keeps the loader's iterator alive.
    If the garbage collector finds that cycle, it closes the queues before the workers are told to stop, and each of
    them is waited for in vain for 5 s. Without the traceback they stop at once.
    """
    try:
        load(dataset, keys, workers, batch=1)
    except ImageError as error:
        error.__traceback__ = None
        return str(error)
    raise AssertionError("no error reached the caller")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("none.jpg", "does not exist"),
        ("../a.jpg", "leads out"),
        ("text.jpg", "not one of"),
        ("large.png", "to decode, more than the limit of 0.04 MB"),
    ],
)
def test_a_bad_image_reaches_the_user_as_its_sentence(
    make_photo: MakePhoto, tmp_path: Path, name: str, says: str, workers: int
):
    (tmp_path / "text.jpg").write_text("Caught UnreadableImageError: no\n")
    make_photo(200, 100).save(tmp_path / "large.png")
    make_photo(80, 60).save(tmp_path / "good.png")
    dataset = ImageDataset(tmp_path, ["good.png", name], ("plain",), SETTINGS, 0, Limits(max_mb=0.04))
    sentence = complaint(dataset, [(0, 0), (0, 0), (0, 1), (0, 0)], workers)
    assert says in sentence
    with pytest.raises(UnreadableImageError) as alone:
        dataset[0, 1]
    assert sentence == str(alone.value)
    assert sentence.startswith("image ")
    assert "\n" not in sentence


def test_the_error_survives_pickling():
    error = pickle.loads(pickle.dumps(UnreadableImageError("image 'a' is empty")))
    assert isinstance(error, ImageError)
    assert str(error) == "image 'a' is empty"
    assert error.exit_code == ImageError.exit_code


def test_missing_folder(tmp_path: Path):
    with pytest.raises(ImageError, match="image folder"):
        ImageDataset(tmp_path / "none", ["a.jpg"], ("plain",), SETTINGS, 0)


def test_names_in_one_buffer_are_the_names():
    names = ("a.jpg", "", "ü/日本.png", "caf\udce9.jpg", "b" * 300)
    shared = SharedNames(names)
    assert list(shared) == list(names)
    assert (len(shared), shared[-1], shared[1:3]) == (len(names), names[-1], names[1:3])
    assert list(pickle.loads(pickle.dumps(shared))) == list(names)
    with pytest.raises(IndexError):
        shared[len(names)]
