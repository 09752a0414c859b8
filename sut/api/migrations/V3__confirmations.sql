-- The queue of order confirmations: a row is written in its order's transaction, and the worker sends what waits.
-- Orders that are older than this table have none, and get none.

CREATE TABLE shop.confirmations (
    -- No foreign key: the row is written with its order, and orders that are removed by the hundred thousand would each be looked for here.
    order_id   bigint PRIMARY KEY,
    queued_at  timestamptz NOT NULL DEFAULT now(),
    -- When it may be tried next: in the future while somebody has it, or after a failure; 'infinity' once it was given up.
    due_at     timestamptz NOT NULL DEFAULT now(),
    attempts   integer NOT NULL DEFAULT 0,
    sent_at    timestamptz,
    last_error text
);
CREATE INDEX confirmations_waiting ON shop.confirmations (due_at) WHERE sent_at IS NULL; -- sent ones are not in it

-- Which products are bought together: the worker computes it from the newest orders and replaces all of it.
CREATE TABLE shop.recommendations (
    sku    text NOT NULL REFERENCES shop.products,
    other  text NOT NULL REFERENCES shop.products,
    orders integer NOT NULL CONSTRAINT recommendations_orders CHECK (orders > 0),
    PRIMARY KEY (sku, other)
);

-- The worker writes these two tables and reads what a confirmation tells; it owns nothing.
GRANT USAGE ON SCHEMA shop TO worker;
GRANT SELECT ON shop.orders, shop.order_lines, shop.products, shop.customers TO worker;
GRANT SELECT, UPDATE (due_at, attempts, sent_at, last_error) ON shop.confirmations TO worker;
GRANT SELECT, INSERT, DELETE ON shop.recommendations TO worker;
