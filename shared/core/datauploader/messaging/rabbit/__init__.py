"""The RabbitMQ engine: the only package that imports pika."""

import logging

from datauploader.messaging.rabbit.administration import apply_topology, check_topology
from datauploader.messaging.rabbit.bus import RabbitBus
from datauploader.messaging.rabbit.foreign import (
    ForeignBinding,
    ForeignMessage,
    ForeignQueue,
    check_foreign_exchange,
)
from datauploader.messaging.rabbit.options import Tuning
from datauploader.messaging.rabbit.sign_ins import SignInListener, check_sign_ins

logging.getLogger("pika").setLevel(logging.CRITICAL)  # everything that it would log is said by us, in sentences

__all__ = [
    "ForeignBinding",
    "ForeignMessage",
    "ForeignQueue",
    "RabbitBus",
    "SignInListener",
    "Tuning",
    "apply_topology",
    "check_foreign_exchange",
    "check_sign_ins",
    "check_topology",
]
