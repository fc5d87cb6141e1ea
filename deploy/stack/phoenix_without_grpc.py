"""Starts Phoenix without its OTLP receiver over gRPC, which always listens on all interfaces.

`.tools/stack/bin/python` runs it. The collector sends its traces over HTTP.
"""

from phoenix.server.grpc_server import GrpcServer
from phoenix.server.main import main


async def _stay_closed(_: object) -> None:
    pass


if __name__ == "__main__":
    GrpcServer.__aenter__ = _stay_closed
    main()
