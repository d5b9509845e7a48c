//! Whole migrations of FinLit by the real programs: what the suites `e2e` and `fault` have in common.

pub mod run;
