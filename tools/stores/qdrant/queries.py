"""Filters, selectors and queries: Qdrant's messages to the engine's objects. The engine does the searching."""
import qdrant_edge as engine
from qdrant_client import grpc as api

from points import point_id
from refusals import not_offered, wrong_input

_LIMIT_DEFAULT = 10
_RRF_K_DEFAULT = 2


def _optional(message, *names):
    """Keyword arguments for the fields that are set."""
    return {name: getattr(message, name) for name in names if message.HasField(name)}


def _geo_point(message):
    return engine.GeoPoint(lon=message.lon, lat=message.lat)


def _line(message):
    return [_geo_point(point) for point in message.points]


_MATCHES = {
    "keyword": engine.MatchValue,
    "integer": engine.MatchValue,
    "boolean": engine.MatchValue,
    "text": engine.MatchText,
    "text_any": engine.MatchTextAny,
    "phrase": engine.MatchPhrase,
    "prefix": engine.MatchPrefix,
    "substring": engine.MatchSubstring,
    "keywords": lambda listed: engine.MatchAny(list(listed.strings)),
    "integers": lambda listed: engine.MatchAny(list(listed.integers)),
    "except_keywords": lambda listed: engine.MatchExcept(list(listed.strings)),
    "except_integers": lambda listed: engine.MatchExcept(list(listed.integers)),
}


def _match(message):
    kind = message.WhichOneof("match_value")
    if kind is None:
        raise wrong_input("Malformed Match condition")
    return _MATCHES[kind](getattr(message, kind))


def _datetime_range(message):
    bounds = (name for name in ("lt", "gt", "gte", "lte") if message.HasField(name))
    return engine.RangeDateTime(**{name: getattr(message, name).ToJsonString() for name in bounds})


def _field(message):
    parts = _optional(message, "is_empty", "is_null")
    if message.HasField("match"):
        parts["match"] = _match(message.match)
    if message.HasField("range"):
        parts["range"] = engine.RangeFloat(**_optional(message.range, "lt", "gt", "gte", "lte"))
    if message.HasField("datetime_range"):
        parts["range"] = _datetime_range(message.datetime_range)
    if message.HasField("values_count"):
        parts["values_count"] = engine.ValuesCount(**_optional(message.values_count, "lt", "gt", "gte", "lte"))
    if message.HasField("geo_bounding_box"):
        box = message.geo_bounding_box
        parts["geo_bounding_box"] = engine.GeoBoundingBox(_geo_point(box.top_left), _geo_point(box.bottom_right))
    if message.HasField("geo_radius"):
        parts["geo_radius"] = engine.GeoRadius(_geo_point(message.geo_radius.center), message.geo_radius.radius)
    if message.HasField("geo_polygon"):
        polygon = message.geo_polygon
        parts["geo_polygon"] = engine.GeoPolygon(_line(polygon.exterior), [_line(hole) for hole in polygon.interiors])
    return engine.FieldCondition(message.key, **parts)


_CONDITIONS = {
    "field": _field,
    "is_empty": lambda message: engine.IsEmptyCondition(message.key),
    "is_null": lambda message: engine.IsNullCondition(message.key),
    "has_id": lambda message: engine.HasIdCondition({point_id(item) for item in message.has_id}),
    "has_vector": lambda message: engine.HasVectorCondition(message.has_vector),
    "nested": lambda message: engine.NestedCondition(message.key, filter_of(message.filter)),
    "filter": lambda message: filter_of(message),
    "slice": lambda message: engine.SliceCondition(message.total, message.index),
}


def _condition(message):
    kind = message.WhichOneof("condition_one_of")
    if kind is None:
        raise wrong_input("Malformed Condition")
    return _CONDITIONS[kind](getattr(message, kind))


def filter_of(message):
    parts = {name: [_condition(item) for item in getattr(message, name)] for name in ("must", "should", "must_not")}
    if message.HasField("min_should"):
        conditions = [_condition(item) for item in message.min_should.conditions]
        parts["min_should"] = engine.MinShould(conditions, message.min_should.min_count)
    return engine.Filter(**{name: part for name, part in parts.items() if part})


def optional_filter(message, name="filter"):
    return filter_of(getattr(message, name)) if message.HasField(name) else None


