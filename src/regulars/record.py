"""What a customer is: every field of every record, declared once. The only place where a field is spelt.

Sources: contract §3.2 (how it reads), §4 (how it is written), §6 (enumerations).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Annotated, ClassVar

import msgspec

from regulars.fields import Field, Record, bind

ZERO = Decimal(0)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Rating(IntEnum):
    NotRated = 0
    Very_Disatisfied = 1
    Disatisfied = 2
    Neutral = 3
    Satisfied = 4
    Very_Satisfied = 5


class AddressSource(IntEnum):
    LocalSite = 0
    eBay = 1
    Paypal = 2
    Yahoo = 3
    Amazon = 4
    Buy_Com = 5
    NewEgg = 12
    Magento = 15
    Sears = 16
    CWA = 17
    Shopify = 18


class AddressStatus(IntEnum):
    Unknown = 0
    # `None` is the vendor's name for 1; it is no identifier in Python.
    locals()["None"] = 1
    Confirmed = 2
    UnConfirmed = 3


class TaxExemptType(StrEnum):
    UNSET = ""
    WHOLESALE = "wholesale"
    GOVERNMENT = "government"
    OTHER = "other"
    NON_EXEMPT = "non_exempt"


class PriceBasis(IntEnum):
    SiteCost = 0
    LastCost = 1
    AverageCost = 2


class ColumnType(IntEnum):
    String = 0
    Integer = 1
    Decimal = 2
    DateTime = 3
    Boolean = 4
    nText = 5
    Hyperlink = 6


class Channel(IntEnum):
    """Names of the sales channels; any other non-negative number is accepted as well."""

    Local_Store = 0
    eBayOrder = 1
    eBaySingleItem = 2
    Amazon = 4
    Website = 6
    Magento = 15
    Sears = 19
    FBA = 20
    Wholesale = 21
    Etsy = 24
    Wayfair = 27
    Walmart = 42
    Walmart_Marketplace = 50
    Target = 62
    HomeDepot = 72
    Target_Plus = 78
    WFS = 79


class CustomerType(IntEnum):
    """As the list filter numbers it (contract §3.1)."""

    Retail = 0
    Wholesale = 1


class NewCustomerType(IntEnum):
    """As creating a customer numbers it (contract §4.1): the other way round."""

    WholeSale = 0
    Retail = 1


def seed(member: str, reads: str, doc: str, **more: object) -> Field:
    """A field of the seed, `PUT /api/Customers/{id}` (contract §4.2)."""
    return Field(doc, member, "customer", (reads,), **more)  # type: ignore[arg-type]


def option(member: str, doc: str, *, reads: str = "", **more: object) -> Field:
    """A field of `PUT …/OrderOptions` (contract §4.5)."""
    return Field(doc, member, "order_options", (f"OrderOptions.{reads or member}",), **more)  # type: ignore[arg-type]


def shipping(member: str, doc: str, **more: object) -> Field:
    """A field of `PUT …/ShippingPreferences` (contract §4.6); the vendor gives no way to read it back."""
    return Field(doc, member, "shipping", **more)  # type: ignore[arg-type]


def place(member: str, doc: str, **more: object) -> Field:
    """A field of an address, in `PUT …/Addresses` (contract §4.3)."""
    return Field(doc, member, "address", (f"Addresses.{member}",), **more)  # type: ignore[arg-type]


class Address(msgspec.Struct, frozen=True, gc=False):
    """One address of a customer. An update sends it whole."""

    id: Annotated[int, place("ID", "The address; 0 adds a new one.", required=True)]
    company_name: Annotated[str, place("CompanyName", "The company at this address.", limit=200)] = ""
    source: Annotated[AddressSource, place("AddressSource", "Where the address came from.", required=True)] = (
        AddressSource.LocalSite
    )
    status: Annotated[AddressStatus, place("AddressStatus", "Whether it was confirmed.", required=True)] = (
        AddressStatus.Unknown
    )
    is_shipping: Annotated[bool, place("IsShippingAddress", "Goods go here.", required=True)] = False
    is_billing: Annotated[bool, place("IsBillingAddress", "Bills go here.", required=True)] = False
    address2: Annotated[str, place("Address2", "The second line.", limit=200)] = ""
    contact_name: Annotated[str, place("ContactName", "The person at this address.", limit=200)] = ""
    country: Annotated[str, place("Country", "Two letters, ISO 3166-1.", limit=2, required=True)] = ""
    city: Annotated[
        str, place("City", "The city.", limit=100, required=True, finds="city", match="starts", words=True)
    ] = ""
    state: Annotated[str, place("State", "The state; required in the US.", limit=100)] = ""
    region: Annotated[str, place("Region", "The region, outside the US.", limit=100)] = ""
    zip_code: Annotated[str, place("ZipCode", "The postal code.", limit=20, required=True, finds="zipCode")] = ""
    address: Annotated[str, place("Address", "The first line.", limit=200, required=True)] = ""
    phone: Annotated[str, place("Phone", "Telephone.", limit=50, finds="phoneNumber", match="ends")] = ""
    fax: Annotated[str, place("Fax", "Fax.", limit=50)] = ""


type_of_value = str | int | bool | tuple[str, ...]
Values = Mapping[int, str | int | bool | tuple[str, ...]]
"""Custom column values by column id: decimals and times as text, so that nothing is rounded."""


class Customer(Record, frozen=True, gc=False):
    """A customer with all that belongs to it; `version` counts its changes and is its ETag."""

    table: ClassVar[str] = "customers"

    tenant_id: Annotated[int, Field("The tenant the customer belongs to.")]
    id: Annotated[int, Field("The customer's number.", "ID", reads=("General.ID",), finds="customerIds")]
    version: Annotated[int, Field("Counts the changes of this customer; sent as ETag.", "Version")] = 1
    change_id: Annotated[int, Field("Its latest change; from there its history can be followed back.")] = 0

    title: Annotated[str, seed("Title", "General.Title", "The form of address, such as Dr.", limit=50)] = ""
    first_name: Annotated[
        str,
        Field(
            "The first name.",
            "FirstName",
            reads=("General.FirstName",),
            limit=100,
            finds="firstName",
            match="starts",
            words=True,
        ),
    ] = ""
    middle_name: Annotated[
        str, Field("The middle name.", "MiddleName", reads=("General.MiddleName",), limit=100, words=True)
    ] = ""
    last_name: Annotated[
        str,
        Field(
            "The last name.",
            "LastName",
            reads=("General.LastName",),
            limit=200,
            finds="lastName",
            match="starts",
            words=True,
        ),
    ] = ""
    email: Annotated[
        str,
        seed("Email", "General.Email", "The e-mail address.", limit=254, email=True, many=1, finds="email", words=True),
    ] = ""
    email_cc: Annotated[
        str, seed("EmailCC", "General.EmailCC", "More addresses, with , or ; between.", limit=2000, email=True, many=20)
    ] = ""
    business_name: Annotated[
        str,
        seed(
            "BusinessName",
            "General.CorporateName",
            "The company's name.",
            limit=200,
            finds="corporateName",
            match="starts",
            words=True,
        ),
    ] = ""
    business_aliases: Annotated[
        tuple[str, ...],
        seed("BusinessAliases", "General.BusinessAliases", "Other names of the company.", limit=200, words=True),
    ] = ()
    ebay_user_id: Annotated[str, Field("The user name at eBay.", "EBayUserID", reads=("General.EBayUserID",))] = ""
    source_id: Annotated[
        str,
        seed(
            "SourceId",
            "General.SourceId",
            "The customer's id in another system.",
            limit=100,
            finds="sourceId",
            words=True,
        ),
    ] = ""
    is_blacklisted: Annotated[
        bool, Field("No longer to be served.", "IsBlackListed", reads=("General.IsBlackListed",))
    ] = False
    is_wholesale: Annotated[
        bool,
        seed("IsWholesale", "General.IsWholeSaleUser", "Wholesale; otherwise retail.", finds="customerType"),
    ] = False

    company_id: Annotated[
        int, seed("CompanyId", "Internal.CompanyID", "The company it belongs to.", least=0, finds="companyIds")
    ] = 0
    account_manager1_id: Annotated[
        int,
        seed("AccountManager1Id", "Internal.AccountManagerId", "The first manager, an employee; 0 is nobody.", least=0),
    ] = 0
    account_manager1_commission: Annotated[
        Decimal,
        seed("AccountManager1Commission", "Internal.AccountManagerCommission", "The first manager's commission."),
    ] = ZERO
    account_manager2_id: Annotated[
        int,
        seed(
            "AccountManager2Id", "Internal.AccountManager2Id", "The second manager, an employee; 0 is nobody.", least=0
        ),
    ] = 0
    account_manager2_commission: Annotated[
        Decimal,
        seed("AccountManager2Commission", "Internal.AccountManager2Commission", "The second manager's commission."),
    ] = ZERO
    account_manager3_id: Annotated[
        int,
        seed(
            "AccountManager3Id", "Internal.AccountManager3Id", "The third manager, an employee; 0 is nobody.", least=0
        ),
    ] = 0
    account_manager3_commission: Annotated[
        Decimal,
        seed("AccountManager3Commission", "Internal.AccountManager3Commission", "The third manager's commission."),
    ] = ZERO
    salesman: Annotated[str, seed("Salesman", "Internal.SalesMan", "The salesman's name.", limit=100)] = ""
    comments: Annotated[str, seed("Comments", "Internal.Comment", "Free text.", limit=8000, lines=True)] = ""
    rating: Annotated[
        Rating, seed("Rating", "Internal.LocalRating", "How satisfied the customer is.", finds="rating")
    ] = Rating.NotRated

    created_on: Annotated[
        datetime,
        Field(
            "When it was created, UTC.", "CreatedOn", reads=("Internal.CreatedOn",), finds="createdOn", match="range"
        ),
    ] = EPOCH
    modified_on: Annotated[
        datetime, Field("When it last changed, UTC.", "ModifiedOn", finds="modifiedOn", match="range")
    ] = EPOCH

    tax_exempt: Annotated[bool, option("TaxExempt", "No sales tax is charged.")] = False
    tax_exempt_type: Annotated[TaxExemptType, option("TaxExemptType", "Why no tax is charged.")] = TaxExemptType.UNSET
    order_handling_fee: Annotated[Decimal, option("OrderHandlingFee", "Added to each order.")] = ZERO
    apply_shipping_charges: Annotated[
        bool, option("ApplyShippingChargesToOrderTotal", "Shipping counts into the total; wholesale only.")
    ] = False
    allow_shipping_unpaid_orders: Annotated[
        bool,
        option(
            "AllowShippingUnpaidOrders",
            "Orders ship before they are paid; only where the company allows it.",
            reads="AllowShippingUnPaidOrders",
        ),
    ] = False
    disable_ship_notifications: Annotated[bool, option("DisableShipNotifications", "No e-mail on shipment.")] = False
    invoice_note: Annotated[str, option("InvoiceNote", "Printed on invoices.", limit=4000, lines=True)] = ""
    order_pdf_invoice_plugin: Annotated[str, option("OrderPDFInvoicePlugin", "The invoice's layout.", limit=200)] = ""
    send_invoice_with_ship_notification_email: Annotated[
        bool, option("SendInvoiceWithShipNotificationEmail", "The shipping e-mail carries the invoice.")
    ] = False
    send_invoice_with_payment_confirmation_email: Annotated[
        bool, option("SendInvoiceWithPaymentConfirmationEmail", "The payment e-mail carries the invoice.")
    ] = False
    wholesale_discount: Annotated[Decimal, option("WholesaleDiscount", "Discount for wholesale, percent.")] = ZERO
    site_price_based_discount_enabled: Annotated[
        bool, option("SitePriceBasedDiscountEnabled", "A discount on the site's price is on.")
    ] = False
    site_price_based_discount_value: Annotated[
        Decimal, option("SitePriceBasedDiscountValue", "That discount, percent.")
    ] = ZERO
    cost_plus_enabled: Annotated[
        bool, option("CostPlusBasedWholeSalePriceEnabled", "Wholesale prices are cost plus a percentage.")
    ] = False
    cost_plus_percent: Annotated[Decimal, option("CostPlusBasedWholeSalePricePercent", "That percentage.")] = ZERO
    cost_plus_using_type: Annotated[
        PriceBasis, option("CostPlusBasedWholeSalePriceUsingType", "Which cost it is based on.")
    ] = PriceBasis.SiteCost
    tax_id: Annotated[str, option("TaxID", "The tax number; only while TaxExempt is on.", limit=50)] = ""

    phone1: Annotated[
        str, seed("Phone1", "Personal.Phone1", "First telephone.", limit=50, finds="phoneNumber", match="ends")
    ] = ""
    phone2: Annotated[
        str, seed("Phone2", "Personal.Phone2", "Second telephone.", limit=50, finds="phoneNumber", match="ends")
    ] = ""
    phone3: Annotated[
        str, seed("Phone3", "Personal.Phone3", "Third telephone.", limit=50, finds="phoneNumber", match="ends")
    ] = ""
    mobile: Annotated[
        str, seed("Mobile", "Personal.Mobile", "Mobile telephone.", limit=50, finds="phoneNumber", match="ends")
    ] = ""
    fax: Annotated[str, seed("Fax", "Personal.Fax", "Fax.", limit=50)] = ""

    credit_term: Annotated[int, Field("The payment term.", "CreditTerm", reads=("WholesaleOptions.CreditTerm",))] = 0
    credit_limit: Annotated[
        Decimal, Field("How much may be owed.", "CreditLimit", reads=("WholesaleOptions.CreditLimit",))
    ] = ZERO
    billing_cycle_start: Annotated[
        datetime | None,
        Field("When billing starts.", "BillingCycleStartdate", reads=("WholesaleOptions.BillingCycleStartdate",)),
    ] = None

    carrier_id: Annotated[int, shipping("CarrierId", "The carrier, from the tenant's list; 0 is none.", least=0)] = 0
    carrier_method_id: Annotated[
        int, shipping("CarrierMethodId", "The carrier's service, from the tenant's list; 0 is none.", least=0)
    ] = 0
    charges: Annotated[Decimal, shipping("Charges", "What shipping costs.")] = ZERO
    account_number: Annotated[str, shipping("AccountNumber", "The customer's account at the carrier.", limit=100)] = ""
    postal_code: Annotated[str, shipping("PostalCode", "The postal code of that account.", limit=20)] = ""
    enable_customer_shipping_account: Annotated[
        bool, shipping("EnableCustomerShippingAccount", "Ship on the customer's own account.")
    ] = False

    addresses: Annotated[tuple[Address, ...], Field("The addresses, ascending by id.", "Addresses")] = ()
    custom_values: Annotated[Values, Field("The custom columns' values by column id.", "CustomColumns")] = {}
    group_ids: Annotated[tuple[int, ...], Field("The groups it is a member of, ascending.", "CustomerGroups")] = ()

    channel: Annotated[int, Field("The sales channel it came by.", "Channel", finds="channel")] = 0
    subscribed: Annotated[bool, Field("Wants the newsletter.", "Subscribed", finds="subscribed")] = False
    exported: Annotated[bool, Field("Was exported to another system.", "Exported", finds="exported")] = False

    @property
    def name(self) -> str:
        """First [Middle] Last, joined by single spaces."""
        return " ".join(part for part in (self.first_name, self.middle_name, self.last_name) if part)


class Tenant(Record, frozen=True):
    """One merchant's whole book, and the settings that rule it. Its id is its tenant_id."""

    table: ClassVar[str] = "tenants"

    tenant_id: Annotated[int, Field("The tenant.")]
    id: Annotated[int, Field("The same number.")]
    name: Annotated[str, Field("The first label of the tenant's host, such as tt in tt.api.example.com.", limit=63)]
    require_business_name: Annotated[
        bool,
        Field(
            "The client setting Enable Required Fields for WholeSale Customers: a wholesale customer needs a "
            "BusinessName."
        ),
    ] = False
    block_duplicate_email: Annotated[
        bool, Field("No two customers may have the same e-mail address, compared without case.")
    ] = False
    require_if_match: Annotated[
        bool,
        Field("An update by API must say with If-Match which version it means to change; 428 otherwise."),
    ] = False
    quirks: Annotated[
        bool,
        Field("Answer as the live service was seen to where it differs from good HTTP: unknown id 500, throttled 409."),
    ] = False


