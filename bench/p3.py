"""P3: many small files to S3 and SFTP, beside `rclone copy` followed by `rclone check --download`.

The servers are `rclone serve s3` and OpenSSH. Beside them s5cmd for S3, which compares nothing afterwards, and rsync
over ssh for SFTP. rclone opens a shell at an SFTP server for the checksum of each file: its turns there take minutes.
"""

import sys

from measuring import compare, read_options

if __name__ == "__main__":
    sys.exit(compare(read_options("p3", __doc__, ["s3", "sftp"], files=2_000, size=20_000)))
