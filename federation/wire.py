"""What both ends of the wire must agree on: sizes, keepalive, and how an error travels.

A client that pings more often than its server allows is sent away (GOAWAY), so both read the same constants.
Errors travel as a gRPC status with the catalogue's code in the trailing metadata under `CODE_KEY` and the sentence
of this case in the status details.
"""

from __future__ import annotations

from typing import Final

MAX_MESSAGE: Final = 16 << 20
MAX_CIPHERTEXT: Final = 12 << 20
MAX_SEALED_ANSWER: Final = 15 << 20

KEEPALIVE_MS: Final = 30_000
KEEPALIVE_TIMEOUT_MS: Final = 10_000
# Half of what clients do, so that a delayed ping followed by a punctual one is no offence.
LEAST_PING_INTERVAL_MS: Final = 15_000

CODE_KEY: Final = "liaison-code"

Options = tuple[tuple[str, int], ...]

_BOTH: Final[Options] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    # An answer with photographs is about a megabyte: let it come without a pause for every 64 kB.
    ("grpc.http2.lookahead_bytes", 1 << 20),
)
# gRPC's own backoff grows to two minutes, which would hide a hub that is back; the link waits by its own rule.
CLIENT_OPTIONS: Final[Options] = (
    *_BOTH,
    ("grpc.http2.max_pings_without_data", 0),
    # A new channel must not inherit the connection, or the waiting, of the one it replaces.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)
SERVER_OPTIONS: Final[Options] = (
    *_BOTH,
    ("grpc.http2.min_ping_interval_without_data_ms", LEAST_PING_INTERVAL_MS),
    ("grpc.so_reuseport", 0),
)
