//! End to end, on real servers. Start it with `make test`.

mod comparison;
mod slow_loader;
