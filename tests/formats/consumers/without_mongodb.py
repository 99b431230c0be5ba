"""FiftyOne without its database server, which it would download: documents are kept in memory by mongomock."""

import os
from typing import Any

import mongomock
import pymongo
from mongomock.store import ServerStore

_STORE = ServerStore()


class Client(mongomock.MongoClient):
    """A client whose fellows all see the same documents."""

    _closed = False

    def __init__(self, host: Any = None, port: Any = None, **_: Any) -> None:
        super().__init__(host, port, _store=_STORE)


def use_memory() -> None:
    """To be called before fiftyone is imported."""
    pymongo.MongoClient = Client
    os.environ |= {
        "FIFTYONE_DATABASE_URI": "mongodb://localhost",
        "FIFTYONE_DATABASE_ADMIN": "false",
        "FIFTYONE_DATABASE_VALIDATION": "false",
        "FIFTYONE_DO_NOT_TRACK": "true",
        "FIFTYONE_SHOW_PROGRESS_BARS": "false",
    }
