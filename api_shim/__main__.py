"""`python -m api_shim`: the front door on uvicorn, with uvloop and httptools."""

import uvicorn

from api_shim.protocol import BoundedHttp
from backroom.settings import settings


def main() -> None:
    """Serve until told to stop; open requests are finished first."""
    uvicorn.run(
        "api_shim.app:build",
        factory=True,
        host=settings().host,
        port=settings().port,
        loop="uvloop",
        http=BoundedHttp,
        # Our own logs say what matters, without addresses and paths.
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=10,
    )


if __name__ == "__main__":
    main()
