"""A client of the Container Runtime Interface, in a process of its own: its library starts threads.

    python -m tests.engines.cri SOCKET

It reads one JSON object a line, ``{"method": ..., "requests": [...]}``, makes all these requests at once, and
answers with a line: a list of ``{"response": ...}``, or ``{"error": ...}`` with what the server has said.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
# Seconds for a request, and for all that are made at once; only a hang takes them.
PATIENCE = 240.0


class CriError(Exception):
    """What the server has said against a request."""


class Client:
    """The process, and what is asked of it.

    Args:
        socket: The server's unix socket.
    """

    def __init__(self, socket: Path) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.engines.cri", str(socket)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def __call__(self, method: str, **request: Any) -> dict[str, Any]:
        """Call a method of the runtime service.

        Raises:
            CriError: The server refuses.
        """
        return self.all(method, [request])[0]

    def all(self, method: str, requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Call a method with several requests at once.

        Raises:
            CriError: The server refuses one of them.
        """
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"method": method, "requests": requests}) + "\n")
        self._process.stdin.flush()
        answers = json.loads(self._process.stdout.readline())
        for answer in answers:
            if "error" in answer:
                raise CriError(answer["error"])
        return [answer["response"] for answer in answers]

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=PATIENCE)


def serve(socket: str) -> None:
    """Answer the requests on standard input, until it ends."""
    import grpc
    from cri_api.v1 import api_pb2, api_pb2_grpc
    from google.protobuf.json_format import MessageToDict, ParseDict

    with grpc.insecure_channel(f"unix://{socket}") as channel:
        stubs: Any = api_pb2_grpc  # what protobuf generates has no types
        service = stubs.RuntimeServiceStub(channel)
        for line in sys.stdin:
            asked = json.loads(line)
            kind = getattr(api_pb2, f"{asked['method']}Request")
            method = getattr(service, asked["method"])
            calls = [method.future(ParseDict(one, kind()), timeout=PATIENCE) for one in asked["requests"]]
            answers = []
            for call in calls:
                try:
                    text = MessageToDict(call.result(), preserving_proto_field_name=True)
                    answers.append({"response": text})
                except grpc.RpcError as error:
                    answers.append({"error": f"{error.code().name}: {error.details()}"})
            sys.stdout.write(json.dumps(answers) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
