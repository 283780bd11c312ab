"""Private servers on loopback for tests, demo and benchmarks: started, killed, restarted, cleaned up."""

from datauploader.testing.servers.errors import (
    MissingProgramError,
    ServerError,
    ServerStartError,
    ServerToolError,
)
from datauploader.testing.servers.rabbitmq import BrokerAddress, RabbitServer
from datauploader.testing.servers.redis import RedisAddress, RedisServer
from datauploader.testing.servers.s3 import S3Server
from datauploader.testing.servers.sftp import SftpServer
from datauploader.testing.servers.smb import SmbServer
from datauploader.testing.servers.storage import StorageAddress, StorageServer
from datauploader.testing.servers.webdav import ApacheWebdavServer, RcloneWebdavServer

__all__ = [
    "ApacheWebdavServer",
    "BrokerAddress",
    "MissingProgramError",
    "RabbitServer",
    "RcloneWebdavServer",
    "RedisAddress",
    "RedisServer",
    "S3Server",
    "ServerError",
    "ServerStartError",
    "ServerToolError",
    "SftpServer",
    "SmbServer",
    "StorageAddress",
    "StorageServer",
]
