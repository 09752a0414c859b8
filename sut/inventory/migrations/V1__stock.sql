-- What is in the warehouse and what of it is promised to orders.

CREATE TABLE stock.items (
    sku      text PRIMARY KEY,
    on_hand  integer NOT NULL CONSTRAINT items_on_hand_not_negative CHECK (on_hand >= 0),
    reserved integer NOT NULL DEFAULT 0,
    -- The last line of defence against overselling; the service checks before.
    CONSTRAINT items_not_oversold CHECK (reserved >= 0 AND reserved <= on_hand)
) WITH (fillfactor = 70); -- room for updates of `reserved` in the same page

CREATE TABLE stock.reservations (
    key         text PRIMARY KEY, -- the order's id
    -- 'released' also marks a key whose release came before its reservation: the late reservation must not go through.
    state       text NOT NULL CONSTRAINT reservations_state CHECK (state IN ('held', 'released')),
    created_at  timestamptz NOT NULL DEFAULT now(),
    released_at timestamptz
);

CREATE TABLE stock.reservation_lines (
    key      text NOT NULL REFERENCES stock.reservations,
    sku      text NOT NULL REFERENCES stock.items,
    quantity integer NOT NULL CONSTRAINT reservation_lines_quantity CHECK (quantity > 0),
    PRIMARY KEY (key, sku)
);
