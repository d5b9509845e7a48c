#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| leafcutter_fuzz::drafts::draft(bytes));
