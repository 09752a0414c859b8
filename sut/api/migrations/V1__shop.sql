-- The shop: what it sells, to whom, and what was ordered. Stock belongs to the inventory, in a schema of its own.

CREATE TABLE shop.products (
    sku         text PRIMARY KEY,
    name        text NOT NULL,
    category    text NOT NULL,
    price_cents integer NOT NULL CONSTRAINT products_price CHECK (price_cents > 0)
);
CREATE INDEX products_by_category ON shop.products (category, sku); -- a page of one category

CREATE TABLE shop.customers (
    id      bigint PRIMARY KEY,
    name    text NOT NULL,
    country text NOT NULL
);

CREATE SEQUENCE shop.order_ids AS bigint;

CREATE TABLE shop.orders (
    id              bigint PRIMARY KEY,
    customer_id     bigint NOT NULL CONSTRAINT orders_customer REFERENCES shop.customers,
    placed_at       timestamptz NOT NULL DEFAULT now(),
    total_cents     bigint NOT NULL,
    idempotency_key text CONSTRAINT orders_idempotency_key UNIQUE
);
CREATE INDEX orders_by_customer ON shop.orders (customer_id, id); -- a page of one customer's orders

CREATE TABLE shop.order_lines (
    order_id         bigint NOT NULL REFERENCES shop.orders,
    sku              text NOT NULL REFERENCES shop.products,
    quantity         integer NOT NULL CONSTRAINT order_lines_quantity CHECK (quantity > 0),
    unit_price_cents integer NOT NULL,
    PRIMARY KEY (order_id, sku)
);
