"""Every route in one table: what is asked for, who may, what is sent and answered, and what it is for.

The router, the permission check, the OpenAPI document, the reference page and the tests read this table.
"""

from dataclasses import dataclass
from typing import Any, Literal

from regulars.access import Permission
from regulars.http import feed, rest, v1, webhooks
from regulars.http.handling import Handler
from regulars.http.messages import is_own

Answer = Literal[
    "token",
    "empty",
    "customer",
    "flat",
    "history",
    "feed",
    "undone",
    "batch",
    "page",
    "id",
    "companies",
    "company",
    "choices",
    "server",
    "webhook",
    "new_webhook",
    "webhooks",
    "progress",
    "deliveries",
    "page_html",
    "openapi",
    "text",
]


@dataclass(frozen=True, slots=True)
class Route:
    """One call: `permission` None means that no token is needed, `body` and `answer` name schemas of the OpenAPI
    document."""

    method: str
    path: str
    name: str
    handler: Handler
    permission: Permission | None
    summary: str
    body: str = ""
    answer: Answer = "empty"
    matches: Literal["", "customer", "endpoint"] = ""
    """Of what `If-Match` names the version that this call changes."""
    public: bool = True

    @property
    def own(self) -> bool:
        """It is no call of the vendor's."""
        return is_own(self.path)

    @property
    def writes(self) -> bool:
        """It changes something, and takes an Idempotency-Key. Logging in does not: a second token does no harm, and a
        token is nothing to keep."""
        return self.method != "GET" and self.permission is not None

    @property
    def conditional(self) -> bool:
        """Its answer has an ETag, so that `If-None-Match` may have it left out. The feed has cursors instead, and a
        page of a search moves with each of many customers."""
        return self.method == "GET" and self.public and self.answer not in ("feed", "page")

    @property
    def digested(self) -> bool:
        """That ETag is made from the answer, as what is told has no version."""
        return self.conditional and self.answer not in ("customer", "flat", "webhook")


