//! Parts of a migration die, freeze and are stopped while it runs, on real servers. Whatever else a
//! test asserts, it ends with every document compared with every row. Start it with `make test`.

mod killed;
mod consumers;
mod producers;
mod elections;
mod brokers;
mod signals;
mod network;
mod disks;
