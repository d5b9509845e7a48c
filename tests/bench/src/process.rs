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
    let numbers = numbers(pid).attempt("read its CPU time")?;
    let own = numbers.get(11..13).unwrap_or_default();
    Ok(TICK * u32::try_from(own.iter().sum::<u64>())?)
}

/// The CPU time that a server has used, with all processes below it, those that have ended too.
///
/// # Errors
/// When its first process is gone.
pub fn cpu_of_family(pid: u32) -> Result<Duration> {
    // Of its own time, and of the time of children that it has waited for.
    let of = |numbers: &[u64]| numbers.get(11..15).unwrap_or_default().iter().sum::<u64>();
    let first = numbers(pid).attempt("read a server's CPU time")?;
    let processes = fs::read_dir("/proc").attempt("list the processes")?;
    let others: Vec<(u32, Vec<u64>)> = processes
        .filter_map(|process| {
            let pid = process.ok()?.file_name().to_str()?.parse().ok()?;
            // A process that ends meanwhile has told its parent its time.
            Some((pid, numbers(pid).ok()?))
        })
        .collect();
    let (mut family, mut ticks) = (vec![pid], of(&first));
    let mut at = 0;
    while let Some(&parent) = family.get(at) {
        at += 1;
        let children = others
            .iter()
            .filter(|(_, n)| n.get(1) == Some(&u64::from(parent)));
        for (child, numbers) in children {
            family.push(*child);
            ticks += of(numbers);
        }
    }
    Ok(TICK * u32::try_from(ticks)?)
}

/// The numbers of a process's `stat` behind its name; in the place of its state stands 0.
fn numbers(pid: u32) -> Result<Vec<u64>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may hold anything; the numbers follow its closing bracket.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let numbers = fields.split_whitespace();
    Ok(numbers
        .map(|number| number.parse().unwrap_or_default())
        .collect())
}

/// How busy the machine was in the last minute, in runnable programs.
pub fn load() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{cpu, cpu_of_family, peak_kib, reset_peak};

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

    #[test]
    fn a_family_s_time_has_that_of_children_that_run_and_of_those_that_have_ended() {
        use std::process::Command;
        let own = std::process::id();
        let before = cpu_of_family(own).unwrap();
        // A shell that works for a while and ends.
        let busy = "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done";
        Command::new("sh").args(["-c", busy]).status().unwrap();
        assert!((cpu_of_family(own).unwrap() - before).as_millis() >= 20);
        // One that works on until its input ends.
        let mut child = Command::new("sh")
            .args(["-c", &format!("{busy}; echo done; read end")])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut word = [0; 4];
        let output = child.stdout.as_mut().unwrap();
        std::io::Read::read_exact(output, &mut word).unwrap();
        assert!(cpu_of_family(child.id()).unwrap().as_millis() >= 20);
        assert!((cpu_of_family(own).unwrap() - before).as_millis() >= 40);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(cpu_of_family(u32::MAX).is_err());
    }
}
