"""P1: many small files to local storage, beside `rclone copy` followed by `rclone check --download`, and rsync.

All parties give the same guarantee: every stored byte was read back or hashed by the storage and compared
with the source. Ours also goes through RabbitMQ and makes a complete dataset in the user office's double.
"""

import sys

from measuring import compare, read_options

if __name__ == "__main__":
    sys.exit(compare(read_options("p1", __doc__, ["local"], files=10_000, size=20_000)))
