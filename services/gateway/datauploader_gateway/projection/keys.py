"""The names of everything that the gateway keeps in Redis; all begin with one prefix, for the access rules."""

PREFIX = "datauploader:"
MARKER = f"{PREFIX}view:3"
"""Says that the view is whole; missing after a flush, and where an older release has left out what this one keeps."""
FORMAT = f"{PREFIX}view:format"
"""By which release's rules the view was written last (number); see `view_format`."""
BUILDING = f"{PREFIX}view:building"
"""Which rebuild is under way; missing after a flush in the middle of it."""
COMMITS = f"{PREFIX}view:commits"
"""How often the view was changed: a smaller number than it has shown before says that Redis is older than it was."""
COMMITTED = f"{PREFIX}view:committed"
"""When the view was changed last, in seconds since 1970."""
SERVING = f"{PREFIX}serving"
"""Which gateway serves now, by its state file and its computer; ends soon after that gateway."""
SERVED = f"{PREFIX}served"
"""Which gateway has served last."""
PROBE = f"{PREFIX}probe"
"""Written now and then to see whether anything can be."""
UPLOADS = f"{PREFIX}uploads"
"""All uploads by the time of their request (sorted set)."""
STATIONS = f"{PREFIX}stations"
"""The latest report of each service of each station (hash)."""
ALL_LIVE = f"{PREFIX}live"
"""What changed, of everything (stream)."""
AUDIT = f"{PREFIX}audit"
"""Who did what (stream)."""
REFUSED = f"{PREFIX}audit:refused"
"""Whom nobody let in (stream): strangers can make many of these, which must not push out what people did."""

ACKNOWLEDGED = f"{PREFIX}acknowledged"
"""What operators have said of what is wrong, by its cause (hash)."""
MAIL_ADDRESSES = f"{PREFIX}mail:addresses"
"""What the identity provider says are people's mail addresses (hash)."""
MAIL_OFF = f"{PREFIX}mail:off"
"""People who want no mail (set)."""


def mail_sent(message_id: str) -> str:
    """Say that the mail server has taken a letter, whichever gateway has sent it."""
    return f"{PREFIX}mail:sent:{message_id}"


REQUEST = "r:request"
"""The register of an upload that says who asked for it; without it only what others have said of it is known."""


def upload(upload_id: str) -> str:
    """Registers and counts of an upload (hash)."""
    return f"{PREFIX}upload:{upload_id}"


def files(upload_id: str) -> str:
    """Facts about each file, by the bytes of its path (hash)."""
    return f"{PREFIX}files:{upload_id}"


def in_state(upload_id: str, state: str) -> str:
    """Paths of the files in one state, in order (sorted set, all scores equal)."""
    return f"{PREFIX}files:{upload_id}:{state}"


def failures(upload_id: str) -> str:
    """Why files failed, by path (hash)."""
    return f"{PREFIX}failures:{upload_id}"


def remarks(upload_id: str) -> str:
    """What the catalogue does not take of a file, and what could not be read in it, by path (hash)."""
    return f"{PREFIX}remarks:{upload_id}"


def values(upload_id: str) -> str:
    """What harvesters have read in the first files, by path (hash)."""
    return f"{PREFIX}values:{upload_id}"


def pictures(upload_id: str) -> str:
    """Which pictures there are of the first files, by path (hash)."""
    return f"{PREFIX}pictures:{upload_id}"


PICTURES = f"{PREFIX}pictures"
"""The digests of all pictures, by when they were last said (sorted set)."""


def picture(digest: str) -> str:
    """One picture, by its SHA-256 (string)."""
    return f"{PREFIX}picture:{digest}"


def left_out(upload_id: str) -> str:
    """What is left out and why, by path (hash)."""
    return f"{PREFIX}leftout:{upload_id}"


def live(upload_id: str) -> str:
    """What changed, of one upload (stream)."""
    return f"{PREFIX}live:{upload_id}"


def investigation(investigation_id: str) -> str:
    """What people said of an investigation, and what became of it (hash)."""
    return f"{PREFIX}investigation:{investigation_id}"


def of_person(person_id: str) -> str:
    """Uploads of one person (sorted set)."""
    return f"{PREFIX}uploads:person:{person_id}"


def session(digest: str) -> str:
    """One signed-in browser (string, JSON)."""
    return f"{PREFIX}session:{digest}"


def token(digest: str) -> str:
    """One bearer token (string, JSON)."""
    return f"{PREFIX}token:{digest}"


def tokens_of(person_id: str) -> str:
    """The tokens of one person: public id to digest (hash)."""
    return f"{PREFIX}tokens:{person_id}"


def limit(key: str) -> str:
    """One counter of attempts (string)."""
    return f"{PREFIX}limit:{key}"


def sign_in(digest: str) -> str:
    """One sign-in that waits for the identity provider's answer (string, JSON)."""
    return f"{PREFIX}sign-in:{digest}"


def signed_out(person_id: str) -> str:
    """When an operator signed somebody out everywhere; older sessions and tokens are worthless (string, time)."""
    return f"{PREFIX}signed-out:{person_id}"


def mail_off(upload_id: str) -> str:
    """Says that the person of one upload wants no mail about it (string)."""
    return f"{PREFIX}mail:off:{upload_id}"


def flow(upload_id: str) -> str:
    """How much of one upload moved when (string, packed)."""
    return f"{PREFIX}flow:{upload_id}"


def timing(upload_id: str) -> str:
    """How many files of one upload took how long for each step (hash)."""
    return f"{PREFIX}timing:{upload_id}"


def station_flow(station: str, step: int) -> str:
    """How many bytes of a station moved in one step of five minutes (string, number)."""
    return f"{PREFIX}flow:station:{station}:{step}"
