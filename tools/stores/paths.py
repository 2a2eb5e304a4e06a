"""Where the clone is, and where its servers keep their data."""

import hashlib
import os
import pathlib
import stat

ROOT = pathlib.Path(__file__).resolve().parents[2]


def runtime_directory(name: str) -> pathlib.Path:
    """Returns /var/tmp/apex-<uid>-<hash of the clone's path>/<name>, made when missing.

    Not inside the clone: PostgreSQL refuses to run as root, and the user it then runs as cannot enter a home directory.
    Two clones never share a server.
    """
    clone = hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]
    base = pathlib.Path("/var/tmp") / f"apex-{os.getuid()}-{clone}"
    base.mkdir(mode=0o711, exist_ok=True)
    # Anybody may write to /var/tmp: a directory or link put there by somebody else is not used.
    found = base.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{base} exists and does not belong to this user; remove it and try again")
    base.chmod(0o711)
    directory = base / name
    directory.mkdir(mode=0o711, parents=True, exist_ok=True)
    return directory
