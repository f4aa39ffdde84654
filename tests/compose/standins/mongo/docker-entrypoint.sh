#!/bin/bash
# What the compose files rely on in the official image's entrypoint: on an empty /data/db the user of MONGO_INITDB_* is
# made, by a server that listens on loopback alone and has no replica set; then the command is run.
set -eu
if [ "${MONGO_INITDB_ROOT_USERNAME:-}" ] && [ ! -e /data/db/.first_user ] && [ ! -e /data/db/WiredTiger ]; then
    mongod --bind_ip 127.0.0.1 --dbpath /data/db --fork --logpath /tmp/first.log --wiredTigerCacheSizeGB 0.25
    python3 /usr/local/lib/first_user.py
    mongod --dbpath /data/db --shutdown
    touch /data/db/.first_user
fi
exec "$@"