class Company(Record, frozen=True):
    """A company of the tenant that customers can belong to."""

    table: ClassVar[str] = "companies"

    tenant_id: Annotated[int, Field("The tenant.")]
    id: Annotated[int, Field("The company's number.", "ID")]
    name: Annotated[str, Field("The company's name.", "CompanyName", limit=200)]
    allow_shipping_unpaid_orders: Annotated[
        bool, Field("Its customers' orders may ship before they are paid.", "AllowShippingUnpaidOrders")
    ] = False


class Employee(Record, frozen=True):
    """A user of the tenant: logs in, and can be a customer's account manager."""

    table: ClassVar[str] = "employees"

    tenant_id: Annotated[int, Field("The tenant.")]
    id: Annotated[int, Field("The employee's number.", "ID")]
    email: Annotated[str, Field("The user name, an e-mail address.", "Email", limit=254, email=True, many=1)]
    name: Annotated[str, Field("The name.", "Name", limit=200)] = ""
    password_hash: Annotated[str, Field("argon2id.")] = ""
    token_epoch: Annotated[int, Field("Tokens of an earlier epoch are revoked.")] = 0
    enabled: Annotated[bool, Field("May log in.", "Enabled")] = True
    can_view: Annotated[bool, Field("May read customers.", "View")] = True
    can_edit: Annotated[bool, Field("May update customers.", "Edit")] = True
    can_create: Annotated[bool, Field("May create customers.", "Create")] = True
    can_delete: Annotated[bool, Field("May delete customers.", "Delete")] = True
    is_admin: Annotated[bool, Field("Client Admin: may do everything.", "ClientAdmin")] = False

    def admits(self, epoch: int) -> bool:
        """Whether a token of this epoch speaks for the employee."""
        return self.enabled and self.token_epoch == epoch


