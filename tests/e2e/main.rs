//! End to end, on real servers. Start it with `make test`.

mod comparison;
mod migration;
mod refused;
mod slow_loader;
