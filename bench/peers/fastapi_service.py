"""The update call as a Python team would write it by default: FastAPI, SQLAlchemy and asyncpg under uvicorn.

It stands alone: nothing of Regulars is imported. What is as such a team would have it: a token is verified for each
request, pydantic checks the body, SQLAlchemy's session reads the row and adds the change, and one transaction does one
update. What is tuned: uvloop and httptools, the size of the pool, no refresh after the commit, no access log, and one
UPDATE for whatever was sent, so that it stays compiled and prepared: written by the unit of work, which names only what
changed, there would be thousands.
"""

import json
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import IntEnum
from functools import partial
from typing import Annotated, Any

import jwt
from fastapi import Depends, FastAPI, HTTPException, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, EmailStr, Field
from pydantic.alias_generators import to_pascal
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.ext.declarative import DeferredReflection
from sqlalchemy.orm import DeclarativeBase

SECRET = os.environ["SERVICE_SECRET"]
USER, PASSWORD = os.environ["SERVICE_USER"], os.environ["SERVICE_PASSWORD"]
ALGORITHM = "HS256"

engine = create_async_engine(
    os.environ["SERVICE_DATABASE"],
    pool_size=10,
    max_overflow=0,
    json_serializer=partial(json.dumps, default=str),
)
Session = async_sessionmaker(engine, expire_on_commit=False)


# ---- the tables


class Base(DeclarativeBase):
    """What is mapped."""


class Reflected(DeferredReflection, Base):
    """Tables whose columns are read from the database when the service starts."""

    __abstract__ = True


class Customer(Reflected):
    __tablename__ = "customers"


class Change(Reflected):
    __tablename__ = "changes"


# ---- the body


class Rating(IntEnum):
    NotRated = 0
    Very_Disatisfied = 1
    Disatisfied = 2
    Neutral = 3
    Satisfied = 4
    Very_Satisfied = 5


Text = Annotated[str, Field(max_length=200)]
Phone = Annotated[str, Field(max_length=50)]
Number = Annotated[int, Field(ge=0)]
Commission = Annotated[Decimal, Field(max_digits=19, decimal_places=4)]


class CustomerUpdate(BaseModel):
    """The members of the request; what is null or absent stays as it is."""

    model_config = ConfigDict(alias_generator=to_pascal, populate_by_name=True)

    title: Phone | None = None
    name: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    email: EmailStr | None = None
    email_cc: Annotated[str, Field(alias="EmailCC", max_length=2000)] | None = None
    business_name: Text | None = None
    business_aliases: list[Text] | None = None
    source_id: Text | None = None
    is_wholesale: bool | None = None
    company_id: Number | None = None
    account_manager1_id: Number | None = None
    account_manager2_id: Number | None = None
    account_manager3_id: Number | None = None
    account_manager1_commission: Commission | None = None
    account_manager2_commission: Commission | None = None
    account_manager3_commission: Commission | None = None
    salesman: Text | None = None
    comments: Annotated[str, Field(max_length=8000)] | None = None
    rating: Rating | None = None
    phone1: Phone | None = None
    phone2: Phone | None = None
    phone3: Phone | None = None
    mobile: Phone | None = None
    fax: Phone | None = None

    def values(self) -> dict[str, Any]:
        """What to set, by column."""
        found = self.model_dump(exclude_none=True)
        if name := found.pop("name", None):
            first, _, last = name.partition(" ")
            found |= {"first_name": first, "middle_name": "", "last_name": last}
        return found


COLUMNS = (*(name for name in CustomerUpdate.model_fields if name != "name"), "first_name", "middle_name", "last_name")


# ---- the service


class Caller(BaseModel):
    """For whom a token speaks."""

    tenant: int
    employee: int
    name: str


class Login(BaseModel):
    """The body of the call for a token."""

    model_config = ConfigDict(alias_generator=to_pascal)

    username: str
    password: str


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(lambda bound: Reflected.prepare(bound))
    yield
    await engine.dispose()


async def session() -> AsyncIterator[AsyncSession]:
    async with Session() as opened:
        yield opened


async def caller(bearer: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> Caller:
    """Who calls; the token is verified each time, as FastAPI's own tutorial does."""
    try:
        claims = jwt.decode(bearer.credentials, SECRET, algorithms=[ALGORITHM], options={"require": ["exp"]})
    except jwt.InvalidTokenError as error:
        raise HTTPException(401, "Not Valid Token") from error
    return Caller(tenant=claims["tenant"], employee=int(claims["sub"]), name=claims["name"])


app = FastAPI(lifespan=lifespan)


@app.get("/readyz")
async def ready() -> str:
    return "ready"


@app.post("/rest/api/token")
async def token(login: Login) -> dict[str, str]:
    if (login.username, login.password) != (USER, PASSWORD):
        raise HTTPException(401, "Sorry, invalid username or password")
    expires = datetime.now(UTC) + timedelta(hours=1)
    claims = {"sub": "1", "tenant": 1, "name": USER, "exp": expires}
    return {"access_token": jwt.encode(claims, SECRET, ALGORITHM), "token_type": "Bearer"}


@app.put("/rest/api/Customers/{customer_id}")
async def update_customer(
    customer_id: int,
    body: CustomerUpdate,
    who: Annotated[Caller, Depends(caller)],
    opened: Annotated[AsyncSession, Depends(session)],
) -> Response:
    """Change what the body names, and record who changed it from what to what."""
    customer: Any = await opened.get(Customer, (who.tenant, customer_id), with_for_update=True)
    if customer is None:
        raise HTTPException(404, f"Could not find or load record with ID {customer_id}!")
    before = {column: getattr(customer, column) for column in COLUMNS}
    after = before | body.values()
    if fields := {column: [before[column], after[column]] for column in COLUMNS if before[column] != after[column]}:
        now, version = datetime.now(UTC), customer.version + 1
        key = (Customer.tenant_id == who.tenant, Customer.id == customer_id)  # type: ignore[attr-defined]
        statement = update(Customer).where(*key).values(**after, version=version, modified_on=now)
        await opened.execute(statement, execution_options={"synchronize_session": False})
        change: dict[str, Any] = {
            "tenant_id": who.tenant,
            "customer_id": customer_id,
            "version": version,
            "at": now,
            "employee_id": who.employee,
            "employee": who.name,
            "door": "api",
            "request_id": uuid.uuid4().hex,
            "kind": "updated",
            "fields": fields,
        }
        opened.add(Change(**change))
    await opened.commit()
    return Response()
