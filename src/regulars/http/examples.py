"""Examples of the OpenAPI document: every body, which any new tenant's customer 1 takes, and every answer."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

from msgspec.structs import replace

from regulars import feed, flat, history, representation, undo, webhooks, wire
from regulars.http.messages import instant
from regulars.record import (
    Address,
    AddressStatus,
    Carrier,
    Change,
    Column,
    Company,
    Customer,
    Delivery,
    Endpoint,
    Group,
    PaymentTerm,
    Progress,
    Rating,
    Service,
)

BODIES: dict[str, dict[str, Any]] = {
    "Customer": {
        "Name": "Ann Lee",
        "Email": "ann@example.com",
        "EmailCC": "billing@example.com; office@example.com",
        "BusinessName": "Lee & Daughters",
        "BusinessAliases": ["Lee's"],
        "CompanyId": 1,
        "AccountManager1Id": 1,
        "AccountManager1Commission": 2.5,
        "Rating": "Satisfied",
        "Phone1": "+1 555 0100",
        "Comments": "",
    },
    "NewCustomer": {
        "CompanyID": 1,
        "FirstName": "Ann",
        "LastName": "Lee",
        "Email": "ann.lee@example.com",
        "BusinessName": "",
        "CustomerType": "Retail",
    },
    "OrderOptions": {"TaxExempt": True, "TaxExemptType": "government", "TaxID": "12-3456789", "OrderHandlingFee": 4.99},
    "ShippingPreferences": {"CarrierId": 1, "CarrierMethodId": 0, "Charges": 5.95, "AccountNumber": "A-77"},
    "Addresses": {
        "Addresses": [
            {
                "ID": 0,
                "AddressSource": "LocalSite",
                "AddressStatus": "Confirmed",
                "IsShippingAddress": True,
                "IsBillingAddress": True,
                "ContactName": "Ann Lee",
                "Address": "350 5th Ave",
                "City": "New York",
                "State": "NY",
                "ZipCode": "10118",
                "Country": "US",
            }
        ]
    },
    "CustomColumns": {"CustomColumns": [{"ColumnName": "HeardFrom", "Value": "Friend"}]},
    "CustomerPatch": {
        "Name": "Ann Lee",
        "Fax": None,
        "CreditLimit": 2500.00,
        "CustomColumns": {"HeardFrom": None},
        "CustomerGroups": [1],
    },
    "ChangesToUndo": {"RequestID": "a1b2c3-4"},
    "Batch": {
        "Items": [
            {"Action": "update", "ID": 1, "Fax": None, "CreditLimit": 2500.00},
            {
                "Action": "upsert",
                "Key": "SourceId",
                "SourceId": "shop-1001",
                "FirstName": "Ada",
                "LastName": "Lovelace",
                "Email": "ada@example.com",
                "CompanyId": 1,
                "IsWholesale": False,
            },
        ],
        "Atomic": False,
    },
    "GroupMembers": {"CustomersIDs": [1]},
    "Webhook": {
        "URL": "https://shop.example.com/hooks/regulars",
        "Description": "The web shop",
        "Events": ["customer.updated"],
        "Members": ["Email", "Addresses"],
    },
    "WebhookPatch": {"Description": "The new web shop", "Members": None},
    "Resend": {"ChangeIDs": [1]},
    "Login": {"Username": "ann@example.com", "Password": "correct horse"},
}


@cache
def answer_examples() -> dict[str, Any]:
    """An example of every answer, written by what writes the answers."""
    issued = datetime(2026, 11, 23, 12, 40, 50, tzinfo=UTC)
    company = Company(tenant_id=1, id=1, name="Harbor Lane Outfitters")
    column = Column(tenant_id=1, id=1, name="HeardFrom", choices=("Friend", "Magazine"))
    body = BODIES["Addresses"]["Addresses"][0]
    address = Address(
        id=7,
        status=AddressStatus.Confirmed,
        is_shipping=True,
        is_billing=True,
        contact_name=body["ContactName"],
        country=body["Country"],
        city=body["City"],
        state=body["State"],
        zip_code=body["ZipCode"],
        address=body["Address"],
    )
    customer = Customer(
        tenant_id=1,
        id=1,
        first_name="Ann",
        last_name="Lee",
        email="ann@example.com",
        company_id=1,
        order_handling_fee=Decimal("4.99"),
        phone1="+1 555 0100",
        rating=Rating.Satisfied,
        created_on=issued,
        addresses=(address,),
        custom_values={1: "Friend"},
        group_ids=(1,),
    )
    hook = BODIES["Webhook"]
    endpoint = Endpoint(
        tenant_id=1,
        id=1,
        url=hook["URL"],
        description=hook["Description"],
        events=tuple(hook["Events"]),
        members=tuple(hook["Members"]),
        created_on=issued,
        secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=",
    )
    told = webhooks.told(Progress(tenant_id=1, id=1, cursor=345, succeeded_on=issued, attempts=3))
    delivery = Delivery(
        tenant_id=1,
        id=1003,
        number=3,
        at=issued,
        message=webhooks.message_id(endpoint, 345),
        change_id=345,
        customer_id=1,
        attempt=1,
        outcome="delivered",
        status=204,
        milliseconds=38,
        answer="",
    )
    columns = representation.CustomColumns([column])
    whole = representation.write_customer(customer, company, columns, [Group(tenant_id=1, id=1, name="VIP")])
    change = Change(
        tenant_id=1,
        id=345,
        previous_id=12,
        customer_id=1,
        version=2,
        at=issued,
        employee_id=1,
        employee="ann@example.com",
        door="api",
        request_id="a1b2c3-4",
        kind="updated",
        undoes=(),
        fields='{"Phone1":["","+1 555 0100"]}',
    )
    choices: dict[str, PaymentTerm | Carrier | Service] = {
        "ListPaymentTerms": PaymentTerm(tenant_id=1, id=1, name="Net 30"),
        "ListShippingCarriers": Carrier(tenant_id=1, id=1, name="UPS"),
        "ListShippingServices": Service(tenant_id=1, id=1, carrier_id=1, name="UPS Ground"),
    }
    return {
        "Token": {
            "access_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
            "token_type": "Bearer",
            "username": "ann@example.com",
            "expires_in": 3600,
            ".issued": instant(issued),
            ".expires": instant(issued + timedelta(hours=1)),
        },
        "CustomerDetails": json.loads(whole),
        "FlatCustomer": json.loads(flat.write(customer, columns)),
        "CustomerChanges": json.loads(history.write_page([change], 345)),
        "Feed": json.loads(feed.write(feed.Page(1, [change], 345, 345))),
        "Undone": json.loads(
            undo.write([undo.Undone(replace(customer, phone1=""), replace(customer, version=3), (345,))], dry_run=True)
        ),
        "BatchResult": {
            "Items": [
                {"Outcome": "updated", "ID": 1, "Version": 4, "Members": ["CreditLimit"], "Problems": {}},
                {
                    "Outcome": "created",
                    "ID": 202,
                    "Version": 1,
                    "Members": ["FirstName", "LastName", "Email", "SourceId", "CompanyId"],
                    "Problems": {},
                },
            ],
            "Created": 1,
            "Updated": 1,
            "Unchanged": 0,
            "Refused": 0,
        },
        "CustomerPage": json.loads(representation.write_page([customer], 1, columns)),
        "NewId": 201,
        "CompanyPage": {"Items": [representation.write_company(company)], "TotalResults": 1},
        "Company": representation.write_company(company),
        **{name: json.loads(representation.write_choices([one])) for name, one in choices.items()},
        "WebhookDetails": plain(webhooks.public(endpoint)),
        "NewWebhookDetails": plain(webhooks.public(endpoint) | {"Secret": endpoint.secret}),
        "WebhookList": plain({"Items": [webhooks.public(endpoint) | told]}),
        "WebhookProgress": plain(told),
        "DeliveryList": plain(told | {"Items": [webhooks.public(delivery)]}),
        "Server": {"Success": True, "RestApiEndpoint": "https://tt.api.example.com/rest"},
        "InvalidRequest": {
            "Message": "The request is invalid.",
            "ModelState": {"Country": ['Expected two letters such as US, got "USA".']},
        },
    }


def plain(value: object) -> Any:
    """What is read of an answer."""
    return json.loads(wire.encode(value))
