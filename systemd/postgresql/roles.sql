-- Roles and database of the shop. Run at set-up and again whenever a password file changed: every statement is idempotent.
-- psql variables: api_password, inventory_password.
\set ON_ERROR_STOP on
-- A statement that fails or is slow must not put a password into the log.
SET client_min_messages = warning;
SET log_statement = 'none';
SET log_min_duration_statement = -1;
SET log_min_error_statement = 'panic';
SELECT format('CREATE ROLE %I LOGIN', role) FROM unnest(ARRAY['api', 'inventory']) AS role
  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) \gexec
ALTER ROLE api LOGIN PASSWORD :'api_password';
ALTER ROLE inventory LOGIN PASSWORD :'inventory_password';
SELECT 'CREATE DATABASE shop TEMPLATE template0' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'shop') \gexec
\connect shop
REVOKE ALL ON DATABASE shop FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE shop TO api, inventory;
-- A schema for each service and none in common, so that one cannot read the other's tables behind its back.
REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA IF NOT EXISTS shop AUTHORIZATION api;
CREATE SCHEMA IF NOT EXISTS stock AUTHORIZATION inventory;
ALTER ROLE api IN DATABASE shop SET search_path = shop;
ALTER ROLE inventory IN DATABASE shop SET search_path = stock;
