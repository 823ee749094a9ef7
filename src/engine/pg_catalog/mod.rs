//! What Postgres clients ask about the server: `pg_catalog` and `information_schema`.
