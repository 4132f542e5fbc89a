-- The customer book: one table per record, the index of search terms, and the counters that give out numbers.
--
-- Each table of records has a type of the same shape, in which rows are sent; a migration that adds a column adds a
-- new type beside it, so that older nodes can go on (docs/decisions/0009).

CREATE TABLE tenants (
    tenant_id bigint NOT NULL,
    id bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    require_business_name bigint NOT NULL,
    block_duplicate_email bigint NOT NULL,
    require_if_match bigint NOT NULL,
    quirks bigint NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE TYPE tenants_row AS (
    tenant_id bigint,
    id bigint,
    name text COLLATE "C",
    require_business_name bigint,
    block_duplicate_email bigint,
    require_if_match bigint,
    quirks bigint
);

CREATE TABLE companies (
    tenant_id bigint NOT NULL,
    id bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    allow_shipping_unpaid_orders bigint NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE TYPE companies_row AS (
    tenant_id bigint,
    id bigint,
    name text COLLATE "C",
    allow_shipping_unpaid_orders bigint
);

CREATE TABLE employees (
    tenant_id bigint NOT NULL,
    id bigint NOT NULL,
    email text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    password_hash text COLLATE "C" NOT NULL,
    token_epoch bigint NOT NULL,
    enabled bigint NOT NULL,
    can_view bigint NOT NULL,
    can_edit bigint NOT NULL,
    can_create bigint NOT NULL,
    can_delete bigint NOT NULL,
    is_admin bigint NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE TYPE employees_row AS (
    tenant_id bigint,
    id bigint,
    email text COLLATE "C",
    name text COLLATE "C",
    password_hash text COLLATE "C",
    token_epoch bigint,
    enabled bigint,
    can_view bigint,
    can_edit bigint,
    can_create bigint,
    can_delete bigint,
    is_admin bigint
);

CREATE TABLE customer_groups (
    tenant_id bigint NOT NULL,
    id bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE TYPE customer_groups_row AS (
    tenant_id bigint,
    id bigint,
    name text COLLATE "C"
);

CREATE TABLE custom_columns (
    tenant_id bigint NOT NULL,
    id bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    display_name text COLLATE "C" NOT NULL,
    data_type bigint NOT NULL,
    length bigint NOT NULL,
    choices text COLLATE "C" NOT NULL,
    allow_custom_text bigint NOT NULL,
    allow_multiple bigint NOT NULL,
    required bigint NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE TYPE custom_columns_row AS (
    tenant_id bigint,
    id bigint,
    name text COLLATE "C",
    display_name text COLLATE "C",
    data_type bigint,
    length bigint,
    choices text COLLATE "C",
    allow_custom_text bigint,
    allow_multiple bigint,
    required bigint
);

CREATE TABLE payment_terms (
    tenant_id bigint NOT NULL,
    id bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE TYPE payment_terms_row AS (
    tenant_id bigint,
    id bigint,
    name text COLLATE "C"
);

CREATE TABLE carriers (
    tenant_id bigint NOT NULL,
    id bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE TYPE carriers_row AS (
    tenant_id bigint,
    id bigint,
    name text COLLATE "C"
);

CREATE TABLE carrier_services (
    tenant_id bigint NOT NULL,
    id bigint NOT NULL,
    carrier_id bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE TYPE carrier_services_row AS (
    tenant_id bigint,
    id bigint,
    carrier_id bigint,
    name text COLLATE "C"
);

CREATE TABLE customers (
    tenant_id bigint NOT NULL,
    id bigint NOT NULL,
    version bigint NOT NULL,
    change_id bigint NOT NULL,
    title text COLLATE "C" NOT NULL,
    first_name text COLLATE "C" NOT NULL,
    middle_name text COLLATE "C" NOT NULL,
    last_name text COLLATE "C" NOT NULL,
    email text COLLATE "C" NOT NULL,
    email_cc text COLLATE "C" NOT NULL,
    business_name text COLLATE "C" NOT NULL,
    business_aliases text COLLATE "C" NOT NULL,
    ebay_user_id text COLLATE "C" NOT NULL,
    source_id text COLLATE "C" NOT NULL,
    is_blacklisted bigint NOT NULL,
    is_wholesale bigint NOT NULL,
    company_id bigint NOT NULL,
    account_manager1_id bigint NOT NULL,
    account_manager1_commission text COLLATE "C" NOT NULL,
    account_manager2_id bigint NOT NULL,
    account_manager2_commission text COLLATE "C" NOT NULL,
    account_manager3_id bigint NOT NULL,
    account_manager3_commission text COLLATE "C" NOT NULL,
    salesman text COLLATE "C" NOT NULL,
    comments text COLLATE "C" NOT NULL,
    rating bigint NOT NULL,
    created_on text COLLATE "C" NOT NULL,
    modified_on text COLLATE "C" NOT NULL,
    tax_exempt bigint NOT NULL,
    tax_exempt_type text COLLATE "C" NOT NULL,
    order_handling_fee text COLLATE "C" NOT NULL,
    apply_shipping_charges bigint NOT NULL,
    allow_shipping_unpaid_orders bigint NOT NULL,
    disable_ship_notifications bigint NOT NULL,
    invoice_note text COLLATE "C" NOT NULL,
    order_pdf_invoice_plugin text COLLATE "C" NOT NULL,
    send_invoice_with_ship_notification_email bigint NOT NULL,
    send_invoice_with_payment_confirmation_email bigint NOT NULL,
    wholesale_discount text COLLATE "C" NOT NULL,
    site_price_based_discount_enabled bigint NOT NULL,
    site_price_based_discount_value text COLLATE "C" NOT NULL,
    cost_plus_enabled bigint NOT NULL,
    cost_plus_percent text COLLATE "C" NOT NULL,
    cost_plus_using_type bigint NOT NULL,
    tax_id text COLLATE "C" NOT NULL,
    phone1 text COLLATE "C" NOT NULL,
    phone2 text COLLATE "C" NOT NULL,
    phone3 text COLLATE "C" NOT NULL,
    mobile text COLLATE "C" NOT NULL,
    fax text COLLATE "C" NOT NULL,
    credit_term bigint NOT NULL,
    credit_limit text COLLATE "C" NOT NULL,
    billing_cycle_start text COLLATE "C" NOT NULL,
    carrier_id bigint NOT NULL,
    carrier_method_id bigint NOT NULL,
    charges text COLLATE "C" NOT NULL,
    account_number text COLLATE "C" NOT NULL,
    postal_code text COLLATE "C" NOT NULL,
    enable_customer_shipping_account bigint NOT NULL,
    addresses text COLLATE "C" NOT NULL,
    custom_values text COLLATE "C" NOT NULL,
    group_ids text COLLATE "C" NOT NULL,
    channel bigint NOT NULL,
    subscribed bigint NOT NULL,
    exported bigint NOT NULL,
    PRIMARY KEY (tenant_id, id)
) WITH (fillfactor = 80);

CREATE TYPE customers_row AS (
    tenant_id bigint,
    id bigint,
    version bigint,
    change_id bigint,
    title text COLLATE "C",
    first_name text COLLATE "C",
    middle_name text COLLATE "C",
    last_name text COLLATE "C",
    email text COLLATE "C",
    email_cc text COLLATE "C",
    business_name text COLLATE "C",
    business_aliases text COLLATE "C",
    ebay_user_id text COLLATE "C",
    source_id text COLLATE "C",
    is_blacklisted bigint,
    is_wholesale bigint,
    company_id bigint,
    account_manager1_id bigint,
    account_manager1_commission text COLLATE "C",
    account_manager2_id bigint,
    account_manager2_commission text COLLATE "C",
    account_manager3_id bigint,
    account_manager3_commission text COLLATE "C",
    salesman text COLLATE "C",
    comments text COLLATE "C",
    rating bigint,
    created_on text COLLATE "C",
    modified_on text COLLATE "C",
    tax_exempt bigint,
    tax_exempt_type text COLLATE "C",
    order_handling_fee text COLLATE "C",
    apply_shipping_charges bigint,
    allow_shipping_unpaid_orders bigint,
    disable_ship_notifications bigint,
    invoice_note text COLLATE "C",
    order_pdf_invoice_plugin text COLLATE "C",
    send_invoice_with_ship_notification_email bigint,
    send_invoice_with_payment_confirmation_email bigint,
    wholesale_discount text COLLATE "C",
    site_price_based_discount_enabled bigint,
    site_price_based_discount_value text COLLATE "C",
    cost_plus_enabled bigint,
    cost_plus_percent text COLLATE "C",
    cost_plus_using_type bigint,
    tax_id text COLLATE "C",
    phone1 text COLLATE "C",
    phone2 text COLLATE "C",
    phone3 text COLLATE "C",
    mobile text COLLATE "C",
    fax text COLLATE "C",
    credit_term bigint,
    credit_limit text COLLATE "C",
    billing_cycle_start text COLLATE "C",
    carrier_id bigint,
    carrier_method_id bigint,
    charges text COLLATE "C",
    account_number text COLLATE "C",
    postal_code text COLLATE "C",
    enable_customer_shipping_account bigint,
    addresses text COLLATE "C",
    custom_values text COLLATE "C",
    group_ids text COLLATE "C",
    channel bigint,
    subscribed bigint,
    exported bigint
);

CREATE TABLE changes (
    tenant_id bigint NOT NULL,
    id bigint NOT NULL,
    previous_id bigint NOT NULL,
    customer_id bigint NOT NULL,
    version bigint NOT NULL,
    at text COLLATE "C" NOT NULL,
    employee_id bigint NOT NULL,
    employee text COLLATE "C" NOT NULL,
    door text COLLATE "C" NOT NULL,
    request_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    undoes text COLLATE "C" NOT NULL,
    fields text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE TYPE changes_row AS (
    tenant_id bigint,
    id bigint,
    previous_id bigint,
    customer_id bigint,
    version bigint,
    at text COLLATE "C",
    employee_id bigint,
    employee text COLLATE "C",
    door text COLLATE "C",
    request_id text COLLATE "C",
    kind text COLLATE "C",
    undoes text COLLATE "C",
    fields text COLLATE "C"
);

-- What requests with an Idempotency-Key were answered.
CREATE TABLE answers (
    tenant_id bigint NOT NULL,
    id bigint NOT NULL,
    digest text COLLATE "C" NOT NULL,
    at text COLLATE "C" NOT NULL,
    status bigint NOT NULL,
    headers text COLLATE "C" NOT NULL,
    body text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE TYPE answers_row AS (
    tenant_id bigint,
    id bigint,
    digest text COLLATE "C",
    at text COLLATE "C",
    status bigint,
    headers text COLLATE "C",
    body text COLLATE "C"
);

CREATE INDEX answers_by_age ON answers (tenant_id, at);

CREATE TABLE webhook_endpoints (
    tenant_id bigint NOT NULL,
    id bigint NOT NULL,
    url text COLLATE "C" NOT NULL,
    description text COLLATE "C" NOT NULL,
    events text COLLATE "C" NOT NULL,
    members text COLLATE "C" NOT NULL,
    enabled bigint NOT NULL,
    disabled_because text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    altered text COLLATE "C" NOT NULL,
    created_on text COLLATE "C" NOT NULL,
    secret text COLLATE "C" NOT NULL,
    old_secret text COLLATE "C" NOT NULL,
    old_secret_until text COLLATE "C" NOT NULL,
    removed bigint NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE TYPE webhook_endpoints_row AS (
    tenant_id bigint,
    id bigint,
    url text COLLATE "C",
    description text COLLATE "C",
    events text COLLATE "C",
    members text COLLATE "C",
    enabled bigint,
    disabled_because text COLLATE "C",
    version bigint,
    altered text COLLATE "C",
    created_on text COLLATE "C",
    secret text COLLATE "C",
    old_secret text COLLATE "C",
    old_secret_until text COLLATE "C",
    removed bigint
);

CREATE TABLE webhook_progress (
    tenant_id bigint NOT NULL,
    id bigint NOT NULL,
    cursor bigint NOT NULL,
    waiting text COLLATE "C" NOT NULL,
    failures bigint NOT NULL,
    succeeded_on text COLLATE "C" NOT NULL,
    paused_until text COLLATE "C" NOT NULL,
    attempts bigint NOT NULL,
    PRIMARY KEY (tenant_id, id)
) WITH (fillfactor = 50);

CREATE TYPE webhook_progress_row AS (
    tenant_id bigint,
    id bigint,
    cursor bigint,
    waiting text COLLATE "C",
    failures bigint,
    succeeded_on text COLLATE "C",
    paused_until text COLLATE "C",
    attempts bigint
);

CREATE TABLE webhook_deliveries (
    tenant_id bigint NOT NULL,
    id bigint NOT NULL,
    number bigint NOT NULL,
    at text COLLATE "C" NOT NULL,
    message text COLLATE "C" NOT NULL,
    change_id bigint NOT NULL,
    customer_id bigint NOT NULL,
    attempt bigint NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    status bigint NOT NULL,
    milliseconds bigint NOT NULL,
    answer text COLLATE "C" NOT NULL,
    next_on text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE INDEX webhook_deliveries_by_age ON webhook_deliveries (tenant_id, at);

CREATE TYPE webhook_deliveries_row AS (
    tenant_id bigint,
    id bigint,
    number bigint,
    at text COLLATE "C",
    message text COLLATE "C",
    change_id bigint,
    customer_id bigint,
    attempt bigint,
    outcome text COLLATE "C",
    status bigint,
    milliseconds bigint,
    answer text COLLATE "C",
    next_on text COLLATE "C"
);

CREATE TABLE leases (
    tenant_id bigint NOT NULL,
    id bigint NOT NULL,
    holder text COLLATE "C" NOT NULL,
    until text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, id)
) WITH (fillfactor = 50);

CREATE TYPE leases_row AS (
    tenant_id bigint,
    id bigint,
    holder text COLLATE "C",
    until text COLLATE "C"
);

-- Over all tenants, as the name says which tenant a request is for.
CREATE UNIQUE INDEX tenants_by_name ON tenants (name);

CREATE UNIQUE INDEX employees_by_email ON employees (tenant_id, email);

-- What customers are found by; see search.py. Read only after term_log was filed here.
CREATE TABLE customer_terms (
    tenant_id bigint NOT NULL,
    term text COLLATE "C" NOT NULL,
    customer_id bigint NOT NULL,
    PRIMARY KEY (tenant_id, term, customer_id)
);

-- Terms that came or went since they were last filed: a row for each batch, by the id of its last change. For each
-- customer a JSON list of those that went and one of those that came.
CREATE TABLE term_log (
    tenant_id bigint NOT NULL,
    id bigint NOT NULL,
    customers bigint[] NOT NULL,
    gone text[] NOT NULL,
    come text[] NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

-- A tenant's counter of changes is also its lock: whoever writes a batch holds it until the commit. Beside it stands
-- one that counts the changes of the tenant's reference records.
CREATE TABLE counters (
    tenant_id bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    value bigint NOT NULL,
    PRIMARY KEY (tenant_id, name)
) WITH (fillfactor = 50);

INSERT INTO counters (tenant_id, name, value) VALUES (0, 'revision', 0);

CREATE TABLE secrets (
    name text COLLATE "C" NOT NULL PRIMARY KEY,
    value text NOT NULL
);

-- The second wall between tenants. The first is in every statement; this one holds when a statement forgets. Each
-- transaction says whose rows it is about. Tenant 0 is nobody: its one row counts the changes of reference records.

ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenants_of_tenant ON tenants
    USING (tenant_id = ANY (
        (SELECT string_to_array(current_setting('regulars.tenants', true), ',')::bigint[])::bigint[]
    ));

ALTER TABLE companies ENABLE ROW LEVEL SECURITY;
ALTER TABLE companies FORCE ROW LEVEL SECURITY;
CREATE POLICY companies_of_tenant ON companies
    USING (tenant_id = ANY (
        (SELECT string_to_array(current_setting('regulars.tenants', true), ',')::bigint[])::bigint[]
    ));

ALTER TABLE employees ENABLE ROW LEVEL SECURITY;
ALTER TABLE employees FORCE ROW LEVEL SECURITY;
CREATE POLICY employees_of_tenant ON employees
    USING (tenant_id = ANY (
        (SELECT string_to_array(current_setting('regulars.tenants', true), ',')::bigint[])::bigint[]
    ));

ALTER TABLE customer_groups ENABLE ROW LEVEL SECURITY;
ALTER TABLE customer_groups FORCE ROW LEVEL SECURITY;
CREATE POLICY customer_groups_of_tenant ON customer_groups
    USING (tenant_id = ANY (
        (SELECT string_to_array(current_setting('regulars.tenants', true), ',')::bigint[])::bigint[]
    ));

ALTER TABLE custom_columns ENABLE ROW LEVEL SECURITY;
ALTER TABLE custom_columns FORCE ROW LEVEL SECURITY;
CREATE POLICY custom_columns_of_tenant ON custom_columns
    USING (tenant_id = ANY (
        (SELECT string_to_array(current_setting('regulars.tenants', true), ',')::bigint[])::bigint[]
    ));

ALTER TABLE payment_terms ENABLE ROW LEVEL SECURITY;
ALTER TABLE payment_terms FORCE ROW LEVEL SECURITY;
CREATE POLICY payment_terms_of_tenant ON payment_terms
    USING (tenant_id = ANY (
        (SELECT string_to_array(current_setting('regulars.tenants', true), ',')::bigint[])::bigint[]
    ));

ALTER TABLE carriers ENABLE ROW LEVEL SECURITY;
ALTER TABLE carriers FORCE ROW LEVEL SECURITY;
CREATE POLICY carriers_of_tenant ON carriers
    USING (tenant_id = ANY (
        (SELECT string_to_array(current_setting('regulars.tenants', true), ',')::bigint[])::bigint[]
    ));

ALTER TABLE carrier_services ENABLE ROW LEVEL SECURITY;
ALTER TABLE carrier_services FORCE ROW LEVEL SECURITY;
CREATE POLICY carrier_services_of_tenant ON carrier_services
    USING (tenant_id = ANY (
        (SELECT string_to_array(current_setting('regulars.tenants', true), ',')::bigint[])::bigint[]
    ));

ALTER TABLE customers ENABLE ROW LEVEL SECURITY;
ALTER TABLE customers FORCE ROW LEVEL SECURITY;
CREATE POLICY customers_of_tenant ON customers
    USING (tenant_id = ANY (
        (SELECT string_to_array(current_setting('regulars.tenants', true), ',')::bigint[])::bigint[]
    ));

ALTER TABLE changes ENABLE ROW LEVEL SECURITY;
ALTER TABLE changes FORCE ROW LEVEL SECURITY;
CREATE POLICY changes_of_tenant ON changes
    USING (tenant_id = ANY (
        (SELECT string_to_array(current_setting('regulars.tenants', true), ',')::bigint[])::bigint[]
    ));

ALTER TABLE answers ENABLE ROW LEVEL SECURITY;
ALTER TABLE answers FORCE ROW LEVEL SECURITY;
CREATE POLICY answers_of_tenant ON answers
    USING (tenant_id = ANY (
        (SELECT string_to_array(current_setting('regulars.tenants', true), ',')::bigint[])::bigint[]
    ));

ALTER TABLE webhook_endpoints ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_endpoints FORCE ROW LEVEL SECURITY;
CREATE POLICY webhook_endpoints_of_tenant ON webhook_endpoints
    USING (tenant_id = ANY (
        (SELECT string_to_array(current_setting('regulars.tenants', true), ',')::bigint[])::bigint[]
    ));

ALTER TABLE webhook_progress ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_progress FORCE ROW LEVEL SECURITY;
CREATE POLICY webhook_progress_of_tenant ON webhook_progress
    USING (tenant_id = ANY (
        (SELECT string_to_array(current_setting('regulars.tenants', true), ',')::bigint[])::bigint[]
    ));

ALTER TABLE webhook_deliveries ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_deliveries FORCE ROW LEVEL SECURITY;
CREATE POLICY webhook_deliveries_of_tenant ON webhook_deliveries
    USING (tenant_id = ANY (
        (SELECT string_to_array(current_setting('regulars.tenants', true), ',')::bigint[])::bigint[]
    ));

ALTER TABLE leases ENABLE ROW LEVEL SECURITY;
ALTER TABLE leases FORCE ROW LEVEL SECURITY;
CREATE POLICY leases_of_tenant ON leases
    USING (tenant_id = ANY (
        (SELECT string_to_array(current_setting('regulars.tenants', true), ',')::bigint[])::bigint[]
    ));

ALTER TABLE customer_terms ENABLE ROW LEVEL SECURITY;
ALTER TABLE customer_terms FORCE ROW LEVEL SECURITY;
CREATE POLICY customer_terms_of_tenant ON customer_terms
    USING (tenant_id = ANY (
        (SELECT string_to_array(current_setting('regulars.tenants', true), ',')::bigint[])::bigint[]
    ));

ALTER TABLE term_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE term_log FORCE ROW LEVEL SECURITY;
CREATE POLICY term_log_of_tenant ON term_log
    USING (tenant_id = ANY (
        (SELECT string_to_array(current_setting('regulars.tenants', true), ',')::bigint[])::bigint[]
    ));

ALTER TABLE counters ENABLE ROW LEVEL SECURITY;
ALTER TABLE counters FORCE ROW LEVEL SECURITY;
CREATE POLICY counters_of_tenant ON counters
    USING (tenant_id = ANY (
        (SELECT string_to_array(current_setting('regulars.tenants', true), ',')::bigint[])::bigint[]
    ));

-- Which tenants there are must be known before a tenant is; so must the number of the last change to any of them.
CREATE POLICY tenants_known ON tenants FOR SELECT USING (true);
CREATE POLICY revision_known ON counters FOR SELECT USING (tenant_id = 0);

GRANT SELECT, INSERT, UPDATE ON
    tenants, companies, employees, customer_groups, custom_columns, payment_terms,
    carriers, carrier_services, customers, changes, counters,
    webhook_endpoints, webhook_progress, leases TO regulars_app;
GRANT SELECT, INSERT, DELETE ON customer_terms, answers TO regulars_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON term_log, webhook_deliveries TO regulars_app;
GRANT SELECT, INSERT ON secrets TO regulars_app;
GRANT SELECT ON schema_version TO regulars_app;
