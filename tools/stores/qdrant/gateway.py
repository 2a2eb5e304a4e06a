#!/usr/bin/env python3
"""Qdrant's storage engine behind Qdrant's gRPC API, for machines without a Qdrant server.

usage: gateway.py --port PORT --data DIRECTORY [--api-key KEY] [--certificate PEM --private-key PEM]

Serves on loopback only, with TLS when it is given a certificate. Port 0 takes a free one. Prints `READY http://127.0.0.1:PORT`,
or https, when it answers, and stops on SIGTERM or SIGINT after the calls in flight. docs/internals/qdrant-gateway.md says what differs from a server.
"""
import argparse
import concurrent.futures
import pathlib
import signal
import sys

import grpc
from qdrant_client.grpc import collections_service_pb2_grpc, points_service_pb2_grpc, qdrant_pb2_grpc

from catalog import Catalog
from services import Collections, KeyCheck, Points, Qdrant

_THREADS = 8
_STOP_SECONDS = 10
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5000),
    ("grpc.keepalive_permit_without_calls", 1),
)


def serve(catalog, port, api_key, credentials):
    """A started server and the port it listens on; without TLS when `credentials` is None. Raises RuntimeError when the port is taken."""
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(_THREADS, "call"),
        interceptors=[KeyCheck(api_key)] if api_key else [],
        options=_OPTIONS,
    )
    qdrant_pb2_grpc.add_QdrantServicer_to_server(Qdrant(), server)
    collections_service_pb2_grpc.add_CollectionsServicer_to_server(Collections(catalog), server)
    points_service_pb2_grpc.add_PointsServicer_to_server(Points(catalog), server)
    address = f"127.0.0.1:{port}"
    bound = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    server.start()
    return server, bound


def main():
    parser = argparse.ArgumentParser(description="Qdrant's storage engine behind Qdrant's gRPC API.")
    parser.add_argument("--port", type=int, required=True, help="gRPC port on loopback; 0 takes a free one")
    parser.add_argument("--data", required=True, help="directory of the collections, made when missing")
    parser.add_argument("--api-key", default="", help="key every call but the health check must carry")
    parser.add_argument("--certificate", type=pathlib.Path, help="PEM file of the certificate to show; TLS needs both files")
    parser.add_argument("--private-key", type=pathlib.Path, help="PEM file of its key")
    arguments = parser.parse_args()
    if (arguments.certificate is None) != (arguments.private_key is None):
        parser.error("--certificate and --private-key go together")
    credentials = None
    if arguments.certificate:
        pair = (arguments.private_key.read_bytes(), arguments.certificate.read_bytes())
        credentials = grpc.ssl_server_credentials([pair])

    catalog = Catalog(arguments.data)
    try:
        server, port = serve(catalog, arguments.port, arguments.api_key, credentials)
    except RuntimeError as error:
        catalog.close()
        sys.exit(f"gateway.py: cannot listen on port {arguments.port}: {error}")
    print(f"READY {'https' if credentials else 'http'}://127.0.0.1:{port}", flush=True)

    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.stop(_STOP_SECONDS).wait()
    catalog.close()


if __name__ == "__main__":
    # Blocked before any thread starts, so that only the main thread receives them.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
