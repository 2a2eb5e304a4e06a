"""Everything that changes points: Qdrant's messages to the engine's update operations."""
import grpc
import qdrant_edge as engine
from qdrant_client import grpc as api

from points import payload, point_id, point_vectors, points
from queries import filter_of, optional_filter
from refusals import Refusal, not_offered

_Operation = engine.UpdateOperation

_MODES = {
    api.UpdateMode.Upsert: engine.UpdateMode.Upsert,
    api.UpdateMode.InsertOnly: engine.UpdateMode.InsertOnly,
    api.UpdateMode.UpdateOnly: engine.UpdateMode.UpdateOnly,
}

_INDEX_TYPES = {
    api.FieldType.FieldTypeKeyword: engine.PayloadSchemaType.Keyword,
    api.FieldType.FieldTypeInteger: engine.PayloadSchemaType.Integer,
    api.FieldType.FieldTypeFloat: engine.PayloadSchemaType.Float,
    api.FieldType.FieldTypeGeo: engine.PayloadSchemaType.Geo,
    api.FieldType.FieldTypeText: engine.PayloadSchemaType.Text,
    api.FieldType.FieldTypeBool: engine.PayloadSchemaType.Bool,
    api.FieldType.FieldTypeDatetime: engine.PayloadSchemaType.Datetime,
    api.FieldType.FieldTypeUuid: engine.PayloadSchemaType.Uuid,
}


def _select(selector, by_ids, by_filter, *arguments):
    """Calls the constructor that fits the selector: the engine has one for ids and one for a filter."""
    kind = selector.WhichOneof("points_selector_one_of")
    if kind == "points":
        return by_ids([point_id(item) for item in selector.points.ids], *arguments)
    if kind == "filter":
        return by_filter(filter_of(selector.filter), *arguments)
    raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "PointsSelector is missing")


def upsert(message, dimensions):
    mode = _MODES[message.update_mode] if message.HasField("update_mode") else None
    condition = optional_filter(message, "update_filter")
    return _Operation.upsert_points(points(message.points, dimensions), condition, mode)


def update_vectors(message, dimensions):
    condition = optional_filter(message, "update_filter")
    return _Operation.update_vectors(point_vectors(message.points, dimensions), condition)


def delete(selector):
    return _select(selector, _Operation.delete_points, _Operation.delete_points_by_filter)


def delete_vectors(message):
    names = list(message.vectors.names)
    return _select(message.points_selector, _Operation.delete_vectors, _Operation.delete_vectors_by_filter, names)


def set_payload(message):
    key = message.key if message.HasField("key") else None
    by = (_Operation.set_payload, _Operation.set_payload_by_filter)
    return _select(message.points_selector, *by, payload(message.payload), key)


def overwrite_payload(message):
    key = message.key if message.HasField("key") else None
    by = (_Operation.overwrite_payload, _Operation.overwrite_payload_by_filter)
    return _select(message.points_selector, *by, payload(message.payload), key)


def delete_payload(message):
    by = (_Operation.delete_payload, _Operation.delete_payload_by_filter)
    return _select(message.points_selector, *by, list(message.keys))


def clear_payload(selector):
    return _select(selector, _Operation.clear_payload, _Operation.clear_payload_by_filter)


def create_field_index(message):
    if not message.HasField("field_type"):
        raise not_offered("A payload index without a field type")
    return _Operation.create_field_index(message.field_name, _INDEX_TYPES[message.field_type])


def batched(message, dimensions):
    """One operation of an UpdateBatch."""
    kind = message.WhichOneof("operation")
    if kind in ("upsert", "update_vectors"):
        return {"upsert": upsert, "update_vectors": update_vectors}[kind](getattr(message, kind), dimensions)
    if kind in ("delete_points", "clear_payload"):
        return {"delete_points": delete, "clear_payload": clear_payload}[kind](getattr(message, kind).points)
    if kind in ("delete_deprecated", "clear_payload_deprecated"):
        return {"delete_deprecated": delete, "clear_payload_deprecated": clear_payload}[kind](getattr(message, kind))
    if kind is None:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "Operation is missing")
    by_kind = {
        "set_payload": set_payload,
        "overwrite_payload": overwrite_payload,
        "delete_payload": delete_payload,
        "delete_vectors": delete_vectors,
    }
    return by_kind[kind](getattr(message, kind))
