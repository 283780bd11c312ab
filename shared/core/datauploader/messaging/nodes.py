"""A broker's address that names several nodes."""

from urllib.parse import urlsplit, urlunsplit


def urls_of_nodes(url: str) -> list[str]:
    """Write a broker's URL once for each node that it names: `amqps://user:password@a:5671,b:5671/vhost`."""
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    return [urlunsplit(parts._replace(netloc=f"{user}{at}{host.strip()}")) for host in hosts.split(",")]
