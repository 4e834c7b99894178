"""Makes streams and durable consumers, or brings them to what the list says. Processes only use them."""

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from chassis.secret import Secret
from deploy.nats.topology import Stream, topology
from deploy.nats.users import ADMIN

_SECONDS_PER_HOUR = 3600
# Long enough to notice that an event was published twice after a crash between publishing and noting it.
_DUPLICATE_WINDOW_SECONDS = 120


async def provision(url: str, password: Secret | None, *, replicas: int = 1) -> None:
    """Make everything, as the administrator of the bus. Without a password the URL has to carry what is needed."""
    client = Client()
    await client.connect(
        url,
        user=ADMIN if password else None,
        password=password.reveal() if password else None,
        allow_reconnect=False,
        connect_timeout=5,
    )
    try:
        jetstream = client.jetstream()
        for stream in topology().streams:
            await _make_stream(jetstream, stream, replicas)
            for reader in stream.readers:
                await jetstream.add_consumer(stream.name, _consumer(stream, reader))
    finally:
        await client.close()


async def _make_stream(jetstream: JetStreamContext, stream: Stream, replicas: int) -> None:
    config = StreamConfig(
        name=stream.name,
        subjects=[stream.subject],
        retention=RetentionPolicy.WORK_QUEUE if stream.orders else RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        max_age=(stream.max_age_hours or 0) * _SECONDS_PER_HOUR,
        duplicate_window=_DUPLICATE_WINDOW_SECONDS,
        num_replicas=replicas,
    )
    try:
        await jetstream.stream_info(stream.name)
    except NotFoundError:
        await jetstream.add_stream(config)
    else:
        await jetstream.update_stream(config)


def _consumer(stream: Stream, reader: str) -> ConsumerConfig:
    # However often it fails: the reader itself parks what it cannot handle, a limit here would drop it silently.
    return ConsumerConfig(
        durable_name=reader,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=stream.ack_wait_seconds,
        max_deliver=-1,
        max_ack_pending=stream.max_ack_pending,
    )
