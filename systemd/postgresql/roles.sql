-- Roles and database of the shop. Run at set-up and again whenever a password file changed: every statement is idempotent.
-- psql variables: api_password, inventory_password, worker_password.
\set ON_ERROR_STOP on
-- A statement that fails or is slow must not put a password into the log.
SET client_min_messages = warning;
SET log_statement = 'none';
SET log_min_duration_statement = -1;
SET log_min_error_statement = 'panic';
SELECT format('CREATE ROLE %I LOGIN', role) FROM unnest(ARRAY['api', 'inventory', 'worker', 'controller']) AS role
  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) \gexec
ALTER ROLE api LOGIN PASSWORD :'api_password';
ALTER ROLE inventory LOGIN PASSWORD :'inventory_password';
ALTER ROLE worker LOGIN PASSWORD :'worker_password';
SELECT 'CREATE DATABASE shop TEMPLATE template0' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'shop') \gexec
\connect shop
REVOKE ALL ON DATABASE shop FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE shop TO api, inventory;
GRANT CONNECT ON DATABASE shop TO worker;
-- A schema for each service and none in common, so that one cannot read the other's tables behind its back.
REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA IF NOT EXISTS shop AUTHORIZATION api;
CREATE SCHEMA IF NOT EXISTS stock AUTHORIZATION inventory;
ALTER ROLE api IN DATABASE shop SET search_path = shop;
ALTER ROLE inventory IN DATABASE shop SET search_path = stock;
-- The worker has no schema: it works on two tables of the API's, which says in its migrations what the worker may do there.
GRANT USAGE ON SCHEMA shop TO worker; -- to see that they are not there yet
ALTER ROLE worker IN DATABASE shop SET search_path = shop;

-- The controller does to the shop what drills do to it: as the services themselves, by way of membership. It has no password: it comes by the socket.
ALTER ROLE controller LOGIN PASSWORD NULL;
GRANT api, inventory, worker, pg_read_all_stats, pg_signal_backend TO controller;
ALTER ROLE controller IN DATABASE shop SET search_path = shop, stock;
-- A password of a service that was changed behind its back, and put back as it was. Nobody ever sees either: what is kept is the verifier.
CREATE SCHEMA IF NOT EXISTS observastack;
CREATE TABLE IF NOT EXISTS observastack.saved_passwords (role name PRIMARY KEY, verifier text NOT NULL);
-- The passwords above are the right ones.
DELETE FROM observastack.saved_passwords;
CREATE OR REPLACE FUNCTION observastack.rotate_password(service name) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF service NOT IN ('api', 'inventory', 'worker') THEN
    RAISE EXCEPTION 'no service of the shop is called %', service;
  END IF;
  INSERT INTO observastack.saved_passwords SELECT rolname, rolpassword FROM pg_authid WHERE rolname = service ON CONFLICT DO NOTHING;
  EXECUTE format('ALTER ROLE %I PASSWORD %L', service, gen_random_uuid()::text || gen_random_uuid()::text);
END $$;
CREATE OR REPLACE FUNCTION observastack.restore_password(service name) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  kept text;
BEGIN
  DELETE FROM observastack.saved_passwords WHERE role = service RETURNING verifier INTO kept;
  IF kept IS NOT NULL THEN
    EXECUTE format('ALTER ROLE %I PASSWORD %L', service, kept);
  END IF;
END $$;
REVOKE ALL ON FUNCTION observastack.rotate_password(name), observastack.restore_password(name) FROM PUBLIC;
GRANT USAGE ON SCHEMA observastack TO controller;
GRANT EXECUTE ON FUNCTION observastack.rotate_password(name), observastack.restore_password(name) TO controller;
