//! How much memory this process holds, as the kernel counts it.
//!
//! It reads `/proc/self/status` and gives bytes, or nothing where there is no such file. The
//! kernel's figure is used, not the allocator's, because the kernel's is what a container's limit
//! is compared with.

/// Memory held now (`VmRSS`).
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    read("VmRSS:")
}

/// The most that was ever held (`VmHWM`).
#[must_use]
pub fn peak_bytes() -> Option<u64> {
    read("VmHWM:")
}

fn read(field: &str) -> Option<u64> {
    parse(&std::fs::read_to_string("/proc/self/status").ok()?, field)
}

/// The kernel writes `VmRSS:     1234 kB`, and `kB` means 1024 bytes.
fn parse(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::{parse, peak_bytes, resident_bytes};

    #[test]
    fn the_kernels_unit_is_1024_bytes() {
        assert_eq!(
            parse("Name:\tx\nVmRSS:\t    12 kB\n", "VmRSS:"),
            Some(12 * 1024)
        );
        assert_eq!(parse("Name:\tx\n", "VmRSS:"), None);
        assert_eq!(parse("VmRSS:\tmany kB\n", "VmRSS:"), None);
    }

    #[test]
    fn this_process_holds_something_and_no_more_than_its_peak() {
        let now = resident_bytes().expect("Linux");
        let peak = peak_bytes().expect("Linux");
        assert!(now > 0 && peak >= now / 2, "{now} {peak}");
    }
}
