"""Who may do what: a credential becomes a Caller, a Caller has permissions.

Passwords are kept as argon2id. A token is a JWT signed with a key of the store; it names its employee and the
employee's token epoch, which moves on when the employee is disabled or the password changes: that ends its tokens.
"""

import asyncio
import math
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar

import argon2
import msgspec
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import OctKey
from msgspec.structs import replace

from regulars.errors import Denied, Refused, TooMany, Unauthenticated
from regulars.fields import Invalid, Record, fields_of
from regulars.record import Company, Employee, Tenant
from regulars.search import fold
from regulars.store import Actor, Book, Store, Tx

K = TypeVar("K", bound=Record)

Permission = Literal["view", "edit", "create", "delete", "admin"]

ALGORITHM = "HS256"
ISSUER, AUDIENCE = "regulars", "regulars:api"
LIFETIME = timedelta(minutes=60)
LEEWAY = 60
"""Seconds by which the clock of the node that issued a token may be ahead of that of the one that is shown it."""
LEAST_PASSWORD = 8
WRONG_LOGIN = "Sorry, invalid username or password"

MOST_CACHED = 10_000
MOST_HASHING = 2
"""Password checks at once: each takes 64 MiB and one core for some 100 ms."""
FREE_FAILURES = 5
LONGEST_DELAY = 900.0


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated employee."""

    tenant_id: int
    employee: Employee

    def actor(self, door: str, request_id: str) -> Actor:
        """Who a command runs for. The token must still be good when it does."""
        one = self.employee
        return Actor(self.tenant_id, one.id, one.email, door, request_id, one.token_epoch)

    def require(self, permission: Permission) -> None:
        """Raise `Denied` unless the employee has the permission; a Client Admin has all, and alone has "admin"."""
        one = self.employee
        may = {"view": one.can_view, "edit": one.can_edit, "create": one.can_create, "delete": one.can_delete}
        if not (one.is_admin or may.get(permission)):
            raise Denied("Authorization has been denied for this request.")


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and when it was issued and expires, UTC."""

    text: str
    caller: Caller
    issued: datetime
    expires: datetime


@dataclass(slots=True)
class _Verified:
    """A token that was found to be genuine: what it says, and whom it stands for as of a certain book."""

    tenant_id: int
    employee_id: int
    epoch: int
    expires: datetime
    book: Book | None = None
    caller: Caller | None = None


@dataclass(slots=True)
class _Failures:
    count: int
    until: float


