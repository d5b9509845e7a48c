//! What every long-running Leafcutter program needs and no domain.
//!
//! It takes settings, signals and futures; it gives a program that says calmly what is wrong, ends
//! in order and stays within its memory. Nothing in here knows what a document is: what knows
//! lives in `schemas` (the contract) or in the program itself. The modules stand in the order a
//! program meets them, from its first line to its last client.
//!
//! - [`exit`] and [`report`]: how a program ends and what it says then.
//! - [`secret`]: values that are never shown.
//! - [`units`] and [`file`]: times, sizes and files as flags name them.
//! - [`telemetry`]: log lines and the panic hook.
//! - [`pages`]: completions for shells, and man pages.
//! - [`program`]: the whole of `main`.
//! - [`shutdown`] and [`task`]: who stops whom, and when.
//! - [`retry`], [`budget`], [`memory`]: limits on time and on bytes.
//! - [`admin`]: health, readiness and metrics over HTTP.
//! - [`kafka`]: the only builder of a Kafka client.

pub mod exit;
pub mod report;
pub mod secret;
pub mod units;
pub mod file;
pub mod telemetry;
pub mod pages;
pub mod program;
pub mod shutdown;
pub mod task;
pub mod retry;
pub mod budget;
pub mod memory;
pub mod admin;
pub mod kafka;
