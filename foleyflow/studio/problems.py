"""Errors of requests that have their own HTTP status."""

from __future__ import annotations

from foleyflow.errors import UsageError


class Problem(UsageError):
    """A request that can't be answered; `status` is that of HTTP."""

    status = 400


class NotFound(Problem):
    """There is no such project, take, job or export."""

    status = 404


class NotNow(Problem):
    """The request is not possible in the present state."""

    status = 409


class TooLarge(Problem):
    """The upload is too large, or the video too long."""

    status = 413


class TooMany(Problem):
    """Too many jobs are waiting."""

    status = 429
