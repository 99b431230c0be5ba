"""Keywords by exiv2, used by digiKam and darktable: `write JSON` puts them inside, `read FILE...` prints them."""

import json
import sys

import pyexiv2

verb, *rest = sys.argv[1:]
if verb == "write":
    for path, given in json.loads(rest[0]).items():
        with pyexiv2.Image(path) as image:
            image.modify_xmp(given.get("xmp", {}))
            image.modify_iptc(given.get("iptc", {}), encoding=given.get("encoding", "utf-8"))
    print("null")
else:
    found = {}
    for path in rest:
        with pyexiv2.Image(path) as image:
            xmp = image.read_xmp()
            found[path] = {key: xmp.get(f"Xmp.{key}") for key in ("dc.subject", "lr.hierarchicalSubject")}
    print(json.dumps(found))
