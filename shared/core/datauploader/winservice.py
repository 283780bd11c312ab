r"""Services as one Windows service: `python -m datauploader.winservice --config FILE [SERVICE…]`.

Windows' service control manager starts this process, is told how far it is, and asks it to stop; a stop is as clean as
after Ctrl-C.

Protocol: https://learn.microsoft.com/windows/win32/services/service-programs
"""

import argparse
import logging
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

NAME = "DataUploader"
SERVICES = ("watcher", "transfer")
FAILED = 1

if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _OWN_PROCESS = 0x10
    _STOPPED, _START_PENDING, _STOP_PENDING, _RUNNING = 1, 2, 3, 4
    _CONTROL_STOP, _CONTROL_INTERROGATE, _CONTROL_SHUTDOWN = 1, 4, 5
    _ACCEPT_STOP, _ACCEPT_SHUTDOWN = 1, 4
    _SERVICE_SPECIFIC_ERROR, _NOT_IMPLEMENTED = 1066, 120
    _ERROR, _INFORMATION = 1, 4
    _HINT_MS = 30_000
    """How long the manager waits for the next word of a service that starts or stops."""

    class _Status(ctypes.Structure):
        """SERVICE_STATUS."""

        _fields_ = (
            ("type", wintypes.DWORD),
            ("state", wintypes.DWORD),
            ("accepted", wintypes.DWORD),
            ("exit_code", wintypes.DWORD),
            ("specific_exit_code", wintypes.DWORD),
            ("check_point", wintypes.DWORD),
            ("wait_hint_ms", wintypes.DWORD),
        )

    _Main = ctypes.WINFUNCTYPE(None, wintypes.DWORD, ctypes.POINTER(wintypes.LPWSTR))
    _Handler = ctypes.WINFUNCTYPE(wintypes.DWORD, wintypes.DWORD, wintypes.DWORD, ctypes.c_void_p, ctypes.c_void_p)

    class _Entry(ctypes.Structure):
        """SERVICE_TABLE_ENTRYW."""

        _fields_ = (("name", wintypes.LPWSTR), ("main", _Main))

    def _advapi() -> ctypes.WinDLL:
        api = ctypes.WinDLL("advapi32", use_last_error=True)
        handle, dword = wintypes.HANDLE, wintypes.DWORD
        status = ctypes.POINTER(_Status)
        signatures = {
            "StartServiceCtrlDispatcherW": (wintypes.BOOL, (ctypes.POINTER(_Entry),)),
            "RegisterServiceCtrlHandlerExW": (handle, (wintypes.LPCWSTR, _Handler, ctypes.c_void_p)),
            "SetServiceStatus": (wintypes.BOOL, (handle, status)),
            "RegisterEventSourceW": (handle, (wintypes.LPCWSTR, wintypes.LPCWSTR)),
            "ReportEventW": (
                wintypes.BOOL,
                (handle, wintypes.WORD, wintypes.WORD, dword, ctypes.c_void_p, wintypes.WORD, dword,
                 ctypes.POINTER(wintypes.LPCWSTR), ctypes.c_void_p),
            ),
        }  # fmt: skip
        for name, (result, arguments) in signatures.items():
            function = getattr(api, name)
            function.restype, function.argtypes = result, arguments
        return api

    class ControlManager:
        """The service's side of the protocol: a thread listens to the manager, `ending` is set when it asks to stop."""

        def __init__(self) -> None:
            """Say nothing yet."""
            self._api = _advapi()
            self._handle: int | None = None
            self._known, self._over, self.ending = threading.Event(), threading.Event(), threading.Event()
            self._state = _START_PENDING
            self._main, self._handler = _Main(self._serve), _Handler(self._control)  # kept: Windows holds no reference

        def connect(self) -> bool:
            """Answer the manager that has started this process; False where somebody else has."""
            threading.Thread(target=self._dispatch, name="service-control", daemon=True).start()
            self._known.wait()
            return self._handle is not None

        def running(self) -> None:
            """Say that the services have started."""
            self._tell(_RUNNING)

        def stopped(self, code: int) -> None:
            """Say that they have ended, and with which exit code; the manager ends this process then."""
            self._tell(_STOPPED, code)
            self._over.set()

        def report(self, sentence: str, *, error: bool = False) -> None:
            """Write a sentence into the event log."""
            source = self._api.RegisterEventSourceW(None, NAME)
            texts = (wintypes.LPCWSTR * 1)(sentence)
            self._api.ReportEventW(source, _ERROR if error else _INFORMATION, 0, 1, None, 1, 0, texts, None)

        def _dispatch(self) -> None:
            table = (_Entry * 2)(_Entry(NAME, self._main), _Entry())
            self._api.StartServiceCtrlDispatcherW(
                table
            )  # returns when the service has stopped, or at once with an error
            self._known.set()

        def _serve(self, _count: int, _arguments: object) -> None:
            self._handle = self._api.RegisterServiceCtrlHandlerExW(NAME, self._handler, None)
            self._tell(_START_PENDING)
            self._known.set()
            self._over.wait()

        def _control(self, control: int, _kind: int, _data: object, _context: object) -> int:
            if control in (_CONTROL_STOP, _CONTROL_SHUTDOWN):
                self._tell(_STOP_PENDING)
                self.ending.set()
                return 0
            return 0 if control == _CONTROL_INTERROGATE else _NOT_IMPLEMENTED

        def _tell(self, state: int, code: int = 0) -> None:
            self._state = state
            accepted = _ACCEPT_STOP | _ACCEPT_SHUTDOWN if state == _RUNNING else 0
            general = _SERVICE_SPECIFIC_ERROR if code else 0
            hint = _HINT_MS if state in (_START_PENDING, _STOP_PENDING) else 0
            status = _Status(_OWN_PROCESS, state, accepted, general, code, 0, hint)
            self._api.SetServiceStatus(self._handle, ctypes.byref(status))

