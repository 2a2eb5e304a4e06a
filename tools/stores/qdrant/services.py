"""Qdrant's gRPC services over a catalog of engine shards.

A method that is not here answers UNIMPLEMENTED, from the generated base class.
"""
import functools
import hmac
import importlib.metadata
import time

import grpc
import qdrant_edge as engine
from qdrant_client import grpc as api
from qdrant_client.grpc import collections_service_pb2_grpc, points_service_pb2_grpc, qdrant_pb2, qdrant_pb2_grpc

import points
import queries
import updates
from refusals import Refusal, of_engine

_SCROLL_LIMIT_DEFAULT = 10
# The engine does not tell its server's version; this is the version of the API that is spoken here.
_VERSION = importlib.metadata.version("qdrant-client")


def call(method):
    """Times a call, puts the time into the answer, and turns an exception into Qdrant's status."""

    @functools.wraps(method)
    def wrapped(self, request, context):
        started = time.perf_counter()
        try:
            answer = method(self, request)
        except Refusal as refusal:
            context.abort(refusal.code, refusal.words)
        except Exception as error:  # The engine raises bare Exception.
            refusal = of_engine(error, getattr(request, "collection_name", ""))
            context.abort(refusal.code, refusal.words)
        answer.time = time.perf_counter() - started
        return answer

    return wrapped


class KeyCheck(grpc.ServerInterceptor):
    """Refuses calls without the API key, as a server with a key does. The health check stays open."""

    def __init__(self, key):
        self._key = key.encode()

    def intercept_service(self, continuation, details):
        metadata = dict(details.invocation_metadata)
        given = metadata.get("api-key") or metadata.get("authorization", "").removeprefix("Bearer ")
        if details.method == "/qdrant.Qdrant/HealthCheck" or hmac.compare_digest(given.encode(), self._key):
            return continuation(details)
        words = "Invalid API key or JWT" if given else "Must provide an API key or an Authorization bearer token"

        def refuse(_request, context):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, words)

        return grpc.unary_unary_rpc_method_handler(refuse)


class Qdrant(qdrant_pb2_grpc.QdrantServicer):
    def HealthCheck(self, request, context):
        return qdrant_pb2.HealthCheckReply(title="qdrant - vector search engine", version=_VERSION)


class Collections(collections_service_pb2_grpc.CollectionsServicer):
    def __init__(self, catalog):
        self._catalog = catalog

    @call
    def Get(self, request):
        return api.GetCollectionInfoResponse(result=_info(self._catalog.get(request.collection_name)))

    @call
    def List(self, request):
        names = [api.CollectionDescription(name=name) for name in self._catalog.names()]
        return api.ListCollectionsResponse(collections=names)

    @call
    def Create(self, request):
        self._catalog.create(request)
        return api.CollectionOperationResponse(result=True)

    @call
    def Delete(self, request):
        return api.CollectionOperationResponse(result=self._catalog.delete(request.collection_name))

    @call
    def CollectionExists(self, request):
        exists = self._catalog.exists(request.collection_name)
        return api.CollectionExistsResponse(result=api.CollectionExists(exists=exists))


def _info(collection):
    shard, created = collection.shard.info(), collection.created
    params = api.CollectionParams(
        shard_number=1,
        vectors_config=created.vectors_config if created.HasField("vectors_config") else None,
        sparse_vectors_config=created.sparse_vectors_config if created.HasField("sparse_vectors_config") else None,
        replication_factor=1,
        write_consistency_factor=1,
        on_disk_payload=True,
    )
    config = api.CollectionConfig(
        params=params,
        hnsw_config=api.HnswConfigDiff(m=16, ef_construct=100, full_scan_threshold=10000),
        optimizer_config=api.OptimizersConfigDiff(
            deleted_threshold=0.2, vacuum_min_vector_number=1000, default_segment_number=0, flush_interval_sec=5
        ),
        wal_config=api.WalConfigDiff(wal_capacity_mb=32, wal_segments_ahead=0),
    )
    schema = {
        name: api.PayloadSchemaInfo(data_type=_schema_type(index.data_type), points=index.points)
        for name, index in shard.payload_schema.items()
    }
    return api.CollectionInfo(
        status=api.CollectionStatus.Green,
        optimizer_status=api.OptimizerStatus(ok=True),
        segments_count=shard.segments_count,
        points_count=shard.points_count,
        indexed_vectors_count=shard.indexed_vectors_count,
        config=config,
        payload_schema=schema,
    )


