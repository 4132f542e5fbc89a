"""Every call of the clients, written once: what to send and how to read the answer. No I/O."""

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import date
from functools import partial, wraps
from operator import index
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, get_args, overload

import httpx2

from regulars import flat, queries, wire
from regulars.client.answers import (
    BatchOutcome,
    ChangePage,
    Choice,
    CompanyPage,
    CustomerDetails,
    CustomerPage,
    FeedPage,
    Token,
    Updated,
    json_as,
    read_batch,
    read_change_page,
    read_choices,
    read_companies,
    read_details,
    read_feed,
    read_items,
    read_object,
    read_page,
    read_server,
    read_token,
    read_updated,
    rows,
)
from regulars.client.bodies import (
    FilterValue,
    Value,
    address_body,
    api_url,
    conditions,
    members,
    merge_patch,
    paging,
    query,
    webhook_body,
    writing,
)
from regulars.client.calls import Call, Trial
from regulars.record import Address, Company

if TYPE_CHECKING:
    from regulars.client import AsyncClient, Client

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

VENDOR, OWN = "/rest/api", "/api/v1"
"""Where the vendor's calls are; our own are beside it, and their paths begin with a slash."""
MARGIN = 60.0
"""A token is renewed this many seconds before it expires, but not before nine tenths of its life."""


def listing(page: int, filters: Mapping[str, FilterValue], size: int = queries.MOST_PAGE_SIZE) -> Call[CustomerPage]:
    return Call("GET", "Customers", read_page, query=paging(page, size) + query(filters))


class Operation(Protocol[P, T_co]):
    """A method that `Client` answers directly, and `AsyncClient` when it is awaited."""

    @overload
    def __get__(self, client: "Client", owner: Any) -> Callable[P, T_co]: ...
    @overload
    def __get__(self, client: "AsyncClient", owner: Any) -> Callable[P, Coroutine[Any, Any, T_co]]: ...


def operation(build: Callable[Concatenate[Any, P], Call[T]]) -> Operation[P, T]:
    """Turns a method that describes a call into one that makes it."""

    @wraps(build)
    def method(client: Any, *args: P.args, **kwargs: P.kwargs) -> Any:
        return client._send(build(client, *args, **kwargs))

    signature = inspect.signature(build)
    (result,) = get_args(signature.return_annotation)
    method.__dict__["__signature__"] = signature.replace(return_annotation=result)  # what `help` shows
    return cast(Operation[P, T], method)


