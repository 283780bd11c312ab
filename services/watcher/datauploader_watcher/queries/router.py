"""The router of queries: who answers which question that is put to the watcher."""

from datauploader.contracts.model import WireModel
from datauploader.contracts.questions import ListFolder, PreviewUpload, Question, ReadValues
from datauploader.errors import QuestionRefused
from datauploader_watcher.context import WatcherContext
from datauploader_watcher.queries.dry_run import DryRuns
from datauploader_watcher.queries.file_metadata import MetadataExtractor
from datauploader_watcher.queries.folders import FolderBrowser


class WatcherQueries:
    """Routes the queries that are put to the watcher (request-reply) to those who answer them."""

    def __init__(self, context: WatcherContext) -> None:
        """Take what the station stands on."""
        self._claim = context.claim
        self._folders = FolderBrowser(context.admission)
        self._previews = DryRuns(context)
        self._values = MetadataExtractor(context, self._previews)

    def __call__(self, question: Question) -> WireModel:
        """Answer a question.

        Raises:
            QuestionRefused: it may not be answered, or is not for the watcher.
        """
        if self._claim.problem:
            raise QuestionRefused("two-computers", self._claim.problem)
        match question:
            case ListFolder():
                return self._folders(question)
            case PreviewUpload():
                return self._previews(question)
            case ReadValues():
                return self._values(question)
        raise QuestionRefused("unknown-question", f"the watcher does not answer {question.name}")
