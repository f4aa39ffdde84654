"""Makes the replica set and the user of the nodes, in the image of a node, which has the driver; then it ends.

Run at every start, since each of its steps does nothing when it is done already. A new MONGODB_PASSWORD takes effect
here, so it is changed in .env and by `up`. A replica set of one: transactions need a set, and this machine is one.
"""

import os
import sys
import time
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

HOST = "mongodb:27017"
REPLICA_SET = "rs0"
USER = "hegemon"
DATABASE = "hegemon"
PATIENCE_S = 300.0
# MongoDB's error codes, from its error_codes.yml.
ALREADY_INITIALIZED = 23
USER_EXISTS = 51003


def main() -> int:
    """0 once a primary takes writes and knows the user."""
    password = os.environ["MONGODB_PASSWORD"]
    root: MongoClient[dict[str, Any]] = MongoClient(
        HOST,
        directConnection=True,
        username="root",
        password=os.environ["MONGODB_ROOT_PASSWORD"],
        serverSelectionTimeoutMS=PATIENCE_S * 1000,
    )
    try:
        _initiate(root)
        _until_primary(root)
        _user(root, password)
    except (PyMongoError, TimeoutError) as error:
        print(f"mongodb-init: {error}", file=sys.stderr)
        return 1
    print(f"mongodb-init: {REPLICA_SET} has a primary, and {USER} may use {DATABASE}")
    return 0


def _initiate(root: "MongoClient[dict[str, Any]]") -> None:
    try:
        root.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [{"_id": 0, "host": HOST}]})
    except OperationFailure as error:
        if error.code != ALREADY_INITIALIZED:
            raise


def _until_primary(root: "MongoClient[dict[str, Any]]") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not root.admin.command("hello")["isWritablePrimary"]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"no primary after {PATIENCE_S:.0f} s")
        time.sleep(0.2)


def _user(root: "MongoClient[dict[str, Any]]", password: str) -> None:
    roles = [{"role": "readWrite", "db": DATABASE}]
    try:
        root.admin.command("createUser", USER, pwd=password, roles=roles)
    except OperationFailure as error:
        if error.code != USER_EXISTS:
            raise
        root.admin.command("updateUser", USER, pwd=password, roles=roles)


if __name__ == "__main__":
    sys.exit(main())
