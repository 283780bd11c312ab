"""A harvester without Python: a file `harvester.toml` that names a program, and what it reads."""

import shutil
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from datauploader.contracts.model import Sha256, Word
from datauploader.errors import ConfigurationError
from datauploader.plugins.file_reader.executable import PLACE, Executable
from datauploader.plugins.harvester import Harvester, Kind
from datauploader.runtime.config import read_toml

_SHELLS = (".bat", ".cmd")
"""Windows hands the words of these to a shell, to which the name of a file can be a command."""


class HarvesterFile(BaseModel):
    """What `harvester.toml` says."""

    model_config = ConfigDict(extra="forbid")

    name: Word
    """Of the harvester; its queue is `harvester.<name>`, its service `<name>-harvester`."""
    patterns: tuple[Annotated[str, StringConstraints(min_length=1, to_lower=True)], ...] = Field(min_length=1)
    """Shell patterns of the names of the files that it reads."""
    command: tuple[str, ...] = Field(min_length=1)
    """The program and its arguments; no shell sees them. It starts in the folder of this file."""
    sha256: dict[str, Sha256] = Field(default_factory=dict)
    """Files that must be exactly these, by their path from the folder of this file."""


def load_harvester(path: Path) -> Harvester:
    """Read a harvester's file, and look whether its program is there.

    Raises:
        ConfigurationError: says what is wrong with it.
    """
    try:
        told = HarvesterFile.model_validate(read_toml(path))
    except ValidationError as error:
        wrong = [
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        ]
        raise ConfigurationError(f"{path} is wrong:\n  " + "\n  ".join(wrong)) from None
    if not any(PLACE in word for word in told.command[1:]):
        raise ConfigurationError(f'{path}: command needs the word "{PLACE}", which stands for the path of the file')
    folder = path.absolute().parent
    program = _program(path, folder, told.command[0])
    pinned = {program if name == told.command[0] else folder / name: digest for name, digest in told.sha256.items()}
    executable = Executable(command=(str(program), *told.command[1:]), folder=folder, sha256=pinned)
    if problem := executable.changed():
        raise ConfigurationError(f"{path}: {problem}")
    return Harvester(Kind(told.name, told.patterns, executable.model_dump_json()))


def _program(path: Path, folder: Path, word: str) -> Path:
    """Find the program that the first word of a command names: from the folder on, or a mere name as shells find it."""
    is_path = "/" in word or "\\" in word
    found = shutil.which(str(folder / word) if is_path else word)
    if found is None:
        here = folder / word
        hint = f"write ./{word}" if here.is_file() and not is_path else "give its path from the folder of this file"
        if here.is_file() and is_path:
            hint = f"it is not executable; run: chmod +x {here}"
        raise ConfigurationError(f"{path}: there is no program {word} to start; {hint}")
    if Path(found).suffix.lower() in _SHELLS:
        raise ConfigurationError(
            f"{path}: {word} is a script of Windows' shell, to which a file's name could be a command; name a program"
        )
    return Path(found).absolute()
