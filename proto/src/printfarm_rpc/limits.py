"""Times, sizes and gRPC options that both ends must agree on. A test asserts how they relate.

The option names are C-core's own: a misspelt one is ignored silently, so a test looks each of them up in the binary.
"""

Options = list[tuple[str, int]]

PROTOCOL_VERSION = 1

HEARTBEAT_SECONDS = 10.0
LEASE_SECONDS = 45.0
START_TTL_SECONDS = 30.0
START_MARGIN_SECONDS = 5.0
AUTHORISE_DEADLINE_SECONDS = 10.0
UNARY_DEADLINE_SECONDS = 15.0
FIRST_ANSWER_SECONDS = 10.0
DRAIN_NOTICE_SECONDS = 2.0
STOP_GRACE_SECONDS = 5.0
SYSTEMD_STOP_SECONDS = 20.0
AGENT_CERTIFICATE_SECONDS = 24 * 3600.0

MIB = 1 << 20
MESSAGE_BYTES = MIB
FILE_MESSAGE_BYTES = 2 * MIB
CHUNK_BYTES = 512 * 1024
LARGEST_CHUNK_BYTES = MIB
LARGEST_FRAME_BYTES = 900 * 1024
METADATA_BYTES = 8_192
EVENTS_PER_BATCH = 100
SAMPLES_PER_BATCH = 1_000
TELEMETRY_RING = 600
# Of a stream of requests that is refused while it is sent.
READ_ON_BYTES = 16 * MIB
READ_ON_SECONDS = 2.0
READ_ON_PAUSE_SECONDS = 0.25

# The ping timeout, not the keepalive timeout, is what notices a peer whose kernel still acknowledges for a stopped process.
_BOTH: Options = [
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # By default an idle connection pings twice, then once a minute: a peer that hangs would outlive its lease.
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_metadata_size", METADATA_BYTES),
]
_SMALL: Options = [("grpc.max_receive_message_length", MESSAGE_BYTES), ("grpc.max_send_message_length", MESSAGE_BYTES)]
_LARGE: Options = [
    ("grpc.max_receive_message_length", FILE_MESSAGE_BYTES),
    ("grpc.max_send_message_length", FILE_MESSAGE_BYTES),
]
_SERVER: Options = [
    *_BOTH,
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.so_reuseport", 0),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_age_ms", 6 * 3_600_000),
    ("grpc.max_connection_age_grace_ms", 60_000),
    ("grpc.enable_channelz", 1),
]
_CLIENT: Options = [
    *_BOTH,
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 30_000),
    ("grpc.enable_retries", 0),
]
_NO_PROBING: Options = [("grpc.http2.bdp_probe", 0)]

# One listener serves control, telemetry and files of an agent: it takes the larger messages, and the handlers cap each.
AGENT_SERVER: Options = [*_SERVER, *_LARGE, *_NO_PROBING, ("grpc.max_concurrent_streams", 32)]
CONTROL_SERVER: Options = [*_SERVER, *_LARGE, ("grpc.max_concurrent_streams", 1_024)]
ENROLLMENT_SERVER: Options = [
    *_SERVER,
    ("grpc.max_receive_message_length", 64 * 1024),
    ("grpc.max_concurrent_streams", 8),
]
AGENT_CONTROL_CHANNEL: Options = [*_CLIENT, *_SMALL]
AGENT_STREAMS_CHANNEL: Options = [*_CLIENT, *_SMALL, *_NO_PROBING]
AGENT_FILES_CHANNEL: Options = [*_CLIENT, *_LARGE]
CONTROL_CHANNEL: Options = [*_CLIENT, *_LARGE]