class Group(Record, frozen=True):
    """A group that customers can be members of."""

    table: ClassVar[str] = "customer_groups"

    tenant_id: Annotated[int, Field("The tenant.")]
    id: Annotated[int, Field("The group's number.", "ID")]
    name: Annotated[str, Field("The group's name.", "Name", limit=100)]


class Column(Record, frozen=True):
    """A custom column of the tenant."""

    table: ClassVar[str] = "custom_columns"

    tenant_id: Annotated[int, Field("The tenant.")]
    id: Annotated[int, Field("The column's number.", "ID")]
    name: Annotated[str, Field("The column's name.", "ColumnName", limit=100)]
    display_name: Annotated[str, Field("What people see.", "DisplayName", limit=100)] = ""
    data_type: Annotated[ColumnType, Field("What its values are.", "DataType")] = ColumnType.String
    length: Annotated[int, Field("The most characters of a text.", "DataLength")] = 255
    choices: Annotated[
        tuple[str, ...], Field("The drop-down's values; none: no drop-down.", "DropDown", limit=255)
    ] = ()
    allow_custom_text: Annotated[
        bool, Field("The drop-down takes other values too.", "IsDropDownCustomTextAllowed")
    ] = False
    allow_multiple: Annotated[bool, Field("Several values at once.", "IsDropDownAllowMultipleSelection")] = False
    required: Annotated[bool, Field("The value may not be empty.", "IsRequired")] = False


