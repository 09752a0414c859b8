-- 2,000 products, 1,000 customers, 10,000 orders with 25,000 lines: the same on every installation, without random().

INSERT INTO shop.products (sku, name, category, price_cents)
SELECT 'P' || lpad(i::text, 5, '0'),
       (ARRAY['Plain', 'Bright', 'Sturdy', 'Folding', 'Pocket', 'Classic', 'Quiet', 'Travel'])[1 + (i / 64) % 8]
       || ' ' ||
       (ARRAY['lamp', 'kettle', 'notebook', 'speaker', 'trowel', 'racket', 'puzzle', 'backpack'])[1 + i % 8]
       || ' No. ' || i,
       (ARRAY['lighting', 'kitchen', 'office', 'audio', 'garden', 'sports', 'toys', 'travel'])[1 + i % 8],
       199 + (i * 7919) % 19800
FROM generate_series(1, 2000) AS i;

INSERT INTO shop.customers (id, name, country)
SELECT i,
       (ARRAY['Ada', 'Ben', 'Chiara', 'Dai', 'Elif', 'Femi', 'Grace', 'Hugo', 'Ines', 'Jun'])[1 + i % 10] || ' ' ||
       (ARRAY['Abara', 'Berg', 'Costa', 'Dietz', 'Eriksen', 'Fujita', 'Garcia', 'Horvat', 'Ivanova', 'Jansen'])[1 + (i / 10) % 10]
       || ' ' || (1 + i / 100),
       (ARRAY['AR', 'DE', 'FR', 'IN', 'IT', 'JP', 'NG', 'NL', 'NO', 'US'])[1 + (i * 7) % 10]
FROM generate_series(1, 1000) AS i;

-- One to four lines an order. The first product is a popular one more often than not (the square of an even spread);
-- the others are its neighbours at fixed distances, so some pairs are bought together again and again.
WITH first AS (
    SELECT o AS order_id, floor(2000 * (((o * 7919) % 10007) / 10007.0) ^ 2)::int AS product
    FROM generate_series(1, 10000) AS o
), line AS (
    SELECT order_id, sku, 1 + (order_id + l) % 3 AS quantity, price_cents
    FROM first
    CROSS JOIN generate_series(0, 3) AS l
    JOIN shop.products ON sku = 'P' || lpad((1 + (product + l * (1 + order_id % 3) * 7) % 2000)::text, 5, '0')
    WHERE l <= order_id % 4
), inserted_order AS (
    INSERT INTO shop.orders (id, customer_id, placed_at, total_cents)
    SELECT order_id,
           1 + (order_id * 31) % 1000,
           timestamptz '2026-01-01 00:00:00+00' + order_id * interval '7 minutes',
           sum(quantity * price_cents)
    FROM line
    GROUP BY order_id
)
INSERT INTO shop.order_lines (order_id, sku, quantity, unit_price_cents)
SELECT order_id, sku, quantity, price_cents FROM line ORDER BY order_id, sku;

SELECT setval('shop.order_ids', 10000);

ANALYZE shop.products, shop.customers, shop.orders, shop.order_lines;