# fmt: off
ROUTES: tuple[Route, ...] = (
    Route("PUT", "/rest/api/Customers/{id}", "UpdateCustomer", rest.put_customer, "edit",
          "Update any of a customer's fields; null or absent leaves a field as it is.", "Customer", matches="customer"),
    Route("GET", "/rest/api/Customers/{id}", "GetCustomer", rest.get_customer, "view",
          "One customer, whole.", answer="customer"),
    Route("POST", "/rest/api/token", "CreateToken", rest.token, None,
          "Log in and get a bearer token that is valid for 60 minutes.", "Login", "token"),
    Route("GET", "/rest/api/Customers", "ListCustomers", rest.list_customers, "view",
          "Filtered pages of customers, newest first; at most 50 a page.", answer="page"),
    Route("POST", "/rest/api/Customers", "CreateCustomer", rest.post_customer, "create",
          "Create a customer; the answer is its id.", "NewCustomer", "id"),
    Route("PUT", "/rest/api/Customers/{id}/Addresses", "UpdateAddresses", rest.put_addresses, "edit",
          "Replace or add addresses; those not listed stay.", "Addresses", matches="customer"),
    Route("PUT", "/rest/api/Customers/{id}/CustomColumns", "UpdateCustomColumns", rest.put_custom_columns, "edit",
          "Set the values of custom columns.", "CustomColumns", matches="customer"),
    Route("PUT", "/rest/api/Customers/{id}/OrderOptions", "UpdateOrderOptions", rest.put_order_options, "edit",
          "Update how the customer's orders are handled.", "OrderOptions", matches="customer"),
    Route("PUT", "/rest/api/Customers/{id}/ShippingPreferences", "UpdateShippingPreferences", rest.put_shipping, "edit",
          "Update how the customer's orders are shipped.", "ShippingPreferences", matches="customer"),
    Route("POST", "/rest/api/Customers/CustomersGroups/{id}/Customers", "AddCustomersToGroup", rest.post_group_members,
          "edit", "Make customers members of a group.", "GroupMembers"),
    Route("GET", "/rest/api/Companies", "ListCompanies", rest.list_companies, "view",
          "The companies a customer can belong to.", answer="companies"),
    Route("GET", "/rest/api/Companies/{id}", "GetCompany", rest.get_company, "view",
          "One company.", answer="company"),
    Route("GET", "/rest/api/Settings/PaymentTerms", "ListPaymentTerms", rest.list_payment_terms, "view",
          "What CreditTerm can be.", answer="choices"),
    Route("GET", "/rest/api/Settings/ShippingCarriers", "ListShippingCarriers", rest.list_carriers, "view",
          "What CarrierId can be.", answer="choices"),
    Route("GET", "/rest/api/Settings/ShippingServices", "ListShippingServices", rest.list_services, "view",
          "What CarrierMethodId can be, for one carrier.", answer="choices"),
    Route("GET", "/rest/api/server-by-team", "GetServerByTeam", rest.server_by_team, None,
          "A team's own API address.", answer="server"),
    Route("GET", "/api/server-by-team", "GetServerByTeamOnApiHost", rest.server_by_team, None,
          "A team's own API address, where clients of the bare API host ask for it.", answer="server"),
    Route("GET", "/api/v1/customers/{id}", "GetFlatCustomer", v1.get_customer, "view",
          "One customer as one flat object, with all that it has.", answer="flat"),
    Route("PATCH", "/api/v1/customers/{id}", "PatchCustomer", v1.patch_customer, "edit",
          "Change some of a customer's members; null clears one.", "CustomerPatch", "flat", matches="customer"),
    Route("GET", "/api/v1/customers/{id}/changes", "ListCustomerChanges", v1.get_customer_changes, "view",
          "Who changed what of a customer, when, and from which value; newest first.", answer="history"),
    Route("GET", "/api/v1/changes", "ReadFeed", feed.get_changes, "view",
          "Every change of the tenant, in order and without gaps, from a cursor on.", answer="feed"),
    Route("POST", "/api/v1/changes/{id}/undo", "UndoChange", v1.post_undo, "edit",
          "Put back what one change altered.", answer="undone"),
    Route("POST", "/api/v1/changes:undo", "UndoChanges", v1.post_undo_all, "edit",
          "Put back all that a request, an employee or a door altered.", "ChangesToUndo", "undone"),
    Route("POST", "/api/v1/customers:batch", "BatchCustomers", v1.batch_customers, "edit",
          "Create and update up to 1,000 customers in one commit.", "Batch", "batch"),
    Route("GET", "/api/v1/webhooks", "ListWebhooks", webhooks.get_endpoints, "admin",
          "The endpoints that are told of changes, and how far each was told.", answer="webhooks"),
    Route("POST", "/api/v1/webhooks", "CreateWebhook", webhooks.post_endpoint, "admin",
          "Add an endpoint; the answer has its secret, this once.", "Webhook", "new_webhook"),
    Route("GET", "/api/v1/webhooks/{id}", "GetWebhook", webhooks.get_endpoint, "admin",
          "One endpoint.", answer="webhook"),
    Route("PATCH", "/api/v1/webhooks/{id}", "PatchWebhook", webhooks.patch_endpoint, "admin",
          "Change some of an endpoint's members.", "WebhookPatch", "webhook", matches="endpoint"),
    Route("DELETE", "/api/v1/webhooks/{id}", "DeleteWebhook", webhooks.delete_endpoint, "admin",
          "Remove an endpoint.", matches="endpoint"),
    Route("POST", "/api/v1/webhooks/{id}/rotate", "RotateWebhookSecret", webhooks.rotate, "admin",
          "Exchange the secret; for 24 hours events are signed with both.", answer="new_webhook", matches="endpoint"),
    Route("GET", "/api/v1/webhooks/{id}/deliveries", "ListDeliveries", webhooks.get_deliveries, "admin",
          "How far an endpoint was told, and the last attempts, newest first.", answer="deliveries"),
    Route("POST", "/api/v1/webhooks/{id}/resend", "ResendEvents", webhooks.resend, "admin",
          "Have events sent again, or now those that wait.", "Resend", "progress"),
    Route("GET", "/rest/swagger", "GetSwagger", rest.swagger, None,
          "Interactive documentation.", answer="page_html", public=False),
    Route("GET", "/rest/swagger/ui/{file}", "GetSwaggerFile", rest.swagger, None,
          "A file of the interactive documentation.", answer="page_html", public=False),
    Route("GET", "/rest/swagger/docs/v1", "GetOpenApi", rest.swagger_document, None,
          "The OpenAPI 3.1 description of this interface.", answer="openapi", public=False),
    Route("GET", "/livez", "GetLivez", rest.livez, None, "The process is alive.", answer="text", public=False),
    Route("GET", "/readyz", "GetReadyz", rest.readyz, None, "The store takes writes.", answer="text", public=False),
)
# fmt: on
ALIASES = {"/swagger": "/rest/swagger"}
"""Where else paths are served: their first part, and what it stands for."""


PARAMETER, ROUTES_HERE = None, ""


class Router:
    """Finds the route of a path, in any case, with or without a trailing slash, in one walk."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self.root: dict[Any, Any] = {}
        """Each node by the part of the path that leads to it: as it is usually spelt, in lower case, PARAMETER for
        any; ROUTES_HERE leads to the routes of the node."""
        for route in routes:
            node = self.root
            for part in self.parts(route.path):
                if part.startswith("{"):
                    node = node.setdefault(PARAMETER, {})
                else:
                    node[part] = below = node.setdefault(part.lower(), {})
                    node = below
            node.setdefault(ROUTES_HERE, {})[route.method] = route
        for path, target in ALIASES.items():
            (name,) = self.parts(path)
            node = self.root
            for part in self.parts(target):
                node = node[part]
            self.root[name] = node

    def parts(self, path: str) -> list[str]:
        return [part for part in path.split("/") if part]

    def find(self, path: str) -> tuple[dict[str, Route], str]:
        """The routes at a path by method, and the path's parameter; no routes when there are none."""
        node, parameter = self.root, ""
        for part in path.split("/"):
            if not part:
                continue
            below = node.get(part) or node.get(part.lower())
            if below is None:
                below, parameter = node.get(PARAMETER), part
            if below is None:
                return {}, ""
            node = below
        return node.get(ROUTES_HERE, {}), parameter
