"""P2: many small files to WebDAV, beside `rclone copy` followed by `rclone check --download`.

Two servers, because they differ: rclone's own, and Apache's mod_dav, which facilities run.
"""

import sys

from measuring import compare, read_options

if __name__ == "__main__":
    sys.exit(compare(read_options("p2", __doc__, ["webdav", "apache"], files=2_000, size=20_000)))
