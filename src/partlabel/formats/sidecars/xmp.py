"""Keywords in XMP documents and in image files, as photo programs write them."""

import struct
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape

from defusedxml import ElementTree

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_SUBJECT = "{http://purl.org/dc/elements/1.1/}subject"
_HIERARCHIES = {  # and what stands between the levels
    "{http://ns.adobe.com/lightroom/1.0/}hierarchicalSubject": "|",
    "{http://www.digikam.org/ns/1.0/}TagsList": "/",
    "{http://ns.microsoft.com/photo/1.0/}LastKeywordXMP": "/",
}
_EXTENSION = "{http://ns.adobe.com/photoshop/1.0/}SidecarForExtension"
_LARGEST = 1 << 26  # bytes of a document; edits with masks come to a few million
_PNG, _PNG_KEY = b"\x89PNG\r\n\x1a\n", b"XML:com.adobe.xmp\0"
_JPEG, _TIFF = {".jpg", ".jpeg", ".jpe", ".jfif"}, {".tif", ".tiff"}
_KEYWORDS, _CHARSET = (2, 25), (1, 90)

Path_ = tuple[str, ...]


class Keywords(NamedTuple):
    """The keywords of an image.

    Args:
        flat: those of the plain list.
        paths: those of hierarchies, from the top to the leaf.
        extension: the ending of the file that a sidecar says it belongs to.
    """

    flat: tuple[str, ...] = ()
    paths: tuple[Path_, ...] = ()
    extension: str = ""

    def joined(self, other: "Keywords") -> "Keywords":
        """Those of two documents."""
        return Keywords(self.flat + other.flat, self.paths + other.paths)


NO_KEYWORDS = Keywords()


def split_path(text: str, separator: str) -> Path_:
    """The levels of a hierarchical keyword, without empty ones."""
    return tuple(level for part in text.split(separator) if (level := part.strip()))


def sidecar_keywords(path: Path) -> Keywords:
    """The keywords of a sidecar.

    Raises:
        ValueError: it is no XMP.
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        return xmp_keywords(stream.read(_LARGEST + 1))


def xmp_keywords(document: bytes) -> Keywords:
    """The keywords of an XMP document.

    Raises:
        ValueError: it is none; says why.
    """
    if len(document) > _LARGEST:
        raise ValueError(f"it has more than {_LARGEST:,} bytes")
    try:
        root = ElementTree.fromstring(document.strip(b"\0 \r\n\t"), forbid_dtd=True)
    except (ParseError, ValueError, LookupError, RecursionError) as error:
        raise ValueError(str(error)[:200] or type(error).__name__) from error
    tree = root if root.tag == f"{_RDF}RDF" else root.find(f"{_RDF}RDF")
    if tree is None:
        raise ValueError("it holds no rdf:RDF")
    flat: list[str] = []
    paths: list[Path_] = []
    extension = ""
    for description in tree.findall(f"{_RDF}Description"):
        extension = description.get(_EXTENSION) or description.findtext(_EXTENSION) or extension
        for element in description:
            if element.tag == _SUBJECT:
                flat += _entries(element)
            elif element.tag in _HIERARCHIES:
                paths += [split_path(text, _HIERARCHIES[element.tag]) for text in _entries(element)]
    return Keywords(tuple(filter(None, flat)), tuple(filter(None, paths)), extension.strip())


def _entries(element: Element) -> Iterator[str]:
    return ((entry.text or "").strip() for entry in element.iter(f"{_RDF}li"))


def embedded_keywords(path: Path) -> Keywords:
    """The keywords inside an image file: those of XMP, and where it has none, those of IPTC.

    Raises:
        ValueError: the file is damaged.
        OSError: it cannot be read.
    """
    suffix = path.suffix.casefold()
    if suffix not in {*_JPEG, *_TIFF, ".webp", ".png"}:
        return NO_KEYWORDS
    with path.open("rb") as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if suffix == ".png":
            return xmp_keywords(xmp) if (xmp := _png_xmp(stream)) else NO_KEYWORDS
        xmp, iptc = _opened(stream, suffix)
    found = xmp_keywords(xmp) if xmp else NO_KEYWORDS
    return found if found.flat or found.paths else Keywords(flat=_iptc_keywords(iptc))


def _opened(stream: BinaryIO, suffix: str) -> tuple[bytes, dict[tuple[int, int], Any]]:
    from PIL import IptcImagePlugin, JpegImagePlugin, TiffImagePlugin, WebPImagePlugin

    reader: Any = TiffImagePlugin.TiffImageFile if suffix in _TIFF else WebPImagePlugin.WebPImageFile
    if suffix in _JPEG:
        reader = JpegImagePlugin.JpegImageFile
    try:
        image = reader(stream)  # not Image.open, which minds the number of pixels
        xmp = image.info.get("xmp", b"")
        return xmp if isinstance(xmp, bytes) else b"", IptcImagePlugin.getiptcinfo(image) or {}
    except Exception as error:  # Pillow raises whatever a damaged part happens to cause
        raise ValueError(str(error)[:200]) from error


def _png_xmp(stream: BinaryIO) -> bytes:
    """The XMP of a PNG, which may stand behind the pixels, where Pillow finds it only after decoding them."""
    if stream.read(8) != _PNG:
        raise ValueError("it is no PNG")
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind != b"iTXt" or length > _LARGEST:
            stream.seek(length + 4, 1)
            continue
        content = stream.read(length)
        stream.seek(4, 1)
        # Behind the key: whether it is compressed, how, the language and the translated key.
        if content.startswith(_PNG_KEY + b"\0") and content.count(b"\0", len(_PNG_KEY) + 2) >= 2:
            return content[len(_PNG_KEY) + 2 :].split(b"\0", 2)[2]
    return b""


def _iptc_keywords(records: dict[tuple[int, int], Any]) -> tuple[str, ...]:
    said = records.get(_KEYWORDS, [])
    encoded = said if isinstance(said, list) else [said]
    is_utf8 = records.get(_CHARSET) == b"\x1b%G"
    words = (_text(word, is_utf8).strip("\0 ") for word in encoded if isinstance(word, bytes))
    return tuple(filter(None, words))


def _text(word: bytes, is_utf8: bool) -> str:
    """Text of IPTC: UTF-8 where it is declared or fits, as many programs leave the declaration out; else Latin-1."""
    try:
        return word.decode("utf-8")
    except UnicodeDecodeError:
        return word.decode("utf-8" if is_utf8 else "latin-1", "replace")


def xmp_document(flat: Iterable[str], paths: Iterable[str]) -> str:
    """An XMP document with these keywords."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="partlabel">\n'
        ' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
        '  <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"\n'
        '    xmlns:lr="http://ns.adobe.com/lightroom/1.0/">\n'
        f"   <dc:subject>{_bag(flat)}</dc:subject>\n"
        f"   <lr:hierarchicalSubject>{_bag(paths)}</lr:hierarchicalSubject>\n"
        "  </rdf:Description>\n"
        " </rdf:RDF>\n"
        "</x:xmpmeta>\n"
    )


def _bag(words: Iterable[str]) -> str:
    entries = "".join(f"\n     <rdf:li>{escape(word)}</rdf:li>" for word in words)
    return f"\n    <rdf:Bag>{entries}\n    </rdf:Bag>\n   "
