"""What a verb does not need is not imported: a bad label file is refused before torch comes."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from partlabel import train
from partlabel.errors import LabelError
try:
    train(sys.argv[1], images=sys.argv[2], out=sys.argv[3])
except LabelError as error:
    print(error)
print([name for name in ("torch", "torchvision", "timm", "lightning", "matplotlib") if name in sys.modules])
"""


def test_bad_labels_are_refused_before_torch_is_imported(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("image,sky,sea\na.png,1,maybe\nb.png,0,1\n")
    arguments = [str(tmp_path / "labels.csv"), str(tmp_path), str(tmp_path / "run")]
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
    refusal, imported = done.stdout.strip().rsplit("\n", 1)
    assert "maybe" in refusal or "code" in refusal
    assert imported == "[]"
