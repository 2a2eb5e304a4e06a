"""Qdrant: the server at APEX_QDRANT_URI when given, else Qdrant's own engine behind tools/stores/qdrant/gateway.py."""

import os
import pathlib
import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

import qdrant_client

from stores.paths import ROOT
from stores.process import Server, ServerError, wait_until


class Qdrant(Server):
    name = "qdrant"

    def __init__(self, directory: pathlib.Path, *, api_key: str = "") -> None:
        super().__init__(directory)
        self.external = os.environ.get("APEX_QDRANT_URI", "")
        self.api_key = os.environ.get("APEX_QDRANT_API_KEY", "") if self.external else api_key

    @property
    def uri(self) -> str:
        """The address of the gRPC API."""
        return self.external or f"http://127.0.0.1:{self.port}"

    def client(self, timeout: int = 30) -> qdrant_client.QdrantClient:
        at = urlsplit(self.uri)
        return qdrant_client.QdrantClient(
            host=at.hostname,
            grpc_port=at.port or 6334,
            https=at.scheme == "https",
            api_key=self.api_key or None,
            prefer_grpc=True,
            timeout=timeout,
            # It would ask the REST port for the version, which the gateway does not have.
            check_compatibility=False,
        )

    def command(self) -> Sequence[str]:
        gateway = ROOT / "tools" / "stores" / "qdrant" / "gateway.py"
        key = ["--api-key", self.api_key] if self.api_key else []
        return [sys.executable, str(gateway), "--port", str(self.port), "--data", str(self.directory / "data"), *key]

    def is_ready(self) -> bool:
        return "\nREADY " in "\n" + self.log_text()

    def start(self) -> None:
        if not self.external:
            super().start()
        elif not wait_until(self._answers, self.ready_seconds, 0.5):
            raise ServerError(f"no Qdrant answers at APEX_QDRANT_URI ({self.external}): start it, or unset the variable")

    def _answers(self) -> bool:
        try:
            client = self.client(timeout=5)
            client.get_collections()
            client.close()
        except Exception:  # noqa: BLE001 - whatever it raises, it does not answer
            return False
        return True
