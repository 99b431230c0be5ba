"""Keywords of photographs: what photo programs write, and verdicts that a person gives in them."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from partlabel.errors import EmptyTableError, LabelError
from partlabel.formats import Suggested, Suggestion, read_table, write_table
from partlabel.labels import LabelTable, Source

PADDED = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n{}\n<?xpacket end="w"?>' + " " * 50


def bag(words: list[str]) -> str:
    return "<rdf:Bag>" + "".join(f"<rdf:li>{word}</rdf:li>" for word in words) + "</rdf:Bag>"


def xmp(
    flat: tuple[str, ...] = (), lr: tuple[str, ...] = (), digikam: tuple[str, ...] = (), extension: str = ""
) -> str:
    """As Lightroom and digiKam write: lists in several namespaces, more of them than we read."""
    said = f' photoshop:SidecarForExtension="{extension}"' if extension else ""
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 7.0">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
        'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:lr="http://ns.adobe.com/lightroom/1.0/" '
        f'xmlns:digiKam="http://www.digikam.org/ns/1.0/" xmp:Rating="3"{said}>'
        '<dc:title><rdf:Alt><rdf:li xml:lang="x-default">no keyword</rdf:li></rdf:Alt></dc:title>'
        f"<dc:subject>{bag([*flat])}</dc:subject><lr:hierarchicalSubject>{bag([*lr])}</lr:hierarchicalSubject>"
        f"<digiKam:TagsList>{bag([*digikam]).replace('Bag', 'Seq')}</digiKam:TagsList>"
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    )


def folder(root: Path, files: dict[str, str | None]) -> Path:
    """Sidecars with their text, and small pictures where there is none."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            Image.new("RGB", (8, 8), (200, 30, 30)).save(path)
        else:
            path.write_text(PADDED.format(text), encoding="utf-8")
    return root


def cells(table: LabelTable) -> dict[str, dict[str, int]]:
    return {
        image: {name: int(state) for name, state in zip(table.classes, states, strict=True) if state}
        for image, states in zip(table.images, table.dense(), strict=True)
    }


def test_keywords_are_present_and_nothing_else_is_known(tmp_path: Path) -> None:
    root = folder(
        tmp_path,
        {
            "2019/b.jpg": None,
            "2019/b.jpg.xmp": xmp(flat=("Dog", "Animals", "Café & Bar"), digikam=("Animals/Dog", "Café &amp; Bar")),
            "a.JPG": None,
            "a.xmp": xmp(flat=("Dog",), lr=("Animals|Dog",), extension="JPG"),
            "c.png": None,
            "raw.CR2": "not opened",
            "raw.xmp": xmp(lr=("sea",), extension="CR2"),
            ".hidden/x.jpg": None,
            "notes.txt": "",
        },
    )
    (root / "2019/b.jpg.xmp").write_text(
        xmp(flat=("Dog", "Animals", "Bar"), digikam=("Animals/Dog", "Bar")), encoding="utf-8"
    )
    reading = read_table(root)
    assert reading.report.format == "sidecars"
    assert reading.table.classes == ("Bar", "Dog", "sea")
    assert cells(reading.table) == {
        "2019/b.jpg": {"Bar": 1, "Dog": 1},
        "a.JPG": {"Dog": 1},
        "c.png": {},
        "raw.CR2": {"sea": 1},
    }
    said = " ".join(reading.report.notes)
    assert "1 flat keyword repeating what" in said
    assert "left out: 1 hidden file or folder" in said
    complete = read_table(root, unlisted="absent").table
    assert cells(complete)["2019/b.jpg"] == {"Bar": 1, "Dog": 1, "sea": -1}
    assert cells(complete)["c.png"] == {}, "nobody looked at a photograph without keywords"


def test_two_leaves_of_one_name_are_classes_by_their_path(tmp_path: Path) -> None:
    root = folder(
        tmp_path,
        {
            "a.jpg.xmp": xmp(lr=("Animals|Jaguar",)),
            "b.jpg.xmp": xmp(lr=("Cars|Jaguar", "Cars|Fiat")),
            "c.jpg.xmp": xmp(flat=("Fiat",)),
        },
    )
    reading = read_table(root)
    assert cells(reading.table) == {
        "a.jpg": {"Animals|Jaguar": 1},
        "b.jpg": {"Cars|Jaguar": 1, "Fiat": 1},
        "c.jpg": {"Fiat": 1},
    }
    assert "'Jaguar': Animals|Jaguar, Cars|Jaguar" in " ".join(reading.report.notes)
    write_table(reading.table, tmp_path / "again", format="sidecars")
    assert cells(read_table(tmp_path / "again").table) == cells(reading.table)


