"""Who answers which question that is put to the watcher."""

from datauploader.contracts.model import Travelling
from datauploader.contracts.questions import ListFolder, PreviewUpload, Question, ReadValues
from datauploader.errors import QuestionRefused
from datauploader_watcher.folders import Folders
from datauploader_watcher.ground import Ground
from datauploader_watcher.previewing import Previews
from datauploader_watcher.values import Values


class Answers:
    """Answers the questions that are put to the watcher."""

    def __init__(self, ground: Ground) -> None:
        """Take what the station stands on."""
        self._claim = ground.claim
        self._folders = Folders(ground.opening)
        self._previews = Previews(ground)
        self._values = Values(ground, self._previews)

    def __call__(self, question: Question) -> Travelling:
        """Answer a question.

        Raises:
            QuestionRefused: it may not be answered, or is not for the watcher.
        """
        if self._claim.trouble:
            raise QuestionRefused("two-computers", self._claim.trouble)
        match question:
            case ListFolder():
                return self._folders(question)
            case PreviewUpload():
                return self._previews(question)
            case ReadValues():
                return self._values(question)
        raise QuestionRefused("unknown-question", f"the watcher does not answer {question.name}")
