"""Fixtures of private servers for pytest: `pytest_plugins = ["datauploader_testing.plugin"]` in a conftest.

Servers live for a session and are shared; what a test writes lives in a virtual host, a folder of its own. A test
that wants to kill a server makes one for itself. A program that is missing fails the test with what to install.
"""

import uuid
from collections.abc import Iterator
from typing import TypeVar

import pytest

from datauploader_testing.servers import (
    ApacheWebdavServer,
    BrokerAddress,
    MissingProgramError,
    RabbitServer,
    RcloneWebdavServer,
    RedisServer,
    S3Server,
    SftpServer,
)
from datauploader_testing.servers.server import PrivateServer

Server = TypeVar("Server", bound=PrivateServer)


@pytest.fixture(scope="session")
def rabbitmq_server() -> Iterator[RabbitServer]:
    """Give the session's private RabbitMQ."""
    yield from _served(RabbitServer)


@pytest.fixture
def rabbitmq_vhost(rabbitmq_server: RabbitServer) -> Iterator[BrokerAddress]:
    """Give the address of a virtual host that is this test's alone."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    rabbitmq_server.management.create_vhost(name)
    yield rabbitmq_server.address.in_vhost(name)
    rabbitmq_server.management.delete_vhost(name)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """Give the session's private Redis; a test that cares for what others left begins with FLUSHALL."""
    yield from _served(RedisServer)


@pytest.fixture(scope="session")
def sftp_server() -> Iterator[SftpServer]:
    """Give the session's private OpenSSH server."""
    yield from _served(SftpServer)


@pytest.fixture(scope="session")
def webdav_server() -> Iterator[RcloneWebdavServer]:
    """Give the session's private `rclone serve webdav`."""
    yield from _served(RcloneWebdavServer)


@pytest.fixture(scope="session")
def apache_server() -> Iterator[ApacheWebdavServer]:
    """Give the session's private Apache with mod_dav."""
    yield from _served(ApacheWebdavServer)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """Give the session's private `rclone serve s3`."""
    yield from _served(S3Server)


def _served(kind: type[Server]) -> Iterator[Server]:
    try:
        server = kind()
    except MissingProgramError as missing:
        pytest.fail(str(missing), pytrace=False)
    with server:
        yield server
