"""A worker made only from protoc's output for the published interface: identifies, receives, acknowledges, drains.

usage: worker.py GENERATED_DIRECTORY ADDRESS GROUP TOKEN WORKER_ID EVENTS [--drain] [--wrong-token]

Prints one JSON object: what was received, by kind, whether sequences rose by one, how the stream ended.
"""

import json
import queue
import sys
import threading
import time

import grpc


def main():
    generated, address, group, token, worker_id, events = sys.argv[1:7]
    drain = "--drain" in sys.argv[7:]
    sys.path.insert(0, generated)
    from importlib import import_module

    workergroup = import_module("pylon.gateway.v1.workergroup_pb2")
    service = import_module("pylon.gateway.v1.service_pb2_grpc")

    outgoing = queue.Queue()
    outgoing.put(
        workergroup.WorkerStreamClientMessage(
            identify_request=workergroup.WorkerIdentifyRequest(auth_token=token, consumer_group=group, consumer_id=worker_id)
        )
    )
    result = {"received": 0, "by_kind": {}, "sequence_errors": 0, "heartbeats": 0, "ticket": False, "closed": None, "guilds": [], "unknown_fields": 0}
    channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", 64 << 20)])
    stream = service.GatewayWorkerGroupStub(channel).WorkerStream(iter(outgoing.get, None), timeout=60)
    deadline = threading.Timer(50, stream.cancel)
    deadline.daemon = True
    deadline.start()
    last = 0
    guilds = set()
    draining = False
    try:
        for message in stream:
            payload = message.WhichOneof("payload")
            if payload == "identify_response":
                result["ticket"] = bool(message.identify_response.router_ticket)
            elif payload == "event_envelope":
                envelope = message.event_envelope
                if last and envelope.header.seq != last + 1:
                    result["sequence_errors"] += 1
                last = envelope.header.seq
                kind = envelope.WhichOneof("event_data")
                result["by_kind"][kind] = result["by_kind"].get(kind, 0) + 1
                result["received"] += 1
                if kind == "guild_create_event":
                    guilds.add(envelope.guild_create_event.guild.id)
                if result["received"] >= int(events) and not draining:
                    draining = True
                    if drain:
                        outgoing.put(workergroup.WorkerStreamClientMessage(drain_request=workergroup.WorkerDrainRequest(sequence=last)))
                    else:
                        outgoing.put(workergroup.WorkerStreamClientMessage(heartbeat_ack=workergroup.WorkerHeartbeatAck(sequence=last)))
                        time.sleep(0.2)
                        outgoing.put(None)
                        stream.cancel()
            elif payload == "heartbeat_request":
                result["heartbeats"] += 1
                outgoing.put(
                    workergroup.WorkerStreamClientMessage(
                        heartbeat_ack=workergroup.WorkerHeartbeatAck(nonce=message.heartbeat_request.nonce, sequence=last)
                    )
                )
            elif payload == "stream_closed":
                result["closed"] = workergroup.WorkerStreamClosed.CloseReason.Name(message.stream_closed.reason)
        result["status"] = "OK"
    except grpc.RpcError as error:
        result["status"] = error.code().name
    outgoing.put(None)
    result["guilds"] = sorted(str(g) for g in guilds)
    result["last"] = last
    print(json.dumps(result))


if __name__ == "__main__":
    if len(sys.argv) < 7:
        sys.exit(__doc__)
    main()
