import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from partlabel.errors import ImageError
from partlabel.images.check import check_images
from partlabel.images.decode import decode
from partlabel.images.fingerprint import perceptual_hash
from partlabel.images.limits import DEFAULT_LIMITS
from partlabel.inspection import contents
from partlabel.inspection.contents import identical_files, read_contents

Scene = Callable[..., Image.Image]


@pytest.fixture
def root(tmp_path: Path, scene: Scene) -> Path:
    for seed in range(4):
        scene(seed).save(tmp_path / f"{seed}.jpg")
    shutil.copy(tmp_path / "0.jpg", tmp_path / "copy.png")
    Image.new("RGB", (70, 70), "teal").save(tmp_path / "flat.png")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "1.jpg").read_bytes()[:-900])
    (tmp_path / "text.jpg").write_text("cat\n")
    return tmp_path


NAMES = ["0.jpg", "cut.jpg", "copy.png", "none.jpg", "1.jpg", "flat.png", "text.jpg", "../up.jpg", "3.jpg"]


@pytest.mark.parametrize("batch", [1, 4, 1024])
def test_every_image_by_itself(root: Path, monkeypatch: pytest.MonkeyPatch, batch: int):
    monkeypatch.setattr(contents, "_BATCH", batch)
    calls: list[tuple[int, int]] = []
    found = read_contents(
        root, NAMES, limits=DEFAULT_LIMITS, with_hashes=True, progress=lambda *call: calls.append(call)
    )
    assert calls == [(done, len(NAMES)) for done in range(1, len(NAMES) + 1)]
    assert list(found.problems) == check_images(root, NAMES)
    assert [(problem.image, problem.kind) for problem in found.problems] == [
        ("cut.jpg", "broken"),
        ("none.jpg", "missing"),
        ("text.jpg", "broken"),
        ("../up.jpg", "outside"),
    ]
    unusable = {problem.image for problem in found.problems}
    for name, digest, look in zip(NAMES, found.digests, found.hashes.tolist(), strict=True):
        if name in unusable:
            assert (digest, look) == (b"", 0)
            continue
        assert digest.decode() == hashlib.blake2b((root / name).read_bytes(), digest_size=16).hexdigest()
        assert look == perceptual_hash(decode(root / name, at_least=64))
    assert found.hashes[NAMES.index("flat.png")] == 0
    assert not read_contents(
        root, NAMES, limits=DEFAULT_LIMITS, with_hashes=False, progress=lambda *_: None
    ).hashes.any()


def test_no_names_and_no_folder(root: Path):
    assert read_contents(root, [], limits=DEFAULT_LIMITS, with_hashes=True, progress=lambda *_: None).problems == ()
    with pytest.raises(ImageError, match="image folder"):
        read_contents(root / "none", ["a.jpg"], limits=DEFAULT_LIMITS, with_hashes=True, progress=lambda *_: None)


@given(st.lists(st.sampled_from([b"", b"a", b"b", b"c", b"d"]), max_size=12))
def test_identical_files_by_loops(digests: list[bytes]):
    expected = []
    for position, digest in enumerate(digests):
        if digest and digest not in digests[:position] and digests.count(digest) > 1:
            expected.append([other for other, same in enumerate(digests) if same == digest])
    assert identical_files(np.array(digests, "S32")) == expected