def test_keywords_under_our_prefix_say_more(tmp_path: Path) -> None:
    """Lightroom copies each level of a keyword to the flat list; a copy of `absent|cat` must not make cat present."""
    flat = ("partlabel", "absent", "suggested", "cat", "dog", "0.93", "bird")
    root = folder(
        tmp_path,
        {
            "a.jpg.xmp": xmp(flat=flat, lr=("partlabel|absent|cat", "partlabel|suggested|dog|0.93", "bird")),
            "b.jpg.xmp": xmp(digikam=("partlabel/present/dog", "partlabel/known absent/cat")),
            "c.jpg.xmp": xmp(flat=("partlabel|absent|dog",), lr=("partlabel|suggested|dog|0.5", "partlabel|maybe|cat")),
            "d.jpg.xmp": xmp(flat=("partlabel", "absent", "cat")),
            "e.jpg.xmp": xmp(flat=("unsure", "cat"), lr=("partlabel|unsure|cat", "partlabel|suggested|cat|0.5")),
            "f.jpg.xmp": xmp(lr=("partlabel|unsure|dog", "dog", "partlabel|unsure")),
        },
    )
    reading = read_table(root)
    assert cells(reading.table) == {
        "a.jpg": {"bird": 1, "cat": -1},
        "b.jpg": {"cat": -1, "dog": 1},
        "c.jpg": {"dog": -1},
        "d.jpg": {},
        "e.jpg": {},
        "f.jpg": {"dog": 1},
    }
    assert reading.table.cells().sources.tolist() == [
        Source.IMPORT,
        Source.REVIEW,
        Source.IMPORT,
        Source.REVIEW,
        Source.REVIEW,
        Source.UNSURE,
        Source.IMPORT,
    ]
    assert [*reading.report.suggested] == [Suggestion("a.jpg", "dog", 0.93)]
    said = " ".join(reading.report.notes)
    assert "'partlabel|maybe|cat' (1)" in said
    assert "left out: the keywords of 1 image that are flat copies" in said


def test_suggestions_come_back_as_verdicts(tmp_path: Path) -> None:
    table = LabelTable.from_dense(["a.jpg", "b.jpg"], ["cat", "dog"], [[1, 0], [0, -1]])
    suggested = Suggested.of(
        [Suggestion("a.jpg", "dog", 0.871), Suggestion("b.jpg", "cat", 0.5), Suggestion("b.jpg", "dog", 0.4)]
    )
    write_table(table, tmp_path / "out", format="sidecars", suggested=suggested)
    first = read_table(tmp_path / "out")
    assert first.table.hash == table.hash
    assert [*first.report.suggested] == [Suggestion("a.jpg", "dog", 0.87), Suggestion("b.jpg", "cat", 0.5)]
    for name, old, new in (("a", "suggested|dog|0.87", "absent|dog"), ("b", "suggested|cat|0.50", "present|cat")):
        sidecar = tmp_path / "out" / f"{name}.jpg.xmp"
        sidecar.write_text(sidecar.read_text().replace(f"partlabel|{old}", f"partlabel|{new}"))
    reviewed = read_table(tmp_path / "out")
    assert reviewed.table.dense().tolist() == [[1, -1], [1, -1]]
    assert reviewed.table.cells().sources.tolist() == [Source.IMPORT, Source.REVIEW, Source.REVIEW, Source.IMPORT]
    assert len(reviewed.report.suggested) == 0
    write_table(reviewed.table, tmp_path / "twice", format="sidecars")
    assert read_table(tmp_path / "twice").table.cells().sources.tolist() == reviewed.table.cells().sources.tolist()


def test_a_verdict_against_a_keyword_is_a_conflict(tmp_path: Path) -> None:
    root = folder(tmp_path, {"a.jpg.xmp": xmp(flat=("cat",), lr=("cat", "partlabel|absent|cat", "dog"))})
    with pytest.raises(LabelError, match=r"image 'a\.jpg', class 'cat' is present on image 1 and absent"):
        read_table(root)
    assert cells(read_table(root, conflicts="unknown").table) == {"a.jpg": {"dog": 1}}


