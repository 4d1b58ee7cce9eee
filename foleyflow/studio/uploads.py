"""Receives the bodies of uploads in temporary files, within limits of size and disk space."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from foleyflow.studio.problems import TooLarge
from foleyflow.studio.settings import StudioSettings

CHECKED_BYTES = 64 * 2**20  # after which the space on the disk is checked again
SPARE_BYTES = 512 * 2**20  # of the disk, which uploads leave free


@asynccontextmanager
async def received(request: Request, settings: StudioSettings) -> AsyncIterator[Path | None]:
    """The body of a request in a file that is removed at the end, unless it was moved.

    None if the client has ended the connection.

    Raises:
        TooLarge: it is larger than allowed.
    """
    limit = settings.upload_bytes
    largest = TooLarge(
        f"the upload is larger than {limit / 2**30:.3g} GiB",
        hint="use --videos of foleyflow serve, which copies nothing, or a larger --upload-limit",
    )
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced) > limit:
        raise largest
    path, is_complete, count = settings.folder / f".upload-{secrets.token_hex(8)}.part", True, 0
    try:
        try:
            with open(path, "xb") as file:
                async for chunk in request.stream():
                    count += len(chunk)
                    if count > limit:
                        raise largest
                    if count % CHECKED_BYTES < len(chunk):
                        _check_space(settings.folder)
                    await run_in_threadpool(file.write, chunk)
        except ClientDisconnect:
            is_complete = False
        yield path if is_complete else None
    finally:
        path.unlink(missing_ok=True)


def _check_space(folder: Path) -> None:
    if shutil.disk_usage(folder).free < SPARE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
