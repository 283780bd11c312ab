"""P4: few large files to each storage, beside `rclone copy` with and without `rclone check --download`.

Without the check less is verified. What is stored is removed after each round, and the disk needs room for the files
and a copy of them for each party: 12 GiB.
"""

import sys

from measuring import compare, read_options

STORAGES = ["local", "webdav", "apache", "s3", "sftp", "smb"]

if __name__ == "__main__":
    options = read_options("p4", __doc__, STORAGES, files=4, size=512 * 2**20, quick=(2, 6_000_000))
    sys.exit(compare(options, alone=True, keep=False))
