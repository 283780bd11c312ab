"""What a consumer is made of that is no harvester: a name, and a function for each kind of event that it wants.

A consumer's distribution names it in the entry-point group `datauploader.services`:

    app = consumer("chat", ChatSettings)

    @app.on("dataset.completed.v1")
    def tell(event: Event[DatasetCompleted], context: HandlerContext[ChatSettings]) -> None: ...

`consumers/notifier` is the example to begin from.
"""

from datauploader.errors import Park, Retry
from datauploader.plugins.consumer.plug_in import ConsumerPlugIn, HandlerContext, consumer, event_kind
from datauploader.plugins.consumer.service import ConsumerService, ConsumerSettings
from datauploader.plugins.consumer.trial import Trial, try_event

__all__ = [
    "ConsumerPlugIn",
    "ConsumerService",
    "ConsumerSettings",
    "HandlerContext",
    "Park",
    "Retry",
    "Trial",
    "consumer",
    "event_kind",
    "try_event",
]
