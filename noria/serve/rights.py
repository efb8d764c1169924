"""What a route needs of the key behind a request: one of its rights.

In: a request that the guard let in. Out: its principal, or 403. This module knows no route.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.exceptions import HTTPException

from noria.serve.auth import Principal


def needs(*rights: str) -> Any:
    """A dependency: the principal of the request, if its key has one of the rights; else 403."""
    wanted = " or ".join(map(repr, rights))

    def principal_with_right(request: Request) -> Principal:
        principal = request.state.principal
        if principal is None or not principal.rights.intersection(rights):
            raise HTTPException(403, f"this key may not do that: it needs the right {wanted}")
        assert isinstance(principal, Principal)
        return principal

    return Depends(principal_with_right)


User = Annotated[Principal, needs("use")]
Rater = Annotated[Principal, needs("rate")]
Reader = Annotated[Principal, needs("read")]
UserOrReader = Annotated[Principal, needs("use", "read")]
Promoter = Annotated[Principal, needs("promote")]
