"""The sidecar's own definitions of Qdrant's API against the descriptors of Qdrant's official client."""
import pathlib
import shutil
import subprocess

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from qdrant_client.grpc import qdrant_pb2

PROTO = pathlib.Path(__file__).parents[2] / "sidecar/proto/qdrant.proto"
Field = descriptor_pb2.FieldDescriptorProto


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """qdrant.proto as protoc understands it, in a pool of its own."""
    protoc = shutil.which("protoc")
    assert protoc, "protoc is missing: it comes with protobuf-compiler, see tools/packages.txt"
    out = tmp_path_factory.mktemp("proto") / "qdrant.desc"
    command = [protoc, f"--proto_path={PROTO.parent}", f"--descriptor_set_out={out}", PROTO.name]
    subprocess.run(command, check=True)
    return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file[0]


def theirs():
    """Messages, enums and services of the official client by full name."""
    pool = descriptor_pool.Default()
    files, pending = {}, [qdrant_pb2.DESCRIPTOR]
    while pending:
        file = pending.pop()
        if file.name not in files:
            files[file.name] = descriptor_pb2.FileDescriptorProto.FromString(pool.FindFileByName(file.name).serialized_pb)
            pending += file.dependencies
    messages, enums, services = {}, {}, {}
    for file in files.values():
        if file.package == "qdrant":
            collect(file, "qdrant", messages, enums)
            services.update({service.name: service for service in file.service})
    return messages, enums, services


def collect(scope, prefix, messages, enums):
    """Adds the messages and enums of a file or message, nested ones included, by full name."""
    for enum in scope.enum_type:
        enums[f"{prefix}.{enum.name}"] = enum
    nested = scope.message_type if isinstance(scope, descriptor_pb2.FileDescriptorProto) else scope.nested_type
    for message in nested:
        messages[f"{prefix}.{message.name}"] = message
        collect(message, f"{prefix}.{message.name}", messages, enums)


def shape(message, field):
    """What the wire and the presence of a field depend on."""
    in_oneof = field.HasField("oneof_index") and not field.proto3_optional
    return {
        "number": field.number,
        "type": Field.Type.Name(field.type),
        "of": field.type_name,
        "label": Field.Label.Name(field.label),
        "optional": field.proto3_optional,
        "oneof": message.oneof_decl[field.oneof_index].name if in_oneof else None,
    }


def test_every_declared_field_is_qdrants(ours):
    declared, enums = {}, {}
    collect(ours, "qdrant", declared, enums)
    messages, their_enums, _ = theirs()
    compared = 0
    for name, message in declared.items():
        fields = {field.name: field for field in messages[name].field}
        for field in message.field:
            assert field.name in fields, f"{name}.{field.name}"
            assert shape(message, field) == shape(messages[name], fields[field.name]), f"{name}.{field.name}"
            compared += 1
    for name, enum in enums.items():
        values = {value.name: value.number for value in their_enums[name].value}
        for value in enum.value:
            assert values.get(value.name) == value.number, f"{name}.{value.name}"
    assert compared > 50


def test_every_declared_call_is_qdrants(ours):
    _, _, services = theirs()
    for service in ours.service:
        calls = {method.name: (method.input_type, method.output_type) for method in services[service.name].method}
        for method in service.method:
            assert calls[method.name] == (method.input_type, method.output_type), f"{service.name}.{method.name}"


def test_statuses_are_all_declared(ours):
    """A status that is not declared would print as an empty name."""
    _, enums, _ = theirs()
    declared = {enum.name: enum for enum in ours.enum_type}
    assert len(declared["UpdateStatus"].value) == len(enums["qdrant.UpdateStatus"].value)
