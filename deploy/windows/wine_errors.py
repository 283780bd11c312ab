"""A plug-in of pytest: gives a refused lock the error number that Windows gives it, and Debian's Wine 8 does not."""

import errno
import msvcrt

_locking = msvcrt.locking


def _refused(*arguments: int) -> None:
    try:
        _locking(*arguments)
    except OSError as error:
        if error.errno == 0:
            raise PermissionError(errno.EACCES, "Permission denied") from error
        raise


msvcrt.locking = _refused
