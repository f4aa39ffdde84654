"""The first user of a MongoDB that has none yet."""

import os
from typing import Any

from pymongo import MongoClient

with MongoClient[dict[str, Any]]("127.0.0.1", 27017, directConnection=True) as client:
    client.admin.command(
        "createUser",
        os.environ["MONGO_INITDB_ROOT_USERNAME"],
        pwd=os.environ["MONGO_INITDB_ROOT_PASSWORD"],
        roles=[{"role": "root", "db": "admin"}],
    )