class PaymentTerm(Record, frozen=True):
    """What a customer's CreditTerm means."""

    table: ClassVar[str] = "payment_terms"

    tenant_id: Annotated[int, Field("The tenant.")]
    id: Annotated[int, Field("The key.", "ID")]
    name: Annotated[str, Field("The term.", "Name", limit=100)]


class Carrier(Record, frozen=True):
    """What a customer's CarrierId means."""

    table: ClassVar[str] = "carriers"

    tenant_id: Annotated[int, Field("The tenant.")]
    id: Annotated[int, Field("The key.", "ID")]
    name: Annotated[str, Field("The carrier.", "Name", limit=100)]


class Service(Record, frozen=True):
    """What a customer's CarrierMethodId means."""

    table: ClassVar[str] = "carrier_services"

    tenant_id: Annotated[int, Field("The tenant.")]
    id: Annotated[int, Field("The key.", "ID")]
    carrier_id: Annotated[int, Field("The carrier that offers it.", "CarrierId")]
    name: Annotated[str, Field("The service.", "Name", limit=100)]


class Change(Record, frozen=True):
    """Who altered what, when, from which value: one for each update that altered something."""

    table: ClassVar[str] = "changes"

    tenant_id: Annotated[int, Field("The tenant.")]
    id: Annotated[int, Field("The position in the tenant's feed of changes.", "ID")]
    previous_id: Annotated[int, Field("The customer's change before this one; 0: there is none.", "PreviousID")]
    customer_id: Annotated[int, Field("The customer.", "CustomerID")]
    version: Annotated[int, Field("The customer's version after the change.", "Version")]
    at: Annotated[datetime, Field("When, UTC.", "At")]
    employee_id: Annotated[int, Field("Who; 0 is the operator.", "EmployeeID")]
    employee: Annotated[str, Field("Who, by name.", "Employee")]
    door: Annotated[str, Field("Through which door: api, cli, sample.", "Door")]
    request_id: Annotated[str, Field("The request that caused it.", "RequestID")]
    kind: Annotated[str, Field("created, updated, or undone: it put back what others had altered.", "Kind")]
    undoes: Annotated[tuple[int, ...], Field("The changes that this one undid.", "Undoes")]
    fields: Annotated[str, Field("JSON: member → [old, new].", "Fields")]


