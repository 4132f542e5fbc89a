"""What Schemathesis cannot know: a request that the schema allows can still break a rule of the tenant's data.

A refusal of valid data is let pass only when each of its problems is one of these, under its own member; a 400 that
gives any other reason is still a failure.

And a parameter of nothing but blanks is as if absent; `allowEmptyValue` says so, but only of the empty one. A batch
whose items are wrong is accepted, and these items are not.
"""

import re
from typing import Any

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.openapi.checks import RejectedPositiveData

ITEM = r"\[\d+\]"
RULES = (
    # the member, what its problem begins with — and why no schema can say it
    (r"Compan(yId|yID)", "Expected the id of a company: "),  # companies are the tenant's
    (r"CompanyId", "Expected a company that allows shipping unpaid orders"),  # depends on what the customer is set to
    (r"AccountManager[123]Id", "Expected the id of an employee"),  # employees are the tenant's
    (r"CarrierId", "Expected the id of a carrier: "),  # carriers are the tenant's
    (r"CreditTerm", "Expected the id of a payment term: "),  # payment terms are the tenant's
    (r"Carrier(Method)?Id", "Expected the id of a shipping service of the carrier: "),  # so are their services
    (r"TaxID", "Expected TaxExempt to be on"),  # TaxExempt may have been turned on earlier
    (r"TaxExempt", "Expected to stay on while there is a TaxID"),  # TaxID may have been set earlier
    (r"ApplyShippingChargesToOrderTotal", "Expected a wholesale customer"),  # set by another call
    (r"IsWholesale", "Expected to stay on while ApplyShippingChargesToOrderTotal is on"),  # set by another call
    (r"AllowShippingUnpaidOrders", "Expected a company that allows it"),  # depends on the customer's company
    (rf"Addresses{ITEM}\.ID", "Expected 0 for a new address, or the id of one that the customer has"),
    (rf"Addresses{ITEM}\.ID", "Expected each address once"),  # unique by one member of the items
    (r"Addresses", "Expected at most 100 addresses"),  # counts those that the customer has
    (rf"CustomColumns{ITEM}\.ColumnName", "Expected one of "),  # columns are the tenant's
    (rf"CustomColumns{ITEM}\.ColumnName", "Expected each column once"),  # unique by one member of the items
    (rf"CustomColumns{ITEM}\.Value", ""),  # types are the tenant's
    (r"(?s)CustomColumns\..*", ""),  # the same, where columns are members
    (r"CustomersIDs", "Expected ids of customers, got unknown "),
    (r"URL", "Expected a public address"),  # of addresses in numbers
    (r"URL", "Expected at most "),  # counts the endpoints that there are
    (r"ChangeIDs", "Expected changes that the endpoint came past"),  # changes are the tenant's
    (r"cursor", "Expected the Next of a page"),  # changes are the customer's
    (r"Customers\[\d+\]", "Change "),  # whether it created a customer
    (r"after", "Expected a cursor that this feed gave"),  # cursors are the tenant's
    (r"Employee", "Expected an employee's e-mail address, or "),  # employees are the tenant's
    (r"carrier", "Expected one of the carriers "),  # carriers are the tenant's
)


ITEM_RULES = (
    # what an item of an atomic batch must have depends on its Action, its Key and the customers that there are
    (r"\w+", "Expected a value: it "),
    (r"Version", "Expected none, as there is no such customer yet"),
    (r"Version", "Expected the version that the customer is at"),
    (r"ID|SourceId|Email", "Expected none for a new customer"),
    (r"ID|SourceId|Email", "Expected one that "),
    (r"ID|SourceId|Email", "Could not find or load record"),
)


def is_rule(member: str, why: str) -> bool:
    rest = re.sub(rf"^Items{ITEM}\.", "", member)
    rules = RULES if rest == member else (*RULES, *ITEM_RULES)
    return any(re.fullmatch(pattern, rest) and why.startswith(begin) for pattern, begin in rules)


def refuses_items(response: Any) -> bool:
    """Whether a batch did not take what was sent: wrong items are refused one by one, and the call is a 200."""
    return any(one["Outcome"] == "refused" for one in response.json()["Items"])


@schemathesis.hook
def filter_failure(context: Any, failure: Failure, case: Any, response: Any) -> bool:
    """Whether a failure stands."""
    if isinstance(failure, AcceptedNegativeData):
        blank = any(isinstance(value, str) and value.isspace() for value in (case.query or {}).values())
        return not blank and not (case.path.endswith("customers:batch") and refuses_items(response))
    if not isinstance(failure, RejectedPositiveData) or response.status_code not in (400, 422):
        return True
    body = response.json()
    if response.status_code == 422:  # short keys come again with another request
        return "Idempotency-Key was used for another request" not in str(body)
    problems = [(member, one) for member, why in body.get("ModelState", {}).items() for one in why]
    problems += [(one["member"], one["detail"]) for one in body.get("errors", [])]
    return not problems or not all(is_rule(member, why) for member, why in problems)
