//! End to end, on real servers. Start it with `make test`.

mod comparison;
mod grants;
mod revoked;
mod large_arrays;
mod migration;
mod polled;
mod refused;
mod slow_loader;
mod tls;
