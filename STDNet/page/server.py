"""The web server of the page: JSON and pictures to one page of our own, nothing from anywhere else."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from STDNet import checkpoint
from STDNet.distributed import choose_device
from STDNet.errors import InputError
from STDNet.page.config import PageConfig
from STDNet.page.result import ASSUMED_VIEW_DEG, METHODS, Result
from STDNet.page.run import ARCHIVE, Task
from STDNet.page.sessions import Session, Sessions, status
from STDNet.super_resolve.grid import SCALES
from STDNet.visualize import ERROR_M, MAGMA_NEAR_BRIGHT, VIRIDIS

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.requests import Request
    from starlette.responses import FileResponse, JSONResponse, Response
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles
except ImportError:
    raise InputError("the page needs Starlette and Uvicorn: pip install 'STDNet[app]'") from None

log = logging.getLogger(__name__)
STATIC = Path(__file__).parent / "static"
# The browser itself refuses what does not come from here.
POLICY = "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
FOR_EVER = {"Cache-Control": "private, max-age=86400, immutable"}  # the URL names the run
INSIDE = "Something went wrong inside the program; its log has the details."


def serve(config: PageConfig) -> None:
    """Serve the page until the process is told to stop; its temporary files are gone afterwards.

    Raises:
        InputError: The address is taken or not one of this machine; a checkpoint cannot be read.
    """
    offered = _offered(config.weights)
    device = str(choose_device(config.device))
    listener = _listen(config)
    # Uvicorn hands the signal back when it is through; it then has to leave the block below by its end.
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(SystemExit(0)))
    host = f"[{config.host}]" if ":" in config.host else config.host
    with tempfile.TemporaryDirectory(prefix="stdnet-page-", ignore_cleanup_errors=True) as root:
        sessions = Sessions(Path(root), config.limits, config.max_sessions)
        if not config.loopback:
            log.warning("listening on %s: everyone who reaches this address can upload and compute here", config.host)
        log.info("the page is at http://%s:%d/ (Ctrl-C stops it)", host, listener.getsockname()[1])
        settings = uvicorn.Config(
            application(config, sessions, offered, device),
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=3,
        )
        try:
            uvicorn.Server(settings).run(sockets=[listener])
        except KeyboardInterrupt:
            log.info("stopped")
        finally:
            sessions.stop()


def application(config: PageConfig, sessions: Sessions, offered: list[dict[str, Any]], device: str) -> Starlette:
    """The routes. Everything of a session is below its name, which only its page knows."""
    endpoints = _Endpoints(config, sessions, offered, device)
    own = "/api/sessions/{session}"
    result = f"{own}/runs/{{run}}"
    routes = [
        Route("/", lambda request: FileResponse(STATIC / "index.html")),
        Route("/api/facts", endpoints.facts),
        Route("/api/sessions", endpoints.open, methods=["POST"]),
        Route(own, endpoints.status),
        Route(f"{own}/end", endpoints.end, methods=["POST"]),
        Route(f"{own}/capture", endpoints.upload, methods=["POST"]),
        Route(f"{own}/run", endpoints.run, methods=["POST"]),
        Route(f"{own}/cancel", endpoints.cancel, methods=["POST"]),
        Route(f"{result}/frames/{{kind}}/{{t:int}}", endpoints.frame),
        Route(f"{result}/slices/{{kind}}/{{row:int}}", endpoints.row_over_time),
        Route(f"{result}/points/{{kind}}/{{t:int}}", endpoints.points),
        Route(f"{result}/download", endpoints.download),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    # Another site that has its name point here shall not speak to a page that only this machine may reach.
    hosts = ["localhost", "127.0.0.1", "[::1]", config.host] if config.loopback else ["*"]
    return Starlette(
        routes=routes,
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts), Middleware(_Headers)],
        exception_handlers={InputError: _sentence, HTTPException: _http, Exception: _inside},
    )


class _Headers:
    """Puts HEADERS on every response."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
            await send(message)

        await self.app(scope, receive, with_headers)


