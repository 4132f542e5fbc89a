-- One update as a transaction of three statements, for pgbench: lock and read, write, record the change.
\set id random(1, :customers)
\set n random(1, 1000000000)
BEGIN;
SELECT version, change_id, comments, email, phone1, salesman, rating, nextval('change_ids') AS next
  FROM customers WHERE tenant_id = 1 AND id = :id FOR UPDATE \gset old_
UPDATE customers
   SET version = :old_version + 1, change_id = :old_next, modified_on = now()::text,
       comments = 'Prefers delivery before noon; the yard closes at three (#' || :n || ')',
       email = 'anna' || :n || '@shop' || :n % 977 || '.example.com',
       phone1 = '(210) 555-' || :n, salesman = 'Anna Berg ' || :n,
       rating = (:old_rating + 1) % 6
 WHERE tenant_id = 1 AND id = :id;
INSERT INTO changes (tenant_id, id, previous_id, customer_id, version, at, employee_id, employee, door, request_id,
                     kind, undoes, fields)
VALUES (1, :old_next, :old_change_id, :id, :old_version + 1, now()::text, 1, 'bench@example.com', 'api',
        '0123456789abcdef0123456789abcdef', 'updated', '[]',
        '{"Comments":["' || :old_comments || '","Prefers delivery before noon; the yard closes at three (#' || :n
        || ')"],"Email":["' || :old_email || '","anna' || :n || '@shop' || :n % 977 || '.example.com"],"Phone1":["'
        || :old_phone1 || '","(210) 555-' || :n || '"],"Salesman":["' || :old_salesman || '","Anna Berg ' || :n
        || '"],"Rating":[' || :old_rating || ',' || (:old_rating + 1) % 6 || ']}');
COMMIT;
