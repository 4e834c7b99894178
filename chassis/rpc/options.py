"""The gRPC channel options that server and client must agree on. Times are in milliseconds."""

import json

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
# Room for the stamp on the way in and the field violations on the way out.
_MAX_METADATA_BYTES = 64 * 1024

_SHARED = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", _MAX_METADATA_BYTES),
    ("grpc.keepalive_timeout_ms", 10_000),
)

_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    # Each server is watched by the health protocol: one that is about to end says so first, and gets no call that it would cut off.
    "healthCheckConfig": {"serviceName": ""},
}

CHANNEL_OPTIONS = (
    *_SHARED,
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    # Who takes the place of a server that leaves is looked up at once: by itself gRPC asks the DNS every half minute at most.
    ("grpc.dns_min_time_between_resolutions_ms", 250),
    # A channel finds out by itself whether its peer is there: no call fails for what another channel met there before.
    ("grpc.use_local_subchannel_pool", 1),
    # A process that was restarted is found again within a second, while calls still wait for it, not after minutes of backing off.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)

SERVER_OPTIONS = (
    *_SHARED,
    # Less than the clients' keepalive time, or their pings would count as abuse.
    ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
    # Connections are renewed, so that clients find backends that came later; the longest upload may still finish.
    ("grpc.max_connection_age_ms", 300_000),
    ("grpc.max_connection_age_grace_ms", 600_000),
    # Two processes on one port would take turns in answering; the second must fail instead.
    ("grpc.so_reuseport", 0),
)
