"""A worker made only from protoc's output for the published interface: identifies, receives, acknowledges, leaves.

It knows none of Trunkline's additions and behaves as Pylon's own clients do: it acknowledges when it is asked to (a heartbeat
request) and takes a completed call without `stream_closed` as the invitation to connect again.

usage: worker.py GENERATED_DIRECTORY ADDRESS GROUP TOKEN WORKER_ID MODE [--ticket TICKET] [--last-sequence N]

MODE: drain  receive until nothing has come for a second and all is acknowledged, then drain with the last sequence
      drain0 the same, drained with sequence 0 ("as last acknowledged")
      stay   receive until the server ends the stream; prints the line "quiet" to standard error whenever all that came is
             acknowledged

Prints one JSON object: what was received, by kind, whether sequences rose by one, how the stream ended.
"""

import argparse
import json
import queue
import sys
import threading
import time
from importlib import import_module

import grpc
from google.protobuf.unknown_fields import UnknownFieldSet

QUIET_S = 1.0


def unknown_fields(message):
    """Fields that protoc's classes do not know, anywhere in the message."""
    found = [f"{message.DESCRIPTOR.full_name}:{field.field_number}" for field in UnknownFieldSet(message)]
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is not None:
                for inner in value.values():
                    found += unknown_fields(inner)
        elif hasattr(value, "DESCRIPTOR"):
            found += unknown_fields(value)
        else:
            for inner in value:
                found += unknown_fields(inner)
    return found


def health(channel):
    """The standard health service's answer for the worker service, as bytes: no generated code needed. 08 01 is SERVING."""
    call = channel.unary_unary("/grpc.health.v1.Health/Check", request_serializer=bytes, response_deserializer=bytes)
    service = b"pylon.gateway.v1.service.GatewayWorkerGroup"
    return call(b"\x0a" + bytes([len(service)]) + service, timeout=10).hex()


def main():
    arguments = argparse.ArgumentParser()
    for name in ["generated", "address", "group", "token", "worker", "mode"]:
        arguments.add_argument(name)
    arguments.add_argument("--ticket", default="")
    arguments.add_argument("--last-sequence", type=int, default=0)
    given = arguments.parse_args()
    sys.path.insert(0, given.generated)
    workergroup = import_module("pylon.gateway.v1.workergroup_pb2")
    service = import_module("pylon.gateway.v1.service_pb2_grpc")
    client_message = workergroup.WorkerStreamClientMessage

    outgoing = queue.Queue()
    identify = workergroup.WorkerIdentifyRequest(
        auth_token=given.token,
        consumer_group=given.group,
        consumer_id=given.worker,
        router_ticket=given.ticket,
        last_sequence=given.last_sequence,
    )
    outgoing.put(client_message(identify_request=identify))
    result = {
        "received": 0,
        "by_kind": {},
        "first": 0,
        "last": 0,
        "acknowledged": 0,
        "sequence_errors": 0,
        "heartbeats": 0,
        "ticket": "",
        "closed": None,
        "guilds": [],
        "unknown_fields": [],
        "empty_envelopes": 0,
    }
    guilds = set()
    seen_at = [time.monotonic()]
    ended = threading.Event()
    channel = grpc.insecure_channel(given.address, options=[("grpc.max_receive_message_length", 64 << 20)])
    result["health"] = health(channel)
    stream = service.GatewayWorkerGroupStub(channel).WorkerStream(iter(outgoing.get, None), timeout=60)

    def watch():
        """Leaves, or says that all is done, once it is quiet."""
        said = -1
        while not ended.wait(0.05):
            quiet = time.monotonic() - seen_at[0] > QUIET_S and result["last"] == result["acknowledged"] and result["last"] > 0
            if not quiet or said == result["last"]:
                continue
            said = result["last"]
            if given.mode == "stay":
                print("quiet", file=sys.stderr, flush=True)
            else:
                sequence = 0 if given.mode == "drain0" else result["last"]
                outgoing.put(client_message(drain_request=workergroup.WorkerDrainRequest(sequence=sequence)))
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        for message in stream:
            result["unknown_fields"] += unknown_fields(message)
            payload = message.WhichOneof("payload")
            if payload == "identify_response":
                result["ticket"] = message.identify_response.router_ticket
            elif payload == "event_envelope":
                envelope = message.event_envelope
                if result["last"] and envelope.header.seq != result["last"] + 1:
                    result["sequence_errors"] += 1
                result["first"] = result["first"] or envelope.header.seq
                result["last"] = envelope.header.seq
                result["received"] += 1
                kind = envelope.WhichOneof("event_data")
                if kind is None:
                    result["empty_envelopes"] += 1
                else:
                    result["by_kind"][kind] = result["by_kind"].get(kind, 0) + 1
                if kind == "guild_create_event":
                    guilds.add(envelope.guild_create_event.payload.id)
                seen_at[0] = time.monotonic()
            elif payload == "heartbeat_request":
                result["heartbeats"] += 1
                acknowledgement = workergroup.WorkerHeartbeatAck(nonce=message.heartbeat_request.nonce, sequence=result["last"])
                outgoing.put(client_message(heartbeat_ack=acknowledgement))
                result["acknowledged"] = result["last"]
            elif payload == "stream_closed":
                result["closed"] = workergroup.WorkerStreamClosed.CloseReason.Name(message.stream_closed.reason)
        result["status"] = "OK"
    except grpc.RpcError as error:
        result["status"] = error.code().name
    ended.set()
    outgoing.put(None)
    result["guilds"] = sorted(guilds)
    result["unknown_fields"] = sorted(set(result["unknown_fields"]))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