else:

    class ControlManager:
        """Only Windows has one."""

        ending = threading.Event()

        def connect(self) -> bool:
            """Say that there is none."""
            return False

        def running(self) -> None:
            """Tell nobody."""

        def stopped(self, code: int) -> None:
            """Tell nobody."""

        def report(self, sentence: str, *, error: bool = False) -> None:
            """Tell nobody."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as the service control manager wants it; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m datauploader.winservice")
    parser.add_argument("--config", type=Path, help="the configuration; state and log lie beside it")
    parser.add_argument("services", nargs="*", default=SERVICES, metavar="SERVICE")
    options = parser.parse_args(arguments)
    manager = ControlManager()
    if not manager.connect():
        parser.error("Windows starts this as a service; to run by hand: datauploader run watcher transfer")
    code = _serve(manager, options.config, options.services)
    manager.stopped(code)
    return code


def _serve(manager: ControlManager, config: Path | None, services: Sequence[str]) -> int:
    from datauploader.errors import DataUploaderError  # noqa: PLC0415
    from datauploader.runtime import process  # noqa: PLC0415 - the manager waits 30 s for an answer, not for these imports
    from datauploader.runtime.config import CONFIG_VARIABLE, Settings, load  # noqa: PLC0415

    problems: list[str] = []
    try:
        if config is not None:
            os.environ[CONFIG_VARIABLE] = str(config)
            said = load(Settings).model_fields_set
            if "state_dir" not in said:
                os.environ["DATAUPLOADER_STATE_DIR"] = str(config.parent / "state")
            if "log_file" not in said:
                os.environ["DATAUPLOADER_LOG_FILE"] = str(config.parent / "log" / "datauploader.log")
        settings = load(Settings)

        def started() -> None:
            manager.running()
            manager.report(f"DataUploader is running: {', '.join(services)}. Its log: {settings.log_file}")

        code = process.run(services, settings, ending=manager.ending, on_started=started, on_failed=problems.append)
    except DataUploaderError as error:
        code, problems = FAILED, [str(error)]
    except Exception as error:  # the boundary of the process
        logging.getLogger(__name__).exception("service_failed")
        code, problems = FAILED, [repr(error)]
    if code:
        manager.report(f"DataUploader cannot run; Windows restarts it. {'; '.join(problems)}", error=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