def _schema_type(data_type):
    """The engine's enum prints as PayloadSchemaType.Integer; the message's has the same names."""
    return api.PayloadSchemaType.Value(str(data_type).rpartition(".")[2])


def _result(number, wait):
    status = api.UpdateStatus.Completed if wait else api.UpdateStatus.Acknowledged
    return api.UpdateResult(operation_id=number, status=status)


class Points(points_service_pb2_grpc.PointsServicer):
    def __init__(self, catalog):
        self._catalog = catalog

    def _update(self, request, make):
        collection = self._catalog.get(request.collection_name)
        number = collection.update(make(collection.dimensions))
        return api.PointsOperationResponse(result=_result(number, request.wait))

    @call
    def Upsert(self, request):
        return self._update(request, lambda dimensions: updates.upsert(request, dimensions))

    @call
    def Delete(self, request):
        return self._update(request, lambda _: updates.delete(request.points))

    @call
    def UpdateVectors(self, request):
        return self._update(request, lambda dimensions: updates.update_vectors(request, dimensions))

    @call
    def DeleteVectors(self, request):
        return self._update(request, lambda _: updates.delete_vectors(request))

    @call
    def SetPayload(self, request):
        return self._update(request, lambda _: updates.set_payload(request))

    @call
    def OverwritePayload(self, request):
        return self._update(request, lambda _: updates.overwrite_payload(request))

    @call
    def DeletePayload(self, request):
        return self._update(request, lambda _: updates.delete_payload(request))

    @call
    def ClearPayload(self, request):
        return self._update(request, lambda _: updates.clear_payload(request.points))

    @call
    def CreateFieldIndex(self, request):
        return self._update(request, lambda _: updates.create_field_index(request))

    @call
    def DeleteFieldIndex(self, request):
        return self._update(request, lambda _: engine.UpdateOperation.delete_field_index(request.field_name))

    @call
    def UpdateBatch(self, request):
        """Applies the operations in order; on a refusal the ones before it stay, as on a server."""
        collection = self._catalog.get(request.collection_name)
        results = []
        for operation in request.operations:
            number = collection.update(updates.batched(operation, collection.dimensions))
            results.append(_result(number, request.wait))
        return api.UpdateBatchResponse(result=results)

    @call
    def Get(self, request):
        shard = self._catalog.get(request.collection_name).shard
        wanted = [points.point_id(item) for item in request.ids]
        records = shard.retrieve(wanted, queries.with_payload(request, False), queries.with_vectors(request))
        return api.GetResponse(result=[points.retrieved(record) for record in records])

    @call
    def Scroll(self, request):
        shard = self._catalog.get(request.collection_name).shard
        records, offset = shard.scroll(
            engine.ScrollRequest(
                offset=points.point_id(request.offset) if request.HasField("offset") else None,
                limit=request.limit if request.HasField("limit") else _SCROLL_LIMIT_DEFAULT,
                filter=queries.optional_filter(request),
                with_payload=queries.with_payload(request, True),
                with_vector=queries.with_vectors(request),
                order_by=queries.order_by(request.order_by) if request.HasField("order_by") else None,
            )
        )
        answer = api.ScrollResponse(result=[points.retrieved(record) for record in records])
        if offset is not None:
            answer.next_page_offset.CopyFrom(points.point_id_message(offset))
        return answer

    @call
    def Count(self, request):
        shard = self._catalog.get(request.collection_name).shard
        exact = request.exact if request.HasField("exact") else True
        count = shard.count(engine.CountRequest(exact=exact, filter=queries.optional_filter(request)))
        return api.CountResponse(result=api.CountResult(count=count))

    @call
    def Search(self, request):
        shard = self._catalog.get(request.collection_name).shard
        hits = shard.search(queries.search_request(request))
        return api.SearchResponse(result=[points.scored(hit) for hit in hits])

    @call
    def Query(self, request):
        return api.QueryResponse(result=self._query(request))

    @call
    def QueryBatch(self, request):
        results = [api.BatchResult(result=self._query(query)) for query in request.query_points]
        return api.QueryBatchResponse(result=results)

    def _query(self, request):
        shard = self._catalog.get(request.collection_name).shard
        return [points.scored(hit) for hit in shard.query(queries.query_request(shard, request))]
