"""Points, vectors and payloads: Qdrant's messages to the engine's objects and back.

This is the hot path of an upsert, so it works on whole lists and makes no intermediate objects.
"""
import uuid

import grpc
import qdrant_edge as engine
from qdrant_client import grpc as api

from refusals import Refusal, not_offered, wrong_input


def point_id(message):
    """An id for the engine, which parses uuid strings itself."""
    kind = message.WhichOneof("point_id_options")
    if kind == "num":
        return message.num
    if kind == "uuid":
        return message.uuid
    raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "No ID options provided")


def point_id_message(value):
    if isinstance(value, uuid.UUID):
        return api.PointId(uuid=str(value))
    return api.PointId(num=value)


def value(message):
    kind = message.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    if kind == "list_value":
        return [value(item) for item in message.list_value.values]
    if kind == "struct_value":
        return {name: value(item) for name, item in message.struct_value.fields.items()}
    return getattr(message, kind)


def payload(fields):
    return {name: value(item) for name, item in fields.items()}


def value_message(item):
    if item is None:
        return api.Value(null_value=api.NullValue.NULL_VALUE)
    if isinstance(item, bool):
        return api.Value(bool_value=item)
    if isinstance(item, int):
        if -(2**63) <= item < 2**63:
            return api.Value(integer_value=item)
        return api.Value(double_value=float(item))
    if isinstance(item, float):
        return api.Value(double_value=item)
    if isinstance(item, str):
        return api.Value(string_value=item)
    if isinstance(item, dict):
        return api.Value(struct_value=api.Struct(fields=payload_message(item)))
    return api.Value(list_value=api.ListValue(values=[value_message(element) for element in item]))


def payload_message(fields):
    return {name: value_message(item) for name, item in (fields or {}).items()}


def vector(message, name, dimensions):
    """One vector for the engine. Its dimension is checked here, before any point of the request is applied, because the
    engine would keep the points that come before a wrong one and the server keeps none."""
    kind = message.WhichOneof("vector")
    if kind == "dense":
        dense = message.dense.data
    elif kind == "sparse":
        return engine.SparseVector(list(message.sparse.indices), list(message.sparse.values))
    elif kind is None and message.HasField("indices"):
        return engine.SparseVector(list(message.indices.data), list(message.data))
    elif kind is None and not message.HasField("vectors_count"):
        dense = message.data
    else:
        raise not_offered("A multivector" if kind in (None, "multi_dense") else "Inference")
    expected = dimensions.get(name)
    if expected is None:
        raise wrong_input(f"Not existing vector name error: {name}")
    if expected != len(dense):
        raise wrong_input(f"Vector dimension error: expected dim: {expected}, got {len(dense)}")
    return dense[:]


def vectors(message, dimensions):
    kind = message.WhichOneof("vectors_options")
    if kind == "vector":
        return vector(message.vector, "", dimensions)
    if kind == "vectors":
        return {name: vector(item, name, dimensions) for name, item in message.vectors.vectors.items()}
    return {}


def points(messages, dimensions):
    return [
        engine.Point(point_id(message.id), vectors(message.vectors, dimensions), payload(message.payload))
        for message in messages
    ]


def point_vectors(messages, dimensions):
    return [engine.PointVectors(point_id(message.id), vectors(message.vectors, dimensions)) for message in messages]


def _vector_output(item):
    if isinstance(item, engine.SparseVector):
        return api.VectorOutput(sparse=api.SparseVector(indices=item.indices, values=item.values))
    return api.VectorOutput(dense=api.DenseVector(data=item))


def _vectors_output(item):
    if item is None:
        return None
    if isinstance(item, dict):
        named = {name: _vector_output(part) for name, part in item.items()}
        return api.VectorsOutput(vectors=api.NamedVectorsOutput(vectors=named))
    return api.VectorsOutput(vector=_vector_output(item))


def _order_value(item):
    if item is None:
        return None
    return api.OrderValue(int=item) if isinstance(item, int) else api.OrderValue(float=item)


def retrieved(record):
    return api.RetrievedPoint(
        id=point_id_message(record.id),
        payload=payload_message(record.payload),
        vectors=_vectors_output(record.vector),
        order_value=_order_value(record.order_value),
    )


def scored(point):
    return api.ScoredPoint(
        id=point_id_message(point.id),
        payload=payload_message(point.payload),
        score=point.score,
        version=point.version,
        vectors=_vectors_output(point.vector),
        order_value=_order_value(point.order_value),
    )