class _Endpoints:
    """What the page asks for. Starlette runs those that are not async in threads."""

    def __init__(self, config: PageConfig, sessions: Sessions, offered: list[dict[str, Any]], device: str) -> None:
        self.config, self.sessions, self.offered, self.device = config, sessions, offered, device

    def facts(self, request: Request) -> Response:
        """What can be chosen."""
        return JSONResponse(
            {
                "weights": self.offered,
                "scales": list(SCALES),
                "sample": (self.config.sample / "index.txt").is_file(),
                "max_upload_mb": self.config.max_upload_mb,
                "max_frames": self.config.max_frames,
                "device": self.device,
                "colours": {"depth": MAGMA_NEAR_BRIGHT, "error": VIRIDIS, "error_m": ERROR_M},
                "assumed_view_deg": ASSUMED_VIEW_DEG,
            }
        )

    async def open(self, request: Request) -> Response:
        """A session. Asking for JSON keeps forms of other sites out."""
        await _json(request)
        return JSONResponse({"session": self.sessions.start()})

    def end(self, request: Request) -> Response:
        """The page is closed."""
        self.sessions.end(request.path_params["session"])
        return Response(status_code=204)

    def status(self, request: Request) -> Response:
        """Where the run stands; also says that the page is still open."""
        session = self._session(request)
        return JSONResponse({"run": self._told(session)})

    async def upload(self, request: Request) -> Response:
        """A zip archive as the body."""
        session, size = self._session(request), 0
        if session.busy:
            raise InputError("a run is going on; cancel it before you upload another capture")
        with tempfile.NamedTemporaryFile(dir=session.folder, suffix=".zip", delete=False) as file:
            path = Path(file.name)
            try:
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > self.config.limits.upload:
                        raise InputError(f"the upload is larger than {self.config.max_upload_mb} MB; use fewer frames")
                    file.write(chunk)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        facts = await asyncio.to_thread(self.sessions.take, session, path)
        return JSONResponse(facts._asdict())

    async def run(self, request: Request) -> Response:
        """Start a run: {"source": "sample" or "capture", "weights": name, "frames": number}."""
        session, asked = self._session(request), await _json(request)
        weights = next((one for one in self.offered if one["name"] == asked.get("weights")), None)
        frames, capture = asked.get("frames"), session.capture if asked.get("source") == "capture" else None
        if weights is None:
            raise InputError("choose one of the weights that are offered")
        if type(frames) is not int or not 1 <= frames <= self.config.max_frames:
            raise InputError(f"the number of frames must be 1 to {self.config.max_frames}")
        if asked.get("source") == "capture" and capture is None:
            raise InputError("upload a capture first")
        task = Task(capture, weights["file"], weights["scale"], frames, self.device, self.config.sample)
        self.sessions.submit(session, task)
        return JSONResponse({"run": self._told(session)})

    def cancel(self, request: Request) -> Response:
        """Stop the run."""
        session = self._session(request)
        self.sessions.cancel(session)
        return JSONResponse({"run": self._told(session)})

    def frame(self, request: Request) -> Response:
        """A picture of a frame."""
        content, kind = self._result(request).picture(request.path_params["kind"], request.path_params["t"])
        return Response(content, media_type=kind, headers=FOR_EVER)

    def row_over_time(self, request: Request) -> Response:
        """One row over time."""
        content = self._result(request).row_over_time(request.path_params["kind"], request.path_params["row"])
        return Response(content, media_type="image/png", headers=FOR_EVER)

    def points(self, request: Request) -> Response:
        """A point cloud."""
        content = self._result(request).points(request.path_params["kind"], request.path_params["t"])
        return Response(content, media_type="application/octet-stream", headers=FOR_EVER)

    def download(self, request: Request) -> Response:
        """All files of the result."""
        return FileResponse(self._result(request).folder / ARCHIVE, filename="stdnet_result.zip")

    def _session(self, request: Request) -> Session:
        return self.sessions.get(request.path_params["session"])

    def _result(self, request: Request) -> Result:
        job = self._session(request).job
        if job is None or job.key != request.path_params["run"] or job.result is None:
            raise InputError("this result is gone; run it again")
        return job.result

    def _told(self, session: Session) -> dict[str, Any] | None:
        job = session.job
        if job is None:
            return None
        return {**status(self.sessions, job), "result": _shown(job.result) if job.state == "done" else None}


def _shown(result: Result | None) -> dict[str, Any]:
    """What the page is told of a result."""
    assert result is not None
    columns = ("rmse_cm", "mae_cm", "tepe_cm", "edge_rmse_cm", "flat_rmse_cm")
    scores = {name: {key: result.scores[name][key] for key in columns} for name in METHODS if result.scores}
    return {
        "frames": len(result.names),
        "names": result.names,
        "kinds": result.kinds,
        "size": result.grid.output,
        "lr_size": result.grid.lr,
        "scale": result.grid.scale,
        "block": result.grid.downsample,
        "span_m": result.span_m,
        "focal": result.camera[1],
        "camera_known": result.camera_known,
        "scores": scores,
        "weights": Path(result.summary["weights"]).name,
        "frames_per_s": result.summary["frames_per_s"],
        "invalid_share": result.summary["invalid_share"],
        "beyond_max_depth": result.summary["beyond_max_depth"]["share"],
        "max_depth_m": result.summary["max_depth_m"],
    }


def _offered(extra: tuple[str, ...]) -> list[dict[str, Any]]:
    """Names, files and scales of the weights that can be chosen; what cannot be read is said at the start."""
    offered: list[dict[str, Any]] = []
    for file in (*checkpoint.shipped(), *extra):
        scale = checkpoint.read(file).config.scale
        name = Path(file).name
        if any(one["name"] == name for one in offered):
            raise InputError(f"--weights {file}: two checkpoints are called {name}; rename one")
        offered.append({"name": name, "file": file, "scale": scale})
    return offered


def _listen(config: PageConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family)
    except OSError as error:
        raise InputError(f"--host {config.host} --port {config.port}: cannot listen there ({error.strerror})") from None


async def _json(request: Request) -> dict[str, Any]:
    """The body of a request, which browsers send to other sites only after they have asked (and are refused)."""
    try:
        content = await request.json() if "json" in request.headers.get("content-type", "") else None
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise HTTPException(415)
    return content


def _sentence(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=400)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": f"The page asked for something unknown ({error.detail})."}, error.status_code)


def _inside(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": INSIDE}, status_code=500)
