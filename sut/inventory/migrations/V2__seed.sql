-- 2,000 stock rows, P00001 to P02000, the same on every installation. Most items last for hours of load; every 100th is
-- scarce, so that "insufficient stock" is met in daily life too.

INSERT INTO stock.items (sku, on_hand)
SELECT 'P' || lpad(i::text, 5, '0'),
       CASE WHEN i % 100 = 0 THEN 5 ELSE 50000 + (i * 7919) % 50000 END
FROM generate_series(1, 2000) AS i;

ANALYZE stock.items;
