"""Somebody who listens to what the sidecar announces."""

import json
import uuid

import redis
from world import wait_until

CHANNEL = "cache_invalidation"


class Subscriber:
    """What is published from now on. `until` collects up to and with a marker that the test itself publishes."""

    def __init__(self, client: redis.Redis, channel: str = CHANNEL) -> None:
        self._client, self._channel = client, channel
        self._messages = client.pubsub(ignore_subscribe_messages=True)
        self._messages.subscribe(channel)
        wait_until(lambda: client.pubsub_numsub(channel)[0][1] > 0)

    def heard(self) -> list[dict]:
        """Everything published so far: Redis delivers in order, so the marker comes last."""
        marker = f"marker {uuid.uuid4()}"
        self._client.publish(self._channel, marker)
        events = []
        while True:
            message = wait_until(lambda: self._messages.get_message(timeout=0.1))
            if message["data"] == marker:
                return events
            events.append(json.loads(message["data"]))

    def close(self) -> None:
        self._messages.close()
