"""Private servers on loopback for tests, demo and benchmarks: started, killed, restarted, cleaned up."""

from datauploader_testing.servers.errors import (
    MissingProgramError,
    ServerError,
    ServerStartError,
    ServerToolError,
)
from datauploader_testing.servers.prometheus import PrometheusServer
from datauploader_testing.servers.rabbitmq import BrokerAddress, RabbitServer
from datauploader_testing.servers.rabbitmq_cluster import RabbitCluster
from datauploader_testing.servers.redis import RedisAddress, RedisServer
from datauploader_testing.servers.s3 import S3Server
from datauploader_testing.servers.sftp import SftpServer
from datauploader_testing.servers.smb import SmbServer
from datauploader_testing.servers.storage import StorageAddress, StorageServer
from datauploader_testing.servers.webdav import ApacheWebdavServer, RcloneWebdavServer

__all__ = [
    "ApacheWebdavServer",
    "BrokerAddress",
    "MissingProgramError",
    "PrometheusServer",
    "RabbitCluster",
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