def test_each_sidecar_belongs_to_its_picture(tmp_path: Path) -> None:
    root = folder(
        tmp_path,
        {
            "a.jpg": None,
            "a.cr2": "raw",
            "a.xmp": xmp(lr=("raw one",), extension="CR2"),
            "b.jpg": None,
            "b.png": None,
            "b.xmp": xmp(lr=("both",)),
            "c.jpg": None,
            "c_01.jpg.xmp": xmp(lr=("black and white version",)),
            "gone.jpg.xmp": xmp(lr=("gone",)),
            "gone.xmp": xmp(lr=("nowhere",)),
        },
    )
    reading = read_table(root)
    assert {name: [*one] for name, one in cells(reading.table).items()} == {
        "a.cr2": ["raw one"],
        "a.jpg": [],
        "b.jpg": ["both"],
        "b.png": ["both"],
        "c.jpg": [],
        "gone.jpg": ["gone"],
    }
    said = " ".join(reading.report.notes)
    assert "left out: 1 sidecar of virtual copies, such as 'c_01.jpg.xmp'" in said
    assert "left out: 1 sidecar that no picture is named like, such as 'gone.xmp'" in said
    assert "1 sidecar without a picture beside it: the image is named by the sidecar" in said


@pytest.mark.parametrize(
    ("content", "phrase"),
    [
        ("", "no element found"),
        ("no xml", "is no XMP sidecar"),
        ("<a/>", "holds no rdf:RDF"),
        ('<!DOCTYPE x [<!ENTITY e "ha">]><x>&e;</x>', "is no XMP sidecar"),
        ('<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', "is no XMP sidecar"),
        ("<x>" * 100_000, "is no XMP sidecar"),
        (xmp(flat=("cat",))[:-30], "is no XMP sidecar"),
        ('<?xml version="1.0" encoding="no-such"?><x/>', "is no XMP sidecar"),
        (xmp(), "none of 1 photograph has a keyword"),
        (xmp(flat=("partlabel|suggested|cat|1.5",)), "none of 1 photograph has a keyword"),
    ],
)
def test_a_damaged_sidecar_is_named(tmp_path: Path, content: str, phrase: str) -> None:
    (tmp_path / "a.jpg.xmp").write_text(content)
    with pytest.raises(LabelError, match=phrase) as caught:
        read_table(tmp_path, format="sidecars")
    assert str(tmp_path) in str(caught.value)


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    folder(tmp_path / "elsewhere", {"secret.jpg.xmp": xmp(flat=("secret",))})
    root = folder(tmp_path / "photos", {"a.jpg.xmp": xmp(flat=("cat",))})
    os.symlink(tmp_path / "elsewhere", root / "linked")
    os.symlink(tmp_path / "elsewhere" / "secret.jpg.xmp", root / "b.jpg.xmp")
    os.symlink("a.jpg.xmp", root / "c.jpg.xmp")
    reading = read_table(root)
    assert cells(reading.table) == {"a.jpg": {"cat": 1}, "c.jpg": {"cat": 1}}
    assert "not followed: 2 links to folders or out of this folder" in reading.report.notes[0]


def test_a_folder_without_photographs(tmp_path: Path) -> None:
    with pytest.raises(EmptyTableError, match="neither photographs nor sidecars"):
        read_table(tmp_path, format="sidecars")


@pytest.mark.parametrize(
    ("image", "name", "phrase"),
    [
        ("../a.jpg", "cat", "no name of a file below a folder"),
        ("/etc/a.jpg", "cat", "no name of a file below a folder"),
        ("C:\\a.jpg", "cat", "no name of a file below a folder"),
        (".a.jpg", "cat", "no name of a file below a folder"),
        ("a", "cat", "no ending of an image file"),
        ("a.jpg", "a|cat", "would be read as 'cat'"),
        ("a.jpg", "cat ", "outer white space"),
        ("a.jpg", "c\x01at", "control character"),
        ("a.jpg", "partlabel", "keywords under 'partlabel'"),
    ],
)
def test_names_that_would_change_are_refused(tmp_path: Path, image: str, name: str, phrase: str) -> None:
    table = LabelTable.from_dense([image], [name], [[1]])
    with pytest.raises(LabelError, match=phrase):
        write_table(table, tmp_path / "out", format="sidecars")
    assert [*tmp_path.iterdir()] == []


def test_the_photographs_own_folder_is_never_written(tmp_path: Path) -> None:
    root = folder(tmp_path, {"a.jpg": None, "a.jpg.xmp": xmp(flat=("cat",))})
    before = {path.name: path.read_bytes() for path in root.iterdir()}
    with pytest.raises(LabelError, match="copy the sidecars beside the photographs"):
        write_table(read_table(root).table, root, format="sidecars")
    assert {path.name: path.read_bytes() for path in root.iterdir()} == before