class Answer(Record, frozen=True):
    """What a request with an Idempotency-Key was answered, so that it is answered so again."""

    table: ClassVar[str] = "answers"

    tenant_id: Annotated[int, Field("The tenant.")]
    id: Annotated[int, Field("63 bits of the SHA-256 of the employee and the key.")]
    digest: Annotated[str, Field("The SHA-256 of the employee, the key and the request, in hex.")]
    at: Annotated[datetime, Field("When, UTC.")]
    status: Annotated[int, Field("The HTTP status.")]
    headers: Annotated[tuple[str, ...], Field("The headers that belong to the answer, as lines.")]
    body: Annotated[str, Field("The body.")]


class Event(StrEnum):
    """What an endpoint can hear of."""

    CREATED = "customer.created"
    UPDATED = "customer.updated"


class Endpoint(Record, frozen=True):
    """An address that is told of changes (a webhook)."""

    table: ClassVar[str] = "webhook_endpoints"

    tenant_id: Annotated[int, Field("The tenant.")]
    id: Annotated[int, Field("The endpoint's number.", "ID")]
    url: Annotated[str, Field("Where events are sent: http:// or https://.", "URL", "webhook", limit=2000)]
    description: Annotated[str, Field("What it is for.", "Description", "webhook", limit=500)] = ""
    events: Annotated[
        tuple[str, ...], Field("Only these events; none: all.", "Events", "webhook", limit=50, many=10)
    ] = ()
    members: Annotated[
        tuple[str, ...],
        Field("Only updates that altered one of these members; none: any.", "Members", "webhook", limit=100),
    ] = ()
    enabled: Annotated[
        bool, Field("Events are sent. When it is off they wait, in the feed of changes.", "Enabled", "webhook")
    ] = True
    disabled_because: Annotated[str, Field("Why the service turned it off.", "DisabledBecause")] = ""
    version: Annotated[int, Field("Counts the changes of this endpoint; sent as ETag.", "Version")] = 1
    altered: Annotated[str, Field("JSON: member → the version that altered it last.")] = "{}"
    created_on: Annotated[datetime, Field("When it was added, UTC.", "CreatedOn")] = EPOCH
    secret: Annotated[str, Field("What events are signed with.", "Secret", limit=100)] = ""
    old_secret: Annotated[str, Field("What they were signed with before it was exchanged.", limit=100)] = ""
    old_secret_until: Annotated[datetime | None, Field("Until when they are signed with both.", "OldSecretUntil")] = (
        None
    )
    removed: Annotated[bool, Field("It is only kept so that its number is not given again.")] = False


