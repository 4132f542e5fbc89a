-- The same update as one statement, for pgbench: it is its own transaction, and takes one message.
\set id random(1, :customers)
\set n random(1, 1000000000)
WITH old AS (
    SELECT id, version, change_id, comments, email, phone1, salesman, rating, nextval('change_ids') AS next
      FROM customers WHERE tenant_id = 1 AND id = :id FOR UPDATE
), updated AS (
    UPDATE customers AS c
       SET version = old.version + 1, change_id = old.next, modified_on = now()::text,
           comments = 'Prefers delivery before noon; the yard closes at three (#' || :n || ')',
           email = 'anna' || :n || '@shop' || :n % 977 || '.example.com',
           phone1 = '(210) 555-' || :n, salesman = 'Anna Berg ' || :n,
           rating = (old.rating + 1) % 6
      FROM old WHERE c.tenant_id = 1 AND c.id = :id
    RETURNING c.comments, c.email, c.phone1, c.salesman, c.rating
)
INSERT INTO changes (tenant_id, id, previous_id, customer_id, version, at, employee_id, employee, door, request_id,
                     kind, undoes, fields)
SELECT 1, old.next, old.change_id, old.id, old.version + 1, now()::text, 1, 'bench@example.com', 'api',
       '0123456789abcdef0123456789abcdef', 'updated', '[]',
       '{"Comments":["' || old.comments || '","' || new.comments || '"],"Email":["' || old.email || '","' || new.email
       || '"],"Phone1":["' || old.phone1 || '","' || new.phone1
       || '"],"Salesman":["' || old.salesman || '","' || new.salesman || '"],"Rating":[' || old.rating || ','
       || new.rating || ']}'
  FROM old, updated AS new;