def test_exiv2_reads_what_we_write(tmp_path: Path, consumer: Callable[..., Any]) -> None:
    sources = [Source.IMPORT, Source.IMPORT, Source.UNSURE]
    names = ["a.jpg", "sub/é b.jpg"], ["<cat> & dog", "猫"]
    table = LabelTable.from_cells(*names, [0, 0, 1], [0, 1, 0], [1, -1, 0], sources)
    write_table(
        table, tmp_path / "out", format="sidecars", suggested=Suggested.of([Suggestion("sub/é b.jpg", "猫", 1)])
    )
    paths = [str(tmp_path / "out" / f"{image}.xmp") for image in table.images]
    seen = consumer("pyexiv2_keywords.py", "read", *paths)
    assert seen[paths[0]] == {
        "dc.subject": ["<cat> & dog"],
        "lr.hierarchicalSubject": ["<cat> & dog", "partlabel|known absent|猫"],
    }
    assert seen[paths[1]]["lr.hierarchicalSubject"] == ["partlabel|unsure|<cat> & dog", "partlabel|suggested|猫|1.00"]
    assert not seen[paths[1]]["dc.subject"]


def test_keywords_that_exiv2_put_inside_are_read(tmp_path: Path, consumer: Callable[..., Any]) -> None:
    root = folder(tmp_path, dict.fromkeys(["a.jpg", "b.jpg", "c.jpg", "d.png", "e.jpg", "f.webp", "g.tif"]))
    subject, hierarchy = "Xmp.dc.subject", "Xmp.lr.hierarchicalSubject"
    inside = {
        "a.jpg": {
            "xmp": {subject: ["Dog", "Animals"], hierarchy: ["Animals|Dog"]},
            "iptc": {"Iptc.Application2.Keywords": ["cut off"]},
        },
        "b.jpg": {"iptc": {"Iptc.Application2.Keywords": ["Café", "Dog"]}},
        "c.jpg": {"iptc": {"Iptc.Application2.Keywords": ["Café"]}, "encoding": "latin-1"},
        "d.png": {"xmp": {subject: ["png"]}},
        "e.jpg": {"xmp": {subject: ["old"]}},
        "f.webp": {"xmp": {subject: ["webp"]}},
        "g.tif": {"xmp": {subject: ["tif"]}},
    }
    consumer("pyexiv2_keywords.py", "write", json.dumps({str(root / name): given for name, given in inside.items()}))
    reading = read_table(root)
    assert reading.report.format == "sidecars"
    wanted = {
        "a.jpg": ["Dog"],
        "b.jpg": ["Café", "Dog"],
        "c.jpg": ["Café"],
        "d.png": ["png"],
        "e.jpg": ["old"],
        "f.webp": ["webp"],
        "g.tif": ["tif"],
    }
    assert {name: [*one] for name, one in cells(reading.table).items()} == wanted
    folder(root, {"e.jpg.xmp": xmp(flat=("new",))})
    (root / "b.jpg").write_bytes((root / "b.jpg").read_bytes()[:30])
    reading = read_table(root)
    assert {name: [*one] for name, one in cells(reading.table).items()} == wanted | {"b.jpg": [], "e.jpg": ["new"]}
    said = " ".join(reading.report.notes)
    assert "the sidecars count, not what they lack of the keywords inside 1 image, such as 'e.jpg'" in said
    assert "keywords inside 1 damaged image were not read, such as 'b.jpg'" in said


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
def test_exiftool_reads_what_we_write_and_the_reverse(tmp_path: Path) -> None:
    sources = [*[Source.IMPORT] * 4, Source.UNSURE]
    names = ["a.jpg", "b.png"], ["cat", "dog", "owl"]
    table = LabelTable.from_cells(*names, [0, 0, 1, 1, 1], [0, 1, 0, 1, 2], [1, -1, 1, 1, 0], sources)
    write_table(table, tmp_path / "out", format="sidecars")
    command = ["exiftool", "-validate", "-warning", "-a", "-j", "-Subject", "-HierarchicalSubject", "-r", "-ext", "xmp"]
    done = subprocess.run([*command, str(tmp_path / "out")], capture_output=True, text=True, check=True)
    found = {Path(one["SourceFile"]).name: one for one in json.loads(done.stdout)}
    assert found["a.jpg.xmp"]["Subject"] == "cat"
    assert found["a.jpg.xmp"]["HierarchicalSubject"] == ["cat", "partlabel|known absent|dog"]
    assert found["b.png.xmp"]["Subject"] == ["cat", "dog"]
    assert {one["Validate"] for one in found.values()} <= {"OK", "0 0 0"}
    photos = folder(tmp_path / "photos", {"a.jpg": None, "b.png": None})
    for name in ("a.jpg", "b.png"):
        copied = ["-tagsfromfile", str(tmp_path / "out" / f"{name}.xmp"), "-xmp:all", "-overwrite_original"]
        subprocess.run(["exiftool", *copied, str(photos / name)], capture_output=True, check=True)
    again = read_table(photos).table
    assert again.hash == table.hash
    assert again.sources.tolist() == sources