class Progress(Record, frozen=True):
    """How far an endpoint has been told; its id is the endpoint's."""

    table: ClassVar[str] = "webhook_progress"

    tenant_id: Annotated[int, Field("The tenant.")]
    id: Annotated[int, Field("The endpoint.")]
    cursor: Annotated[int, Field("Up to this change all is delivered, not wanted, or among those that wait.", "Cursor")]
    waiting: Annotated[str, Field("JSON: the events up to there that are not delivered yet.")] = "[]"
    failures: Annotated[int, Field("Failures since the last success.", "Failures")] = 0
    succeeded_on: Annotated[datetime | None, Field("The last success, UTC.", "SucceededOn")] = None
    paused_until: Annotated[datetime | None, Field("The receiver asked to be left alone, UTC.", "PausedUntil")] = None
    attempts: Annotated[int, Field("Attempts so far.", "Attempts")] = 0


class Delivery(Record, frozen=True):
    """One attempt to deliver one event. An endpoint's last attempts are kept; the next one takes the oldest's place."""

    table: ClassVar[str] = "webhook_deliveries"

    tenant_id: Annotated[int, Field("The tenant.")]
    id: Annotated[int, Field("The place.")]
    number: Annotated[int, Field("The endpoint's attempts so far.", "Number")]
    at: Annotated[datetime, Field("When, UTC.", "At")]
    message: Annotated[str, Field("The header webhook-id.", "MessageID")]
    change_id: Annotated[int, Field("The change that is told of.", "ChangeID")]
    customer_id: Annotated[int, Field("The customer.", "CustomerID")]
    attempt: Annotated[int, Field("Which attempt for this event.", "Attempt")]
    outcome: Annotated[str, Field("delivered, failed or given up.", "Outcome")]
    status: Annotated[int, Field("What was answered; 0: nothing.", "Status")]
    milliseconds: Annotated[int, Field("How long it took.", "Milliseconds")]
    answer: Annotated[str, Field("The beginning of the answer, or what went wrong.", "Answer")]
    next_on: Annotated[datetime | None, Field("When it is tried again, UTC.", "NextOn")] = None


class Lease(Record, frozen=True):
    """Which process does a tenant's work in the background, so that no other does."""

    table: ClassVar[str] = "leases"

    tenant_id: Annotated[int, Field("The tenant.")]
    id: Annotated[int, Field("Which work.")]
    holder: Annotated[str, Field("The process.")]
    until: Annotated[datetime, Field("When it ends unless it is renewed, UTC.")]


REFERENCE: tuple[type[Record], ...] = (
    Tenant,
    Company,
    Employee,
    Group,
    Column,
    PaymentTerm,
    Carrier,
    Service,
    Endpoint,
)
"""Small tables that every command may look at; kept in memory whole, per tenant."""

RECORDS: tuple[type[Record], ...] = (*REFERENCE, Customer, Change, Answer, Progress, Delivery, Lease)
"""All that have a table."""

NEW_CUSTOMER = ("company_id", "first_name", "last_name", "email", "business_name")
"""What creating a customer takes besides its CustomerType (contract §4.1)."""

FULL_NAME = bind(
    seed("Name", "General.Name", "The full name: the first word is the first name, the rest the last.", limit=300),
    "name",
    str,
)
"""Written as one text, kept as first and last name."""
