-- The customer book: one table per record, the index of search terms, and the counters that give out numbers.

CREATE TABLE tenants (
    tenant_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    name TEXT NOT NULL,
    require_business_name INTEGER NOT NULL,
    block_duplicate_email INTEGER NOT NULL,
    require_if_match INTEGER NOT NULL,
    quirks INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE TABLE companies (
    tenant_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    name TEXT NOT NULL,
    allow_shipping_unpaid_orders INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE TABLE employees (
    tenant_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    email TEXT NOT NULL,
    name TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    token_epoch INTEGER NOT NULL,
    enabled INTEGER NOT NULL,
    can_view INTEGER NOT NULL,
    can_edit INTEGER NOT NULL,
    can_create INTEGER NOT NULL,
    can_delete INTEGER NOT NULL,
    is_admin INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE TABLE customer_groups (
    tenant_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE TABLE custom_columns (
    tenant_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    name TEXT NOT NULL,
    display_name TEXT NOT NULL,
    data_type INTEGER NOT NULL,
    length INTEGER NOT NULL,
    choices TEXT NOT NULL,
    allow_custom_text INTEGER NOT NULL,
    allow_multiple INTEGER NOT NULL,
    required INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE TABLE payment_terms (
    tenant_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE TABLE carriers (
    tenant_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE TABLE carrier_services (
    tenant_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    carrier_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE TABLE customers (
    tenant_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    version INTEGER NOT NULL,
    change_id INTEGER NOT NULL,
    title TEXT NOT NULL,
    first_name TEXT NOT NULL,
    middle_name TEXT NOT NULL,
    last_name TEXT NOT NULL,
    email TEXT NOT NULL,
    email_cc TEXT NOT NULL,
    business_name TEXT NOT NULL,
    business_aliases TEXT NOT NULL,
    ebay_user_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    is_blacklisted INTEGER NOT NULL,
    is_wholesale INTEGER NOT NULL,
    company_id INTEGER NOT NULL,
    account_manager1_id INTEGER NOT NULL,
    account_manager1_commission TEXT NOT NULL,
    account_manager2_id INTEGER NOT NULL,
    account_manager2_commission TEXT NOT NULL,
    account_manager3_id INTEGER NOT NULL,
    account_manager3_commission TEXT NOT NULL,
    salesman TEXT NOT NULL,
    comments TEXT NOT NULL,
    rating INTEGER NOT NULL,
    created_on TEXT NOT NULL,
    modified_on TEXT NOT NULL,
    tax_exempt INTEGER NOT NULL,
    tax_exempt_type TEXT NOT NULL,
    order_handling_fee TEXT NOT NULL,
    apply_shipping_charges INTEGER NOT NULL,
    allow_shipping_unpaid_orders INTEGER NOT NULL,
    disable_ship_notifications INTEGER NOT NULL,
    invoice_note TEXT NOT NULL,
    order_pdf_invoice_plugin TEXT NOT NULL,
    send_invoice_with_ship_notification_email INTEGER NOT NULL,
    send_invoice_with_payment_confirmation_email INTEGER NOT NULL,
    wholesale_discount TEXT NOT NULL,
    site_price_based_discount_enabled INTEGER NOT NULL,
    site_price_based_discount_value TEXT NOT NULL,
    cost_plus_enabled INTEGER NOT NULL,
    cost_plus_percent TEXT NOT NULL,
    cost_plus_using_type INTEGER NOT NULL,
    tax_id TEXT NOT NULL,
    phone1 TEXT NOT NULL,
    phone2 TEXT NOT NULL,
    phone3 TEXT NOT NULL,
    mobile TEXT NOT NULL,
    fax TEXT NOT NULL,
    credit_term INTEGER NOT NULL,
    credit_limit TEXT NOT NULL,
    billing_cycle_start TEXT NOT NULL,
    carrier_id INTEGER NOT NULL,
    carrier_method_id INTEGER NOT NULL,
    charges TEXT NOT NULL,
    account_number TEXT NOT NULL,
    postal_code TEXT NOT NULL,
    enable_customer_shipping_account INTEGER NOT NULL,
    addresses TEXT NOT NULL,
    custom_values TEXT NOT NULL,
    group_ids TEXT NOT NULL,
    channel INTEGER NOT NULL,
    subscribed INTEGER NOT NULL,
    exported INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE TABLE changes (
    tenant_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    previous_id INTEGER NOT NULL,
    customer_id INTEGER NOT NULL,
    version INTEGER NOT NULL,
    at TEXT NOT NULL,
    employee_id INTEGER NOT NULL,
    employee TEXT NOT NULL,
    door TEXT NOT NULL,
    request_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    undoes TEXT NOT NULL,
    fields TEXT NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

-- What requests with an Idempotency-Key were answered.
CREATE TABLE answers (
    tenant_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    digest TEXT NOT NULL,
    at TEXT NOT NULL,
    status INTEGER NOT NULL,
    headers TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE INDEX answers_by_age ON answers (tenant_id, at);

CREATE TABLE webhook_endpoints (
    tenant_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    url TEXT NOT NULL,
    description TEXT NOT NULL,
    events TEXT NOT NULL,
    members TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    disabled_because TEXT NOT NULL,
    version INTEGER NOT NULL,
    altered TEXT NOT NULL,
    created_on TEXT NOT NULL,
    secret TEXT NOT NULL,
    old_secret TEXT NOT NULL,
    old_secret_until TEXT NOT NULL,
    removed INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE TABLE webhook_progress (
    tenant_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    cursor INTEGER NOT NULL,
    waiting TEXT NOT NULL,
    failures INTEGER NOT NULL,
    succeeded_on TEXT NOT NULL,
    paused_until TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE TABLE webhook_deliveries (
    tenant_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    at TEXT NOT NULL,
    message TEXT NOT NULL,
    change_id INTEGER NOT NULL,
    customer_id INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    status INTEGER NOT NULL,
    milliseconds INTEGER NOT NULL,
    answer TEXT NOT NULL,
    next_on TEXT NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE INDEX webhook_deliveries_by_age ON webhook_deliveries (tenant_id, at);

CREATE TABLE leases (
    tenant_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    holder TEXT NOT NULL,
    until TEXT NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE UNIQUE INDEX tenants_by_name ON tenants (name);

CREATE UNIQUE INDEX employees_by_email ON employees (tenant_id, email);

-- What customers are found by; see search.py. Read only after term_log was merged into it.
CREATE TABLE customer_terms (
    tenant_id INTEGER NOT NULL,
    term TEXT NOT NULL,
    customer_id INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, term, customer_id)
) STRICT, WITHOUT ROWID;

-- Terms that came or went since they were last filed, a batch a row: a JSON list of texts, each the tenant in ten
-- digits, the term, the customer in ten digits, and 1 (came) or 0 (went). Appending is far cheaper than filing.
CREATE TABLE term_log (
    id INTEGER PRIMARY KEY,
    entries TEXT NOT NULL
) STRICT;

CREATE TABLE counters (
    tenant_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE secrets (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
