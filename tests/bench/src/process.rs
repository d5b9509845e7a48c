//! Memory and CPU of a program, as the kernel counts them.

use leafcutter_harness::failure::{Attempt, Failure, Result};
use std::{fs, time::Duration};

/// The kernel counts a program's time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// Lets the peak begin anew at what is held now.
///
/// # Errors
/// When the program is gone.
pub fn reset_peak(pid: u32) -> Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").attempt("reset a program's peak memory")
}

/// The most memory it has held since the peak began, in KiB (`VmHWM`).
///
/// # Errors
/// When the program is gone.
pub fn peak_kib(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).attempt("read its memory")?;
    let peak = status.lines().find_map(|line| {
        let rest = line.strip_prefix("VmHWM:")?.trim();
        rest.strip_suffix("kB")?.trim().parse().ok()
    });
    peak.ok_or_else(|| Failure::new("the kernel tells no VmHWM"))
}

/// The CPU time it has used.
///
/// # Errors
/// When the program is gone.
pub fn cpu(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).attempt("read its CPU time")?;
    // The name may hold anything; the numbers follow its closing bracket.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u32 = ticks.filter_map(|ticks| ticks.parse::<u32>().ok()).sum();
    Ok(TICK * ticks)
}

/// How busy the machine was in the last minute, in runnable programs.
pub fn load() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{cpu, peak_kib, reset_peak};

    #[test]
    fn the_kernel_tells_of_this_program() {
        let own = std::process::id();
        reset_peak(own).unwrap();
        let block = vec![1u8; 64 << 20];
        assert!(peak_kib(own).unwrap() > 64 << 10);
        assert!(block.iter().map(|&b| usize::from(b)).sum::<usize>() == 64 << 20);
        drop(block);
        let busy = std::time::Instant::now();
        while busy.elapsed().as_millis() < 50 {}
        assert!(cpu(own).unwrap().as_millis() >= 20);
        assert!(cpu(u32::MAX).is_err());
    }
}
