//! The systems of `schemas/examples`, moved by the real programs while their applications write.
//! Start it with `make test`.

mod autores;
mod logbooks;
mod missland;
mod olorin;
mod smartdiet;
