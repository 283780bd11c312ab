"""A plain script as people write it: it watches a folder and starts `rclone copyto` for each file that is closed there.

Four copies run at once, as many as rclone itself makes. It is one of the parties of P5 and P6: RCLONE SOURCE GOAL.
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from watchdog.events import FileSystemEvent, PatternMatchingEventHandler
from watchdog.observers import Observer

RCLONE, SOURCE, GOAL = sys.argv[1:]
COPIES = ThreadPoolExecutor(4)


class CopyOnClose(PatternMatchingEventHandler):
    """Copies each file when its writer has closed it."""

    def on_closed(self, event: FileSystemEvent) -> None:
        """Take a file that was closed."""
        path = str(event.src_path)
        target = Path(GOAL, Path(path).relative_to(SOURCE))
        COPIES.submit(subprocess.run, [RCLONE, "--config=", "copyto", path, target], check=False)


observer = Observer()
observer.schedule(CopyOnClose(ignore_directories=True), SOURCE, recursive=True)
observer.start()
print("watching", flush=True)
Event().wait()