class Operations:
    """Every call. All raise, besides what they name, `Unauthenticated`, `Denied`, `TooMany` and `Unavailable`.

    A write with an `idempotency_key`, a text of one's own such as `str(uuid.uuid4())`, is tried again like a read: this
    service does it once, and answers each time as the first time. It may also be called again later, with the same
    arguments; with others it raises `Reused`. The vendor's service takes no notice of keys: there, give none.
    """

    def __init__(
        self, base_url: str, username: str, password: str, retries: int, longest_wait: float, clock: Callable[[], float]
    ) -> None:
        self.base_url = api_url(base_url)
        self.username = username
        self._retries, self._longest_wait, self._clock = retries, longest_wait, clock
        login = wire.encode({"Username": username, "Password": password})
        self._login = Call("POST", "token", read_token, body=login, secured=False)
        self._token = Token("", 0.0)
        self._renew_at = 0.0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r}, {self.username!r})"

    def _usable(self, stale: str) -> bool:
        return self._token.text not in ("", stale) and self._clock() < self._renew_at

    def _keep(self, token: Token, asked: float) -> None:
        self._token, self._renew_at = token, asked + token.life - min(MARGIN, token.life / 10)

    def _trial(self, call: Call[Any]) -> Trial:
        return Trial(call, self._retries, self._longest_wait)

    def _request(self, call: Call[Any], token: str) -> httpx2.Request:
        headers = {"Accept": "application/json", "Content-Type": "application/json", "User-Agent": "regulars"}
        headers |= call.headers
        if token:
            headers["Authorization"] = f"Bearer {token}"
        url = f"{self.base_url}/{call.path}" if call.path[0] != "/" else self.base_url.removesuffix(VENDOR) + call.path
        return httpx2.Request(call.method, url, params=list(call.query) or None, headers=headers, content=call.body)

    def _update(
        self,
        path: str,
        body: dict[str, Any],
        if_match: int | str | None,
        strict: bool,
        key: str | None,
        repeatable: bool = True,
    ) -> Call[Updated]:
        headers = conditions(if_match, strict, key)
        repeatable = key is not None or (repeatable and if_match is None)
        return Call("PUT", path, read_updated, body=wire.encode(body), headers=headers, repeatable=repeatable)

    @operation
    def update_customer(
        self,
        customer_id: int,
        values: Mapping[str, Value] | None = None,
        /,
        *,
        if_match: int | str | None = None,
        strict: bool = False,
        idempotency_key: str | None = None,
        **fields: Value,
    ) -> Call[Updated]:
        """Set the named members of a customer; the others, and those that are None, stay (contract §4.2).

        Names are those of `record.Customer` (`phone1`, `account_manager1_commission`, `name`) or of the wire
        (`Phone1`), in any case. `if_match` is the version or ETag that the customer must still have; `strict` has the
        service refuse what it would ignore. Raises `TypeError` for an unknown name, `Refused`, `NotFound`, `Conflict`.
        """
        body = members("customer", "update_customer", values, fields)
        return self._update(f"Customers/{index(customer_id)}", body, if_match, strict, idempotency_key)

    @operation
    def update_addresses(
        self,
        customer_id: int,
        addresses: Iterable[Address | Mapping[str, Any]],
        /,
        *,
        if_match: int | str | None = None,
        strict: bool = False,
        idempotency_key: str | None = None,
    ) -> Call[Updated]:
        """Replace addresses by their ids, add those with id 0, leave the others (contract §4.3). Each is sent whole.

        One that adds is sent again only with an `idempotency_key`. Raises `Refused`, `NotFound`, `Conflict`.
        """
        items = [address_body(one) for one in addresses]
        path = f"Customers/{index(customer_id)}/Addresses"
        return self._update(
            path, {"Addresses": items}, if_match, strict, idempotency_key, all(one.get("ID") for one in items)
        )

    @operation
    def update_custom_columns(
        self,
        customer_id: int,
        values: Mapping[str, Any],
        /,
        *,
        if_match: int | str | None = None,
        strict: bool = False,
        idempotency_key: str | None = None,
    ) -> Call[Updated]:
        """Set custom columns by name; `""` empties one (contract §4.4). Raises `Refused`, `NotFound`, `Conflict`."""
        columns = [{"ColumnName": name, "Value": writing(value, name)} for name, value in values.items()]
        path = f"Customers/{index(customer_id)}/CustomColumns"
        return self._update(path, {"CustomColumns": columns}, if_match, strict, idempotency_key)

    @operation
    def update_order_options(
        self,
        customer_id: int,
        values: Mapping[str, Value] | None = None,
        /,
        *,
        if_match: int | str | None = None,
        strict: bool = False,
        idempotency_key: str | None = None,
        **fields: Value,
    ) -> Call[Updated]:
        """Set how the customer's orders are handled (contract §4.5); otherwise as `update_customer`."""
        body = members("order_options", "update_order_options", values, fields)
        return self._update(f"Customers/{index(customer_id)}/OrderOptions", body, if_match, strict, idempotency_key)

    @operation
    def update_shipping_preferences(
        self,
        customer_id: int,
        values: Mapping[str, Value] | None = None,
        /,
        *,
        if_match: int | str | None = None,
        strict: bool = False,
        idempotency_key: str | None = None,
        **fields: Value,
    ) -> Call[Updated]:
        """Set how the customer's orders are shipped (contract §4.6); otherwise as `update_customer`."""
        body = members("shipping", "update_shipping_preferences", values, fields)
        return self._update(
            f"Customers/{index(customer_id)}/ShippingPreferences", body, if_match, strict, idempotency_key
        )

    @operation
    def get_customer(self, customer_id: int, /) -> Call[CustomerDetails]:
        """One customer, whole (contract §3.2). Raises `NotFound`."""
        return Call("GET", f"Customers/{index(customer_id)}", read_details)

    @operation
    def list_customers(
        self, /, *, page: int = 1, size: int = queries.MOST_PAGE_SIZE, **filters: FilterValue
    ) -> Call[CustomerPage]:
        """One page of the customers that match every filter, newest first; at most 50 a page (contract §3.1).

        Filters are those of the contract, such as `first_name`, `customer_ids`, `created_on_from`. Raises `TypeError`
        for an unknown one, `ValueError` for an empty one (it would match all), `Refused`.
        """
        return listing(page, filters, size)

    @operation
    def get_flat_customer(self, customer_id: int, /) -> Call[dict[str, Any]]:
        """One customer as one flat object by member names, with all that it has; `Version` is for `if_match`. Only of
        this service. Raises `NotFound`."""
        return Call("GET", f"{OWN}/customers/{index(customer_id)}", read_object)

    @operation
    def patch_customer(
        self,
        customer_id: int,
        values: Mapping[str, Any],
        /,
        *,
        if_match: int | str | None = None,
        strict: bool = False,
        idempotency_key: str | None = None,
    ) -> Call[dict[str, Any]]:
        """Change the named members of a customer; None clears one. Returns the customer as `get_flat_customer`.

        Names are those of the wire or of `record.Customer`. `Addresses` and `CustomerGroups` are replaced whole,
        `CustomColumns` is a mapping of the columns to change. Only of this service. Raises `TypeError` for an unknown
        name, `Refused`, `NotFound`, `Conflict`.
        """
        headers = conditions(if_match, strict, idempotency_key)
        body, repeatable = wire.encode(merge_patch(values)), idempotency_key is not None
        path = f"{OWN}/customers/{index(customer_id)}"
        return Call("PATCH", path, read_object, body=body, headers=headers, repeatable=repeatable)

    @operation
    def batch_customers(
        self,
        items: Iterable[Mapping[str, Any]],
        /,
        *,
        atomic: bool = False,
        strict: bool = False,
        idempotency_key: str | None = None,
    ) -> Call[list[BatchOutcome]]:
        """Create and update up to 1,000 customers in one commit; returns what came of each, in the same order.

        An item has an `action` (create, update, upsert), the members to change as `patch_customer` takes them, an `id`,
        or a `key` (SourceId, Email) that says by which of them the customer is known, and perhaps the `version` that it
        must be at. With `atomic` all or nothing is done. Only of this service. Raises `TypeError` for an unknown name,
        `Refused`.
        """
        found = [merge_patch(one, "batch_customers", flat.ITEM) for one in items]
        headers, repeatable = conditions(None, strict, idempotency_key), idempotency_key is not None
        body = wire.encode({"Items": found, "Atomic": atomic})
        return Call("POST", f"{OWN}/customers:batch", read_batch, body=body, headers=headers, repeatable=repeatable)

    @operation
    def list_customer_changes(
        self, customer_id: int, /, *, limit: int = queries.FEW_CHANGES, cursor: str | None = None
    ) -> Call[ChangePage]:
        """Who changed what of a customer, newest first; `next` of a page is the `cursor` of the one after it. Only of
        this service. Raises `NotFound`, `Refused`."""
        wanted = [("limit", str(index(limit)))] + ([("cursor", cursor)] if cursor else [])
        return Call("GET", f"{OWN}/customers/{index(customer_id)}/changes", read_change_page, query=wanted)

    @operation
    def read_feed(self, *, after: str = "", limit: int = queries.FEW_CHANGES, wait: int = 0) -> Call[FeedPage]:
        """Changes of all customers after a cursor, in order and without gaps; `cursor` of the page is for the next one.
        From the beginning unless `after` is given; `"latest"` is the end. `wait` is for how many seconds the
        service waits for a change when there is none. Only of this service. Raises `Refused`."""
        wanted = [("limit", str(index(limit))), ("wait", str(index(wait)))] + ([("after", after)] if after else [])
        return Call("GET", f"{OWN}/changes", read_feed, query=wanted)

    @operation
    def undo_change(
        self, change_id: int, /, *, dry_run: bool = False, idempotency_key: str | None = None
    ) -> Call[dict[str, Any]]:
        """Put back what one change altered; a dry run only tells what that would do. Only of this service. Raises
        `Overtaken` with what was altered again since, `Refused`, `NotFound`."""
        path = f"{OWN}/changes/{index(change_id)}/undo"
        return self._undo(path, dry_run, idempotency_key)

    def _undo(self, path: str, dry_run: bool, key: str | None, body: bytes | None = None) -> Call[dict[str, Any]]:
        query, headers = [("dryRun", str(dry_run).lower())], conditions(None, False, key)
        repeatable = dry_run or key is not None
        return Call("POST", path, read_object, query=query, body=body, headers=headers, repeatable=repeatable)

    @operation
    def undo_changes(
        self,
        *,
        request_id: str | None = None,
        employee: str | None = None,
        door: str | None = None,
        since: date | None = None,
        keep_created: bool = False,
        dry_run: bool = False,
        idempotency_key: str | None = None,
    ) -> Call[dict[str, Any]]:
        """Put back all that a request altered, or an employee or a door since a moment; all of it or none. Otherwise as
        `undo_change`."""
        given = {"RequestID": request_id, "Employee": employee, "Door": door, "KeepCreated": keep_created or None}
        body = {name: value for name, value in given.items() if value is not None}
        if since is not None:
            body["Since"] = writing(since, "since")
        return self._undo(f"{OWN}/changes:undo", dry_run, idempotency_key, wire.encode(body))

    @operation
    def list_webhooks(self) -> Call[list[dict[str, Any]]]:
        """The endpoints that are told of changes, by member names. Only of this service, as is all on webhooks, and
        only for a Client Admin."""
        return Call("GET", f"{OWN}/webhooks", read_items)

    @operation
    def create_webhook(
        self, url: str, /, *, idempotency_key: str | None = None, **members: Any
    ) -> Call[dict[str, Any]]:
        """Add an endpoint. What is returned has its `Secret`, this once; give that to the receiver.

        Members are `description`, `events` (such as `["customer.updated"]`), `members` (only updates that altered one
        of these) and `enabled`. Sent again only with an `idempotency_key`. Raises `TypeError` for an unknown name,
        `Refused`.
        """
        body = webhook_body("create_webhook", {"url": url}, members)
        return self._webhook("POST", "", read_object, body, key=idempotency_key)

    def _webhook(
        self,
        method: str,
        part: str,
        read: Callable[[httpx2.Response], T],
        body: dict[str, Any] | None = None,
        *,
        if_match: int | str | None = None,
        key: str | None = None,
    ) -> Call[T]:
        """A write to the endpoints, or to one of them."""
        headers, content = conditions(if_match, False, key), None if body is None else wire.encode(body)
        path, repeatable = f"{OWN}/webhooks{part}", key is not None or (method == "PATCH" and if_match is None)
        return Call(method, path, read, body=content, headers=headers, repeatable=repeatable)

    @operation
    def get_webhook(self, webhook_id: int, /) -> Call[dict[str, Any]]:
        """One endpoint; `Version` is for `if_match`. Raises `NotFound`."""
        return Call("GET", f"{OWN}/webhooks/{index(webhook_id)}", read_object)

    @operation
    def patch_webhook(
        self,
        webhook_id: int,
        /,
        *,
        if_match: int | str | None = None,
        idempotency_key: str | None = None,
        **members: Any,
    ) -> Call[dict[str, Any]]:
        """Change the named members of an endpoint; None stands for the default. One that is turned on goes on where it
        stopped. Raises `TypeError` for an unknown name, `Refused`, `NotFound`, `Conflict`."""
        body = webhook_body("patch_webhook", members)
        part = f"/{index(webhook_id)}"
        return self._webhook("PATCH", part, read_object, body, if_match=if_match, key=idempotency_key)

    @operation
    def delete_webhook(
        self, webhook_id: int, /, *, if_match: int | str | None = None, idempotency_key: str | None = None
    ) -> Call[None]:
        """Remove an endpoint; what waits is not sent any more. Raises `NotFound`, `Conflict`."""
        part = f"/{index(webhook_id)}"
        return self._webhook("DELETE", part, lambda answer: None, if_match=if_match, key=idempotency_key)

    @operation
    def rotate_webhook_secret(
        self, webhook_id: int, /, *, if_match: int | str | None = None, idempotency_key: str | None = None
    ) -> Call[dict[str, Any]]:
        """Exchange the secret; for 24 hours events are signed with both. What is returned has the new `Secret`, this
        once. Sent again only with an `idempotency_key`. Raises `NotFound`, `Conflict`."""
        part = f"/{index(webhook_id)}/rotate"
        return self._webhook("POST", part, read_object, if_match=if_match, key=idempotency_key)

    @operation
    def list_deliveries(self, webhook_id: int, /, *, limit: int = 100) -> Call[list[dict[str, Any]]]:
        """An endpoint's last attempts, newest first. Raises `NotFound`."""
        path = f"{OWN}/webhooks/{index(webhook_id)}/deliveries"
        return Call("GET", path, read_items, query=[("limit", str(index(limit)))])

    @operation
    def resend_events(
        self, webhook_id: int, change_ids: Iterable[int], /, *, idempotency_key: str | None = None
    ) -> Call[dict[str, Any]]:
        """Have the events of these changes sent again, or now if they wait. Returns how far the endpoint was told, as
        `list_webhooks` tells it. Raises `Refused`, `NotFound`."""
        body = {"ChangeIDs": [index(one) for one in change_ids]}
        return self._webhook("POST", f"/{index(webhook_id)}/resend", read_object, body, key=idempotency_key)

    @operation
    def create_customer(
        self, values: Mapping[str, Value] | None = None, /, *, idempotency_key: str | None = None, **fields: Value
    ) -> Call[int]:
        """Create a customer and return its id (contract §4.1). Sent again only with an `idempotency_key`.

        `company_id`, `first_name`, `email`, `customer_type` (`NewCustomerType` or its name), for retail also
        `last_name`, for wholesale perhaps `business_name`. Raises `TypeError` for an unknown name, `Refused`.
        """
        body = wire.encode(members("create", "create_customer", values, fields))
        headers, repeatable = conditions(None, False, idempotency_key), idempotency_key is not None
        read = partial(json_as, kind=int)
        return Call("POST", "Customers", read, body=body, headers=headers, repeatable=repeatable)

    @operation
    def add_customers_to_group(
        self, group_id: int, customer_ids: Iterable[int], /, *, idempotency_key: str | None = None
    ) -> Call[None]:
        """Make customers members of a group; members stay members (contract §4.7). Raises `Refused`, `NotFound`."""
        body = wire.encode({"CustomersIDs": [index(one) for one in customer_ids]})
        path = f"Customers/CustomersGroups/{index(group_id)}/Customers"
        headers, repeatable = conditions(None, False, idempotency_key), idempotency_key is not None
        return Call("POST", path, lambda answer: None, body=body, headers=headers, repeatable=repeatable)

    @operation
    def list_companies(
        self, *, page: int = 1, size: int = queries.MOST_PAGE_SIZE, ids: Iterable[int] = (), keyword: str = ""
    ) -> Call[CompanyPage]:
        """One page of the companies that a customer can belong to; of all ids and names unless some are given."""
        wanted = [("companyID", str(index(one))) for one in ids] + ([("keyword", keyword)] if keyword else [])
        return Call("GET", "Companies", read_companies, query=paging(page, size) + wanted)

    @operation
    def get_company(self, company_id: int, /) -> Call[Company]:
        """One company. Raises `NotFound`."""
        return Call("GET", f"Companies/{index(company_id)}", lambda answer: rows(Company, [json_as(answer, dict)])[0])

    @operation
    def list_payment_terms(self) -> Call[list[Choice]]:
        """What a customer's `credit_term` can be."""
        return Call("GET", "Settings/PaymentTerms", read_choices)

    @operation
    def list_carriers(self) -> Call[list[Choice]]:
        """What `carrier_id` of the shipping preferences can be."""
        return Call("GET", "Settings/ShippingCarriers", read_choices, query=[("siteCode", "0")])

    @operation
    def list_services(self, carrier: str, /) -> Call[list[Choice]]:
        """What `carrier_method_id` of the shipping preferences can be, for a carrier by its name. Raises `Refused`."""
        return Call("GET", "Settings/ShippingServices", read_choices, query=[("siteCode", "0"), ("carrier", carrier)])

    @operation
    def server_by_team(self, team: str, /) -> Call[str]:
        """The base URL of a team's own server; needs no password. Raises `NotFound`."""
        return Call("GET", "server-by-team/", read_server, query=[("team", team)], secured=False)
