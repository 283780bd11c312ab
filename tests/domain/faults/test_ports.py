"""Where private servers listen."""

import random

from datauploader_testing.servers import ports


def test_whoever_seeds_the_random_numbers_of_a_process_does_not_choose_its_ports(monkeypatch):
    """Two processes that begin alike, as Hypothesis makes them begin, must not meet at a port."""
    drawn = []
    for _ in range(2):
        monkeypatch.setattr(ports, "_handed_out", set())
        random.seed(0)
        drawn.append([ports.free_port() for _ in range(4)])
    assert drawn[0] != drawn[1]
