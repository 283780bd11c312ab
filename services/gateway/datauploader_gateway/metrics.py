"""What the gateway counts, for Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("datauploader_gateway_requests", "Requests by route and status", ["method", "route", "status"])
SECONDS = Histogram("datauploader_gateway_request_seconds", "Time to answer, streams included", ["route"])
FOLDED = Counter("datauploader_gateway_events_folded", "Events put into the view", ["event"])
FOLD_SECONDS = Histogram(
    "datauploader_gateway_fold_seconds",
    "Time to put one event into the view",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1),
)
STREAMS = Gauge("datauploader_gateway_streams", "Open event streams")
REBUILDS = Counter("datauploader_gateway_view_rebuilds", "Times that the view was built again from the event log")
SIGN_INS = Counter("datauploader_gateway_sign_ins", "Attempts to sign in", ["method", "outcome"])
