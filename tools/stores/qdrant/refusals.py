"""Qdrant's refusals: the status code and the words a server answers with.

The engine raises plain exceptions that carry the server's inner message; the server puts a prefix before it and picks
the status. That mapping lives here and nowhere else.
"""
import re

import grpc


class Refusal(Exception):
    """Ends a call with a status of Qdrant's."""

    def __init__(self, code, words):
        super().__init__(words)
        self.code = code
        self.words = words


def wrong_input(words):
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"Wrong input: {words}")


def missing_collection(name):
    return Refusal(grpc.StatusCode.NOT_FOUND, f"Not found: Collection `{name}` doesn't exist!")


def collection_exists(name):
    return Refusal(grpc.StatusCode.ALREADY_EXISTS, f"Wrong input: Collection `{name}` already exists!")


def not_offered(what):
    return Refusal(grpc.StatusCode.UNIMPLEMENTED, f"{what} is not offered by the embedded engine's gateway")


# The collection was deleted while the call was under way.
_CLOSED = "Shard is not initialized"
_MISSING_POINT = re.compile(r"No point with id (\S+)")
_BAD_UUID = re.compile(r"failed to parse (.*) as UUID")
_WRONG_INPUT = (
    "Vector dimension error",
    "Not existing vector name error",
    "Missed vector name error",
    "Payload type does not match",
    "Unable to infer type",
    "No range index",
    "No appropriate index",
    "Validation error",
    "Wrong input",
)


def of_engine(error, collection):
    """The refusal a server would make of an exception the engine raised while it served `collection`."""
    words = str(error)
    if words.endswith(_CLOSED):
        return missing_collection(collection)
    if missing := _MISSING_POINT.match(words):
        return Refusal(grpc.StatusCode.NOT_FOUND, f"Not found: No point with id {missing[1]} found")
    if bad_uuid := _BAD_UUID.search(words):
        return Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"Unable to parse UUID: {bad_uuid[1]}")
    if isinstance(error, (TypeError, ValueError, OverflowError)):
        return wrong_input(words.splitlines()[0])
    if words.startswith(_WRONG_INPUT):
        return wrong_input(words.removeprefix("Wrong input: "))
    return Refusal(grpc.StatusCode.INTERNAL, f"Service internal error: {words}")
