"""`foleyflow serve`: the studio, a local web page to correct generated sound."""

from __future__ import annotations

import importlib.util
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from foleyflow.cli.console import handle_errors, print_result, print_status
from foleyflow.cli.options import EMBEDDED, Debug, Device, Json, Model
from foleyflow.cli.video_batch import ModelThreads
from foleyflow.errors import MediaError, MissingExtra

if TYPE_CHECKING:
    from foleyflow.studio.serving import Address

EXTRA = "web"
PACKAGES = ("fastapi", "uvicorn")


def serve(
    host: Annotated[str, Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Option(min=0, max=65535, help="Port; 0 chooses a free one.")] = 0,
    folder: Annotated[
        Path, Option(metavar="FOLDER", help="Folder of the projects; created if it is missing.")
    ] = Path("~/foleyflow-studio"),
    videos: Annotated[
        Path | None,
        Option(metavar="FOLDER", help="Folder of videos that can be opened without a copy."),
    ] = None,
    library: Annotated[
        Path | None,
        Option(
            metavar="FOLDER",
            help="Folder of recorded sounds, named after their materials; see "
            "`foleyflow generate --library`.",
        ),
    ] = None,
    open_page: Annotated[bool, Option("--open", help="Open the page in the browser.")] = False,
    allow_remote: Annotated[
        bool,
        Option(
            "--allow-remote",
            help="Allow a --host that other machines can reach. The connection is not encrypted.",
        ),
    ] = False,
    upload_limit: Annotated[
        float, Option(min=0.001, metavar="GIB", help="Largest upload in GiB.")
    ] = 20.0,
    longest: Annotated[float, Option(min=0.01, metavar="MIN", help="Longest video.")] = 240.0,
    model: Model = EMBEDDED,
    device: Device = "auto",
    threads: ModelThreads = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Serve the studio: find, move and change the sounds of videos in the browser.

    It runs on this machine alone, and nothing is uploaded anywhere. The link that it prints opens
    the page once; programs send the API key (docs/http.md).
    """
    with handle_errors(debug=debug, as_json=as_json):
        for package in PACKAGES:
            if importlib.util.find_spec(package) is None:
                raise MissingExtra(package, EXTRA)
        from foleyflow.studio.serving import serve as run
        from foleyflow.studio.settings import StudioSettings

        settings = StudioSettings(
            folder=folder.expanduser(),
            videos=_existing(videos, "--videos"),
            library=_existing(library, "--library"),
            model=model,
            device=device,
            threads=threads,
            upload_bytes=round(upload_limit * 2**30),
            duration_s=60.0 * longest,
        )

        def started(address: Address) -> None:
            text = (
                f"The studio is at {address.link}\n"
                f"  API key for programs: {address.api_key}\n"
                f"  Projects are in {settings.folder}. Ctrl-C stops the studio."
            )
            value = vars(address) | {"folder": str(settings.folder)}
            print_result(value, as_json=as_json, text=text)
            if open_page and not webbrowser.open(address.link):
                print_status("foleyflow: no browser was found; open the link yourself")

        run(
            settings,
            host=host,
            port=port,
            allow_remote=allow_remote,
            started=started,
            used=lambda link: print_status(f"To open the studio once more: {link}"),
        )
    raise typer.Exit(0)


def _existing(folder: Path | None, option: str) -> Path | None:
    if folder is not None and not folder.is_dir():
        raise MediaError(f"{option} {folder}: no such folder", hint="check the name")
    return folder