class Access:
    """Logging in, and telling who calls."""

    def __init__(self, store: Store, lifetime: timedelta = LIFETIME) -> None:
        self.store = store
        self.lifetime = lifetime
        self._hasher = argon2.PasswordHasher()
        self._pool = ThreadPoolExecutor(MOST_HASHING, "argon2")
        self._key: OctKey | None = None
        self._decoy = self._hasher.hash(secrets.token_urlsafe())
        self._verified: dict[str, _Verified] = {}
        self._failures: dict[tuple[int, str], _Failures] = {}

    async def open(self) -> None:
        """Fetch the signing key, made by the first process that needs it."""
        self._key = OctKey.import_key(await self.store.secret("jwt", secrets.token_urlsafe(48)))

    def close(self) -> None:
        self._pool.shutdown(wait=True)

    async def _in_pool(self, call: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call, *args)

    async def hash(self, password: str) -> str:
        """The argon2id hash of a new password; raises `Refused` for one that is too short."""
        if len(password) < LEAST_PASSWORD:
            raise Refused({"Password": [f"Expected at least {LEAST_PASSWORD} characters, got {len(password)}."]})
        hashed: str = await self._in_pool(self._hasher.hash, password)
        return hashed

    async def login(self, tenant_id: int, username: str, password: str) -> Token:
        """A token for the right password.

        Raises `Unauthenticated` alike, and after the same work, for a wrong password and for no such user; and
        `TooMany` while the account waits after failures, whether or not it exists.
        """
        now = self.store.clock()
        account = (tenant_id, fold(username))
        self._hold_back(account, now)
        book = await self.store.book(tenant_id)
        employee = next((one for one in book.all(Employee) if fold(one.email) == account[1]), None)
        known = employee is not None and employee.enabled and employee.password_hash
        right = await self._in_pool(
            self._matches, employee.password_hash if employee and known else self._decoy, password
        )
        if not (employee and known and right):
            self._fail(account, now)
            raise Unauthenticated(WRONG_LOGIN)
        self._failures.pop(account, None)
        return self._mint(employee, now)

    def _matches(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False

    def _hold_back(self, account: tuple[int, str], now: datetime) -> None:
        failed = self._failures.get(account)
        if failed and failed.until > now.timestamp():
            wait = failed.until - now.timestamp()
            raise TooMany(f"Too many failed logins. Try again in {math.ceil(wait)} s.", wait)

    def _fail(self, account: tuple[int, str], now: datetime) -> None:
        count = self._failures[account].count + 1 if account in self._failures else 1
        delay = min(2.0 ** (count - FREE_FAILURES), LONGEST_DELAY) if count >= FREE_FAILURES else 0
        self._failures.pop(account, None)
        self._failures[account] = _Failures(count, now.timestamp() + delay)
        if len(self._failures) > MOST_CACHED:
            self._failures.pop(next(iter(self._failures)))

    def _mint(self, employee: Employee, now: datetime) -> Token:
        assert self._key is not None
        issued = now.timestamp()
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(employee.id),
            "tenant": employee.tenant_id,
            "epoch": employee.token_epoch,
            "jti": secrets.token_urlsafe(9),
            "iat": int(issued),
            "nbf": int(issued),
            "exp": int(issued + self.lifetime.total_seconds()),
        }
        text = jwt.encode({"alg": ALGORITHM}, claims, self._key, algorithms=[ALGORITHM])
        return Token(text, Caller(employee.tenant_id, employee), now, now + self.lifetime)

    async def caller(self, token: str, tenant_id: int | None) -> Caller:
        """Who a token speaks for; `tenant_id` is the tenant that the host names, if it names one.

        Raises `Unauthenticated` for a token that is malformed, expired, revoked, or of another tenant.
        """
        now = self.store.clock()
        known = self._verified.get(token)
        if known is None or known.expires <= now:
            known = self._verify(token, now)
        book = await self.store.book(known.tenant_id)
        if known.book is not book:
            known.book, known.caller = book, self._employed(known, book)
        if known.caller is None or tenant_id not in (None, known.tenant_id):
            raise Unauthenticated
        return known.caller

    def _employed(self, known: _Verified, book: Book) -> Caller | None:
        employee = book.get(Employee, known.employee_id)
        if employee is None or not employee.admits(known.epoch):
            return None
        return Caller(known.tenant_id, employee)

    def _verify(self, token: str, now: datetime) -> _Verified:
        assert self._key is not None
        self._verified.pop(token, None)
        rules = jwt.JWTClaimsRegistry(
            now=int(now.timestamp()),
            leeway=LEEWAY,
            iss={"essential": True, "value": ISSUER},
            aud={"essential": True, "value": AUDIENCE},
            exp={"essential": True},
            nbf={"essential": True},
        )
        try:
            claims = jwt.decode(token, self._key, algorithms=[ALGORITHM]).claims
            rules.validate(claims)
            expires = datetime.fromtimestamp(float(claims["exp"]), UTC)
            if expires <= now:  # no leeway here: a token never outlives what it says
                raise ExpiredTokenError("exp")
            found = _Verified(int(claims["tenant"]), int(claims["sub"]), int(claims["epoch"]), expires)
        except (JoseError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise Unauthenticated from error
        if len(self._verified) >= MOST_CACHED:
            self._verified.pop(next(iter(self._verified)))
        self._verified[token] = found
        return found


# ---- commands on tenants and employees


def put_tenant(tx: Tx, name: str) -> Tenant:
    """The tenant, made when it is new."""
    found = tx.find(Tenant, tx.tenant_id)
    return found or tx.put(Tenant(tenant_id=tx.tenant_id, id=tx.tenant_id, name=name))


def put_company(tx: Tx, name: str) -> Company:
    """The tenant's first company, unless it has one."""
    found = tx.all(Company)
    return (
        found[0] if found else tx.put(checked(Company(tenant_id=tx.tenant_id, id=tx.next_id("companies"), name=name)))
    )


def put_record(tx: Tx, kind: type[K], record_id: int | None, values: Mapping[str, Any]) -> K:
    """A reference record, new (`record_id` None) or changed; raises `Refused` or `NotFound`."""
    if record_id is not None:
        return tx.put(checked(replace(tx.get(kind, record_id), **values)))
    missing = [name for name, spec in fields_of(kind).items() if spec.needed and not values.get(name)]
    if missing:
        raise Refused({name: ["Expected a value: it is required."] for name in missing})
    return tx.put(checked(kind(tenant_id=tx.tenant_id, id=tx.next_id(kind.table), **values)))


def put_reference(tx: Tx, records: Sequence[Record]) -> None:
    """Take over reference records with the numbers they have, where those are free."""
    for record in records:
        kind, number = type(record), record.id  # type: ignore[attr-defined]
        if tx.find(kind, number) is None:
            tx.put(record)
            tx.count(kind.table, max(0, number - tx.count(kind.table, 0)))


def put_employee(tx: Tx, email: str, values: Mapping[str, Any]) -> Employee:
    """An employee by e-mail, new or changed. A new password or being disabled ends the employee's tokens."""
    before = next((one for one in tx.all(Employee) if fold(one.email) == fold(email)), None)
    after = replace(before or Employee(tenant_id=tx.tenant_id, id=tx.next_id("employees"), email=email), **values)
    revoked = before and (before.password_hash != after.password_hash or (before.enabled and not after.enabled))
    if before and revoked:
        after = replace(after, token_epoch=before.token_epoch + 1)
    return tx.put(checked(after))


R = TypeVar("R", bound=msgspec.Struct)


def checked(record: R) -> R:
    """The record when every text is one that its declaration takes; raises `Refused`."""
    problems = {}
    for name, spec in fields_of(type(record)).items():
        if spec.type is str:
            try:
                spec.convert(getattr(record, name))
            except Invalid as error:
                problems[spec.member] = [str(error)]
    if problems:
        raise Refused(problems)
    return record
