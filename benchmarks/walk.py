"""The whole walk, with a reviewer who knows the truth and answers through the page's own addresses.

    PARTLABEL_COREL5K=DIR PARTLABEL_MOBILENETV2=DIR python benchmarks/walk.py corel5k --out runs/walk
    PARTLABEL_MSRC_V2=DIR PARTLABEL_MSRC_V2_SPLIT=DIR ... python benchmarks/walk.py msrc_v2 --out runs/walk
    python benchmarks/walk.py digit_scenes --out runs/walk

90 % of the labels are hidden. Train, recover with a promise; audit suggestions, release those that the verdicts carry;
review cells by value while the model learns; train again with the verdicts, recover again. Mean average precision is
raw, on test images with all cells known. OUT/DATA/walk.json holds what is printed.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from queue_by_value import AT_A_TIME, KNOWN, Data, data_with_test, trained

import partlabel
from partlabel.formats import write_table

AT_ONCE = 25
"""Verdicts between two fits of the page's model."""
PATIENCE = 900
"""Seconds that a fit may take, with the features before the first one."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", choices=AT_A_TIME)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--audit", type=int, default=200, help="verdicts on suggestions drawn at random")
    parser.add_argument("--review", type=int, default=300, help="verdicts on cells by value")
    parser.add_argument("--precision", type=float, default=0.9)
    parser.add_argument("--scenes", type=int, default=400, help="scenes of digits to train on")
    given = parser.parse_args()
    walk = _Walk(given)
    walk.before()
    walk.audit(given.audit)
    walk.review(given.review)
    walk.after()
    (walk.out / "walk.json").write_text(json.dumps(walk.found, indent=2) + "\n")


class _Walk:
    def __init__(self, given: argparse.Namespace) -> None:
        self.name, self.seed, self.precision = given.data, given.seed, given.precision
        self.out: Path = given.out / given.data
        shutil.rmtree(self.out, ignore_errors=True)
        self.data: Data = data_with_test(self.name, self.out, given.scenes)
        self.labels = self.out / "labels.csv"
        write_table(self.data.train, self.out / "train-complete.csv")
        write_table(partlabel.hide(self.data.train, masking="known_ratio", ratio=KNOWN, seed=self.seed), self.labels)
        self.run = self.out / "run"
        self.found: dict[str, Any] = {}

    def before(self) -> None:
        trained(self.name, self.labels, self.data, self.run, self.seed)
        self._tell("before", mAP=self._mean_average_precision(), **self._recovered(self.run, self.labels))

    def audit(self, verdicts: int) -> None:
        """Judge suggestions that were drawn at random, and release those above them."""
        asked = self.out / "audit.csv"
        how = {"images": self.data.images, "precision": self.precision}
        partlabel.recover(self.run, self.labels, out=asked, audit=verdicts, **how)
        with self._page(asked, "--table", self.labels) as page:
            drawn = page.order("audit")
            present = page.answer(drawn, self._truth)
        released = partlabel.recover(self.run, self.labels, out=self.out / "released.csv", audited=asked, **how)
        self._tell("audited", verdicts=len(drawn), present=present, **self._right(released))

    def review(self, verdicts: int) -> None:
        """Decide cells by value; after every few the model learns, and the new order is taken."""
        present, left, revision = 0, verdicts, 1
        with self._page(self.labels, "--run", self.run, "--learn-every", str(AT_ONCE)) as page:
            while left:
                revision = page.learned(revision)
                present += page.answer(page.order("value")[: min(AT_ONCE, left)], self._truth)
                left -= min(AT_ONCE, left)
        self._tell("reviewed by value", verdicts=verdicts, present=present, fits=revision - 1)
        self.labels = self._exported(self.labels, None, self.out / "reviewed.csv")

    def after(self) -> None:
        """Train with the verdicts by value, and once more with those of the audit too."""
        both = self._exported(self.out / "audit.csv", self.labels, self.out / "both.csv")
        for name, labels in (("after", self.labels), ("after, with the audit's verdicts", both)):
            self.run = self.out / labels.stem
            trained(self.name, labels, self.data, self.run, self.seed)
            self._tell(name, mAP=self._mean_average_precision(), **self._recovered(self.run, labels))

    def _mean_average_precision(self) -> float:
        judged = partlabel.evaluate(self.run, self.data.test, images=self.data.images, report=False)
        return float(judged.mean_average_precision["raw"])

    def _recovered(self, run: Path, labels: Path) -> dict[str, Any]:
        return self._right(partlabel.recover(run, labels, images=self.data.images, precision=self.precision))

    def _right(self, found: Any) -> dict[str, Any]:
        """How many labels are suggested, and the share of them that is true."""
        right = self.data.train.states_at(
            [self.data.train.image_positions[found.table.images[row]] for row in found.image_index],
            [self.data.train.class_positions[found.table.classes[column]] for column in found.class_index],
        )
        return {"suggested": len(found), "precision": float((right > 0).mean()) if len(found) else None}

    def _truth(self, image: str, class_name: str) -> str:
        at = [self.data.train.image_positions[image]], [self.data.train.class_positions[class_name]]
        return "present" if self.data.train.states_at(*at)[0] > 0 else "absent"

    def _exported(self, source: Path, table: Path | None, out: Path) -> Path:
        partlabel.reviewed(source, out=out, images=self.data.images, table=table)
        return out

    @contextmanager
    def _page(self, source: Path, *words: Path | str) -> "Iterator[_Page]":
        """A real server of the page, in a process of its own."""
        command = [sys.executable, "-u", "-m", "partlabel", "review", source, "--images", self.data.images, *words]
        with subprocess.Popen([*map(str, command), "--no-open"], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                yield _Page(process.stdout.readline().strip())
            finally:
                process.terminate()

    def _tell(self, what: str, **values: Any) -> None:
        self.found[what] = values
        shown = (
            f"{name} {100 * value:.1f}" if isinstance(value, float) else f"{name} {value}"
            for name, value in values.items()
        )
        print(f"{what}: {', '.join(shown)}", flush=True)


class _Page:
    """A client of the page's server."""

    def __init__(self, address: str) -> None:
        base = address.split("/?", maxsplit=1)[0]
        cookies = dict(httpx.get(address).cookies)
        self.client = httpx.Client(base_url=base, cookies=cookies, headers={"Origin": base}, timeout=60)
        self.session = self.get("/api/session")

    def get(self, path: str, **query: str | int) -> Any:
        return self.client.get(path, params=query).raise_for_status().json()

    def order(self, queue: str) -> list[int]:
        return list(self.get("/api/order", queue=queue)["cells"])

    def learned(self, revision: int) -> int:
        """Wait for a newer order."""
        end = time.monotonic() + PATIENCE
        while (answer := self.get("/api/changes", after=0, client="walk"))["revision"] == revision:
            if time.monotonic() > end:
                raise TimeoutError(f"no new order within {PATIENCE} s: {answer}")
            time.sleep(0.2)
        return int(answer["revision"])

    def answer(self, cells: list[int], truth: Callable[[str, str], str]) -> int:
        """Give true verdicts.

        Returns:
            How many are present.
        """
        names = {entry["id"]: entry["name"] for entry in self.session["classes"]}
        told = self.get("/api/cells", ids=",".join(map(str, cells)))["cells"]
        verdicts = [{"cell": one["cell"], "verdict": truth(one["name"], names[one["class"]])} for one in told]
        sent = {"client": "walk", "subject": self.session["subject"], "verdicts": verdicts}
        kept = self.client.post("/api/verdicts", json=sent).raise_for_status().json()
        assert len(kept["accepted"]) == len(cells)
        return sum(one["verdict"] == "present" for one in verdicts)


if __name__ == "__main__":
    main()