def with_payload(message, default):
    if not message.HasField("with_payload"):
        return default
    kind = message.with_payload.WhichOneof("selector_options")
    if kind == "include":
        return engine.PayloadSelector.Include(list(message.with_payload.include.fields))
    if kind == "exclude":
        return engine.PayloadSelector.Exclude(list(message.with_payload.exclude.fields))
    return message.with_payload.enable


def with_vectors(message):
    kind = message.with_vectors.WhichOneof("selector_options")
    return list(message.with_vectors.include.names) if kind == "include" else message.with_vectors.enable


def search_params(message):
    if not message.HasField("params"):
        return None
    return engine.SearchParams(**_optional(message.params, "hnsw_ef", "exact", "indexed_only"))


def order_by(message):
    parts = {}
    if message.HasField("direction"):
        parts["direction"] = engine.Direction.Desc if message.direction == api.Direction.Desc else engine.Direction.Asc
    if message.HasField("start_from"):
        kind = message.start_from.WhichOneof("value")
        start = getattr(message.start_from, kind)
        parts["start_from"] = start.ToJsonString() if kind == "timestamp" else start
    return engine.OrderBy(message.key, **parts)


def _nearest(shard, message, using):
    """The vector to be near to, and the id to leave out when the vector is that of a stored point."""
    kind = message.WhichOneof("variant")
    if kind == "dense":
        return engine.Query.Nearest(message.dense.data[:], using or None), None
    if kind == "sparse":
        sparse = engine.SparseVector(list(message.sparse.indices), list(message.sparse.values))
        return engine.Query.Nearest(sparse, using or None), None
    if kind != "id":
        raise not_offered("This kind of query vector")
    wanted = point_id(message.id)
    found = shard.retrieve([wanted], False, [using] if using else True)
    if not found:
        raise RuntimeError(f"No point with id {wanted}")
    vector = found[0].vector
    return engine.Query.Nearest(vector[using] if isinstance(vector, dict) else vector, using or None), wanted


def _scoring(shard, query, using):
    kind = query.WhichOneof("variant")
    if kind == "nearest":
        return _nearest(shard, query.nearest, using)
    if kind == "order_by":
        return order_by(query.order_by), None
    if kind == "sample":
        return engine.Sample.Random, None
    if kind == "rrf":
        weights = list(query.rrf.weights) or None
        return engine.Fusion.Rrf(query.rrf.k if query.rrf.HasField("k") else _RRF_K_DEFAULT, weights), None
    if kind == "fusion":
        return (engine.Fusion.Dbsf() if query.fusion == api.Fusion.DBSF else engine.Fusion.Rrf(_RRF_K_DEFAULT)), None
    raise not_offered(f"A query by {kind}")


def _common(shard, message):
    parts = {"limit": message.limit if message.HasField("limit") else _LIMIT_DEFAULT}
    parts["filter"] = optional_filter(message)
    parts["params"] = search_params(message)
    parts["prefetches"] = [engine.Prefetch(**_common(shard, inner)) for inner in message.prefetch]
    if message.HasField("score_threshold"):
        parts["score_threshold"] = message.score_threshold
    if message.HasField("lookup_from"):
        raise not_offered("lookup_from")
    if message.HasField("query"):
        parts["query"], left_out = _scoring(shard, message.query, message.using)
        if left_out is not None:
            itself = engine.Filter(must_not=[engine.HasIdCondition({left_out})])
            parts["filter"] = engine.Filter(must=[part for part in (parts["filter"], itself) if part is not None])
    return parts


def query_request(shard, message):
    return engine.QueryRequest(
        offset=message.offset,
        with_payload=with_payload(message, False),
        with_vector=with_vectors(message),
        **_common(shard, message),
    )


def search_request(message):
    if message.HasField("sparse_indices"):
        vector = engine.SparseVector(list(message.sparse_indices.data), list(message.vector))
    else:
        vector = message.vector[:]
    return engine.SearchRequest(
        query=engine.Query.Nearest(vector, message.vector_name or None),
        limit=message.limit,
        offset=message.offset,
        filter=optional_filter(message),
        params=search_params(message),
        with_vector=with_vectors(message),
        with_payload=with_payload(message, False),
        score_threshold=message.score_threshold if message.HasField("score_threshold") else None,
    )
